"""Posteriors of latents and of vertices, against dense float64 solves written plainly."""

import numpy as np
import pytest

from neuroframes.frames.measurement import AlongTime, Averaging, FrameMask, SamplingTimes
from neuroframes.frames.posterior import condition, posterior, square_root

K, V, D = 12, 7, 5
GENERATOR = np.random.default_rng(0)
TIMES = 5.0 + 0.8 * np.arange(K)
MEASURED = np.isin(np.arange(K), [0, 1, 2, 5, 9, 10])
OPERATORS = {
    "FrameMask": FrameMask(MEASURED),
    "FrameMask of all": FrameMask(np.ones(K, bool)),
    "FrameMask of none": FrameMask(np.zeros(K, bool)),
    "SamplingTimes": SamplingTimes(TIMES, TIMES[:-1:3] + 0.3),
    "Averaging": Averaging(K, 3),
    "rank-deficient": AlongTime(GENERATOR.standard_normal((6, 3)) @ GENERATOR.standard_normal((3, K))),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]


@pytest.fixture(params=[0.0, 0.3], ids=["exact", "noisy"])
def noise(request):
    return request.param


def dense_posterior(covariance, operator, measurements, mean, noise_covariance):
    """Mean and covariance of x ~ N(mean, covariance) given y = A x + e; all matrices."""
    a = operator
    gain = covariance @ a.T @ np.linalg.pinv(a @ covariance @ a.T + noise_covariance, hermitian=True)
    return mean + gain @ (measurements - a @ mean), covariance - gain @ a @ covariance


def kernel_written_out(covariance, group, times):
    """sum_f p_f cos(2 pi f tau) + n [tau = 0], one frequency after the other."""
    lag = np.subtract.outer(times, times)
    n_bins = covariance.power.shape[1]
    kernel = covariance.noise[group] * (lag == 0)
    for f, power in enumerate(covariance.power[group]):
        kernel += power * np.cos(2 * np.pi * f / (2 * (n_bins - 1) * covariance.tr) * lag)
    return kernel


@pytest.mark.parametrize("with_mean", [False, True], ids=["centred", "prior mean"])
def test_mean_and_covariance_are_those_of_a_dense_solve(covariance_of, operator, noise, with_mean):
    prior = covariance_of(D, 3)
    generator = np.random.default_rng(1)
    mean = generator.standard_normal((K, D)) if with_mean else None
    centre = np.zeros((K, D)) if mean is None else mean
    # Without noise, rank-deficient measurements must agree with each other: they come from one sequence.
    y = operator.apply(centre + generator.standard_normal((K, D)))
    if noise:
        y = y + generator.standard_normal(y.shape)
    got = posterior(prior, TIMES, operator, y, mean, noise)
    for j in range(D):
        covariance = prior.variance[j] * kernel_written_out(prior, prior.group[j], TIMES)
        error = noise * prior.variance[j] * np.eye(len(y))
        expected, spread = dense_posterior(covariance, operator.matrix, y[:, j], centre[:, j], error)
        assert np.linalg.norm(got.mean[:, j] - expected) <= 1e-5 * np.linalg.norm(expected)
        conditional = got.conditionals[prior.group[j]]
        scaled = prior.variance[j] * conditional.covariance
        assert np.linalg.norm(scaled - spread) <= 1e-5 * np.linalg.norm(covariance)
        std = np.sqrt(np.maximum(np.diagonal(spread), 0))
        assert np.allclose(got.std[:, j], std, rtol=1e-5, atol=1e-5 * np.sqrt(prior.variance[j]))
        assert np.allclose(conditional.root @ conditional.root.T, conditional.covariance, atol=1e-9)


def test_without_noise_measurements_are_kept(covariance_of, operator):
    prior = covariance_of(D, 3)
    y = operator.apply(np.random.default_rng(2).standard_normal((K, D)))
    got = posterior(prior, TIMES, operator, y)
    generator = np.random.default_rng(3)
    for z in (got.mean, got.draw(generator)):
        assert np.linalg.norm(operator.apply(z) - y) <= 1e-5 * np.linalg.norm(y)


def test_what_the_caller_passed_is_left_alone(covariance_of):
    mean, y = np.ones((K, D)), np.zeros((6, D))
    posterior(covariance_of(D), TIMES, OPERATORS["FrameMask"], y, mean)
    assert np.all(mean == 1) and np.all(y == 0)


@pytest.mark.parametrize("name", ["FrameMask", "Averaging", "rank-deficient"])
def test_draws_have_the_posterior_s_mean_and_covariance(covariance_of, name):
    operator, n = OPERATORS[name], 4000
    prior = covariance_of(3, 2)
    generator = np.random.default_rng(4)
    y = operator.apply(generator.standard_normal((K, 3)))
    got = posterior(prior, TIMES, operator, y, noise=0.1)
    draws = np.stack([got.draw(generator) for _ in range(n)])
    for j in range(3):
        covariance = prior.variance[j] * got.conditionals[prior.group[j]].covariance
        variance = np.diagonal(covariance)
        error = draws[:, :, j].mean(axis=0) - got.mean[:, j]
        assert np.all(np.abs(error) < 5 * np.sqrt(variance / n))
        # The sampling variance of a covariance's entry (Wishart).
        allowed = 5 * np.sqrt((np.outer(variance, variance) + covariance**2) / n)
        assert np.all(np.abs(np.cov(draws[:, :, j].T) - covariance) < allowed)
    assert abs(np.corrcoef(draws[:, 3, 0], draws[:, 3, 1])[0, 1]) < 5 / np.sqrt(n)


def test_the_same_seed_gives_the_same_draw(covariance_of):
    got = posterior(covariance_of(D), TIMES, OPERATORS["FrameMask"], np.ones((6, D)))
    first, again, other = (got.draw(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.allclose(first, other)


def test_repeated_rows_at_length(covariance_of):
    times = 0.8 * np.arange(300)
    kernel = covariance_of(1, floor=1e-9).kernel(0, times)
    operator = SamplingTimes(times, np.repeat(times, 3))
    got = condition(kernel, operator)
    z = square_root(kernel) @ np.random.default_rng(5).standard_normal(300)
    assert np.allclose(got.gain @ operator.apply(z), z, atol=1e-4)
    assert got.std.max() < 1e-3


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("with_mean", [False, True], ids=["centred", "prior mean"])
def test_vertices_follow_the_dense_joint_gaussian(prior_of, outside, name, with_mean):
    operator, d = OPERATORS[name], 3
    prior = prior_of(V, d, 2)
    decoder = prior.autoencoder.decoder.astype(np.float64)
    # Any covariance of the rest between vertices will do, if it is out of the latents' reach and has
    # the stated diagonal: the fixture's noise is of that kind.
    noise = np.random.default_rng(0)
    noise.standard_normal(decoder.shape)
    rest = outside(decoder) * noise.uniform(0.2, 1, V) @ outside(decoder)
    assert np.allclose(np.sqrt(np.diagonal(rest)), prior.autoencoder.rest)
    covariance = np.kron(kernel_written_out(prior.rest, 0, TIMES), rest)
    for j in range(d):
        kernel = prior.latents.variance[j] * kernel_written_out(prior.latents, prior.latents.group[j], TIMES)
        covariance += np.kron(kernel, np.outer(decoder[j], decoder[j]))
    generator = np.random.default_rng(6)
    mean = generator.standard_normal((K, d)) if with_mean else None
    centre = np.zeros((K, V)) if mean is None else mean @ decoder
    y = operator.apply((centre + generator.standard_normal((K, V))).astype(np.float32))
    a = np.kron(operator.matrix, np.eye(V))
    expected, spread = dense_posterior(covariance, a, y.ravel(), centre.ravel(), 0)

    encoded = prior.autoencoder.encode(lambda block: y[:, block])
    got = prior.given(TIMES, operator, encoded, mean)
    for block in (slice(0, 4), slice(4, V)):
        estimate = got.mean(y[:, block], block)
        exact = expected.reshape(K, V)[:, block]
        assert np.linalg.norm(estimate - exact) <= 1e-5 * np.linalg.norm(expected)
        std = np.sqrt(np.maximum(np.diagonal(spread), 0)).reshape(K, V)[:, block]
        assert np.allclose(
            got.std(block), std, atol=1e-5 * np.sqrt(np.diagonal(covariance).max()) + 1e-4 * std
        )
    rows = np.isin(np.arange(K), [3, 4])
    assert np.array_equal(got.mean(y, slice(0, V), rows), got.mean(y, slice(0, V))[rows])
    assert np.array_equal(got.std(slice(0, V), rows), got.std(slice(0, V))[rows])
