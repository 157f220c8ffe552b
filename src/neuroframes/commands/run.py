"""A run to fill: its frames, which of them are data, and what is known beside it. Everything is read once."""

import math
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from neuroframes.errors import InputError, check_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from neuroframes.models.model import TrainedModel
    from neuroframes.recording.band_power import BandPower
    from neuroframes.recording.bold import Bold
    from neuroframes.recording.eeg import Eeg
    from neuroframes.recording.features import Features
    from neuroframes.recording.timeline import Censoring

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

CARRIED = ("TaskName", "SkullStripped")  # from the sidecar of what is read to that of what is written
ACCOUNT = ("Method", "Model", "ModelDigest", "Options", "Version")  # of how estimates came about
BESIDE = {"confounds", "censor", "mask"}  # which in Python may be objects, as the run may
MOST_LACKING = 0.25  # of a vertex's values: each makes a frame partial, and the prior is of full ones


@dataclass(frozen=True)
class Draws:
    """How many draws of the posterior a command takes.

    Attributes
    ----------
    number : int, from which the standard deviation is taken; in closed form if 0
    saved : int, of which are written
    seed : int
    """

    number: int
    saved: int
    seed: int

    @classmethod
    def asked(cls, draws: int, save_draws: bool, seed: int) -> "Draws":
        """By the options of these names; InputError where they say nothing that can be done."""
        number = int(check_number(draws, "--draws", at_least=0, whole=True))
        if number == 1 or (save_draws and not number):
            saved = " with --save-draws" if save_draws else ""
            raise InputError(f"--draws {draws}{saved}; expected at least 2, or 0 for none")
        return cls(number, number * save_draws, int(check_number(seed, "--seed", at_least=0, whole=True)))

    @property
    def generator(self) -> "np.random.Generator":
        import numpy as np

        return np.random.default_rng(self.seed)

    @property
    def note(self) -> str:
        """What a sidecar's account of the method ends with."""
        return f"; standard deviation of {self.number} draws" if self.number else ""


@dataclass(frozen=True)
class Run:
    """A run of K frames, what is to be filled in it, and what is known beside it.

    Attributes
    ----------
    bold : Bold
        Its frames are data where `bold.measured`, elsewhere estimates of an earlier call.
    missing : array, shape (K,)
        Frames to be filled; what stands there isn't read.
    partial : array, shape (K,)
        Other frames that lack values, to be filled too, of vertices that vary and have `fewest_values`.
        Others are kept as they are, and make no frame partial.
    model : TrainedModel, or None: the run's own prior is to be used
    eeg : Eeg with the model's channels, or None
    power : BandPower of the features of each frame that EEG comes as, or None
    times : array, shape (K,), seconds
        Of the frames, on the EEG's clock; from the run's start without EEG.
    about : dict, for the sidecar of the result
    draws : Draws
    out : Path, to which the result goes
    overwrite : bool
    """

    bold: "Bold"
    missing: "NDArray[np.bool_]"
    partial: "NDArray[np.bool_]"
    model: "TrainedModel | None"
    eeg: "Eeg | None"
    power: "BandPower | None"
    times: "NDArray[np.float64]"
    about: dict[str, Any]
    draws: Draws
    out: Path
    overwrite: bool

    @property
    def name(self) -> str:
        return self.bold.sources[0].name

    @property
    def data(self) -> "NDArray[np.bool_]":
        """Which frames are data at every vertex, shape (K,)."""
        return self.bold.measured & ~self.missing & ~self.partial


def read_run(
    bold: str | Path,
    between: bool = False,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    model: str | Path | None = None,
    leave_out: str | None = None,
    eeg: str | Path | Any | None = None,
    confounds: str | Path | None = None,
    fd_threshold: float = 0.5,
    dvars_threshold: float | None = None,
    censor: str | Path | None = None,
    frames: str | None = None,
    censor_before: int = 0,
    censor_after: int = 0,
    censor_between: int = 0,
    fewest_frames: int = 16,
    bold_tr: float | None = None,
    mask: str | Path | None = None,
    trigger: str | None = "auto",
    onset: float | None = None,
    skip_volumes: int = 0,
    times: "NDArray[np.float64] | None" = None,
) -> Run:
    """Read and check a run and what is known beside it.

    Parameters
    ----------
    bold : path
        CIFTI series, GIFTI (both hemispheres are found by name), 4-D volume, or table of parcels.
    between : bool
        Frames at other times than the run's are asked for, which not every model has.
    out : path
        Image to write, of the same format.
    overwrite : bool
        Replace the output if it exists.
    draws : int
        Take the standard deviation from so many draws of the posterior, at least 2; by default it is in
        closed form, which leaves out how a learned correction varies.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
        Seed of the draws.
    model : path
        What train or prior wrote. Without it the run itself is learned from.
    leave_out : str
        Person to leave out of a prior.
    eeg : path
        The run's EEG, in Python also an mne.io.Raw, or a table of features of each frame (.tsv, .npz,
        .parquet, .mat); needs a model of the same.
    confounds : path
        fMRIPrep's table of this run; frames above the threshold and marked outliers are missing.
    fd_threshold : float, mm
        Frames with more displacement count as missing.
    dvars_threshold : float
        Frames with a larger standardised DVARS in the confounds count as missing; by default none do.
    censor : path
        Table of one line a frame: 1 = missing, or, as names or program say, 1 = kept; see docs/files.md.
    frames : str
        Missing frames as 10:14,40: counted from 0 in the file, the end included.
    censor_before : int
        Number of frames before each missing one, whatever names it, that are missing too.
    censor_after : int
        Number of frames after each missing one that are missing too.
    censor_between : int
        Stretches of at most so many good frames, between missing ones or the run's ends, are missing too.
    fewest_frames : int
        Refuse a run that has fewer frames measured in full; 16 is the least that can be asked for.
    bold_tr : float, seconds
        TR of the run, where the file states none or a wrong one.
    mask : path
        Image of a volume's grid, 0 at voxels to leave out, which are 0 in what is written; by default
        fMRIPrep's desc-brain_mask beside the BOLD, otherwise what is 0 throughout is left out.
    trigger : str
        Description of the volume triggers in the EEG, auto, or none.
    onset : float, seconds
        Time from the EEG's start to the first volume's, where triggers are missing or not used.
    skip_volumes : int
        Dummy scans that have triggers but are not in the BOLD.
    times : array, shape (K,), seconds
        Of the frames of an array, where some between them were taken out: those are missing.
    """
    from neuroframes.frames.temporal import FEWEST_MEASURED
    from neuroframes.models.stored import digest
    from neuroframes.recording.bids import check_same_run
    from neuroframes.recording.bold import read_bold
    from neuroframes.recording.eeg import eeg_path, read_eeg_of_bold
    from neuroframes.recording.features import check_frames, refuse_options
    from neuroframes.recording.timeline import Censoring
    from neuroframes.registry import load_model
    from neuroframes.report.result import check_result

    if out is None:
        raise InputError(f"{bold}: pass out, the image to write; without it only objects give objects")
    if times is not None:
        raise InputError(f"{bold}: times are of the frames of an array; a file says when its frames are")
    if leave_out is not None and model is None:
        raise InputError("--leave-out needs --model, with what neuroframes prior wrote")
    if eeg is not None and model is None:
        raise InputError("--eeg needs --model: what EEG says of frames is learned; see neuroframes train")
    file = None if eeg is None else eeg_path(eeg)
    for path in (file, confounds, censor):
        if path is not None:
            check_same_run(Path(path), Path(bold))
    if dvars_threshold is not None and confounds is None:
        raise InputError("--dvars-threshold needs --confounds, whose table has the DVARS of each frame")
    rules = Censoring(fd_threshold, dvars_threshold, censor_before, censor_after, censor_between)
    fewest_frames = int(check_number(fewest_frames, "--fewest-frames", at_least=FEWEST_MEASURED, whole=True))
    asked, out = Draws.asked(draws, save_draws, seed), Path(out)
    trained = None if model is None else load_model(model)
    if trained is not None and leave_out is not None:
        trained = trained.without_person(leave_out)
    if trained is not None:
        trained.check(eeg=eeg is not None, draws=draws, between=between)
        if eeg is not None:
            check_reads_eeg(trained)
    run = read_bold(bold, tr=bold_tr, mask=mask)
    check_result(out, run.space, overwrite, n_draws=asked.saved, inputs=run.sources)
    if trained is not None:
        trained = trained.in_space(run.space, run.sources[0].name)
    earlier = _earlier(run)
    if eeg is not None and any((step.get("NeuroframesOptions") or {}).get("tr") for step in earlier):
        raise InputError(
            f"{run.sources[0].name} was resampled: its frames are not those that the EEG's triggers mark; "
            "give --eeg to resample, with the run as it was recorded"
        )
    missing = _missing(run, rules, confounds, censor, frames)
    partial = partial_frames(run, run.measured & ~missing, trained)
    _check_enough(run, run.measured & ~missing, partial, fewest_frames)
    clock: dict[str, Any] = {"trigger": trigger, "onset": onset, "skip_volumes": skip_volumes}
    signal, power, times = None, None, run.times
    if trained is not None and file is not None and (table := features_of(trained, file)) is not None:
        refuse_options(file, read_run, clock)
        check_frames(file, table, len(run.data), run.tr)
        power, times = table.power, table.times
    elif trained is not None and file is not None:
        recorded, times = read_eeg_of_bold(eeg, run, **clock, **trained.origin.eeg_settings)
        signal = with_channels_of(trained, recorded, file.name)
    beside = [Path(path).name for path in (file, confounds, censor, mask) if path]
    about = {name: run.sidecar[name] for name in CARRIED if name in run.sidecar}
    about["NeuroframesEarlier"] = earlier
    about["Sources"] = [*(path.name for path in run.sources), *beside]
    about["NeuroframesModel"] = None if model is None else str(model)
    about["NeuroframesModelDigest"] = None if model is None else digest(Path(model))
    about["NeuroframesOptions"] = {
        **asdict(rules),
        "fd_threshold": fd_threshold if confounds else None,
        "frames": frames,
        "bold_tr": bold_tr,
        "leave_out": leave_out,
        **clock,
        "draws": asked.number,
        "seed": asked.seed if draws else None,
    }
    return Run(run, missing, partial, trained, signal, power, times, about, asked, out, overwrite)


def check_reads_eeg(model: "TrainedModel") -> None:
    """Raise InputError where EEG is given to a model that knows nothing of it."""
    if not model.reads_eeg:
        raise InputError(f"{model.name} reads no EEG: leave --eeg out, or pass a model that train wrote")


def features_of(model: "TrainedModel", path: Path) -> "Features | None":
    """The features of each frame that a model of such takes; None where model and file are of raw EEG."""
    from neuroframes.recording.features import FORMATS, is_table, read_features

    if is_table(path) != bool(model.origin.features):
        kinds = ("raw EEG", f"features of each frame ({', '.join(FORMATS)})")
        given, taken = kinds if model.origin.features else kinds[::-1]
        raise InputError(f"{path.name}: {given}, but the model takes {taken}; pass those, or another model")
    if not model.origin.features:
        return None
    return read_features(path, tr=model.origin.tr).picked(model.origin.features, "the model")


def with_channels_of(model: "TrainedModel", eeg: "Eeg", name: str) -> "Eeg":
    """The EEG with the model's channels.

    Those that the file `name` lacks are filled by models that can do that, with a warning, or interpolated
    where it is of another montage; other models need them all.
    """
    from neuroframes.recording.eeg import brought_to, channels_there, check_channels

    if model.any_montage:
        return brought_to(eeg, model.origin.electrodes, name, average=model.origin.average)
    if model.fills_channels:
        return channels_there(eeg, model.origin.channels, name)
    return check_channels(eeg, model.origin.channels, "the model")


def _earlier(run: "Bold") -> list[dict[str, Any]]:
    """How estimates among the frames came about, the last call's last."""
    from neuroframes.recording.sidecar import sidecar_path

    if "NeuroframesMeasured" not in run.sidecar:
        return []
    account = {name: run.sidecar.get(name) for name in (f"Neuroframes{each}" for each in ACCOUNT)}
    calls = run.sidecar.get("NeuroframesEarlier", [])
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise InputError(
            f"{sidecar_path(run.sources[0]).name}: NeuroframesEarlier is {calls!r:.40}; expected a list of "
            "objects: restore the sidecar that was written with the image"
        )
    return [*calls, account]


def fewest_values(measured: "NDArray[np.bool_]") -> int:
    """Finite values that a vertex needs, of as many frames as are measured."""
    from neuroframes.frames.temporal import FEWEST_MEASURED

    return max(FEWEST_MEASURED, math.ceil((1 - MOST_LACKING) * measured.sum()))


def _missing(
    run: "Bold",
    rules: "Censoring",
    confounds: str | Path | None,
    censor: str | Path | None,
    frames: str | None,
) -> "NDArray[np.bool_]":
    """Frames to be filled, shape (K,)."""
    from neuroframes.recording.censor import read_censor
    from neuroframes.recording.timeline import parse_frames

    named = [] if censor is None else [read_censor(censor, run.n_volumes)]
    named += [] if frames is None else [parse_frames(frames, run.n_volumes)]
    return rules.missing(run, confounds, named)


def partial_frames(
    run: "Bold", measured: "NDArray[np.bool_]", model: "TrainedModel | None"
) -> "NDArray[np.bool_]":
    """Measured frames that lack values which can be estimated, shape (K,)."""
    import numpy as np

    from neuroframes.recording.segments import detrend, vertex_scale

    lacking = ~np.isfinite(run.data)
    vertices = np.flatnonzero(lacking[measured].any(axis=0))
    series = np.array(run.data[:, vertices], order="F")
    usable = vertex_scale(series, measured, detrend(series, measured)[0], fewest_values(measured)) > 0
    if model is not None:
        usable &= model.origin.scale[vertices] > 0
    return np.asarray(measured & lacking[:, vertices[usable]].any(axis=1))


def _check_enough(
    run: "Bold", measured: "NDArray[np.bool_]", partial: "NDArray[np.bool_]", fewest: int
) -> None:
    """Raise InputError where fewer than `fewest` frames are measured in full."""
    n_full, n_partial = int((measured & ~partial).sum()), int(partial.sum())
    if n_full < fewest:
        lack = f" in full, {n_partial} lack values of vertices (which would be left alone if NaN throughout)"
        raise InputError(
            f"{run.sources[0].name}: {n_full} of {len(measured)} frames are measured"
            f"{lack if n_partial else ''}, the rest is censored or estimated; at least {fewest} are needed "
            "(--fewest-frames); censor fewer, or use neuroframes reconstruct, which needs none"
        )


def with_run_options(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The command, its `**options` spelled out in signature and docstring: the keywords of `read_run`.

    A run that is no path, or has an object beside it, goes through `in_memory.through_files`.
    """
    own = signature(command).parameters.values()
    beside = [each for each in signature(read_run).parameters.values() if each.kind is each.KEYWORD_ONLY]
    whole = Signature([*(each for each in own if each.kind is not each.VAR_KEYWORD), *beside])

    @wraps(command)
    def checked(*arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            given = whole.bind(*arguments, **options).arguments
        except TypeError as error:
            raise TypeError(f"{command.__name__}() {error}") from None
        bold, beside = given.pop("bold"), (given[name] for name in BESIDE if given.get(name) is not None)
        if all(isinstance(each, str | os.PathLike) for each in (bold, *beside)):
            return command(*arguments, **options)
        from neuroframes.commands.in_memory import through_files

        return through_files(command, bold, given)

    described = str(read_run.__doc__)
    entries = described[described.index(f"    {beside[0].name} :") :].rstrip() + "\n"  # they come last there
    checked.__doc__ = re.sub(r" +\*\*options\n.*\n", lambda _: entries, str(command.__doc__))
    checked.__signature__ = whole  # type: ignore[attr-defined]
    return checked
