"""What a baseline is, and what all of them share.

A baseline is fitted on the training part only, sees the measured frames of a segment (perhaps
none) and its EEG, and returns every frame of it, the measured ones as they are.
"""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.recording.segments import Segment


class Baseline(Protocol):
    """One method of the table."""

    name: str

    @property
    def n_parameters(self) -> int:
        """Numbers that `fit` determined."""
        ...

    def fit(self, train: Sequence[Segment]) -> Self:
        """Learn from the measured frames of the training segments."""
        ...

    def predict(self, segment: Segment, measured: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Every frame of `segment`.

        Parameters
        ----------
        segment : Segment of K frames
        measured : array, shape (K,)
            The frames that the method may see; none of them leaves the EEG alone. Censored frames
            (`segment.measured` False) are never seen, whatever it says.

        Returns
        -------
        array, shape (K, V), float32
            Measured frames bit-exact, the others (censored ones too) estimated.
        """
        ...


def training_mean(train: Sequence[Segment]) -> NDArray[np.float32]:
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


def filled(
    segment: Segment, measured: NDArray[np.bool_], estimate: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The segment's measured frames, and `estimate`, shape (K, V) or (V,), everywhere else."""
    seen = (measured & segment.measured)[:, None]
    return np.where(seen, segment.frames, estimate)
