"""Time in the run as the only predictor: what slow drift common to runs is worth.

x_v(t) = sum_j b_vj cos(pi j t / T), j = 0 .. order, t the time since the run's first frame and T the
longest such time in training. Least squares over all measured training frames.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline
from neuroframes.recording.segments import Segment


class Drift(Baseline):
    """Regression on a cosine basis of time in the run.

    Parameters
    ----------
    order : int
        Cosines beside the constant; the last one has `order` / 2 cycles a run.
    """

    name = "drift"
    reads_frames = False
    any_time = True

    def __init__(self, order: int = 3) -> None:
        self.order = order

    def basis(self, time_in_run: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cosines at `time_in_run` (K,), seconds; shape (K, order + 1)."""
        # Cosines stay bounded past T, where the test part may lie; a polynomial would run away.
        return np.cos(np.pi * np.outer(time_in_run / self.duration_, np.arange(self.order + 1)))

    def fit(self, train: Sequence[Segment]) -> Self:
        """Least squares, shape (order + 1, V), from sums over segments: no joint copy of the frames."""
        self.duration_ = max(float(segment.time_in_run.max()) for segment in train)
        bases = [self.basis(segment.time_in_run[segment.measured]) for segment in train]
        gram = sum(basis.T @ basis for basis in bases)
        moment = sum(
            basis.T.astype(np.float32) @ segment.frames[segment.measured]
            for basis, segment in zip(bases, train, strict=True)
        )
        # The pseudo-inverse: a short training part may not tell the cosines apart.
        self.coefficients_ = (np.linalg.pinv(gram, hermitian=True) @ moment).astype(np.float32)
        return self

    @property
    def n_parameters(self) -> int:
        return self.coefficients_.size

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        return self.basis(segment.time_in_run[~segment.measured]).astype(np.float32) @ self.coefficients_
