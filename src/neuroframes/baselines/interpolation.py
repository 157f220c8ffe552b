"""Interpolation along time, the same for all vertices.

x_missing = m + W (x_measured - m), with W of (K_missing, K_measured) and m the training mean. W depends
on the times alone, so one small matrix serves every vertex. Rows of W that sum to 1 make m irrelevant;
with nothing measured W is empty and m is what remains.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline, repeated, training_mean
from neuroframes.recording.segments import Segment


class TimeInterpolation(Baseline):
    """Base of the methods that combine measured frames by weights along time."""

    any_time = True

    def fit(self, train: Sequence[Segment]) -> Self:
        """Average the measured training frames."""
        self.mean_ = training_mean(train)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_)

    @abstractmethod
    def weights(self, known: NDArray[np.float64], missing: NDArray[np.float64]) -> NDArray[np.float64]:
        """W for times `known` (n,), n >= 1 and increasing, and `missing` (m,), in seconds; shape (m, n)."""

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        known = segment.measured
        if not known.any():
            return repeated(self.mean_, segment)
        weights = self.weights(segment.times[known], segment.times[~known])
        # Weights of kriging don't sum to 1: far from measured frames the mean is what remains.
        rest = (1 - weights.sum(axis=1)).astype(np.float32)
        return weights.astype(np.float32) @ segment.frames[known] + np.outer(rest, self.mean_)
