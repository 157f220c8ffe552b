"""What the linear part takes: log band power of the channels and of spatially whitened channels.

A channel mixes what is below it with what is strongest anywhere. Whitening, u = Sigma^(-1/2) x, undoes the
mixing as far as the training EEG's covariance tells it, a data-driven surface Laplacian; a share of the mean
variance on the diagonal keeps sensor noise from being blown up.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft, rfftfreq

from neuroframes.recording.band_power import BandPower, log_band_power
from neuroframes.recording.signal import Signal

Float = NDArray[np.float64]

LOADING = 0.1  # of the mean variance, added to each direction's
EQUAL = 1e-6  # volts per root hertz, of every band of EEG that is equalised


def whitening(covariance: Float) -> Float:
    """W = (Sigma + loading I)^(-1/2), scaled so that output stays in volts; shape (C, C)."""
    values, vectors = np.linalg.eigh(covariance)
    mean = max(float(values.mean()), np.finfo(np.float64).tiny)
    gains = np.sqrt(mean / (np.maximum(values, 0) + LOADING * mean))
    return np.asarray((vectors * gains) @ vectors.T)


def eeg_features(eeg: Signal, bands: Mapping[str, tuple[float, float]], filters: Float) -> BandPower:
    """Log band power of EEG, and of the F outputs of spatial filters (F, C).

    Returns
    -------
    BandPower, values of shape (T, (C + F) * len(bands)), band fastest
    """
    channels = log_band_power(eeg.data, eeg.rate, bands)
    filtered = log_band_power(filters.astype(np.float32) @ eeg.data, eeg.rate, bands)
    values = np.concatenate([channels.values, filtered.values], axis=1)
    return BandPower(values, channels.times, np.concatenate([channels.band, filtered.band]))


def equalised(eeg: Signal, power: BandPower, bands: Mapping[str, tuple[float, float]]) -> Signal:
    """EEG whose channels have the same mean log power in each band: people's skulls and caps differ in it.

    A filter without delay, whose log gain is linear in log frequency between the bands' centres.

    Parameters
    ----------
    eeg : Signal of C channels
    power : BandPower, the channels' first, as `eeg_features` gives it
    bands : mapping from name to (low, high), Hz
    """
    n_channels, n_samples = eeg.data.shape
    centres = np.log([*bands.values()]).mean(axis=1)
    order = np.argsort(centres)
    sizes = power.values[:, : n_channels * len(bands)].mean(axis=0).reshape(n_channels, -1)[:, order] / 2
    frequency = np.log(np.maximum(rfftfreq(n_samples, 1 / eeg.rate), np.finfo(float).tiny))
    data = np.empty_like(eeg.data)
    for channel, (trace, size) in enumerate(zip(eeg.data, sizes, strict=True)):
        gain = EQUAL * np.exp(-np.interp(frequency, centres[order], size))
        data[channel] = irfft(rfft(trace) * gain, n_samples)
    return Signal(data, eeg.rate, eeg.channels)
