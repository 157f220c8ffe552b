"""Kriging of what ridge regression on the EEG leaves over: both classical answers at once.

    x_missing = m + W (x_measured - m at the measured frames),

with m the prediction of `RidgeFIR` and W the weights of `Kriging`, whose kernel is fitted to the left-out
residuals of ridge: those of the fit itself are smaller than on frames that it hasn't seen.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import filled
from neuroframes.baselines.kriging import Kriging
from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.recording.segments import Segment


class KrigingEeg:
    """Ridge where nothing is measured; kriging where EEG tells nothing.

    Parameters
    ----------
    ridge : RidgeFIR, fitted to the same training part
        Spares a second fit; by default there is one of its own.
    """

    name = "kriging + EEG"

    def __init__(self, ridge: RidgeFIR | None = None) -> None:
        self.ridge = ridge

    def fit(self, train: Sequence[Segment]) -> Self:
        """Fit the ridge, unless it is given, and the kernel of its left-out residuals."""
        self.ridge_ = RidgeFIR().fit(train) if self.ridge is None else self.ridge
        residuals = []
        ends = np.cumsum([segment.measured.sum() for segment in train])[:-1]
        for segment, rows in zip(train, np.split(self.ridge_.left_out_, ends), strict=True):
            frames = np.zeros((len(segment.times), rows.shape[1]), np.float32)
            frames[segment.measured] = rows
            residuals.append(replace(segment, frames=frames))
        self.kriging_ = Kriging().fit(residuals)
        return self

    @property
    def n_parameters(self) -> int:
        return self.ridge_.n_parameters + self.kriging_.n_parameters

    def predict(self, segment: Segment, measured: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Every frame, shape (K, V); see `Baseline.predict`."""
        seen = measured & segment.measured
        estimate = self.ridge_.predict(segment, np.zeros_like(measured))
        if seen.any():
            weights = self.kriging_.weights(segment.times[seen], segment.times[~seen]).astype(np.float32)
            estimate[~seen] += weights @ (segment.frames[seen] - estimate[seen])
        return filled(segment, measured, estimate)
