"""What haemodynamic responses look like: a prior over the lags of a finite impulse response.

Responses are differences of two gamma densities (Glover 1999), h(t) = g(t; peak) - g(t; peak + 10 s) / 6,
with peaks from 3 to 9 s and three widths. Their second moment over lags, with a smooth part besides for
whatever they don't span,

    P = mean h h^T + floor * exp(-(l - l')^2 / 2 w^2) = B B^T,

is the prior covariance of a response's weights: ridge on features filtered by the columns of B is ridge on
all lags under that prior. 26 lags at a TR of 0.8 s become 7 columns that hold 99 % of it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma

Float = NDArray[np.float64]

PEAKS = np.arange(3.0, 9.5, 0.5)  # seconds
WIDTHS = (0.8, 1.0, 1.3)  # relative to Glover's
FLOOR, SMOOTHNESS = 0.05, 1.5  # share of the smooth part on the diagonal; its width in seconds
SHARE = 0.99


def response_basis(lags: Float) -> Float:
    """B, shape (L, R), for lags (L,) in seconds, scaled so that the trace of B B^T is about L."""
    responses = []
    for peak in PEAKS:
        for width in WIDTHS:
            shape = 6 / width
            rise = gamma.pdf(lags, shape, scale=peak / (shape - 1))
            response = rise - gamma.pdf(lags, 16, scale=(peak + 10) / 15) / 6
            responses.append(response / np.linalg.norm(response))
    stacked = np.array(responses)
    prior = stacked.T @ stacked * (len(lags) / len(stacked))
    prior += FLOOR * np.exp(-np.square(np.subtract.outer(lags, lags) / SMOOTHNESS) / 2)
    values, vectors = np.linalg.eigh(prior)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values) / values.sum(), SHARE)) + 1
    return np.asarray(vectors[:, :kept] * np.sqrt(values[:kept]))
