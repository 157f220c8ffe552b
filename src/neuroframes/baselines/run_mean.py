"""The mean of the segment's own measured frames: what run offsets alone are worth.

Where vertices are z-scored over several runs without detrending each, this predictor, which has no
EEG, reaches a high correlation. It has to be in the table.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import filled, training_mean
from neuroframes.recording.segments import Segment


class RunMean:
    """Mean of the frames that are seen in the segment; the training mean where none is."""

    name = "run mean"

    def fit(self, train: Sequence[Segment]) -> Self:
        """Average the measured training frames, for segments without any."""
        self.mean_ = training_mean(train)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_)

    def predict(self, segment: Segment, measured: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Every frame, shape (K, V); see `Baseline.predict`."""
        seen = measured & segment.measured
        if not seen.any():
            return filled(segment, measured, self.mean_)
        mean = np.asarray(np.mean(segment.frames, axis=0, dtype=np.float64, where=seen[:, None]))
        return filled(segment, measured, mean.astype(np.float32))
