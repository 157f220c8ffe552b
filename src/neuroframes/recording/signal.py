"""EEG samples with their clock and names, and windows of them.

    window w holds samples  round(start_w rate) + first + n,   n = 0 .. N - 1

Beyond its ends a recording of L samples goes on as its mirror image, as often as needed: sample -n is
sample n, and sample L - 1 + n is L - 1 - n. `recording.band_power` has it so too: zeros would look like
silence, and a sample that is held like an offset.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Signal:
    """EEG whose sample n is at n / rate seconds.

    Attributes
    ----------
    data : array, shape (C, N), float32, volts
    rate : float, Hz
    channels : tuple of str, length C
    """

    data: NDArray[np.float32]
    rate: float
    channels: tuple[str, ...]

    @property
    def duration(self) -> float:
        """Seconds from the first sample to the end of the last."""
        return self.data.shape[1] / self.rate


def window_samples(
    length: int, rate: float, start: ArrayLike, n_samples: int, first: int = 0
) -> NDArray[np.intp]:
    """Numbers of the samples in windows of a recording of `length` samples.

    For those that go channel by channel, or window by window: windows that overlap are several times the EEG.

    Parameters
    ----------
    length : int, samples
    rate : float, Hz
        Sample n is at n / rate seconds.
    start : array, shape (W,), seconds
    n_samples : int, N
    first : int, samples
        Where windows begin, counted from `start`; -N for windows that end before it.

    Returns
    -------
    array, shape (W, N), from 0 to length - 1
    """
    at = np.round(np.multiply(start, rate)).astype(np.intp)[:, None] + np.arange(first, first + n_samples)
    last = length - 1
    # |((n + last) mod 2 last) - last| is the triangle wave that a mirror at either end makes of n.
    return np.abs((at + last) % max(2 * last, 1) - last)


def eeg_windows(
    data: NDArray[np.float32], rate: float, start: ArrayLike, n_samples: int, first: int = 0
) -> NDArray[np.float32]:
    """Windows of a recording (C, L); see `window_samples`.

    Returns
    -------
    array, shape (W, C, N)
    """
    samples = window_samples(data.shape[1], rate, start, n_samples, first)
    windows = np.empty((len(samples), len(data), n_samples), np.float32)
    for channel, trace in enumerate(data):
        windows[:, channel] = trace[samples]
    return windows
