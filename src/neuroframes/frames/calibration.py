"""A standard deviation that covers what it says.

Measured frames are hidden in gaps like the real ones. The factor on the stated deviation is the one with
which central intervals cover their share of the errors e there, quantile(|e| / s) / quantile(|N(0, 1)|).
Where few gaps could be hidden it is shrunk towards what is expected of so few frames: see
`frames.adaptation`.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

HIDDEN_SHARE = 0.15  # of the measured frames, hidden to calibrate the standard deviation
PRIOR_GAPS = 1  # as many hidden gaps count for as much as the factor that is expected
FEWEST_HIDDEN = 8  # frames; a quantile of fewer says nothing


def hide_alike(measured: Mask) -> Mask:
    """Measured frames to hide, so that what is missing then resembles what is missing now.

    A stretch of measured frames hides a gap as long as one of the real ones, or as long as it can
    with two frames left on either side, but no less than half. At most `HIDDEN_SHARE` of the measured frames.
    """
    gaps = runs_of(~measured)[1]
    gaps = gaps if len(gaps) else np.ones(1, np.int64)
    starts, stretches = runs_of(measured)
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


def runs_of(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of the stretches where `mask` is True."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts = np.flatnonzero(edges == 1)
    return starts, np.flatnonzero(edges == -1) - starts


def spread_of(errors: NDArray[np.floating], stds: NDArray[np.floating], level: float = 0.9) -> float:
    """Factor on `stds` that makes central intervals of `level` cover that share of `errors`."""
    ratio = np.abs(errors) / np.maximum(stds, 1e-12)
    return float(np.quantile(ratio, level) / NormalDist().inv_cdf(0.5 + level / 2))
