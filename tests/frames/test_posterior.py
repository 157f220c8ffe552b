"""Posteriors of latents and of vertices, against dense float64 solves written plainly."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.frames.autoregression import Autoregression
from neuroframes.frames.coupling import process_of
from neuroframes.frames.measurement import AlongTime, Averaging, FrameMask, SamplingTimes
from neuroframes.frames.posterior import NEIGHBOURS, CoupledPosterior, condition, posterior, square_root

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


# Latents that lead and lag each other

LONG = 40
GRID = 5.0 + 0.8 * np.arange(LONG)
SCATTERED = np.random.default_rng(10).random(LONG) < 0.5
COUPLED_MASKS = {
    "scattered": SCATTERED,
    "ends missing": SCATTERED & (np.arange(LONG) > 6) & (np.arange(LONG) < 30),
    "nine tenths missing": np.arange(LONG) % 10 == 4,
    "one measured": np.arange(LONG) == 17,
    "none": np.zeros(LONG, bool),
    "all": np.ones(LONG, bool),
}
COUPLED_OPERATORS = {
    **{name: FrameMask(mask) for name, mask in COUPLED_MASKS.items()},
    "Averaging": Averaging(LONG, 4),
    "SamplingTimes": SamplingTimes(GRID, np.arange(5.5, 36, 1.3)),
}


@pytest.fixture(scope="module")
def coupled_prior(covariance_of):
    """The spectra of the fixture, and the coherency of an autoregression of order 2."""
    generator = np.random.default_rng(11)
    moving = generator.standard_normal((3, D, D)) + 2 * np.eye(D)
    lags = np.stack([sum(moving[k + lag] @ moving[k].T for k in range(3 - lag)) for lag in range(3)])
    lags[0] += np.eye(D)
    scale = np.sqrt(np.diagonal(lags[0]))
    marginal = covariance_of(D, 3, floor=0.01)
    return replace(marginal, coupling=process_of(marginal, Autoregression(lags / scale / scale[:, None])))


def covariances_of(process, n_lags):
    """C(0) to C(n_lags), by the spectrum of the process."""
    inverse = np.linalg.inv(np.fft.fft(process.filters[-1], 2**13, axis=0))
    return np.fft.ifft(inverse @ inverse.conj().transpose(0, 2, 1), axis=0).real[: n_lags + 1]


def joint_of(prior, n_frames):
    """Covariance of all latents of so many frames, shape (n d, n d)."""
    lags, at = covariances_of(prior.coupling, n_frames), range(n_frames)
    return np.block([[lags[s - t] if s >= t else lags[t - s].T for t in at] for s in at])


def assert_near(got, mean, covariance, prior):
    """Mean, deviation, and that of mixtures, within a thousandth of the prior's deviation."""
    scale, n = np.sqrt(prior.variance), len(mean) // D
    covariance = covariance.reshape(n, D, n, D)
    std = np.sqrt(np.maximum(np.einsum("kdkd->kd", covariance), 0))
    assert np.abs((got.mean - mean.reshape(n, D)) / scale).max() < 1e-3
    assert np.abs((got.std - std) / scale).max() < 1e-3
    decoder = np.random.default_rng(12).standard_normal((D, 6))
    expected = np.sqrt(np.maximum(np.einsum("dv,kdke,ev->kv", decoder, covariance, decoder), 0))
    rows = np.arange(n) % 3 > 0
    mixed = np.sqrt(got.variance(decoder.astype(np.float32), rows))
    assert np.abs((mixed - expected[rows]) / np.sqrt(prior.variance @ decoder**2)).max() < 1e-3


def test_the_prior_of_these_tests_couples(coupled_prior):
    lags = covariances_of(coupled_prior.coupling, 3)
    correlation = lags / np.sqrt(np.outer(coupled_prior.variance, coupled_prior.variance))
    away = np.abs(correlation[:, ~np.eye(D, dtype=bool)])
    assert away.max() > 0.4 and np.abs(correlation[2] - correlation[2].T).max() > 0.1


@pytest.mark.parametrize("with_mean", [False, True], ids=["centred", "prior mean"])
@pytest.mark.parametrize("name", COUPLED_OPERATORS)
def test_coupled_latents_follow_a_dense_solve(coupled_prior, name, noise, with_mean):
    operator, generator = COUPLED_OPERATORS[name], np.random.default_rng(13)
    joint = joint_of(coupled_prior, LONG)
    z = (np.linalg.cholesky(joint) @ generator.standard_normal(LONG * D)).reshape(LONG, D)
    mean = generator.standard_normal((LONG, D)) if with_mean else None
    centre = np.zeros((LONG, D)) if mean is None else mean
    y = operator.apply(centre + z)
    y = y + np.sqrt(noise * coupled_prior.variance) * generator.standard_normal(y.shape)
    error = np.kron(np.eye(len(y)), noise * np.diag(coupled_prior.variance))
    a = np.kron(operator.matrix, np.eye(D))
    expected, covariance = dense_posterior(joint, a, y.ravel(), centre.ravel(), error)
    got = posterior(coupled_prior, GRID, operator, y, mean, noise)
    assert isinstance(got, CoupledPosterior)
    assert_near(got, expected, covariance, coupled_prior)
    other = operator.apply(generator.standard_normal((LONG, D)))
    again = posterior(coupled_prior, GRID, operator, other, mean, noise)
    np.testing.assert_allclose(got.given(other, mean), again.mean, atol=1e-9)


def off_grid(prior, times):
    """What times are of the frames of a grid, written out: weights (K d, n d), what is left open (K d,).

    The grid's frames are those from `NEIGHBOURS` before the first time to as many after the last.
    """
    position = (times - GRID[0]) / prior.tr
    grid = np.arange(np.floor(position.min()) - NEIGHBOURS, np.ceil(position.max()) + NEIGHBOURS + 1)
    weights, left_open = np.zeros((len(times), D, len(grid), D)), np.zeros((len(times), D))
    for k, place in enumerate(position):
        if abs(place - np.rint(place)) < 1e-3:
            weights[k, range(D), int(np.rint(place) - grid[0]), range(D)] = 1
            continue
        around = np.floor(place) + np.arange(1 - NEIGHBOURS, NEIGHBOURS + 1)
        columns = (around - grid[0]).astype(int)
        for j in range(D):
            kernel = kernel_written_out(prior, prior.group[j], prior.tr * np.append(around, place))
            weights[k, j, columns, j] = np.linalg.solve(kernel[:-1, :-1], kernel[:-1, -1])
            told = kernel[-1, :-1] @ weights[k, j, columns, j]
            left_open[k, j] = prior.variance[j] * (kernel[-1, -1] - told)
    return weights.reshape(len(times) * D, -1), left_open.ravel()


@pytest.mark.parametrize("name", ["scattered", "ends missing", "nine tenths missing", "one measured", "none"])
def test_coupled_latents_between_frames_are_as_their_neighbours_tell(coupled_prior, name):
    generator = np.random.default_rng(14)
    times = np.concatenate([GRID, generator.uniform(2.0, 40.0, 15), GRID[8:11] + 0.4])
    measured = np.append(COUPLED_MASKS[name], np.zeros(18, bool))
    order = np.argsort(times)
    times, measured = times[order], measured[order]
    weights, left_open = off_grid(coupled_prior, times)
    joint = weights @ joint_of(coupled_prior, weights.shape[1] // D) @ weights.T + np.diag(left_open)
    z = (square_root(joint) @ generator.standard_normal(len(joint))).reshape(-1, D)
    a = np.kron(FrameMask(measured).matrix, np.eye(D))
    expected, covariance = dense_posterior(joint, a, z[measured].ravel(), np.zeros(len(joint)), 0)
    got = posterior(coupled_prior, times, FrameMask(measured), z[measured])
    if name != "none":  # then no grid is measured, and any will do
        assert_near(got, expected, covariance, coupled_prior)
    np.testing.assert_allclose(got.mean[measured], z[measured], rtol=1e-9)


def test_a_time_asked_twice_gets_the_same_twice(coupled_prior):
    measured = COUPLED_MASKS["scattered"]
    y = np.random.default_rng(15).standard_normal((int(measured.sum()), D))
    times, known = np.repeat(GRID, 2), np.repeat(measured, 2) & (np.arange(2 * LONG) % 2 == 0)
    once, twice = (
        posterior(coupled_prior, at, FrameMask(mask), y) for at, mask in ((GRID, measured), (times, known))
    )
    for part in (0, 1):
        np.testing.assert_allclose(twice.mean[part::2], once.mean)
        np.testing.assert_allclose(twice.std[part::2], once.std)


@pytest.mark.parametrize("off", [False, True], ids=["on the grid", "off it"])
@pytest.mark.parametrize("name", ["scattered", "ends missing"])
def test_draws_of_coupled_latents_have_the_posterior_s_mean_and_covariance(coupled_prior, name, off):
    generator, n = np.random.default_rng(16), 3000
    times, measured = GRID, COUPLED_MASKS[name]
    if off:
        times, measured = np.append(GRID, GRID[9:13] + 0.3), np.append(measured, np.zeros(4, bool))
    y = generator.standard_normal((int(measured.sum()), D))
    got = posterior(coupled_prior, times, FrameMask(measured), y)
    weights, left_open = off_grid(coupled_prior, times)
    joint = weights @ joint_of(coupled_prior, weights.shape[1] // D) @ weights.T + np.diag(left_open)
    a = np.kron(FrameMask(measured).matrix, np.eye(D))
    covariance = dense_posterior(joint, a, y.ravel(), np.zeros(len(joint)), 0)[1]
    draws = np.stack([got.draw(generator) for _ in range(n)])
    np.testing.assert_allclose(draws[:, measured], np.broadcast_to(y, (n, *y.shape)), rtol=1e-9)
    away = (draws - got.mean).reshape(n, -1)
    variance = np.maximum(np.diagonal(covariance), 1e-12)
    assert np.all(np.abs(away.mean(axis=0)) < 5 * np.sqrt(variance / n))
    allowed = 5.5 * np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert np.all(np.abs(away.T @ away / n - covariance) < allowed)
    about = got.draw(np.random.default_rng(0), np.ones_like(got.mean))
    np.testing.assert_allclose(about - 1, got.draw(np.random.default_rng(0)) - got.mean, atol=1e-12)


def test_measured_frames_on_no_grid_are_refused(coupled_prior):
    times, measured = GRID.copy(), np.ones(LONG, bool)
    times[20] += 0.3
    with pytest.raises(ValueError, match="measured frames must lie on one grid of the prior's TR"):
        posterior(coupled_prior, times, FrameMask(measured), np.zeros((LONG, D)))
    measured[20] = False
    found = posterior(coupled_prior, times, FrameMask(measured), np.ones((LONG - 1, D)))
    assert np.all(np.isfinite(found.mean)) and np.all(found.std[20] > 0)


def test_where_nothing_is_measured_nothing_is_solved(coupled_prior, monkeypatch):
    monkeypatch.setattr("neuroframes.frames.posterior.Smoother", None)
    mean = np.random.default_rng(3).standard_normal((LONG, D))
    none = FrameMask(np.zeros(LONG, bool))
    got = posterior(coupled_prior, GRID, none, np.zeros((0, D)), mean)
    np.testing.assert_array_equal(got.mean, mean)
    np.testing.assert_allclose(
        got.std, np.tile(np.sqrt(np.diagonal(coupled_prior.coupling.lags[0])), (LONG, 1))
    )
