"""Nearest-neighbour interpolation: each missing frame is a copy of the nearest measured one."""

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interpolation import TimeInterpolation


class Nearest(TimeInterpolation):
    """Hold the nearest measured frame; the earlier one where two are as near."""

    name = "nearest"

    def weights(self, known: NDArray[np.float64], missing: NDArray[np.float64]) -> NDArray[np.float64]:
        """One weight of 1 a row, shape (m, n)."""
        distance = np.abs(np.subtract.outer(missing, known))
        # Times carry rounding, so equal distances are decided in microseconds, not in the last bit.
        weights: NDArray[np.float64] = np.eye(len(known))[distance.round(6).argmin(axis=1)]
        return weights
