"""Resampling of a recording block by block, as it is read.

The rate changes by up/down, a ratio of small whole numbers, with one linear-phase low-pass filter: passes up
to 0.8 of the new Nyquist frequency, 60 dB down from there on. A block is read with as many samples around it
as the filter reaches, so that the result does not depend on the blocks.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

PASSED = 0.8  # of the new Nyquist frequency
ATTENUATION = 60.0  # dB
LARGEST_FACTOR = 512
BLOCK_BYTES = 64 * 2**20


def factors(rate: float, target: float) -> tuple[int, int]:
    """Whole numbers (up, down) with `rate` * up / down equal to `target`, or the next possible above it.

    (1, 1) where `rate` is `target` or lower: nothing is upsampled.
    """
    if rate <= target:
        return 1, 1
    ratio = Fraction(target / rate).limit_denominator(LARGEST_FACTOR)
    # 1e-7 of 20 minutes is 0.1 ms
    if abs(float(ratio) * rate / target - 1) < 1e-7:
        return ratio.numerator, ratio.denominator
    return 1, math.floor(rate / target)


def low_pass(up: int, down: int) -> NDArray[np.float64]:
    """Coefficients of the filter at the rate `up` times the old one, shape (2 n + 1,)."""
    widest = max(up, down)
    taps, beta = signal.kaiserord(ATTENUATION, (1 - PASSED) / widest)
    return signal.firwin(taps | 1, (1 + PASSED) / 2 / widest, window=("kaiser", beta))


def resampled(
    raw: Any, picks: list[int], target: float
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Read channels of an MNE recording at a lower rate.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    picks : list of int, length C
    target : float, Hz

    Returns
    -------
    data : array, shape (C, N), float64, volts
        Each channel less its first sample: the amplifier's offset carries nothing, but rings at the ends.
    rate : float, Hz
    clipped : array, shape (C,)
        Share of the file's samples that is at the channel's largest or smallest value.
    """
    rate, n_samples = float(raw.info["sfreq"]), int(raw.n_times)
    up, down = factors(rate, target)
    data = np.empty((len(picks), math.ceil(n_samples * up / down)))
    offset = raw.get_data(picks=picks, start=0, stop=1)
    ends, counts = np.tile(-np.inf, (2, len(picks))), np.zeros((2, len(picks)))  # of x, and of -x
    coefficients = low_pass(up, down)
    reach = 0 if up == down else down * math.ceil(len(coefficients) / 2 / up / down)
    block = down * max(1, BLOCK_BYTES // (8 * len(raw.ch_names) * down))
    for first in range(0, n_samples, block):
        last = min(first + block, n_samples)
        before, after = min(reach, first), min(reach, n_samples - last)
        x = raw.get_data(picks=picks, start=first - before, stop=last + after) - offset
        for side, sign in enumerate((1, -1)):
            new = sign * x[:, before : before + last - first]
            top = new.max(axis=1)
            counts[side] *= ends[side] >= top
            counts[side] += (new == np.maximum(top, ends[side])[:, None]).sum(axis=1)
            ends[side] = np.maximum(top, ends[side])
        if up != down:
            # Beyond its ends the recording goes on as its last sample.
            x = np.pad(x, ((0, 0), (reach - before, reach - after)), mode="edge")
            x = signal.resample_poly(x, up, down, axis=1, window=coefficients)
        start, stop = first * up // down, math.ceil(last * up / down)
        skipped = reach * up // down
        data[:, start:stop] = x[:, skipped : skipped + stop - start]
    return data, rate * up / down, counts.max(axis=0) / n_samples
