"""A band-pass filter along time."""

from typing import Any

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from neuroframes.errors import InputError

BLOCK = 1024  # columns that are filtered in double precision at once


def parse_band(text: str, option: str, tr: float = 0.0) -> tuple[float, float]:
    """Two frequencies, Hz, that a comma parts; InputError where they aren't a band of frames every `tr` s."""
    highest = 0.5 / tr if tr else np.inf
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not 0 < low < high < highest:
        limit = f" and the higher one below {highest:.3g}" if tr else ""
        raise InputError(
            f"{option} {text}; expected two frequencies in Hz, the lower one first{limit}, such as 0.01,0.08"
        )
    return low, high


def band_passed(data: NDArray[Any], tr: float, band: tuple[float, float]) -> NDArray[np.float32]:
    """Columns of `data` (K, V), one row every `tr` s, filtered about 0: Butterworth, order 4, both ways.

    A linear trend is removed first.
    """
    filtering = scipy.signal.butter(4, band, "bandpass", fs=1 / tr, output="sos")
    filtered = np.empty(data.shape, np.float32, order="F")
    for start in range(0, data.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        level = scipy.signal.detrend(data[:, block].astype(np.float64), axis=0)
        filtered[:, block] = scipy.signal.sosfiltfilt(filtering, level, axis=0)
    return filtered
