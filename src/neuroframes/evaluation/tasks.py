"""What a method is given and what it is scored on.

A task is a mask along the K frames of a segment: True where the frame is given. Everything else is
scored, except censored frames, which are neither given nor scored.
"""

from collections.abc import Callable, Mapping
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
    mask: NDArray[np.bool_] = (position % period < between) | (position >= n_gaps * period)
    return mask


def ends_only(n_frames: int, *, window: int = 20) -> NDArray[np.bool_]:
    """Windows of `window` frames, measured at their first and last frame only; shape (K,).

    The windows adjoin, and frames after the last whole one are measured.
    """
    position = np.arange(n_frames)
    place, whole = position % window, n_frames - n_frames % window
    mask: NDArray[np.bool_] = (place == 0) | (place == window - 1) | (position >= whole)
    return mask


def eeg_only(n_frames: int) -> NDArray[np.bool_]:
    """No frame measured; shape (K,)."""
    return np.zeros(n_frames, bool)


def every_nth(n_frames: int, *, n: int = 3) -> NDArray[np.bool_]:
    """One of every `n` frames measured, from the first on; shape (K,)."""
    mask: NDArray[np.bool_] = np.arange(n_frames) % n == 0
    return mask


def irregular(n_frames: int, *, share: float = 0.3) -> NDArray[np.bool_]:
    """Frames measured at irregular times: each with probability `share`, the same ones at every call."""
    return np.random.default_rng(n_frames).random(n_frames) < share


ALONE = "eeg"  # the task without any frame
TASKS: Mapping[str, Callable[[int], NDArray[np.bool_]]] = {
    ALONE: eeg_only,
    **{f"gap-{gap}": partial(gap_mask, gap=gap) for gap in (1, 2, 4, 8, 16)},
    "ends-only": ends_only,
    "every-third": every_nth,
    "irregular": irregular,
}


def parse_tasks(text: str) -> tuple[str, ...]:
    """Names of tasks, comma-separated; InputError where there is no such task."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [name for name in names if name not in TASKS]:
        raise InputError(f"unknown tasks {', '.join(unknown)}; choose from {', '.join(TASKS)}")
    return names


def given_and_scored(task: str, segment: Segment) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks, each of shape (K,), of the frames that `task` gives and of those that it scores."""
    mask = TASKS[task](len(segment.times))
    return mask & segment.measured, ~mask & segment.measured
