"""Last frame carried forward: each missing frame is a copy of the measured one before it."""

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interpolation import TimeInterpolation


class HoldLast(TimeInterpolation):
    """Hold the last measured frame; the training mean before the first. The only one that needs no future."""

    name = "hold last"

    def weights(self, known: NDArray[np.float64], missing: NDArray[np.float64]) -> NDArray[np.float64]:
        """One weight of 1 a row, none before the first known time, shape (m, n)."""
        # Row 0 of zeros stands for "nothing yet".
        last = np.searchsorted(known, missing, side="right")
        weights: NDArray[np.float64] = np.eye(len(known) + 1)[last, 1:]
        return weights
