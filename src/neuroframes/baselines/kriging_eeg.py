"""Kriging of what ridge regression on the EEG leaves over: both classical answers at once.

    x_missing = m + W (x_measured - m at the measured frames),

with m the prediction of `RidgeFIR` and W the weights of `Kriging`, whose kernel is fitted to the left-out
residuals of ridge: those of the fit itself are smaller than on frames that it wasn't fitted to.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline
from neuroframes.baselines.kriging import Kriging
from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.recording.segments import Segment


class KrigingEeg(Baseline):
    """Ridge where nothing is measured; kriging where EEG tells nothing."""

    name = "kriging + EEG"
    needs_eeg = any_time = True

    def fit(self, train: Sequence[Segment]) -> Self:
        """Fit the ridge, and the kernel of its left-out residuals."""
        self.ridge_ = RidgeFIR().fit(train)
        # `left_out_` has the measured frames of all segments one after another, at some of the vertices.
        residuals = []
        ends = np.cumsum([segment.measured.sum() for segment in train])[:-1]
        for segment, rows in zip(train, np.split(self.ridge_.left_out_, ends), strict=True):
            frames = np.zeros((len(segment.times), rows.shape[1]), np.float32)
            frames[segment.measured] = rows
            residuals.append(replace(segment, frames=frames, eeg=None, power=None))
        self.kriging_ = Kriging().fit(residuals)
        return self

    @property
    def n_parameters(self) -> int:
        return self.ridge_.n_parameters + self.kriging_.n_parameters

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        known = segment.measured
        # Ridge at measured frames too: what it leaves over there is what kriging interpolates.
        mean = self.ridge_.estimate(segment.given(np.zeros_like(known)))
        if not known.any():
            return mean
        weights = self.kriging_.weights(segment.times[known], segment.times[~known]).astype(np.float32)
        return mean[~known] + weights @ (segment.frames[known] - mean[known])
