"""Posterior given some vertices of some frames, against the dense Gaussian over all K * V values."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.frames.joint import JointCovariance, given_entries
from neuroframes.frames.measurement import FrameMask, FrameVertexMask

K, V, D = 9, 24, 2
TIMES = 0.8 * np.arange(K)
ENTRIES = np.random.default_rng(0).random((K, V)) < 0.5
PATTERNS = np.ones((K, V), bool)  # half of the vertices are missing for a while, one always
PATTERNS[3:6, :12], PATTERNS[8], PATTERNS[:, 20] = False, False, False
MASKS = {"scattered": ENTRIES, "stretches": PATTERNS, "none": np.zeros((K, V), bool)}
WAYS = {"Cholesky": 10**6, "conjugate gradients": 0}


@pytest.fixture(scope="module")
def prior(prior_of):
    return prior_of(V, D)


@pytest.fixture(scope="module")
def dense(prior, outside):
    """C, from the noise that gave the fixture's rest its standard deviation."""
    noise = np.random.default_rng(0)
    noise.standard_normal((D, V))
    rest = outside(prior.autoencoder.decoder) * noise.uniform(0.2, 1, V) @ outside(prior.autoencoder.decoder)
    covariance = np.kron(prior.rest.kernel(0, TIMES), rest)
    for j, row in enumerate(prior.autoencoder.decoder.astype(np.float64)):
        kernel = prior.latents.kernel(prior.latents.group[j], TIMES)
        covariance += prior.latents.variance[j] * np.kron(kernel, np.outer(row, row))
    return covariance


@pytest.fixture(params=WAYS)
def largest_dense(request):
    return WAYS[request.param]


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("with_mean", [False, True], ids=["centred", "prior mean"])
def test_mean_and_deviation_are_those_of_a_dense_solve(prior, dense, name, with_mean, largest_dense):
    mask = MASKS[name]
    generator = np.random.default_rng(1)
    mean = generator.standard_normal((K, D)) if with_mean else None
    centre = np.zeros(K * V) if mean is None else (mean @ prior.autoencoder.decoder).ravel()
    y = generator.standard_normal(int(mask.sum()))
    a = np.eye(K * V)[mask.ravel()]
    gain = dense @ a.T @ np.linalg.inv(a @ dense @ a.T)
    expected = (centre + gain @ (y - a @ centre)).reshape(K, V)
    variance = np.diagonal(dense - gain @ a @ dense).reshape(K, V)

    got = given_entries(prior, TIMES, FrameVertexMask(mask), y, mean, largest_dense)
    assert np.linalg.norm(got.mean - expected) <= 1e-5 * np.linalg.norm(expected)
    assert got.mean[mask].tobytes() == y.tobytes()
    if largest_dense:
        for block in (slice(0, 7), slice(7, V)):
            std = got.std(generator, block)
            assert np.allclose(std, np.sqrt(np.maximum(variance, 0))[:, block], rtol=1e-4, atol=1e-5)
            assert not std[mask[:, block]].any()


def test_draws_have_the_stated_moments(prior, largest_dense):
    mask, n = PATTERNS, 150
    prior = replace(prior, spread=1.5)
    y = np.random.default_rng(2).standard_normal(int(mask.sum()))
    got = given_entries(prior, TIMES, FrameVertexMask(mask), y, largest_dense=largest_dense)
    exact = given_entries(prior, TIMES, FrameVertexMask(mask), y).std(np.random.default_rng(3))
    generator = np.random.default_rng(4)
    draws = np.stack([got.draw(generator) for _ in range(n)])
    assert np.array_equal(draws[:, mask], np.broadcast_to(y, (n, len(y))))
    error = np.abs(draws.mean(axis=0) - got.mean)[~mask]
    assert np.all(error < 5 * exact[~mask] / np.sqrt(n))
    deviation = np.sqrt(np.square(draws - got.mean).mean(axis=0))[~mask]
    assert np.allclose(deviation, exact[~mask], rtol=4.5 / np.sqrt(2 * n))
    std = got.std(np.random.default_rng(5), n_draws=n)[~mask]
    assert np.allclose(std, exact[~mask], rtol=4.5 / np.sqrt(2 * n))


def test_of_whole_frames_it_is_the_posterior_of_whole_frames(prior, largest_dense):
    measured = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1], bool)
    generator = np.random.default_rng(6)
    y = generator.standard_normal((int(measured.sum()), V)).astype(np.float32)
    mean = generator.standard_normal((K, D))
    seen = prior.autoencoder.encode(lambda block: y[:, block])
    expected = prior.given(TIMES, FrameMask(measured), seen, mean)
    mask = FrameVertexMask(np.repeat(measured[:, None], V, axis=1))
    got = given_entries(prior, TIMES, mask, y.ravel(), mean, largest_dense)
    wanted = expected.mean(y, slice(0, V))
    assert np.linalg.norm(got.mean - wanted) <= 2e-5 * np.linalg.norm(wanted)
    if largest_dense:
        std = got.std(generator)
        assert np.allclose(std[~measured], expected.std(slice(0, V))[~measured], rtol=1e-4)


def test_both_ways_agree_on_many_entries_with_many_patterns(prior_of):
    prior = prior_of(300, 6)
    times = 0.8 * np.arange(30)
    generator = np.random.default_rng(7)
    truth = JointCovariance(prior, times).draw(generator)
    mask = FrameVertexMask(generator.random((30, 300)) < 0.3)
    y = mask.apply(truth)
    factorised, iterated = (given_entries(prior, times, mask, y, largest_dense=n) for n in (10**6, 0))
    assert np.linalg.norm(iterated.mean - factorised.mean) < 1e-4 * np.linalg.norm(factorised.mean)
    # Stated errors are errors made.
    std = factorised.std(generator, slice(0, 60))
    unknown = ~mask.measured[:, :60]
    ratio = (truth - factorised.mean)[:, :60][unknown] / std[unknown]
    assert abs(np.sqrt(np.mean(ratio**2)) - 1) < 0.1


def test_the_covariance_acts_as_the_dense_matrix(prior, dense):
    covariance = JointCovariance(prior, TIMES)
    x = np.random.default_rng(8).standard_normal((K, V))
    assert np.allclose(covariance.apply(x).ravel(), dense @ x.ravel(), atol=1e-5)
    assert np.allclose(covariance.variance(slice(0, V)).ravel(), np.diagonal(dense), rtol=1e-5)
    assert np.allclose(covariance.variance(slice(2, 4)), covariance.variance(slice(0, V))[:, 2:4])
    index = np.arange(V)
    whole = sum(np.kron(kernel, shared) for kernel, shared in covariance.parts(index, index))
    assert np.allclose(whole, dense, atol=1e-5)
    generator, n = np.random.default_rng(9), 2000
    draws = np.stack([covariance.draw(generator).ravel() for _ in range(n)])
    variance = np.diagonal(dense)
    allowed = 5.5 * np.sqrt((np.outer(variance, variance) + dense**2) / n)
    assert np.all(np.abs(np.cov(draws.T) - dense) < allowed)
