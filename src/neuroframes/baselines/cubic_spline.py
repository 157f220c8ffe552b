"""Cubic spline over the measured frames, as fMRI users fill censored volumes today.

nilearn (`nilearn.signal.clean`, 0.14) puts SciPy's not-a-knot `CubicSpline` through the measured volumes.
Beyond the first and last of them it discards volumes (`extrapolate=False`, its default) or follows the
cubic (`extrapolate=True`), which spikes. XCP-D copies the nearest good volume there. A method of the
table must answer everywhere, so the default here is nilearn's spline with XCP-D's ends, the stronger one.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline as Spline

from neuroframes.baselines.interpolation import TimeInterpolation


class CubicSpline(TimeInterpolation):
    """Not-a-knot cubic spline.

    Parameters
    ----------
    extrapolate : bool
        Follow the cubic beyond the measured frames, as nilearn's option does, instead of holding
        the nearest measured frame.
    """

    name = "cubic spline"

    def __init__(self, extrapolate: bool = False) -> None:
        self.extrapolate = extrapolate

    def weights(self, known: NDArray[np.float64], missing: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at `missing` of the splines through unit vectors, shape (m, n)."""
        if len(known) == 1:
            return np.ones((len(missing), 1))
        if not self.extrapolate:
            missing = np.clip(missing, known[0], known[-1])
        # The spline is linear in its values, so the identity's splines are its weights.
        return np.asarray(Spline(known, np.eye(len(known)))(missing))
