"""Against SciPy's normal density and scikit-learn's Gaussian process."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from neuroframes.baselines.matern import NOISES, Kernel, MaternProcess, OscillatingProcess, likelihoods


@pytest.mark.parametrize("nu", [1.5, 2.5])
def test_the_posterior_is_scikit_learn_s(nu):
    generator = np.random.default_rng(0)
    known, missing = np.sort(generator.random(30)) * 60, np.linspace(-5, 70, 11)
    y = generator.standard_normal(30)
    weights, variance = Kernel(nu, 7.0, 0.0, 0.2).posterior(known, missing)
    process = GaussianProcessRegressor(Matern(7.0, nu=nu) + WhiteKernel(0.2), alpha=0, optimizer=None)
    mean, std = process.fit(known[:, None], y).predict(missing[:, None], return_std=True)
    np.testing.assert_allclose(weights @ y, mean, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(variance), std, atol=1e-9)


def test_likelihoods_are_the_normal_density_s():
    generator = np.random.default_rng(1)
    kernel, times = Kernel(2.5, 4.0, 0.05), [np.arange(20.0), np.sort(generator.random(15)) * 40]
    series = [generator.standard_normal((len(at), 3)) for at in times]
    found, variances = likelihoods(kernel, times, series)
    for n in range(4, len(NOISES), 9):
        inside = [kernel(np.subtract.outer(at, at)) + NOISES[n] * np.eye(len(at)) for at in times]
        for j in range(3):
            s = variances[n, j]
            log_density = sum(
                multivariate_normal(cov=s * k).logpdf(y[:, j]) for k, y in zip(inside, series, strict=True)
            )
            expected = -2 * log_density - 35 * (np.log(2 * np.pi) + 1)
            assert found[n, j] == pytest.approx(expected, rel=1e-6)
            lower = sum(  # s is the likeliest
                multivariate_normal(cov=1.1 * s * k).logpdf(y[:, j])
                for k, y in zip(inside, series, strict=True)
            )
            assert lower < log_density


@pytest.fixture(scope="module")
def oscillating(segment_of):
    """Four vertices with a line at .05 Hz, at a TR of .8 s, and a tenth of noise."""
    generator, times = np.random.default_rng(2), 0.8 * np.arange(240)
    kernel = Kernel(2.5, 20.0, 0.05)(np.subtract.outer(times, times)) + 0.1 * np.eye(240)
    return segment_of(np.linalg.cholesky(kernel) @ generator.standard_normal((240, 4)))


def test_the_likeliest_kernel_is_near_the_true_one(oscillating):
    kernels = OscillatingProcess().fit([oscillating]).kernels_[:4]
    for kernel in kernels:
        assert kernel.frequency == pytest.approx(0.05, abs=0.011)
        assert 8 < kernel.scale < 50 and 0.03 < kernel.noise < 0.3


def test_an_oscillation_goes_on_in_a_gap_and_intervals_cover(oscillating):
    given = oscillating.given(np.arange(240) % 30 < 18)
    truth = oscillating.frames[~given.measured]
    plain, cosine = (kind().fit([given]).fill(given) for kind in (MaternProcess, OscillatingProcess))
    errors = [np.square(of.mean - truth).mean() for of in (plain, cosine)]
    assert errors[1] < 0.9 * errors[0]
    assert 0.83 < np.mean(np.abs(cosine.mean - truth) <= 1.645 * cosine.std) < 0.97


def test_what_components_leave_over_has_a_kernel_too(segment_of):
    generator, times = np.random.default_rng(3), 0.8 * np.arange(120)
    root = np.linalg.cholesky(Kernel(1.5, 8.0, 0.0)(np.subtract.outer(times, times)) + 1e-6 * np.eye(120))
    segment = segment_of(root @ generator.standard_normal((120, 400)))
    given = segment.given(np.arange(120) % 8 != 3)
    estimate, truth = MaternProcess().fit([given]).fill(given), segment.frames[3::8]
    assert np.square(estimate.mean - truth).mean() < 0.1
    assert 0.8 < np.mean(np.abs(estimate.mean - truth) <= 1.645 * estimate.std) < 0.97
