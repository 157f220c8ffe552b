"""The mean of the segment's own measured frames: what run offsets alone are worth.

Where vertices are z-scored over several runs without detrending each, this predictor, which has no
EEG, reaches a high correlation. It has to be in the table.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline, repeated, training_mean
from neuroframes.recording.segments import Segment


class RunMean(Baseline):
    """Mean of the measured frames of the segment; the training mean where none is."""

    name = "run mean"

    def fit(self, train: Sequence[Segment]) -> Self:
        """Average the measured training frames, for segments without any."""
        self.mean_ = training_mean(train)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_)

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        if not segment.measured.any():
            return repeated(self.mean_, segment)
        # In float64, and `where` instead of indexing: without a copy of the frames.
        known = segment.measured[:, None]
        mean = np.asarray(np.mean(segment.frames, axis=0, dtype=np.float64, where=known))
        return repeated(mean.astype(np.float32), segment)
