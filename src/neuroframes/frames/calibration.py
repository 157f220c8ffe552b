"""A standard deviation that covers what it says.

Measured frames are hidden in gaps like the real ones. The factor on the stated deviation is the one with
which central intervals cover their share of the errors e there, quantile(|e| / s) / quantile(|N(0, 1)|),
shrunk towards 1 where few gaps could be hidden.
"""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.prior import SAMPLE, FramePrior, windows_in_context

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

HIDDEN_SHARE = 0.15  # of the measured frames, hidden to calibrate the standard deviation
PRIOR_GAPS = 1  # as many hidden gaps count for as much as the stated standard deviation itself
FEWEST_HIDDEN = 8  # frames; a quantile of fewer says nothing


def calibrated(
    prior: FramePrior, frames: Float32, measured: Mask, times: Float, mean: Float | None = None
) -> FramePrior:
    """The prior with its standard deviation scaled so that intervals cover what they say.

    Measured frames are hidden in gaps as long as the real ones, and the errors there are compared
    with the standard deviation stated for them. Returned as it was where too few can be hidden.
    """
    _, context = next(iter(windows_in_context(len(frames))))
    hidden = hide_alike(measured[context])
    if hidden.sum() < FEWEST_HIDDEN:
        return prior
    frames, near = frames[context], measured[context] & ~hidden
    around = None if mean is None else mean[context]
    known = prior.encode(frames, near)[near]
    posterior = replace(prior, spread=1.0).given(times[context], FrameMask(near), known, around)
    errors, stds = [], []
    step = max(1, frames.shape[1] // SAMPLE)
    for start in range(0, frames.shape[1], step):
        block = slice(start, start + 1)
        errors.append(frames[hidden, block] - posterior.mean(frames[near, block], block, hidden))
        stds.append(posterior.std(block, hidden))
    spread = spread_of(np.concatenate(errors), np.concatenate(stds))
    # Errors within a gap go together: a factor from few gaps is shrunk towards 1.
    n_gaps = len(_runs_of(hidden)[0])
    return replace(prior, spread=spread ** (n_gaps / (n_gaps + PRIOR_GAPS)))


def hide_alike(measured: Mask) -> Mask:
    """Measured frames to hide, so that what is missing then resembles what is missing now.

    A stretch of measured frames hides a gap as long as one of the real ones, or as long as it can
    with two frames left on either side, but no less than half. At most `HIDDEN_SHARE` of the measured frames.
    """
    gaps = _runs_of(~measured)[1]
    gaps = gaps if len(gaps) else np.ones(1, np.int64)
    starts, stretches = _runs_of(measured)
    hidden = np.zeros(len(measured), bool)
    budget = HIDDEN_SHARE * measured.sum()
    # Spread over the run: every fourth stretch, then the ones after them, until the budget is spent.
    order = np.concatenate([np.arange(first, len(starts), 4) for first in range(4)])
    turn = 0
    for start, stop in ((starts[i], starts[i] + stretches[i]) for i in order):
        while hidden.sum() < budget:
            longest = int(gaps[turn % len(gaps)])
            gap = min(longest, stop - start - 4)
            if 2 * gap < max(longest, 2):
                break
            margin = min((stop - start - gap) // 2, gap + 1, 9)
            hidden[start + margin : start + margin + gap] = True
            start += 4 * (gap + margin)
            turn += 1
    return hidden


def _runs_of(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of the stretches where `mask` is True."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts = np.flatnonzero(edges == 1)
    return starts, np.flatnonzero(edges == -1) - starts


def spread_of(errors: NDArray[np.floating], stds: NDArray[np.floating], level: float = 0.9) -> float:
    """Factor on `stds` that makes central intervals of `level` cover that share of `errors`."""
    ratio = np.abs(errors) / np.maximum(stds, 1e-12)
    return float(np.quantile(ratio, level) / NormalDist().inv_cdf(0.5 + level / 2))
