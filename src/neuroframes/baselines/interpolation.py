"""Interpolation along time, the same for all vertices.

x_missing = m + W (x_measured - m), with W of (K_missing, K_measured) and m the training mean. W depends
on the times alone, so one small matrix serves every vertex. Rows of W that sum to 1 make m irrelevant;
with nothing measured W is empty and m is what remains.

The cubic spline is how fMRI users fill censored volumes today: nilearn (`nilearn.signal.clean`, 0.14) puts
SciPy's not-a-knot `CubicSpline` through the measured volumes. Beyond the first and last of them it discards
volumes (`extrapolate=False`, its default) or follows the cubic (`extrapolate=True`), which spikes. XCP-D
copies the nearest good volume there. A method of the table must answer everywhere, so the default here is
nilearn's spline with XCP-D's ends, the stronger one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import scipy.interpolate
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline, training_mean
from neuroframes.recording.segments import Segment

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]


class MeanFrame(Baseline):
    """The mean training frame at every time: what knows nothing of the moment.

    Its temporal r is 0 by definition; R2 and MSE of others are measured against it.
    """

    name = "mean frame"
    reads_frames = False

    def fit(self, train: Sequence[Segment]) -> Self:
        """Average the measured training frames."""
        self.mean_ = training_mean(train)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_)

    def estimate(self, segment: Segment) -> Float32:
        # A view: a thousand copies of a frame would be 240 MB.
        return np.broadcast_to(self.mean_, (int((~segment.measured).sum()), len(self.mean_)))


class TimeInterpolation(MeanFrame):
    """Base of the methods that combine measured frames by weights along time."""

    reads_frames = any_time = True

    @abstractmethod
    def weights(self, known: Float, missing: Float) -> Float:
        """W for times `known` (n,), n >= 1 and increasing, and `missing` (m,), in seconds; shape (m, n)."""

    def estimate(self, segment: Segment) -> Float32:
        known = segment.measured
        if not known.any():
            return super().estimate(segment)
        weights = self.weights(segment.times[known], segment.times[~known])
        # Weights of kriging don't sum to 1: far from measured frames the mean is what remains.
        rest = (1 - weights.sum(axis=1)).astype(np.float32)
        return weights.astype(np.float32) @ segment.frames[known] + np.outer(rest, self.mean_)


class RunMean(TimeInterpolation):
    """Mean of the measured frames of the segment: what run offsets alone are worth.

    Where vertices are z-scored over several runs without detrending each, this predictor, which has no
    EEG, reaches a high correlation. It has to be in the table.
    """

    name = "run mean"

    def weights(self, known: Float, missing: Float) -> Float:
        """The same weight for all, shape (m, n)."""
        return np.full((len(missing), len(known)), 1 / len(known))


class HoldLast(TimeInterpolation):
    """Hold the last measured frame; the training mean before the first. The only one that needs no future."""

    name = "hold last"

    def weights(self, known: Float, missing: Float) -> Float:
        """One weight of 1 a row, none before the first known time, shape (m, n)."""
        # Row 0 of zeros stands for "nothing yet".
        last = np.searchsorted(known, missing, side="right")
        return np.eye(len(known) + 1)[last, 1:]


class Nearest(TimeInterpolation):
    """Hold the nearest measured frame; the earlier one where two are as near."""

    name = "nearest"

    def weights(self, known: Float, missing: Float) -> Float:
        """One weight of 1 a row, shape (m, n)."""
        distance = np.abs(np.subtract.outer(missing, known))
        # Times carry rounding, so equal distances are decided in microseconds, not in the last bit.
        return np.eye(len(known))[distance.round(6).argmin(axis=1)]


class Linear(TimeInterpolation):
    """`numpy.interp` for every vertex; the nearest measured frame is held at a run's ends."""

    name = "linear"

    def weights(self, known: Float, missing: Float) -> Float:
        """Weights of the two neighbours of each missing time, shape (m, n)."""
        return np.stack([np.interp(missing, known, unit) for unit in np.eye(len(known))], axis=1)


class CubicSpline(TimeInterpolation):
    """Not-a-knot cubic spline.

    Parameters
    ----------
    extrapolate : bool
        Follow the cubic beyond the measured frames, as nilearn's option does, instead of holding
        the nearest measured frame.
    """

    name = "cubic spline"

    def __init__(self, extrapolate: bool = False) -> None:
        self.extrapolate = extrapolate

    def weights(self, known: Float, missing: Float) -> Float:
        """Values at `missing` of the splines through unit vectors, shape (m, n)."""
        if len(known) == 1:
            return np.ones((len(missing), 1))
        if not self.extrapolate:
            missing = np.clip(missing, known[0], known[-1])
        # The spline is linear in its values, so the identity's splines are its weights.
        return np.asarray(scipy.interpolate.CubicSpline(known, np.eye(len(known)))(missing))
