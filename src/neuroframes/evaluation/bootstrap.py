"""Whether one method's r is higher than another's beyond chance: paired block bootstrap over time.

Frames of neighbouring times are nearly equal, and so are their errors: what is drawn again, with replacement,
are blocks at least as long as EEG lags and haemodynamic response together, the same ones for both methods.
r needs only counts and sums of x, y, x^2, y^2, x y, and these add up over blocks: with counts N (R, B), R
replicates of B blocks are N times the sums of each block.

Percentiles are those of Hesterberg (2015, doi:10.1080/00031305.2015.1089789), moved outwards by what a t
interval of B values is wider than a normal one that divides by B: few blocks would claim too much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from neuroframes.evaluation.metrics import CELLS, r_of_sums, standardised
from neuroframes.recording.segments import LEAST_GAP

Array = NDArray[np.float64]
Frames = Sequence[NDArray[np.float32]]

REPLICATES = 2000


class TooFewBlocksError(ValueError):
    """Scored frames fill too few blocks to say anything of chance."""


@dataclass(frozen=True)
class Difference:
    """Mean temporal r of the first method less that of the second, and its interval."""

    difference: float
    low: float
    high: float
    n_blocks: int


def mean_interval(differences: Array, low: Array, high: Array) -> tuple[float, float, float]:
    """Mean of differences of independent recordings, each (n,), and its interval from theirs."""
    mean = float(np.mean(differences))
    below, above = (float(np.linalg.norm(differences - limit)) / len(differences) for limit in (low, high))
    return mean, mean - below, mean + above


def compare_r(
    truth: Frames,
    first: Frames,
    second: Frames,
    scored: Sequence[NDArray[np.bool_]],
    tr: float,
    generator: np.random.Generator,
    *,
    vertices: NDArray[np.intp] | None = None,
    interval: float = 0.95,
) -> Difference:
    """Difference of the temporal r of two methods, averaged over vertices, with an interval.

    Parameters
    ----------
    truth, first, second : list of array, shape (K, V), one a segment
        What was measured and what either method says.
    scored : list of array, shape (K,)
    tr : float, seconds between frames
    generator : numpy.random.Generator
    vertices : array of int
        That count, by default all. An r that is undefined counts as 0.
    interval : float

    Raises
    ------
    TooFewBlocksError
        If scored frames lie in fewer than two blocks.
    """
    rows = _blocks(scored, tr)
    n_blocks = len(rows)
    if n_blocks < 2:
        raise TooFewBlocksError(
            f"scored frames in {n_blocks} blocks of {LEAST_GAP:g} s; a bootstrap needs two"
        )
    again = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), REPLICATES)
    # The first row is the recording as it is.
    counts = np.concatenate([np.ones((1, n_blocks)), again])
    order, edges = np.concatenate(rows), np.cumsum([0, *map(len, rows[:-1])])
    used = np.arange(truth[0].shape[1]) if vertices is None else vertices
    difference = np.zeros(len(counts))
    for start in range(0, len(used), max(1, CELLS // REPLICATES)):
        columns = used[start : start + max(1, CELLS // REPLICATES)]
        x, *predictions = (
            np.concatenate([segment[:, columns] for segment in frames])[order]
            for frames in (truth, first, second)
        )
        r = [_replicated_r(x, prediction, edges, counts) for prediction in predictions]
        difference += (r[0] - r[1]).sum(axis=1) / len(used)
    # Hesterberg's percentiles; the factor turns a standard deviation by B into one by B - 1.
    outside = ndtr(stdtrit(n_blocks - 1, (1 - interval) / 2) * np.sqrt(n_blocks / (n_blocks - 1)))
    low, high = np.quantile(difference[1:], [outside, 1 - outside])
    return Difference(float(difference[0]), float(low), float(high), n_blocks)


def _blocks(scored: Sequence[NDArray[np.bool_]], tr: float) -> list[NDArray[np.intp]]:
    """Scored rows of each block, counted through all segments; blocks without any are left out.

    A segment that is shorter than a block is one of its own.
    """
    rows, start = [], 0
    for mask in scored:
        n_blocks = max(1, int(len(mask) * tr / LEAST_GAP + 1e-9))  # whole in spite of rounding
        for part in np.array_split(np.arange(len(mask)), n_blocks):
            if mask[part].any():
                rows.append(start + part[mask[part]])
        start += len(mask)
    return rows


def _replicated_r(
    truth: NDArray[np.float32], prediction: NDArray[np.float32], edges: NDArray[np.intp], counts: Array
) -> Array:
    """r of a prediction (n, v) in each replicate, shape (R, v); 0 where undefined."""
    # About their means sums lose no digits, and r is the same.
    x, y = standardised(truth), standardised(prediction, truth)
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([counts @ np.add.reduceat(term, edges) for term in terms])
    return np.nan_to_num(r_of_sums(sums))
