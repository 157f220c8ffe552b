"""A run to complete: what is measured of it, and what is known beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.temporal import FEWEST_MEASURED
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.load import load_model
from neuroframes.reconstruction import heard_at_frames
from neuroframes.recording.bids import check_same_run
from neuroframes.recording.bold import Bold, read_bold
from neuroframes.recording.sidecar import slice_reference
from neuroframes.recording.timeline import censored, parse_frames, read_censor
from neuroframes.report.result import check_result

if TYPE_CHECKING:
    from neuroframes.models.network_model import NetworkModel

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """A run, what is measured of it, and what is known beside it.

    Attributes
    ----------
    bold : Bold
    measured : array, shape (K,)
    model : GaussianModel, NetworkModel or None
    heard, clock : what the model takes from the EEG, and the frames' times (K,) on its clock, or None
    about : dict, for the sidecar
    """

    bold: Bold
    measured: Mask
    model: "GaussianModel | NetworkModel | None"
    heard: Any
    clock: Float | None
    about: dict[str, Any]


def read_task(
    bold: str | Path,
    out: Path,
    *,
    model: str | Path | None = None,
    eeg: str | Path | None = None,
    confounds: str | Path | None = None,
    fd_threshold: float = 0.5,
    censor: str | Path | None = None,
    frames: str | None = None,
    bold_tr: float | None = None,
    trigger: str | None = "auto",
    onset: float | None = None,
    skip_volumes: int = 0,
    draws: int = 0,
    save_draws: bool = False,
    in_between: bool = False,
    overwrite: bool = False,
) -> Task:
    """Read and check a run and what is known beside it.

    Parameters
    ----------
    bold : path
    out : path, refused before anything is computed if it can't be written
    model, eeg : path
        A trained model, and the EEG of this run. A model may be used without EEG.
    confounds : path
        fMRIPrep's table; frames above `fd_threshold` and marked outliers are missing.
    fd_threshold : float, mm
    censor : path
        Table of one line a frame, 1 = missing.
    frames : str
        Missing frames, "10:14,40": counted from 0, the end included.
    bold_tr : float, seconds
        Overrides the TR of the file.
    trigger, onset, skip_volumes
        How the EEG's clock is tied to the frames: see `read_simultaneous_eeg` and `frame_times`.
    draws, save_draws : see `complete`
    in_between : bool
        Frames at other times than the run's are wanted, which not every model has.
    overwrite : bool
    """
    if eeg is not None and model is None:
        raise InputError("--eeg needs --model: what EEG says of frames is learned; see neuroframes train")
    if eeg is not None:
        check_same_run(Path(eeg), Path(bold))
    trained = None if model is None else load_model(Path(model))
    network = None if isinstance(trained, GaussianModel) else trained
    if network is not None:
        network.draws_for(draws)
        if in_between or eeg is None:
            why = "has frames on one grid only" if in_between else "always hears EEG: pass --eeg"
            raise InputError(
                f"{model} is of --preset {network.preset}, which {why}, or use a model of another preset"
            )
    run = read_bold(bold, tr=bold_tr)
    name, n_frames = run.sources[0].name, len(run.data)
    check_result(out, run.space, overwrite, n_draws=draws if save_draws else 0, inputs=run.sources)
    if trained is not None:
        trained.space.check_same(run.space, name)
    missing = ~np.isfinite(run.data).any(axis=1)
    if confounds is not None:
        missing |= censored(confounds, fd_threshold, n_frames)
    if censor is not None:
        missing |= read_censor(censor, n_frames)
    if frames is not None:
        missing |= parse_frames(frames, n_frames)
    n_measured = int((~missing).sum())
    if n_measured < FEWEST_MEASURED:
        raise InputError(
            f"{name}: {n_measured} of {n_frames} frames are measured, the rest censored; at least "
            f"{FEWEST_MEASURED} are needed; censor fewer, or use neuroframes reconstruct, which needs none"
        )
    heard, clock = None, None
    if trained is not None and eeg is not None:
        heard, clock = heard_at_frames(
            trained,
            Path(eeg),
            run.tr,
            n_frames,
            trigger=trigger,
            onset=onset,
            skip_volumes=skip_volumes,
            within=slice_reference(run.sources[0]),
        )
    learned = isinstance(trained, GaussianModel) and trained.correction is not None
    about = {
        "Sources": [path.name for path in (*run.sources, *(Path(p) for p in (eeg, confounds, censor) if p))],
        "NeuroframesModel": None if model is None else str(model),
        "NeuroframesMethod": "exact Gaussian posterior given the measured frames"
        + (" and the EEG" if heard is not None else "")
        + (" with a learned correction of its mean" if heard is not None and learned else "")
        if network is None
        else network.completing,
    }
    return Task(run, ~missing, trained, heard, clock, about)
