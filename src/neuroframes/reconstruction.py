"""Frames from EEG, and what every command that takes EEG shares."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.completion import fill_missing
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.band_power import BandPower, log_band_power
from neuroframes.recording.eeg import Eeg, check_channels, read_eeg
from neuroframes.recording.timeline import MAX_JITTER, check_covers, frame_times
from neuroframes.report.result import check_result, write_result

logger = logging.getLogger(__name__)


def read_model_eeg(model: GaussianModel, path: Path, trigger: str | None, tr: float) -> tuple[Eeg, BandPower]:
    """Read EEG as the model's training EEG was read, with the model's channels in its order.

    `tr`, seconds, helps to find the volume triggers.
    """
    eeg = read_eeg(path, trigger=trigger, tr=tr, **model.eeg_settings)
    eeg = check_channels(eeg, model.channels)
    return eeg, log_band_power(eeg.data, eeg.rate, model.bands)


def power_at_frames(
    model: GaussianModel,
    path: Path,
    tr: float,
    n_frames: int,
    *,
    trigger: str | None,
    onset: float,
    skip_volumes: int,
    within: float | None = None,
) -> tuple[BandPower, NDArray[np.float64]]:
    """Band power of an EEG file and the times of a run's frames on its clock, checked against each other."""
    eeg, power = read_model_eeg(model, path, trigger, tr)
    times = frame_times(
        eeg.triggers, tr, n_frames, onset=onset, skip=skip_volumes, within=within, name=path.name
    )
    check_covers(times, tr, eeg.duration, path.name)
    return power, times


def reconstruct(
    model: str | Path,
    *,
    eeg: str | Path,
    out: str | Path,
    tr: float | None = None,
    trigger: str | None = "auto",
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Frames from EEG alone, at the volume triggers, else every `tr` from the EEG's start.

    Parameters
    ----------
    model : path
        What `train` wrote.
    eeg : path
        Any format that MNE reads, with the model's channels.
    out : path
        Image in the format that the model was trained on. Its values are in standard deviations of each
        vertex about its mean in the training part (z), which is all that EEG can tell.
    tr : float, seconds
        Step between frames; the model's if None. Frames are at the volume triggers where these have it.
    trigger : str
        Description of the volume triggers, "auto", or "none".
    overwrite : bool

    Returns
    -------
    tuple of Path
        Images written: frames, then their standard deviation.
    """
    out, eeg = Path(out), Path(eeg)
    if tr is not None and not 0 < tr < np.inf:
        raise InputError(f"a TR of {tr} s was given; expected a positive number of seconds")
    trained = GaussianModel.load(Path(model))
    check_result(out, trained.space, overwrite)
    step = trained.tr if tr is None else tr
    logger.info("reading %s", eeg.name)
    recording, power = read_model_eeg(trained, eeg, trigger, step)
    # Whoever asks for another step than the triggers have wants frames in between.
    if len(recording.triggers) and (tr is None or _train_has(recording.triggers, tr)):
        times = frame_times(recording.triggers, step, len(recording.triggers), name=eeg.name)
    else:
        times = np.arange(step / 2, recording.duration, step)
    if not len(times):
        raise InputError(
            f"{eeg.name}: {recording.duration:.1f} s of EEG hold no frame of {step:g} s; pass a shorter --tr"
        )
    prior, mean = trained.given_eeg(power, times)
    frames = np.zeros((len(times), trained.space.V), np.float32, order="F")
    nothing = np.zeros(len(times), bool)
    logger.info("reconstructing %d frames", len(times))
    deviation = fill_missing(prior, frames, nothing, times - times[0], mean)
    about = {
        "Description": "fMRI frames reconstructed from EEG alone: estimates, not measurements.",
        "Units": "standard deviations of each vertex about its training mean (z)",
        "Sources": [eeg.name],
        "NeuroframesModel": str(model),
        "NeuroframesMethod": "ridge on lagged log band power, Gaussian backbone",
    }
    start = float(times[0] - step / 2)
    return write_result(
        out,
        frames,
        deviation,
        trained.space,
        tr=step,
        start=start,
        measured=nothing,
        about=about,
        overwrite=overwrite,
    )


def _train_has(triggers: NDArray[np.float64], tr: float) -> bool:
    return len(triggers) > 1 and abs(float(np.median(np.diff(triggers))) - tr) <= MAX_JITTER * tr
