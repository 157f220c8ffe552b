"""Interpolation from the least-squares spectrum of the measured frames, as motion scrubbing does it.

With n measured frames that span T seconds, y their values less their mean, and w_k = 2 pi k / (4 T), k from 1
up to their mean Nyquist frequency, (n - 1) / (2 T),

    a_k, b_k  minimise  sum_i (y_i - a_k cos w_k (t_i - tau_k) - b_k sin w_k (t_i - tau_k))^2,
    h(t) = sum_k a_k cos w_k (t - tau_k) + b_k sin w_k (t - tau_k),

every frequency fitted on its own (Lomb 1976, doi:10.1007/BF00648343; Scargle 1982, doi:10.1086/160554); with
tau_k the cosine and the sine are orthogonal at the t_i. Frequencies overlap, so h is too large; at each
vertex it is scaled to the standard deviation of y. This is the transform of Mathias et al. (2004,
doi:10.18637/jss.v011.i02) as Power et al. (2014, doi:10.1016/j.neuroimage.2013.08.048) fill censored volumes.
"""

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interpolation import TimeInterpolation
from neuroframes.recording.segments import Segment

OVERSAMPLING = 4  # of the spectrum; Power's code asks for at least that
BLOCK = 1024  # frequencies worked on at once


def sinusoids(
    times: NDArray[np.float64], known: NDArray[np.float64], frequencies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cosine and sine of each frequency, shifted so that the two are orthogonal at the times `known`.

    Parameters
    ----------
    times : array, shape (m,), seconds
    known : array, shape (n,), seconds
    frequencies : array, shape (F,), Hz

    Returns
    -------
    array, shape (2 F, m), cosines first
    """
    angular = 2 * np.pi * frequencies
    twice = 2 * np.outer(angular, known)
    shift = np.arctan2(np.sin(twice).sum(axis=1), np.cos(twice).sum(axis=1)) / 2
    phase = np.outer(angular, times) - shift[:, None]
    return np.concatenate([np.cos(phase), np.sin(phase)])


class LombScargle(TimeInterpolation):
    """Sum of single-frequency fits, scaled at each vertex to the deviation of its measured frames."""

    name = "Lomb-Scargle"

    def weights(self, known: NDArray[np.float64], missing: NDArray[np.float64]) -> NDArray[np.float64]:
        """What y is multiplied by to give h before it is scaled, shape (m, n)."""
        weights = np.zeros((len(missing), len(known)))
        span = known[-1] - known[0]
        steps = np.arange(1, OVERSAMPLING * (len(known) - 1) / 2)
        # From a far origin phases lose digits; and with one frame measured there is no frequency.
        known, missing = known - known[0], missing - known[0]
        for start in range(0, len(steps), BLOCK):
            frequencies = steps[start : start + BLOCK] / (OVERSAMPLING * span)
            here = sinusoids(known, known, frequencies)
            weights += sinusoids(missing, known, frequencies).T @ (here / np.sum(here**2, axis=1)[:, None])
        return weights

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        known = segment.measured
        if not known.any():
            return super().estimate(segment)
        given = segment.frames[known]
        mean, deviation = given.mean(axis=0), given.std(axis=0)
        series = self.weights(segment.times[known], segment.times).astype(np.float32) @ (given - mean)
        size = series.std(axis=0)
        series *= np.divide(deviation, size, out=np.zeros_like(size), where=size > 0)
        return (mean + series)[~known]
