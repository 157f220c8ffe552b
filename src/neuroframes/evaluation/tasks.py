"""What a method is given and what it is scored on.

A task is a mask along the K frames of a segment: True where the frame is given. Everything else is
scored, except censored frames, which are neither given nor scored.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.recording.segments import Segment


def gap_mask(n_frames: int, gap: int, *, between: int | None = None) -> NDArray[np.bool_]:
    """Gaps of `gap` frames, every one with a measured stretch before and after it.

    Parameters
    ----------
    n_frames : int, K
    gap : int, frames missing in a row
    between : int, frames measured in a row between gaps; by default max(8, gap)

    Returns
    -------
    array, shape (K,), True where measured
        It begins and ends with at least `between` measured frames; all are measured where K is less
        than gap + 2 between, since then no gap fits.
    """
    between = max(8, gap) if between is None else between
    if gap < 1 or between < 1:
        raise ValueError(f"gap and between must be at least one frame, got {gap} and {between}")
    position = np.arange(n_frames)
    period = between + gap
    n_gaps = max(0, (n_frames - between) // period)
    # The rest after the last whole period stays measured: a gap there would have no end.
    return (position % period < between) | (position >= n_gaps * period)


def ends_only(n_frames: int, *, window: int = 20) -> NDArray[np.bool_]:
    """Windows of `window` frames, measured at their first and last frame only; shape (K,).

    The windows adjoin, and frames after the last whole one are measured.
    """
    position = np.arange(n_frames)
    place, whole = position % window, n_frames - n_frames % window
    return (place == 0) | (place == window - 1) | (position >= whole)


def run_ends(n_frames: int, *, hidden: int = 8) -> NDArray[np.bool_]:
    """All measured but the first and the last `hidden` frames; shape (K,)."""
    position = np.arange(n_frames)
    return (position >= hidden) & (position < n_frames - hidden)


def eeg_only(n_frames: int) -> NDArray[np.bool_]:
    """No frame measured; shape (K,)."""
    return np.zeros(n_frames, bool)


def every_nth(n_frames: int, *, n: int = 3) -> NDArray[np.bool_]:
    """One of every `n` frames measured, from the first on; shape (K,)."""
    return np.arange(n_frames) % n == 0


def irregular(n_frames: int, *, share: float = 0.3) -> NDArray[np.bool_]:
    """Frames measured at irregular times: each with probability `share`, the same ones at every call."""
    return np.random.default_rng(n_frames).random(n_frames) < share


def late_gaps(n_frames: int, *, gap: int) -> NDArray[np.bool_]:
    """Gaps of `gap` frames in the second half alone, with 8 measured between them; shape (K,).

    So the first half shows a method how frames go on over a gap.
    """
    place = np.arange(n_frames) - (n_frames // 2 + 10)
    whole = len(range(n_frames // 2 + 10, n_frames - gap - 10, gap + 8))
    return (place < 0) | (place % (gap + 8) >= gap) | (place >= whole * (gap + 8))


def late_second(n_frames: int) -> NDArray[np.bool_]:
    """Every second frame of the second half hidden; shape (K,)."""
    place = np.arange(n_frames) - (n_frames // 2 + 10)
    return (place < 0) | (place % 2 == 1)


def all_measured(n_frames: int) -> NDArray[np.bool_]:
    """Every frame measured; shape (K,)."""
    return np.ones(n_frames, bool)


def still(motion: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Frames whose framewise displacement is at most .5 mm, shape (K,).

    Parameters
    ----------
    motion : array, shape (K, 6), mm and rad
        Power et al. (2012), doi:10.1016/j.neuroimage.2011.10.018: rotations count on a sphere of 50 mm.
    """
    steps = np.abs(np.diff(motion, axis=0, prepend=motion[:1]))
    return steps @ [1, 1, 1, RADIUS, RADIUS, RADIUS] <= MOST_DISPLACEMENT


RADIUS, MOST_DISPLACEMENT = 50.0, 0.5  # mm
ALONE = "eeg"  # the task without any frame
MOTION = "motion"  # frames in which the head moved are hidden; none where motion isn't known
ENDS = "run-ends"
LATE = ("late-gap-1", "late-gap-4", "late-gap-8", "late-gap-16")
LATE_SECOND = "late-every-second"
TASKS: Mapping[str, Callable[[int], NDArray[np.bool_]]] = {
    ALONE: eeg_only,
    **{f"gap-{gap}": partial(gap_mask, gap=gap) for gap in (1, 2, 4, 8, 16)},
    "ends-only": ends_only,
    "every-third": every_nth,
    "irregular": irregular,
    **{name: partial(late_gaps, gap=int(name.rpartition("-")[2])) for name in LATE},
    LATE_SECOND: late_second,
    MOTION: all_measured,
    ENDS: run_ends,
}


def parse_names(text: str, known: Collection[str], what: str) -> tuple[str, ...]:
    """Names of `what`, comma-separated; InputError where one isn't `known`."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"unknown {what} {', '.join(unknown)}; choose from {', '.join(known)}")
    return names


def given_and_scored(task: str, segment: Segment) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks, each of shape (K,), of the frames that `task` gives and of those that it scores."""
    mask = TASKS[task](len(segment.times))
    if task == MOTION and segment.motion is not None:
        mask = still(segment.motion)
    return mask & segment.measured, ~mask & segment.measured
