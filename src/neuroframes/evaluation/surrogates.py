"""Whether a prediction follows the truth at all: its blocks in random order as surrogates.

Autocorrelated series correlate by chance more than white ones do. A surrogate is therefore made of blocks of
the prediction at least as long as EEG lags and haemodynamic response together: it keeps every value, the
covariance of vertices and, within blocks, the spectrum, and only what it says about the truth is lost. With a
hit a surrogate whose r is no lower than the observed one, p = (1 + hits) / (1 + n), which is never 0 and
holds its level for any n (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585).

Blocks are equally long, so that reordering changes no mean and no variance. r is then a sum over blocks b of
C[b, pi(b)], with C[b, c] = x_b' y_c the products of all blocks of standardised truth and prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from neuroframes.evaluation.bootstrap import TooFewBlocksError
from neuroframes.evaluation.metrics import standardised
from neuroframes.recording.segments import LEAST_GAP

Array = NDArray[np.float64]
Frames = Sequence[NDArray[np.float32]]

LEAST_BLOCKS = 4  # 4! = 24 orders: of fewer blocks p can't fall below .05
PRODUCTS = 2**21  # pairs of blocks x vertices worked on at once: 16 MiB


@dataclass(frozen=True)
class Significance:
    """Of the temporal r.

    Attributes
    ----------
    r : float, mean over vertices, over the frames that lie in blocks
    p : float, of that mean
    p_vertices : array, shape (V,); 1 where r is undefined
    q_vertices : array, shape (V,), `p_vertices` controlled for the false discovery rate (Benjamini & Hochberg
        1995) among the vertices whose truth varies: q <= .05 holds 5 % false ones at most, on average
    n_blocks : int
    """

    r: float
    p: float
    p_vertices: Array
    q_vertices: Array
    n_blocks: int


def permutation_p(
    truth: Frames,
    prediction: Frames,
    scored: Sequence[NDArray[np.bool_]],
    tr: float,
    generator: np.random.Generator,
    n: int = 1000,
) -> Significance:
    """One-sided p of the mean temporal r, and of each vertex's, against `n` reordered predictions.

    The trap: blocks count as exchangeable. What changes slowly in both series (drift in a run, offsets
    between runs) is then found significant, rightly, though it needs no EEG: detrend, and compare r with that
    of the drift and of shuffled EEG too. No p is below 1 / (1 + n), nor 1 over the number of orders.

    Parameters
    ----------
    truth, prediction : list of array, shape (K, V), one a segment
    scored : list of array, shape (K,)
        Blocks are of scored frames in their order, 40 s in all; those that fill no block of their segment are
        left out.
    tr : float, seconds
    generator : numpy.random.Generator

    Raises
    ------
    TooFewBlocksError
        If there are fewer than four blocks.
    """
    length = int(np.ceil(LEAST_GAP / tr - 1e-9))
    rows = [np.flatnonzero(mask)[: mask.sum() // length * length] for mask in scored]
    n_blocks = sum(map(len, rows)) // length
    if n_blocks < LEAST_BLOCKS:
        raise TooFewBlocksError(
            f"scored frames fill {n_blocks} blocks of {LEAST_GAP:g} s; "
            f"a permutation test needs at least {LEAST_BLOCKS}"
        )
    picked = _orders(n_blocks, n, generator)
    n_vertices = truth[0].shape[1]
    width = max(1, PRODUCTS // n_blocks**2)
    total, p_vertices, varying = np.zeros(n + 1), np.empty(n_vertices), np.empty(n_vertices, bool)
    for start in range(0, n_vertices, width):
        here = slice(start, start + width)
        x, y = (
            np.concatenate([part[kept, here] for part, kept in zip(frames, rows, strict=True)])
            for frames in (truth, prediction)
        )
        x, y = standardised(x), standardised(y, x)
        varying[here] = x.any(axis=0)
        blocks = (series.T.reshape(-1, n_blocks, length) for series in (x, y))
        products = np.einsum("vbk,vck->bcv", *blocks, optimize=True)
        r = picked @ products.reshape(n_blocks**2, -1)
        p_vertices[here] = _p(r)
        total += r.sum(axis=1)
    q_vertices = np.ones(n_vertices)
    q_vertices[varying] = false_discovery_control(p_vertices[varying])
    return Significance(
        float(total[0] / n_vertices), float(_p(total[:, None])[0]), p_vertices, q_vertices, n_blocks
    )


def _orders(n_blocks: int, n: int, generator: np.random.Generator) -> scipy.sparse.csr_array:
    """Which products C[b, pi(b)] each order adds up, shape (1 + n, n_blocks^2)."""
    # The first order is the recording as it is.
    orders = np.stack([np.arange(n_blocks), *(generator.permutation(n_blocks) for _ in range(n))])
    pairs = (np.arange(n_blocks) * n_blocks + orders).ravel()
    ends = np.arange(n + 2) * n_blocks
    return scipy.sparse.csr_array((np.ones(len(pairs)), pairs, ends), shape=(n + 1, n_blocks**2))


def _p(r: Array) -> Array:
    """From r of the observed and of every reordered prediction, shape (1 + n, v); shape (v,)."""
    # An order that happens to be the observed one gives its r but for rounding.
    return np.asarray((r >= r[0] - 1e-12 * np.abs(r).max(axis=0)).sum(axis=0) / len(r))
