"""Against the conditional of the dense joint normal distribution of all frames."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from neuroframes.baselines.dynamic_factors import DynamicFactors


@pytest.fixture(scope="module")
def fitted(smooth):
    few = [replace(segment, frames=segment.frames[:, :4].copy()) for segment in smooth]
    few[0].frames[:, 1] = 0  # a region without signal
    return DynamicFactors(factors=2, iterations=5).fit([few[0]]), few[1]


def test_mean_and_deviation_are_those_of_the_dense_normal(fitted):
    model, test = fitted
    k = 30
    short = replace(
        test, **{name: getattr(test, name)[:k] for name in ("frames", "times", "time_in_run", "measured")}
    )
    given = short.given(np.arange(k) % 7 < 4)
    ssm = model._model(model._series(given))
    ssm.update(model.parameters_)
    design, noise, step, choice, shock = (
        np.asarray(ssm.ssm[name]) for name in ("design", "obs_cov", "transition", "selection", "state_cov")
    )
    state = solve_discrete_lyapunov(step, choice @ shock @ choice.T)
    powers = [np.linalg.matrix_power(step, lag) for lag in range(k)]
    covariance = np.block(
        [
            [
                design @ (powers[s - t] @ state if s >= t else state @ powers[t - s].T) @ design.T
                for t in range(k)
            ]
            for s in range(k)
        ]
    ) + np.kron(np.eye(k), noise)
    y = given.frames[:, model.varying_].astype(float)
    known = np.repeat(given.measured, y.shape[1])
    weights = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, ~known)]).T
    mean = weights @ y.ravel()[known]
    variance = np.diag(covariance)[~known] - np.einsum("mn,mn->m", weights, covariance[np.ix_(~known, known)])
    estimate = model.fill(given)
    np.testing.assert_allclose(estimate.mean[:, model.varying_].ravel(), mean, atol=1e-3)
    np.testing.assert_allclose(estimate.std[:, model.varying_].ravel(), np.sqrt(variance), rtol=1e-3)


def test_a_region_without_signal_stays_without(fitted):
    model, test = fitted
    estimate = model.fill(test.given(np.arange(300) % 10 < 8))
    assert (estimate.mean[:, 1] == 0).all() and (estimate.std[:, 1] == 0).all()
