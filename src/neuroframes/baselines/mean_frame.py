"""The mean training frame at every time: what knows nothing of the moment."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline, repeated, training_mean
from neuroframes.recording.segments import Segment


class MeanFrame(Baseline):
    """Training mean. Its temporal r is 0 by definition; R2 and MSE of others are measured against it."""

    name = "mean frame"
    reads_frames = False

    def fit(self, train: Sequence[Segment]) -> Self:
        """Average the measured training frames."""
        self.mean_ = training_mean(train)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_)

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        return repeated(self.mean_, segment)
