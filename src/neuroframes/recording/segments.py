"""Contiguous blocks of runs: what every method is fitted on and scored on.

Frames are autocorrelated over many seconds, so a random split of overlapping windows leaks the
answer. A split here is by run or by contiguous block, with a gap longer than the EEG lags and the
haemodynamic response between what is fitted and what is scored.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.recording.band_power import LAST_LAG, BandPower
from neuroframes.recording.montage import Electrodes
from neuroframes.recording.signal import Signal

if TYPE_CHECKING:
    from neuroframes.recording.store import Store

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

HRF_LENGTH = 20.0  # seconds: what a frame still owes to neural activity before the last EEG lag
LEAST_GAP = LAST_LAG + HRF_LENGTH  # seconds: frames as far apart owe nothing to the same moment
BLOCK = 4096  # vertices worked on at once
FEWEST_FOR_SLOPE = 64  # frames
SHORTEST_PART = 32  # frames; a shorter rest of a run isn't worth fitting on or scoring


@dataclass(frozen=True)
class Segment:
    """A contiguous block of one run.

    Attributes
    ----------
    frames : array, shape (K, V), detrended within the segment, z-scored by the training part's scale
    times : array, shape (K,), seconds on the EEG clock
    time_in_run : array, shape (K,), seconds since the run's first frame, without the triggers' jitter
    measured : array, shape (K,), False where censored or hidden
        What stands there is read by nobody who fills or fits.
    power : BandPower of the channels over the whole run, or None without EEG
        Or the features of each frame that EEG comes as.
    run : str
    eeg : Signal of the whole run, or None without raw EEG
    motion : array, shape (K, 6), mm and rad, or None where it isn't known
    vertices : array of int, shape (V,), or None
        Of the space that a model was fitted to, those that `frames` has; None for all of them.
    partial : array, shape (K,), or None
        Which of the other frames are measured at those vertices where they are finite. Models may make
        nothing of that: these frames then count as missing.
    person : str, "" where it isn't known
    shown : array, shape (K, F), or None
        Features of the stimulus at each frame's moment, NaN where nothing was shown.
    """

    frames: Float32
    times: NDArray[np.float64]
    time_in_run: NDArray[np.float64]
    measured: Mask
    power: BandPower | None
    run: str
    eeg: Signal | None = None
    motion: NDArray[np.float64] | None = None
    vertices: NDArray[np.intp] | None = None
    partial: Mask | None = None
    person: str = ""
    shown: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.frames), len(self.times), len(self.time_in_run), len(self.measured)}
        if len(lengths) != 1:
            raise ValueError(
                f"{self.run}: frames, times, time_in_run and measured differ in length: {lengths}"
            )

    def given(self, mask: Mask) -> Self:
        """The segment with those of its measured frames alone that `mask` (K,) names."""
        partial = None if self.partial is None else self.partial & mask
        return replace(self, measured=self.measured & mask, partial=partial)

    @property
    def entries(self) -> Mask | None:
        """Where the M other frames are measured all the same, shape (M, V); None if nowhere."""
        if self.partial is None or not self.partial.any():
            return None
        missing = ~self.measured
        return np.isfinite(self.frames[missing]) & self.partial[missing, None]

    def eeg_for(self, name: str) -> Signal:
        """The EEG of the segment's run, which the method `name` needs; InputError where there is none."""
        if self.eeg is None:
            lack = (
                "there is none for this run" if self.power is None else "this run has features of each frame"
            )
            raise InputError(f"{self.run}: {name} needs EEG; {lack}")
        return self.eeg

    def completed(self, estimate: Float32) -> Float32:
        """Frames (K, V): the measured ones to the bit, `estimate` (M, V) or (V,) at the others."""
        frames = np.array(self.frames, order="F")
        frames[~self.measured] = estimate
        return frames


@dataclass(frozen=True)
class Part:
    """Frames `start` to `stop` (excluded) of a run."""

    run: str
    start: int
    stop: int


@dataclass(frozen=True)
class Split:
    """Which parts are fitted on and which are scored; `gap` seconds lie between them."""

    train: tuple[Part, ...]
    test: tuple[Part, ...]
    gap: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        train, test = (tuple(Part(**part) for part in stored[name]) for name in ("train", "test"))
        return cls(train, test, stored["gap"])


def split_in_time(
    runs: Sequence[tuple[str, int, float]], test_fraction: float, gap: float = LEAST_GAP
) -> Split:
    """Hold out the end of the recording: whole runs, then the end of the run before them.

    Parameters
    ----------
    runs : sequence of (name, number of frames, TR in seconds), in order
    test_fraction : float
        Share of all frames to hold out; 0 holds out nothing.
    gap : float, seconds
        Left out between fitted and scored frames of one run. Runs are apart anyway.

    Raises
    ------
    InputError
        If the gap is so short that the split would leak, or nothing is left to fit on.
    """
    if not 0 <= test_fraction < 1:
        raise InputError(f"the test fraction is {test_fraction:g}; expected at least 0 and below 1")
    if not LEAST_GAP <= gap < np.inf:
        raise InputError(
            f"a gap of {gap:g} s leaks: EEG lags and haemodynamic response reach "
            f"{LEAST_GAP:g} s; pass at least --gap {LEAST_GAP:g}"
        )
    to_hold_out = round(test_fraction * sum(n_frames for _, n_frames, _ in runs))
    train: list[Part] = []
    test: list[Part] = []
    # From the end on, so that all that is scored comes after all that is fitted.
    for name, n_frames, tr in reversed(runs):
        if n_frames < SHORTEST_PART <= to_hold_out:
            continue  # too short to score, too late to fit on
        n_test = min(to_hold_out, n_frames)
        # A rest too short to score, or to fit on, goes to the other side.
        if n_test < SHORTEST_PART:
            n_test = 0
        elif n_frames - n_test < SHORTEST_PART + gap / tr:
            n_test = n_frames
        to_hold_out -= n_test
        n_train = n_frames if not n_test else n_frames - n_test - int(np.ceil(gap / tr))
        if n_test:
            test.insert(0, Part(name, n_frames - n_test, n_frames))
        if n_train > 0:
            train.insert(0, Part(name, 0, n_train))
    if not train or (test_fraction > 0 and not test):
        raise InputError(
            f"{sum(n for _, n, _ in runs)} frames can't be split into a training part, a gap of {gap:g} s "
            f"and a test part of {test_fraction:.0%}; record longer or lower --test-fraction"
        )
    return Split(tuple(train), tuple(test), gap)


def split_by_session(runs: Sequence[tuple[str, int, float]], sessions: Collection[str]) -> Split:
    """Hold out all runs of some sessions.

    Parameters
    ----------
    runs : sequence of (name, number of frames, TR in seconds), in order
    sessions : collection of str
        Labels, with or without `ses-`.

    Raises
    ------
    InputError
        If no run is of one of them, or all runs are of these.
    """
    asked = [f"ses-{label.removeprefix('ses-')}" for label in sessions]
    there = [next((of for of in name.split("_") if of.startswith("ses-")), "") for name, *_ in runs]
    if unknown := [label for label in asked if label not in there]:
        known = ", ".join(dict.fromkeys(filter(None, there))) or "no sessions"
        raise InputError(f"no run of {', '.join(unknown)}; the store has {known}")
    parts = [Part(name, 0, n_frames) for name, n_frames, _ in runs]
    train, test = (
        tuple(part for part, label in zip(parts, there, strict=True) if (label in asked) == held)
        for held in (False, True)
    )
    if not train:
        raise InputError(f"all runs are of {', '.join(asked)}: nothing is left to train on")
    return Split(train, test, LEAST_GAP)


def split_of(
    runs: Sequence[tuple[str, int, float]],
    test_fraction: float | None,
    test_session: str | None,
    gap: float | None,
) -> Split:
    """The split that options of these names ask for; by default the last quarter is held out.

    Raises
    ------
    InputError
        As `split_in_time` and `split_by_session`, or if options exclude each other.
    """
    if test_session is None:
        return split_in_time(
            runs, 0.25 if test_fraction is None else test_fraction, LEAST_GAP if gap is None else gap
        )
    if gap is not None:
        raise InputError("--gap is of --test-fraction: sessions have no gap in common; leave it out")
    if test_fraction is not None:
        raise InputError("--test-fraction and --test-session exclude each other; pass one of them")
    return split_by_session(runs, [label.strip() for label in test_session.split(",")])


def detrend(frames: Float32, measured: Mask) -> NDArray[np.float64]:
    """Subtract each vertex's mean and linear trend over its finite values in measured frames, in place.

    Of fewer frames than `FEWEST_FOR_SLOPE` the mean alone: a line through so few leads away from the others.

    Parameters
    ----------
    frames : array, shape (K, V)
    measured : array, shape (K,)

    Returns
    -------
    array, shape (2, V)
        Mean and slope: `trend_basis` times these is what was subtracted.
    """
    basis = trend_basis(np.arange(len(frames)), len(frames))
    at = basis[measured]
    at[:, 1] *= measured.sum() >= FEWEST_FOR_SLOPE
    inverse = np.linalg.pinv(at)
    coefficients = np.empty((2, frames.shape[1]))
    for start in range(0, frames.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        values = frames[measured, block]
        finite = np.isfinite(values)
        some = ~finite.all(axis=0)
        coefficients[:, block] = inverse @ np.where(some, 0, values)
        if some.any():  # least squares over what each of these vertices has
            products = np.einsum("ka,kb,kv->vab", at, at, finite[:, some])
            moments = at.T @ np.where(finite, values, 0)[:, some]
            solved = np.einsum("vab,bv->av", np.linalg.pinv(products, hermitian=True), moments)
            coefficients[:, block][:, some] = solved
        frames[:, block] -= basis @ coefficients[:, block]
    return coefficients


def trend_basis(position: NDArray[np.number], n_frames: int) -> NDArray[np.float64]:
    """Constant and slope at positions (n,) counted in frames from the first of `n_frames`; shape (n, 2)."""
    return np.stack([np.ones(len(position)), 2 * position / max(n_frames - 1, 1) - 1], axis=1)


def load_segments(
    store: "Store",
    parts: Sequence[Part],
    bands: Mapping[str, tuple[float, float]] | None,
    scale: Float32 | None = None,
    electrodes: Electrodes | None = None,
) -> tuple[list[Segment], Float32]:
    """Read parts of a store, detrend each, and z-score them with one scale.

    Parameters
    ----------
    store : Store
    parts : sequence of Part
    bands : mapping from name to (low, high), Hz, or None to leave EEG out
    scale : array, shape (V,)
        Standard deviation per vertex; that of these parts' measured frames if None (so pass the training
        part's for any other).
    electrodes : Electrodes
        Of the EEG, as of `Store.eeg_of`.

    Returns
    -------
    segments, scale
        Vertices that are constant or not finite have scale 0 and frames 0. All frames are rows of one
        array, so memory holds each value once.
    """
    runs = {run.name: run for run in store.runs}
    measured = [~runs[part.run].censored[part.start : part.stop] for part in parts]
    edges = np.cumsum([0, *(part.stop - part.start for part in parts)])
    rows = [slice(a, b) for a, b in pairwise(edges)]
    frames = np.empty((edges[-1], store.space.V), np.float32, order="F")
    size = np.zeros(store.space.V)
    for part, row, mask in zip(parts, rows, measured, strict=True):
        frames[row] = runs[part.run].bold()[part.start : part.stop]
        # fmax, since a NaN in one part says nothing of the size in the others.
        np.fmax(size, np.abs(detrend(frames[row], mask)[0]), out=size)
    # One NaN in a vertex's series would spread over all latents of its frames.
    for row, mask in zip(rows, measured, strict=True):
        for start in range(0, store.space.V, BLOCK):
            block = frames[row, start : start + BLOCK]
            block[:, ~np.isfinite(block[mask]).all(axis=0)] = 0
            np.nan_to_num(block, copy=False, nan=0, posinf=0, neginf=0)
    if scale is None:
        scale = vertex_scale(frames, np.concatenate(measured), size)
    frames[:, scale == 0] = 0
    frames /= np.where(scale > 0, scale, 1)
    eeg: dict[str, tuple[Signal | None, BandPower | None]] = {part.run: (None, None) for part in parts}
    if bands is not None:
        eeg |= {name: store.eeg_of(runs[name], bands, electrodes) for name in eeg}
    segments = []
    for part, row, mask in zip(parts, rows, measured, strict=True):
        run, here = runs[part.run], slice(part.start, part.stop)
        times = run.frame_times[here], run.tr * np.arange(part.start, part.stop, dtype=np.float64)
        moved = None if run.motion is None else run.motion[here]
        signal, power = eeg[part.run]
        shown = None if (of_run := store.shown(run)) is None else of_run[here]
        segments.append(Segment(frames[row], *times, mask, power, part.run, signal, moved, shown=shown))
    return segments, scale


def vertex_scale(
    frames: Float32, measured: Mask, size: NDArray[np.floating], fewest: int | None = None
) -> Float32:
    """Standard deviation of each detrended vertex over measured frames; 0 where constant or not finite.

    Parameters
    ----------
    frames : array, shape (K, V)
    measured : array, shape (K,)
    size : array, shape (V,)
        Of the values before their trend was subtracted: of a constant one, rounding is left over.
    fewest : int
        Finite values with which a vertex makes do; by default all in measured frames must be.
    """
    scale, n_measured = np.empty(frames.shape[1], np.float32), int(measured.sum())
    fewest = n_measured if fewest is None else min(fewest, n_measured)
    for start in range(0, frames.shape[1], BLOCK):
        columns = frames[measured, start : start + BLOCK]
        finite = np.isfinite(columns)
        power = np.square(columns, dtype=np.float64).sum(axis=0, where=finite)
        count = finite.sum(axis=0)
        scale[start : start + BLOCK] = np.sqrt(power / np.maximum(count, 1)) * (count >= fewest)
    scale[constant(scale, size)] = 0
    return scale


def constant(spread: NDArray[np.floating], size: NDArray[np.floating]) -> Mask:
    """Whether values of about `size` that vary by `spread` are one float32 number and its rounding."""
    return spread <= 1e-6 * np.abs(size)
