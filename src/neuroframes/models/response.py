"""What responses of frames to EEG look like: a prior over the lags of a finite impulse response.

Haemodynamic ones are differences of two gamma densities (Glover 1999), h(t) = g(t; peak) - g(t; peak + 10 s)
/ 6, with peaks from 3 to 9 s and three widths. Their second moment over lags, with a smooth part besides for
whatever they don't span,

    P = mean h h^T + floor * exp(-(l - l')^2 / 2 w^2) = B B^T,

is the prior covariance of a response's weights: ridge on features filtered by the columns of B is ridge on
all lags under that prior. 26 lags at a TR of 0.8 s become 7 columns that hold 99 % of it.

A free response has the smooth part alone, at the same lags: no delay is likelier than another. Where features
are convolved with a response already, frames follow them at once: lags are 2 frames to either side of 0, at
most 5 s, so that the EEG of left-out blocks and test parts, which are further away, stays unread.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gamma

from neuroframes.recording.band_power import LAST_LAG

Float = NDArray[np.float64]

PEAKS = np.arange(3.0, 9.5, 0.5)  # seconds
WIDTHS = (0.8, 1.0, 1.3)  # relative to Glover's
FLOOR, SMOOTHNESS = 0.05, 1.5  # share of the smooth part on the diagonal; its width in seconds
SHARE = 0.99
BESIDE, FURTHEST = 2, LAST_LAG / 4  # frames and seconds on either side of 0 for what is convolved already


def response_of(kind: str, tr: float) -> tuple[Float, Float]:
    """Lags (L,) in seconds, `tr` apart, and the basis B (L, R) of a kind of response, of `RESPONSES`."""
    if kind == "convolved":
        beside = min(BESIDE, int(FURTHEST / tr))
        lags = tr * np.arange(-beside, beside + 1, dtype=np.float64)
    else:
        lags = np.arange(0, LAST_LAG + tr / 2, tr)
    return lags, response_basis(lags) if kind == "haemodynamic" else _basis(_smooth(lags))


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
    return _basis(prior + FLOOR * _smooth(lags))


def _smooth(lags: Float) -> Float:
    return np.exp(-np.square(np.subtract.outer(lags, lags) / SMOOTHNESS) / 2)


def _basis(prior: Float) -> Float:
    values, vectors = np.linalg.eigh(prior)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values) / values.sum(), SHARE)) + 1
    return np.asarray(vectors[:, :kept] * np.sqrt(values[:kept]))
