r"""What makes a simulated hour no fairy tale: vigilance, balloons that saturate, heads that move in bursts.

The balloon model (Buxton 1998; constants of Stephan 2007) with inflow f, volume v, deoxyhaemoglobin q, both
relative to rest, a mean transit time tau, and E(f) the share of oxygen that is extracted:

    tau v' = f - v^(1/alpha),    tau q' = f E(f) / E(1) - v^(1/alpha) q / v,    E(f) = 1 - (1 - E(1))^(1/f)
    BOLD   = k1 (1 - q) + k2 (1 - q / v) + k3 (1 - v)

Framewise displacement of heads is a first-order autoregression in its logarithm. Over 645 people (framewise
displacement of Cam-CAN, RikHenson/AgeingHRF, CC0) its median is .224 mm at a TR of 1.97 s, its logarithm
deviates by .52 between people and .54 within them, and is correlated by .39 with the frame before.
"""

from typing import Any

import numpy as np
import scipy.signal
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float32]
Times = NDArray[np.float64]

TRANSIT = 1.0  # seconds, tau
STIFFNESS, EXTRACTION = 0.32, 0.34  # alpha, E(1)
MOST = 0.6  # of the logarithm of inflow: between half and nearly twice what it is at rest
K1, K2, K3 = 7 * EXTRACTION, 2.0, 2 * EXTRACTION - 0.2

DISPLACEMENT, DISPLACEMENT_TR = 0.224, 1.97  # mm, s
WITHIN, MEMORY = 0.54, 0.39
BURST = 0.5  # mm from which movement shows in the EEG


def drowsiness(process: Array, amount: float) -> Array:
    """How drowsy one is, 0 to `amount`: a slow process (T,) of unit variance, later in a run more."""
    trend = np.linspace(-0.5, 0.5, len(process))
    return (amount * expit((process + trend - 0.7) / 0.4)).astype(np.float32)


def balloon(activity: Array, rate: float, gain: float) -> Array:
    """BOLD (S, T) of activity (S, T) at `rate` Hz, nearly the activity itself where that is small.

    `gain` is from activity to the logarithm of inflow.
    """
    inflow = np.exp(MOST * np.tanh(np.float32(gain / MOST) * activity.T))
    oxygen = inflow * (1 - (1 - EXTRACTION) ** (1 / inflow)) / EXTRACTION
    step = np.float32(1 / rate / TRANSIT)
    volume, blue = np.ones_like(inflow[0]), np.ones_like(inflow[0])
    bold = np.empty_like(inflow)
    for now in range(len(inflow)):
        bold[now] = K1 * (1 - blue) + K2 * (1 - blue / volume) + K3 * (1 - volume)
        outflow = volume ** (1 / STIFFNESS)
        blue = blue + step * (oxygen[now] - outflow * blue / volume)
        volume = volume + step * (inflow[now] - outflow)
    # Of a small, lasting change of inflow: volume goes by alpha, deoxyhaemoglobin by `fall`.
    fall = -STIFFNESS - (1 - EXTRACTION) * np.log(1 - EXTRACTION) / EXTRACTION
    slope = K1 * fall + K2 * (fall + STIFFNESS) - K3 * STIFFNESS
    return np.ascontiguousarray(bold.T / (gain * slope), np.float32)


def head_movement(rng: Generator, n_frames: int, tr: float, size: float) -> Times:
    """How far the head goes from frame to frame, (K, 6), in mm at its surface; 0 at first."""
    memory = MEMORY ** (tr / DISPLACEMENT_TR)
    noise = WITHIN * np.sqrt(1 - memory**2) * rng.normal(size=n_frames + 100)
    course = scipy.signal.lfilter([1], [1, -memory], noise)[100:]
    displacement = size * DISPLACEMENT * np.sqrt(tr / DISPLACEMENT_TR) * np.exp(course)
    displacement[0] = 0
    # Heads go back to where they lie: a step tends against the one before.
    direction = scipy.signal.lfilter([1, -0.9], [1], rng.normal(size=(n_frames, 6)), axis=0)
    direction /= np.abs(direction).sum(axis=1, keepdims=True)
    return np.asarray(displacement[:, None] * direction)


def spread(courses: Array, size: NDArray[Any], lag: Times, rate: float) -> Array:
    """What courses (M, T) at `rate` Hz add up to in P places, (P, T), by sizes (M, P) and lags (M, P), s."""
    at = np.arange(courses.shape[1])
    sums = np.zeros((size.shape[1], len(at)))
    for course, sizes, lags in zip(courses, size, lag, strict=True):
        for place in np.flatnonzero(sizes):
            sums[place] += sizes[place] * np.interp(at - lags[place] * rate, at, course)
    return sums.astype(np.float32)
