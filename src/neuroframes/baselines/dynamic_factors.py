"""A dynamic factor model, by statsmodels.

    x_t = L f_t + e_t,   f_t = A_1 f_t-1 + A_2 f_t-2 + u_t,   e_t,p = r_p e_t-1,p + w_t,p

Factors f that all regions share, with lead and lag among them, and an autoregression of each region's own
(Banbura and Modugno 2014, doi:10.1002/jae.2306): expectation-maximisation with missing frames, then a Kalman
smoother.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline
from neuroframes.models.model import Estimate
from neuroframes.recording.segments import Segment

BETWEEN = 64  # missing frames between segments, so that they know nothing of each other


class DynamicFactors(Baseline):
    """Dynamic factors of regions, fitted to the training segments.

    Parameters
    ----------
    factors : int
        How many, at most 10.
    order : int
        Of the factors' vector autoregression.
    iterations : int
        Of expectation-maximisation, at most.
    """

    name = "dynamic factors"
    states_deviation = True

    def __init__(self, factors: int = 10, order: int = 2, iterations: int = 40) -> None:
        self.factors, self.order, self.iterations = factors, order, iterations

    def fit(self, train: Sequence[Segment]) -> Self:
        """Fit loadings, autoregressions and noise to the regions that vary."""
        measured = np.concatenate([segment.frames[segment.measured] for segment in train])
        self.varying_ = np.ptp(measured, axis=0) > 0
        between = np.full((BETWEEN, int(self.varying_.sum())), np.nan)
        series = np.concatenate([part for segment in train for part in (between, self._series(segment))])
        model = self._model(series[BETWEEN:])
        with warnings.catch_warnings():
            # The number of iterations is a budget, as of networks.
            warnings.filterwarnings("ignore", "EM reached maximum number of iterations")
            self.parameters_ = np.asarray(model.fit(disp=False, maxiter=self.iterations).params)
        return self

    def _series(self, segment: Segment) -> NDArray[np.float64]:
        """NaN where nothing is measured."""
        return np.where(segment.measured[:, None], segment.frames[:, self.varying_], np.nan).astype(
            np.float64
        )

    def _model(self, series: NDArray[np.float64]) -> Any:
        from statsmodels.tsa.statespace.dynamic_factor_mq import DynamicFactorMQ

        factors = min(self.factors, series.shape[1])
        return DynamicFactorMQ(series, factors=factors, factor_orders=self.order, standardize=False)

    @property
    def n_parameters(self) -> int:
        return len(self.parameters_)

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        return self.fill(segment).mean

    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        self.check(eeg=False, draws=draws)
        missing = ~segment.measured
        mean, variance = np.zeros((2, int(missing.sum()), len(self.varying_)), np.float32)
        model = self._model(self._series(segment))
        smoothed = model.smooth(self.parameters_)
        design, noise = (np.asarray(model.ssm[name]) for name in ("design", "obs_cov"))
        covariance = smoothed.smoothed_state_cov[:, :, missing]
        mean[:, self.varying_] = (design @ smoothed.smoothed_state[:, missing]).T
        variance[:, self.varying_] = np.einsum("pi,ijk,pj->kp", design, covariance, design, optimize=True)
        variance[:, self.varying_] += np.diag(noise)
        return Estimate(mean, np.sqrt(variance))
