"""Log band power of the EEG on a fixed grid, and its lagged copies at frame times.

p_cb(t) = log of the mean periodogram of channel c over band b in a Hann window centred on t.
A haemodynamic response is a filter of what the brain did up to 20 s before, so a frame at time t
is explained by p(t - lag) for lags from 0 to 20 s: the linear part learns the delay, it isn't fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft, rfftfreq
from scipy.signal.windows import hann

from neuroframes.errors import InputError

Times = NDArray[np.float64]

BANDS: Mapping[str, tuple[float, float]] = {
    "delta": (0.5, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 100.0),
}
WINDOW = 2.0  # seconds; two cycles of the slowest resolvable line, short against the HRF
STEP = 0.4  # seconds
LAST_LAG = 20.0  # seconds
ONE: Any = np.intp(0)  # band of features that come without one
SILENCE = 1e-18  # V^2/Hz; a millionth of a squared microvolt keeps the logarithm of a flat channel finite


@dataclass(frozen=True)
class BandPower:
    """Log band power along time, or whatever other features EEG comes as.

    Attributes
    ----------
    values : array, shape (T, F), log of V^2/Hz; of `log_band_power` F = channels x bands, band fastest
    times : array, shape (T,), seconds on the EEG clock, ascending; `log_band_power` spaces them evenly
    band : array of int, shape (F,)
        Number of the band that each feature is of; by default all are of one.
    """

    values: NDArray[np.float32]
    times: Times
    band: NDArray[np.intp] = ONE

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) != len(self.times):
            raise ValueError(f"{len(self.times)} times for values of shape {self.values.shape}")
        object.__setattr__(self, "band", np.broadcast_to(self.band, self.values.shape[1]))


def parse_bands(text: str | None) -> dict[str, tuple[float, float]]:
    """The bands named in `text`, as "delta,theta"; all of them if None."""
    names = list(BANDS) if text is None else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in BANDS]
    if unknown:
        raise InputError(f"unknown bands {', '.join(unknown)}; choose from {', '.join(BANDS)}")
    return {name: BANDS[name] for name in names}


def check_bands(rate: float, bands: Mapping[str, tuple[float, float]]) -> None:
    """Raise InputError where a band reaches above the Nyquist frequency of `rate` (Hz)."""
    too_high = [name for name, (_, high) in bands.items() if high > rate / 2]
    if too_high:
        usable = ",".join(name for name in bands if name not in too_high)
        remedy = f"train with --bands {usable}, or use" if usable else "use"
        raise InputError(
            f"EEG at {rate:g} Hz carries nothing above {rate / 2:g} Hz, but the bands {', '.join(too_high)} "
            f"need up to {max(bands[name][1] for name in too_high):g} Hz; "
            f"{remedy} a recording with a higher rate"
        )


def log_band_power(
    eeg: NDArray[np.float32], rate: float, bands: Mapping[str, tuple[float, float]] = BANDS
) -> BandPower:
    """Log band power on a grid of 0.4 s that starts at the first sample.

    Parameters
    ----------
    eeg : array, shape (C, N), volts
    rate : float, Hz
    bands : mapping from name to (low, high), Hz

    Returns
    -------
    BandPower, values of shape (T, C * len(bands))

    Raises
    ------
    InputError
        If a band lies above Nyquist, or the recording is shorter than one window.
    """
    check_bands(rate, bands)
    length, hop = round(WINDOW * rate), round(STEP * rate)
    if eeg.shape[1] < length:
        raise InputError(f"EEG lasts {eeg.shape[1] / rate:.1f} s; band power needs at least {WINDOW:g} s")
    window = hann(length, sym=False)
    frequency = rfftfreq(length, 1 / rate)
    inside = np.stack([(frequency >= low) & (frequency < high) for low, high in bands.values()], axis=1)
    band_mean = inside / inside.sum(axis=0) / (rate * np.square(window).sum())
    n_steps = -(-eeg.shape[1] // hop)
    before = length // 2
    after = max((n_steps - 1) * hop + length - before - eeg.shape[1], 0)
    power = np.empty((n_steps, eeg.shape[0], len(bands)), np.float32)
    for channel, trace in enumerate(eeg):  # one channel at a time: overlapping windows are 5 times the EEG
        # Edges repeat the signal in mirror image, so that the first seconds don't look silent.
        padded = np.pad(trace.astype(np.float64), (before, after), mode="reflect")
        spectrum = rfft(sliding_window_view(padded, length)[::hop][:n_steps] * window)
        power[:, channel] = (np.square(spectrum.real) + np.square(spectrum.imag)) @ band_mean
    values = np.log(np.maximum(power.reshape(n_steps, -1), SILENCE))
    return BandPower(values, np.arange(n_steps) * (hop / rate), np.tile(np.arange(len(bands)), len(eeg)))


def lagged(power: BandPower, frame_times: Times, lags: Times) -> NDArray[np.float32]:
    """Band power at each frame's time minus each lag, interpolated linearly.

    Times before the recording's start or after its end take the nearest value.

    Parameters
    ----------
    power : BandPower, values (T, F)
    frame_times : array, shape (K,), seconds
    lags : array, shape (L,), seconds

    Returns
    -------
    array, shape (K, L * F), lag slowest
    """
    # Held, not mirrored as samples are: up to 20 s of later power would stand for what was before.
    times = np.clip(np.subtract.outer(frame_times, lags).ravel(), power.times[0], power.times[-1])
    # Each interval as it is: triggers jitter, and the first one's length is not that of all.
    left = np.clip(np.searchsorted(power.times, times, side="right") - 1, 0, max(len(power.times) - 2, 0))
    right = np.minimum(left + 1, len(power.times) - 1)  # the same where there is a single time
    step = np.where(right > left, power.times[right] - power.times[left], 1)
    weight = ((times - power.times[left]) / step).astype(np.float32)[:, None]
    values = power.values[left] * (1 - weight) + power.values[right] * weight
    return values.reshape(len(frame_times), -1)
