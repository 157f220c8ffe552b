"""Ranks of the truth among draws: flat where draws are of the truth's own law.

Of S draws and the truth, all of one law, the truth has each rank from 0 to S with probability 1 / (S + 1)
(Hamill 2001, doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2). Draws that vary too little make a U, draws
that vary too much a hump; of a Gaussian in closed form the place of the truth in it says the same.
`metrics.ensemble_crps` and `metrics.crps` weigh sharpness as well.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]


def rank_histogram(truth: Array, draws: Array) -> Array:
    """Share of values at each rank, shape (S + 1,); a tie counts in equal parts at all ranks it could have.

    Parameters
    ----------
    truth : array, shape (K, v)
    draws : array, shape (S, K, v)
    """
    low = (draws < truth).sum(axis=0).ravel()
    high = low + (draws == truth).sum(axis=0).ravel() + 1
    weights, n_ranks = 1 / (high - low), len(draws) + 1
    begun, ended = (np.bincount(at, weights, n_ranks + 1) for at in (low, high))
    return np.asarray((begun - ended).cumsum()[:-1] / truth.size)


def gaussian_histogram(truth: Array, mean: Array, std: Array, n_ranks: int) -> Array:
    """Share of values (K, v) in each of `n_ranks` parts of a Gaussian of the same probability."""
    place = ndtr((truth - mean) / std)
    return np.histogram(place, n_ranks, (0, 1))[0] / truth.size


def reliability_index(histogram: Array) -> float:
    """How far from flat: the sum of differences from 1 / n, from 0 to below 2 (Delle Monache et al. 2006)."""
    return float(np.abs(histogram - 1 / len(histogram)).sum())
