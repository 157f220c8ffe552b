"""How much information measured frames hold.

Neighbouring frames are alike, so N measured frames say less of how vertices correlate than N independent ones
would. Of two vertices x and y that do not depend on each other, with autocorrelations rho_x and rho_y, the
correlation over the set m of measured frames has about the variance

    (1 / N^2) sum_{s, t in m} rho_x(|s - t|) rho_y(|s - t|)

(Bartlett 1946; Bayley and Hammersley 1946; Afyouni, Smith and Nichols 2019, NeuroImage 199, compare its
estimates), against 1 / N over independent frames. The product's mean over all pairs of vertices is the square
of the mean autocorrelation rho, and the effective number of frames

    N_eff = N^2 / sum_{s, t in m} rho(|s - t|)^2.
"""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def effective_frames(frames: NDArray[np.floating], measured: NDArray[np.bool_]) -> float:
    """Number of independent frames that would tell correlations of vertices as precisely as the measured do.

    The autocorrelation at each lag is the mean over vertices, and over pairs of measured frames so far apart.
    It is tapered (Tukey, 2 sqrt(K) frames; Woolrich et al. 2001), since the noise of long lags, squared,
    would add up.

    Parameters
    ----------
    frames : array, shape (K, V)
        Without their trend; vertices that are 0 throughout don't count. What stands at frames that aren't
        measured isn't read.
    measured : array, shape (K,), bool
        N of K frames, at least one.

    Returns
    -------
    float, from 1 to N
    """
    n_frames, n_measured = len(frames), int(measured.sum())
    scaled = np.zeros(frames.shape)
    scaled[measured] = frames[measured]
    power = np.square(scaled).sum(axis=0)
    if not power.any():
        return float(n_measured)
    scaled = scaled[:, power > 0] * np.sqrt(n_measured / power[power > 0])
    width = 2 * np.sqrt(n_frames)
    lags = np.arange(min(n_frames, np.ceil(width)), dtype=np.int64)
    pairs = np.rint(_over_pairs(measured[:, None])[lags])
    rho = np.clip(_over_pairs(scaled)[lags] / np.maximum(pairs, 1), -1, 1)
    rho *= (1 + np.cos(np.pi * lags / width)) / 2
    ordered = pairs * np.where(lags > 0, 2, 1)
    return float(n_measured**2 / (ordered @ np.square(rho)))


def _over_pairs(series: NDArray[np.generic]) -> Float:
    """Sum of x_t x_{t + l} over t at each lag l, shape (K,), the mean over columns of `series` (K, n)."""
    spectrum = np.fft.rfft(series, 2 * len(series), axis=0)  # padded, so that ends don't meet
    return np.fft.irfft(np.square(np.abs(spectrum)).mean(axis=1))[: len(series)]
