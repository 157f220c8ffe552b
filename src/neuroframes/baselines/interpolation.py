"""Interpolation along time, the same for all vertices.

x_missing = m + W (x_measured - m), with W of (K_missing, K_measured) and m the training mean. W depends
on the times alone, so one small matrix serves every vertex. Rows of W that sum to 1 make m irrelevant;
with nothing measured W is empty and m is what remains.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import training_mean
from neuroframes.recording.segments import Segment


class TimeInterpolation(ABC):
    """Base of the methods that combine measured frames by weights along time."""

    name: str

    def fit(self, train: Sequence[Segment]) -> Self:
        """Average the measured training frames."""
        self.mean_ = training_mean(train)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_)

    @abstractmethod
    def weights(self, known: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
        """W for times `known` (n,), n >= 1 and increasing, and `wanted` (m,), in seconds; shape (m, n)."""

    def predict(self, segment: Segment, measured: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Every frame, shape (K, V); see `Baseline.predict`."""
        seen = measured & segment.measured
        frames = segment.frames.copy()
        if not seen.any():
            frames[:] = self.mean_
            return frames
        weights = self.weights(segment.times[seen], segment.times[~seen])
        rest = (1 - weights.sum(axis=1)).astype(np.float32)
        frames[~seen] = weights.astype(np.float32) @ segment.frames[seen] + np.outer(rest, self.mean_)
        return frames
