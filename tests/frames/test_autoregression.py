"""Vector autoregressions: stable, and what they say of missing frames against a dense solve."""

import numpy as np
import pytest

from neuroframes.frames.autoregression import Autoregression, Smoother

D, K, N_FFT = 3, 60, 256
ORDERS = (0, 1, 4)
SCATTERED = np.random.default_rng(2).random(K) < 0.5
MISSING = {
    "scattered": SCATTERED,
    "ends": SCATTERED & (np.arange(K) % 2 == 0) | (np.arange(K) < 9) | (np.arange(K) >= K - 9),
    "nine tenths": np.arange(K) % 10 != 4,
    "a long gap": (np.arange(K) > 10) & (np.arange(K) < 45),
    "everything": np.ones(K, bool),
    "nothing": np.zeros(K, bool),
}


def covariances_of(generator):
    """C(0), C(1), ... of a moving average of D components and white noise: all their entries differ."""
    moving = generator.standard_normal((5, D, D)) / np.arange(1, 6)[:, None, None]
    transfer = np.fft.rfft(moving, N_FFT, axis=0)
    cross = transfer @ transfer.conj().transpose(0, 2, 1) + 0.05 * np.eye(D)
    return np.fft.irfft(cross, N_FFT, axis=0)


@pytest.fixture(params=ORDERS, ids=lambda order: f"order {order}")
def process(request):
    return Autoregression(covariances_of(np.random.default_rng(0))[: request.param + 1])


def coefficients_of(process):
    """A_1 to A_Q (Q, d, d) and S by the normal equations, all lags in one."""
    order, lags = process.order, process.lags
    if not order:
        return np.zeros((0, D, D)), lags[0]
    at = np.arange(order)
    blocks = [[lags[j - i] if j >= i else lags[i - j].T for j in at] for i in at]
    right = np.concatenate(list(lags[1:]), axis=1)
    flat = np.linalg.solve(np.block(blocks).T, right.T).T
    return flat.reshape(D, order, D).transpose(1, 0, 2), lags[0] - flat @ right.T


def covariances_by_spectrum(process, n_lags):
    """C(0) to C(n_lags) of the process that the filters whiten."""
    inverse = np.linalg.inv(np.fft.fft(process.filters[-1], 2**13, axis=0))
    return np.fft.ifft(inverse @ inverse.conj().transpose(0, 2, 1), axis=0).real[: n_lags + 1]


def joint_covariance(process, n_frames=K):
    """Of all frames, shape (n d, n d)."""
    lags = covariances_by_spectrum(process, n_frames)
    at = range(n_frames)
    return np.block([[lags[s - t] if s >= t else lags[t - s].T for t in at] for s in at])


def given(process, missing):
    """Gain and covariance of the missing frames given the others."""
    joint, m = joint_covariance(process), np.repeat(missing, D)
    gain = np.linalg.solve(joint[np.ix_(~m, ~m)], joint[np.ix_(~m, m)]).T
    return gain, joint[np.ix_(m, m)] - gain @ joint[np.ix_(~m, m)]


def drawn(process, generator):
    root = np.linalg.cholesky(joint_covariance(process))
    return (root @ generator.standard_normal(K * D)).reshape(K, D)


# The process


def test_filters_whiten(process):
    coefficients, noise = coefficients_of(process)
    whiten = process.filters[-1]
    np.testing.assert_allclose(whiten[0] @ noise @ whiten[0].T, np.eye(D), atol=1e-10)
    np.testing.assert_allclose(-np.linalg.solve(whiten[0], whiten[1:]), coefficients, atol=1e-10)
    assert process.noises[-1] == pytest.approx(np.linalg.det(noise) ** (1 / D))
    assert len(process.filters) == len(process.noises) == process.order + 1
    assert np.all(np.diff(process.noises) <= 0)


def test_it_is_stable(process):
    coefficients, order = coefficients_of(process)[0], process.order
    companion = np.eye(D * max(order, 1), k=-D)
    companion[:D, : D * order] = coefficients.transpose(1, 0, 2).reshape(D, D * order)
    assert np.abs(np.linalg.eigvals(companion)).max(initial=0) < 1
    assert np.linalg.eigvalsh(joint_covariance(process))[0] > 0


def test_covariances_are_those_it_was_made_of(process):
    got = covariances_by_spectrum(process, process.order)
    np.testing.assert_allclose(got, process.lags, atol=1e-9)


def test_precision_is_the_inverse_covariance_away_from_ends(process):
    inverse = np.linalg.inv(joint_covariance(process)).reshape(K, D, K, D)
    for lag in range(process.order + 1):
        np.testing.assert_allclose(process.precision[lag], inverse[30, :, 30 - lag], atol=1e-8)
    assert np.abs(inverse[30, :, : 30 - process.order]).max() < 1e-8


# Missing frames


@pytest.mark.parametrize("span", [0, 9])
@pytest.mark.parametrize("name", MISSING)
def test_missing_frames_are_those_of_a_dense_solve(process, name, span):
    missing, generator = MISSING[name], np.random.default_rng(3)
    gain, covariance = given(process, missing)
    frames, n_missing = drawn(process, generator), int(missing.sum())
    smoother = Smoother(process, missing, span)
    expected = (gain @ frames[~missing].ravel()).reshape(n_missing, D)
    frames[missing] = np.nan  # what stands there is not read
    np.testing.assert_allclose(smoother.mean(frames), expected, atol=1e-8)

    dense = covariance.reshape(n_missing, D, n_missing, D)
    at, told, after = np.cumsum(missing) - 1, np.zeros(K, int), np.zeros(0, int)
    known = np.zeros((K, K), bool)
    for rows, within, across in smoother.covariances():
        pairs = [(rows, within)] if across is None else [(rows, within), (after, across)]
        for later, values in pairs:
            np.testing.assert_allclose(values, dense[at[later]][:, :, at[rows]], atol=1e-8)
            known[np.ix_(later, rows)] = True
        told[rows] += 1
        after = rows
    np.testing.assert_array_equal(told, missing)
    apart = np.subtract.outer(np.arange(K), np.arange(K))
    near = (apart >= 0) & (apart <= max(process.order, span)) & np.outer(missing, missing)
    assert known[near].all()


@pytest.mark.parametrize("name", MISSING)
def test_sums_over_pairs_of_missing_frames(process, name):
    missing = MISSING[name]
    covariance = given(process, missing)[1].reshape(int(missing.sum()), D, int(missing.sum()), D)
    expected = np.zeros((5, D, D))
    for i, t in enumerate(np.flatnonzero(missing)):
        for j, s in enumerate(np.flatnonzero(missing)):
            if 0 <= t - s < 5:
                expected[t - s] += covariance[i, :, j]
    np.testing.assert_allclose(Smoother(process, missing, 4).lagged(4), expected, atol=1e-7)


@pytest.mark.parametrize("name", ["scattered", "everything"])
def test_draws_have_the_covariance(process, name):
    missing, generator, n_draws = MISSING[name], np.random.default_rng(4), 4000
    covariance = given(process, missing)[1]
    smoother = Smoother(process, missing)
    draws = np.stack([smoother.draw(generator).ravel() for _ in range(n_draws)])
    std = np.sqrt(np.diagonal(covariance))
    # Six deviations of a sample mean, and of a sample covariance, whose variance is at most 2 s^4 / n.
    assert np.all(np.abs(draws.mean(axis=0)) < 6 * std / np.sqrt(n_draws))
    assert np.all(
        np.abs(draws.T @ draws / n_draws - covariance) < 6 * np.outer(std, std) * np.sqrt(2 / n_draws)
    )


def test_noisy_measurements_add_their_precision(process):
    generator = np.random.default_rng(5)
    matrix, factors = np.repeat(np.eye(K // 4), 4, axis=1) / 4, np.array([2.0, 5.0, 0.5])
    joint, y = joint_covariance(process), generator.standard_normal((K // 4, D))
    precision = np.linalg.inv(joint) + np.kron(matrix.T @ matrix, np.diag(factors))
    told = matrix.T @ y * factors
    smoother = Smoother(process, np.ones(K, bool), 3, (matrix.T @ matrix, factors))
    expected = np.linalg.solve(precision, told.ravel()).reshape(K, D)
    np.testing.assert_allclose(smoother.mean(np.zeros((K, D)), told), expected, atol=1e-8)
    covariance = np.linalg.inv(precision).reshape(K, D, K, D)
    for rows, within, _ in smoother.covariances():
        np.testing.assert_allclose(within, covariance[rows][:, :, rows], atol=1e-8)


@pytest.mark.parametrize("n_frames", [1, 3, 6])
def test_a_run_may_be_shorter_than_the_order(n_frames):
    process = Autoregression(covariances_of(np.random.default_rng(0))[:5])
    frames, missing = (
        np.random.default_rng(6).standard_normal((n_frames, D)),
        np.arange(n_frames) == n_frames - 1,
    )
    joint, m = joint_covariance(process, n_frames), np.repeat(missing, D)
    expected = joint[np.ix_(m, ~m)] @ np.linalg.solve(joint[np.ix_(~m, ~m)], frames[~missing].ravel())
    np.testing.assert_allclose(Smoother(process, missing).mean(frames), expected[None], atol=1e-9)
