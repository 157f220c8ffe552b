"""At which time scales a prediction may be believed.

A prediction m of z is right at some frequencies and noise at others. The filter that makes the most of it,

    H_g(f) = Re S_zm(f) / S_mm(f) less its standard error, clipped to [0, 1],

is estimated for each group of latents from multitaper cross-spectra (Wiener 1949), and applied as a
short symmetric kernel along time. The EEG around a frame then counts, up to `REACH` before and after the
lags of the ridge.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal.windows import hann

from neuroframes.frames.temporal import N_FFT, tapers, windows

Float = NDArray[np.float64]

REACH = 12.8  # seconds on either side
HALF_BANDWIDTH = 0.02  # Hz, of the multitaper estimate


def fit_wiener(
    predictions: Sequence[Float], targets: Sequence[Float], group: NDArray[np.int64], tr: float
) -> Float:
    """Kernels h_g, one row a group.

    Parameters
    ----------
    predictions, targets : one a segment, shape (K, d)
        Predictions that the targets had no part in; both 0 at censored frames.
    group : array of int, shape (d,)
    tr : float, seconds

    Returns
    -------
    array, shape (G, 2 * reach + 1), lags from -reach to reach frames, reach * tr about `REACH`
    """
    n_bins = N_FFT // 2 + 1
    cross, power, total = (np.zeros((n_bins, len(group))) for _ in range(3))
    n_spectra = 0
    for m, z in zip(predictions, targets, strict=True):
        for part in windows(len(z)):
            for taper in _tapers(part.stop - part.start, tr):
                of_m, of_z = (np.fft.rfft(x[part] * taper[:, None], N_FFT, axis=0) for x in (m, z))
                cross += (of_z * of_m.conj()).real
                power += np.square(np.abs(of_m))
                total += np.square(np.abs(of_z))
                n_spectra += 1
    member = np.eye(int(group.max()) + 1)[group]
    cross, power, total = cross @ member, power @ member, total @ member / (n_spectra * member.sum(axis=0))
    # Where the prediction has no power there is nothing to believe.
    power = np.maximum(power, 1e-9 * power.max(axis=0) + 1e-300)
    gain = np.clip(cross / power - np.sqrt(total / (2 * power)), 0.0, 1.0)
    kernel = np.fft.irfft(gain, N_FFT, axis=0)
    reach = max(1, round(REACH / tr))
    symmetric = np.concatenate([kernel[-reach:], kernel[: reach + 1]])
    return np.asarray((symmetric * hann(2 * reach + 3)[1:-1, None]).T)


def _tapers(n_frames: int, tr: float) -> Float:
    half_bandwidth = float(np.clip(HALF_BANDWIDTH * n_frames * tr, 3, min(16, n_frames / 4)))
    return tapers(n_frames, half_bandwidth, max(1, round(1.25 * half_bandwidth)))


def smooth(series: Float, kernels: Float, group: NDArray[np.int64]) -> Float:
    """h * m for evenly spaced frames, the ends held; (K, d) -> (K, d)."""
    n_lags = kernels.shape[1]
    padded = np.pad(series, ((n_lags // 2, n_lags // 2), (0, 0)), mode="edge")
    weights = kernels[group]
    return np.asarray(sum(weights[:, lag] * padded[lag : lag + len(series)] for lag in range(n_lags)))
