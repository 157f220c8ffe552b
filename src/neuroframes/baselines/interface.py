"""What a baseline is, and what all of them share.

A baseline is a model that is fitted to the training part in this process, never stored: see `models.model`.
One that does not use measured frames says so (`reads_frames`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.models.model import Estimate, Model
from neuroframes.recording.segments import Segment

Float32 = NDArray[np.float32]


class Baseline(Model):
    """One method of the table."""

    @abstractmethod
    def fit(self, train: Sequence[Segment]) -> Self:
        """Learn from the measured frames of the training segments."""

    @abstractmethod
    def estimate(self, segment: Segment) -> Float32:
        """The M frames of a segment that aren't measured, shape (M, V); K of them where none is."""

    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        self.check(eeg=segment.eeg is not None or segment.power is not None, draws=draws)
        return Estimate(self.estimate(segment))


def training_mean(train: Sequence[Segment]) -> Float32:
    """Mean of the measured training frames, shape (V,): about 0 in z-units, but computed."""
    count = sum(int(segment.measured.sum()) for segment in train)
    if count == 0:
        raise ValueError("the training segments hold no measured frame")
    # `where` rather than indexing spares a copy, and censored frames may be NaN.
    total = np.zeros(train[0].frames.shape[1])
    for segment in train:
        total += np.sum(segment.frames, axis=0, dtype=np.float64, where=segment.measured[:, None])
    return (total / count).astype(np.float32)


def repetition_time(train: Sequence[Segment]) -> float:
    """Seconds between frames, the median over the training segments."""
    return float(np.median(np.concatenate([np.diff(segment.times) for segment in train])))
