"""What one run of a data set holds, and what is wrong with it: read by the readers of `prepare`.

Every frame of BOLD is read. Of EEG the header and the markers are, a minute in pieces, and five in the
middle, so that an hour at 5 kHz takes seconds. What a reader refuses is an error of the run, what it warns of
is a warning.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import detrend

from neuroframes.errors import InputError, listed
from neuroframes.frames.information import effective_frames
from neuroframes.recording.bold import Bold, read_bold
from neuroframes.recording.eeg import (
    Recording,
    check_finite,
    check_names,
    check_onset,
    open_recording,
    read_samples,
    readable,
)
from neuroframes.recording.eeg_file import continuous_part
from neuroframes.recording.features import check_frames, is_table, read_features
from neuroframes.recording.quality import volts, warn_of_samples
from neuroframes.recording.scanner import scanner_traces
from neuroframes.recording.segments import detrend as detrend_frames
from neuroframes.recording.timeline import DISPLACEMENT, Censoring, check_covers, frame_times, motion
from neuroframes.recording.tsv import numbers, read_tsv

if TYPE_CHECKING:
    from neuroframes.cortex.space import CorticalSpace

N_PIECES, PIECE = 12, 5.0  # of EEG that are read, seconds each
STRETCH, EEG_RATE = 300.0, 200.0  # seconds and Hz, in which the scanner's traces are looked for
SAMPLED = 256  # vertices at most, from which the effective number of frames is estimated


@dataclass(kw_only=True)
class Problems:
    """What is wrong with a run or a data set."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class RunCheck(Problems):
    """A run, what is known of it, and what is wrong.

    Attributes
    ----------
    person, name : str
        "sub-01", "task-rest_run-1".
    bold, eeg, confounds : Path or None
    frames : int
    tr, duration : float, seconds, of the BOLD
    space : str
        Name of the space, and the number of values of a frame.
    mean_fd : float, mm
    measured : int
        Frames that aren't censored.
    longest_gap : int
        Censored frames in a row, at most.
    effective_frames : float
        Independent frames that the measured ones are worth.
    eeg_duration, eeg_rate : float, seconds and Hz
    channels : int
        EEG channels, or features of each frame.
    located : int
        Channels whose position is known.
    amplitude : float, volts
        Standard deviation of the median channel, without the trend of each piece of 5 s.
    flat : list of str
        Channels that are constant.
    triggers : int
        Volume triggers.
    onset : float, seconds
        The first volume's, on the EEG's clock.
    drift : float, ppm
        By how much longer than the TR the volumes last on the EEG's clock.
    gradient, heartbeat : float
        What the scanner left in EEG, as of `recording.scanner`, by 5 minutes in the middle.
    errors : list of str
        Why the run can't be used.
    warnings : list of str
    digests : dict of str
        "bold", "eeg": of their content, whatever the files are called.

    What isn't known is None.
    """

    person: str
    name: str
    bold: Path | None = None
    eeg: Path | None = None
    confounds: Path | None = None
    frames: int | None = None
    tr: float | None = None
    duration: float | None = None
    space: str | None = None
    mean_fd: float | None = None
    measured: int | None = None
    longest_gap: int | None = None
    effective_frames: float | None = None
    eeg_duration: float | None = None
    eeg_rate: float | None = None
    channels: int | None = None
    located: int | None = None
    amplitude: float | None = None
    flat: list[str] = field(default_factory=list)
    triggers: int | None = None
    onset: float | None = None
    drift: float | None = None
    gradient: float | None = None
    heartbeat: float | None = None
    digests: dict[str, str] = field(default_factory=dict)


def read_check(
    run: RunCheck, rules: Censoring, bold_tr: float | None, clock: dict[str, Any], first: dict[str, Any]
) -> None:
    """Read the files of a run into its row.

    Parameters
    ----------
    run : RunCheck
    rules : Censoring
    bold_tr : float, seconds
    clock : dict
        trigger, onset and skip_volumes, as of `prepare`.
    first : dict
        Space, and channels or features, of the person's first run with EEG and BOLD; filled by that run.
    """
    bold = None
    if run.bold is not None:
        with noted(run):
            bold = read_bold(run.bold, tr=bold_tr)
            _note_bold(run, bold)
        with noted(run):
            if bold is not None:
                _note_motion(run, bold, rules)
    with noted(run):
        if bold is not None and run.eeg is not None:
            first.setdefault("space", bold.space).check_same(bold.space, bold.sources[0].name)
    with noted(run):
        if run.eeg is not None and is_table(run.eeg):
            _note_features(run, run.eeg, bold, first)
        elif run.eeg is not None:
            _note_eeg(run, run.eeg, bold, clock, first)


@contextmanager
def noted(of: Problems) -> Iterator[None]:
    """What is refused or warned of in the body becomes an error or a warning of the run or data set."""
    logger, handler = logging.getLogger("neuroframes"), _Noting(of.warnings)
    logger.addHandler(handler)
    propagated, logger.propagate = logger.propagate, False
    try:
        yield
    except InputError as error:
        of.errors.append(str(error))
    except OSError as error:
        of.errors.append(f"{error.filename or 'a file'}: {error.strerror or error}")
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


class _Noting(logging.Handler):
    def __init__(self, warnings: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()) not in self.warnings:  # as where one stands within another
            self.warnings.append(message)


def _note_bold(run: RunCheck, bold: Bold) -> None:
    run.frames, run.tr = len(bold.data), bold.tr
    run.duration, run.space = run.frames * bold.tr, _named(bold.space)
    # Transposed it is contiguous.
    run.digests["bold"] = _digest(bold.data.T)
    if estimates := int((bold.acquired & ~bold.measured).sum()):
        run.warnings.append(f"{bold.sources[0].name}: {estimates} frames are estimates of an earlier call")


def _note_motion(run: RunCheck, bold: Bold, rules: Censoring) -> None:
    left_out = rules.left_out(bold, run.confounds)
    edges = np.flatnonzero(np.diff(left_out, prepend=False, append=False))
    run.measured = int((~left_out).sum())
    run.longest_gap = int(np.max(edges[1::2] - edges[::2], initial=0))
    frames = np.nan_to_num(bold.data[:, :: max(1, bold.data.shape[1] // SAMPLED)], posinf=0, neginf=0)
    if run.measured:
        detrend_frames(frames, ~left_out)
        run.effective_frames = effective_frames(frames, ~left_out)
    if run.confounds is None:
        run.warnings.append("no confounds of the same run by name: nothing is censored")
        return
    table = read_tsv(run.confounds)
    for name in (name for name in DISPLACEMENT if name in table):
        known = numbers(run.confounds, table, name)
        known = known[np.isfinite(known)]
        run.mean_fd = float(np.mean(known)) if known.size else None
    motion(run.confounds, bold.n_volumes)  # for what it refuses


def _note_features(run: RunCheck, path: Path, bold: Bold | None, first: dict[str, Any]) -> None:
    features = read_features(path, tr=None if bold is None else bold.tr)
    run.channels, run.eeg_rate, run.eeg_duration = len(features.names), features.rate, features.duration
    run.digests["eeg"] = _digest(features.values)
    if bold is not None:
        check_frames(path, features, len(bold.data), bold.tr)
        features.picked(first.setdefault("features", features.names), f"{run.person}'s other runs")


def _note_eeg(
    run: RunCheck, path: Path, bold: Bold | None, clock: dict[str, Any], first: dict[str, Any]
) -> None:
    eeg = open_recording(path)
    run.eeg_rate, run.channels = float(eeg.raw.info["sfreq"]), len(eeg.channels)
    run.eeg_duration = eeg.raw.n_times / run.eeg_rate
    run.located = int(np.isfinite(eeg.positions[:, 0]).sum())
    if unknown := _of(eeg, np.isnan(eeg.positions[:, 0])):
        run.warnings.append(f"{path.name}: no positions of {listed(unknown)}; add electrodes.tsv")
    with noted(run):
        if bold is not None:
            others = f"{run.person}'s other runs"
            check_names(eeg.channels, first.setdefault("channels", eeg.channels), others)
    # Without BOLD it isn't known which events are volumes, and nothing is at fault with it.
    problems = Problems(errors=run.errors if bold else run.warnings, warnings=run.warnings)
    placed = None
    with noted(problems):
        unsaid = clock["trigger"] is None and clock["onset"] is None
        trigger = "auto" if unsaid else clock["trigger"]
        triggers = eeg.triggers(trigger, *((None,) if bold is None else (bold.tr, bold.acquired)))
        run.triggers = len(triggers)
        if bold is not None:
            placed = _note_times(run, eeg, triggers, bold, clock)
    _note_samples(run, eeg)
    if bold is not None and placed is not None:
        _note_scanner(run, eeg, triggers, bold.tr, float(placed[len(placed) // 2]))


def _note_times(
    run: RunCheck, eeg: Recording, triggers: NDArray[np.float64], bold: Bold, clock: dict[str, Any]
) -> NDArray[np.float64]:
    """Times of the frames, once they are sure to lie within the EEG."""
    if triggers.size:
        run.onset = float(triggers[0])
    check_onset(triggers, clock["trigger"], clock["onset"], eeg.name)
    stop = eeg.raw.n_times / eeg.raw.info["sfreq"]
    if eeg.gaps:
        stop = min(stop, continuous_part(eeg.gaps, triggers, eeg.name)[1])
    placed: dict[str, Any] = {"onset": clock["onset"], "skip": clock["skip_volumes"]}
    placed |= {"within": bold.slice_reference, "acquired": bold.acquired, "name": eeg.name}
    times = frame_times(triggers, bold.tr, len(bold.data), **placed)
    check_covers(times, bold.tr, stop, eeg.name)
    return times


def _note_scanner(
    run: RunCheck, eeg: Recording, triggers: NDArray[np.float64], tr: float, middle: float
) -> None:
    """What the scanner left in EEG: by a stretch of it around `middle`, and by all triggers."""
    start = max(0.0, middle - STRETCH / 2)
    part = eeg.raw.copy().crop(start, min(start + STRETCH, eeg.raw.times[-1]))
    data, rate, _ = read_samples(part, eeg, EEG_RATE)
    data, ecg = data[: len(eeg.picks)], next(iter(data[len(eeg.picks) :]), None)
    traces = scanner_traces(data - data.mean(axis=0), rate, triggers - start, tr, ecg=ecg)
    run.gradient, run.heartbeat, run.drift = traces.gradient, traces.heartbeat, traces.drift
    run.warnings += [f"{eeg.name}: {text}" for text in traces.warnings]


def _note_samples(run: RunCheck, eeg: Recording) -> None:
    """Amplitude, flat channels, digest: by pieces that are spread over the recording."""
    rate = eeg.raw.info["sfreq"]
    length = min(round(PIECE * rate), eeg.raw.n_times)
    starts = np.unique(np.linspace(0, eeg.raw.n_times - length, N_PIECES).astype(int))
    with readable(eeg.name):
        pieces = [eeg.raw.get_data(eeg.picks, start, start + length) for start in starts]
    data = np.concatenate(pieces, axis=1)
    run.digests["eeg"] = _digest(np.append(data, np.full((len(data), 1), eeg.raw.n_times), axis=1))
    check_finite(eeg, data)
    ends = data.max(axis=1, keepdims=True), data.min(axis=1, keepdims=True)
    clipped = np.max([(data == end).mean(axis=1) for end in ends], axis=0)
    run.flat = _of(eeg, ends[0][:, 0] == ends[1][:, 0])
    # A constant channel less its first sample is 0 to the bit.
    changes = np.concatenate([detrend(piece - piece[:, :1]) for piece in pieces], axis=1)
    changes = volts(changes, rate, eeg.channels, eeg.units, eeg.name)
    run.amplitude = float(np.median(changes.std(axis=1)))
    warn_of_samples(changes, rate, eeg.channels, clipped, eeg.name)


def _of(eeg: Recording, which: Any) -> list[str]:
    return [name for name, there in zip(eeg.channels, which, strict=True) if there]


def _named(space: "CorticalSpace") -> str:
    return f"{space.name} ({space.V:,})"


def _digest(array: NDArray[Any]) -> str:
    return blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
