"""The frames' own mean over the cortex as the only predictor: an oracle, no method.

    x_v(t) = m_v + b_v g(t), with g the mean over vertices of the *same* frames, b_v from training.

It reads what it is scored on. What it reaches is how far one pattern that waxes and wanes would go, were its
course known.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline, training_mean
from neuroframes.recording.segments import Segment


class GlobalSignal(Baseline):
    """Every vertex from the mean over vertices of the frame that is asked for."""

    name = "global signal (oracle)"
    reads_frames = False

    def fit(self, train: Sequence[Segment]) -> Self:
        """Least squares on the course of the measured training frames."""
        self.mean_ = training_mean(train)
        frames = np.concatenate([segment.frames[segment.measured] for segment in train])
        # Both sides are centred, so the slope needs no intercept beside it.
        course = frames.mean(axis=1) - self.mean_.mean()
        self.slope_ = course @ (frames - self.mean_) / (course @ course)
        return self

    @property
    def n_parameters(self) -> int:
        return self.mean_.size + self.slope_.size

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        course = segment.frames[~segment.measured].mean(axis=1) - self.mean_.mean()
        return self.mean_ + np.outer(course, self.slope_)
