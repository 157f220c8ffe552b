"""Filling runs: the exact posterior, measured frames untouched, gaps at the ends, long runs, draws."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve, toeplitz

from neuroframes.frames.filling import draw_exactly, draw_missing, fill_missing, windows_of
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.partial import Between
from neuroframes.frames.posterior import posterior
from neuroframes.frames.temporal import N_FFT, TemporalCovariance

TR = 0.8


def times_of(n_frames):
    return 100.0 + TR * np.arange(n_frames)


def relaxing(n_latents, decay=0.9):
    """The covariance decay^|lag|: a first-order autoregression, whose memory is one frame."""
    lag = np.minimum(np.arange(N_FFT), N_FFT - np.arange(N_FFT))
    power = np.fft.rfft(decay**lag).real / N_FFT
    power[1:-1] *= 2
    return TemporalCovariance(
        power[None], np.zeros(1), np.zeros(n_latents, int), np.linspace(2, 1, n_latents), TR
    )


@pytest.fixture(scope="module")
def prior(prior_of):
    return prior_of(12, 3)


def test_measured_frames_are_untouched_to_the_bit(prior):
    generator = np.random.default_rng(0)
    frames = np.asfortranarray(generator.standard_normal((200, 12)).astype(np.float32))
    measured = generator.random(200) > 0.3
    before = frames.copy()
    frames[~measured] = np.nan  # what stands there is not read
    filled, std = fill_missing(prior, frames, measured, times_of(200))
    assert frames[measured].tobytes() == before[measured].tobytes()
    assert np.all(np.isfinite(filled)) and np.all(std > 0)
    assert filled.shape == std.shape == (int((~measured).sum()), 12)
    marginal = np.sqrt(prior.latents.variance @ prior.autoencoder.decoder**2 + prior.autoencoder.rest**2)
    assert np.all(std <= 1.0001 * marginal)


def test_a_run_of_one_window_is_the_exact_posterior(prior):
    generator = np.random.default_rng(1)
    frames = generator.standard_normal((150, 12)).astype(np.float32)
    measured = generator.random(150) > 0.4
    mean = generator.standard_normal((150, 3))
    encoded = prior.autoencoder.encode(lambda block: frames[measured][:, block])
    exact = prior.given(times_of(150), FrameMask(measured), encoded, mean)
    expected = exact.mean(frames[measured], slice(0, 12))[~measured]
    filled, std = fill_missing(prior, frames, measured, times_of(150), mean=mean)
    assert np.allclose(filled, expected, atol=1e-5)
    assert np.allclose(std, exact.std(slice(0, 12))[~measured], rtol=1e-5)


def test_nothing_missing_changes_nothing(prior):
    frames = np.random.default_rng(2).standard_normal((50, 12)).astype(np.float32)
    before = frames.copy()
    filled, std = fill_missing(prior, frames, np.ones(50, bool), times_of(50))
    assert filled.shape == std.shape == (0, 12)
    assert frames.tobytes() == before.tobytes()


def test_without_measurements_it_is_the_prior(prior):
    frames = np.full((60, 12), np.nan, np.float32)
    mean = np.random.default_rng(3).standard_normal((60, 3))
    filled, std = fill_missing(prior, frames, np.zeros(60, bool), times_of(60), mean=mean)
    assert np.allclose(filled, mean @ prior.autoencoder.decoder, atol=1e-5)
    marginal = np.sqrt(prior.latents.variance @ prior.autoencoder.decoder**2 + prior.autoencoder.rest**2)
    assert np.allclose(std, marginal, rtol=1e-4)


@pytest.mark.parametrize("end", ["start", "end"])
def test_beyond_the_measured_frames_the_estimate_relaxes_to_the_prior(prior, end):
    prior = replace(prior, latents=relaxing(3), rest=relaxing(1, 0.7))
    measured = np.arange(200) < 80
    order = slice(None) if end == "end" else slice(None, None, -1)
    frames = np.random.default_rng(4).standard_normal((200, 12)).astype(np.float32)
    beyond, std = (part[order] for part in fill_missing(prior, frames, measured[order], times_of(200)))
    marginal = np.sqrt(prior.latents.variance @ prior.autoencoder.decoder**2 + prior.autoencoder.rest**2)
    assert np.all(np.diff(std, axis=0) > -1e-5)
    assert np.all(std[0] < 0.8 * marginal)
    assert np.allclose(std[-1], marginal, rtol=1e-4)
    assert np.abs(beyond[-1]).max() < 1e-4
    # What a first-order autoregression says h frames ahead, latents and rest apart.
    last = frames[order][79]
    shared = prior.autoencoder.decode(prior.autoencoder.encode(lambda block: last[None, block]))
    ahead = np.arange(1, 121)[:, None]
    assert np.allclose(beyond, 0.9**ahead * shared + 0.7**ahead * (last - shared), atol=1e-3)


def test_windows_of_a_long_run_agree_with_one_window(prior_of):
    n_vertices, n_frames = 4, 2600
    prior = prior_of(n_vertices, 2, 1)
    prior = replace(prior, autoencoder=replace(prior.autoencoder, rest=np.full(n_vertices, 1e-6, np.float32)))
    times = times_of(n_frames)
    generator = np.random.default_rng(5)
    # Circulant embedding: a sample of the process whose covariance the kernel is.
    row = prior.latents.kernel(0, times[:1], times[:1] + TR * np.arange(N_FFT))[0]
    spectrum = np.maximum(np.fft.fft(row).real, 0)
    noise = generator.standard_normal((len(spectrum), 2, 2)) @ [1, 1j]
    z = np.fft.fft(np.sqrt(spectrum / len(spectrum))[:, None] * noise, axis=0).real[:n_frames]
    frames = prior.autoencoder.decode(z * np.sqrt(prior.latents.variance))
    measured = generator.random(n_frames) > 0.2
    borders = np.array([866, 1733])  # of the windows
    for border in borders:
        measured[border - 6 : border + 6] = False
    whole, missing = toeplitz(prior.latents.kernel(0, times, times[:1])[:, 0]), ~measured
    factor = cho_factor(whole[np.ix_(measured, measured)])
    gain = cho_solve(factor, whole[np.ix_(measured, missing)]).T
    expected = gain @ frames[measured]
    variance = 1 - np.einsum("ij,ij->i", gain, whole[np.ix_(missing, measured)])
    scale = np.sqrt(prior.latents.variance @ prior.autoencoder.decoder**2)
    frames[missing] = 0
    filled, std = fill_missing(prior, frames, measured, times)
    near = np.abs(np.flatnonzero(missing)[:, None] - borders).min(axis=1) < 30
    for where in (near, ~near):
        assert np.abs(filled - expected)[where].max() < 1e-4
        assert np.allclose(std[where], np.sqrt(variance)[where, None] * scale, rtol=1e-4, atol=1e-5)


def test_times_off_the_grid_are_interpolated_as_the_kernel_says(prior):
    times = np.sort(np.concatenate([TR * np.arange(40), TR * np.arange(39) + 0.3]))
    measured = np.isin(times, TR * np.arange(40))
    frames = np.random.default_rng(6).standard_normal((79, 12)).astype(np.float32)
    filled, _ = fill_missing(prior, frames, measured, times)

    def gain(covariance, group):
        kernel = covariance.kernel(group, times)
        return kernel[np.ix_(~measured, measured)] @ np.linalg.inv(kernel[np.ix_(measured, measured)])

    latents = prior.encode(frames, measured)[measured]
    expected = gain(prior.rest, 0) @ (frames[measured] - prior.autoencoder.decode(latents))
    for g, which in prior.latents.groups():
        expected += gain(prior.latents, g) @ latents[:, which] @ prior.autoencoder.decoder[which]
    assert np.allclose(filled, expected, atol=1e-4)


def test_draws_have_the_stated_mean_and_deviation(prior):
    n, prior, generator = 2000, replace(prior, spread=1.5), np.random.default_rng(7)
    frames, times = generator.standard_normal((9, 12)).astype(np.float32), times_of(9)
    measured = np.isin(np.arange(9), [0, 1, 4, 6])
    latents = prior.encode(frames, measured)
    given = posterior(prior.latents, times, FrameMask(measured), latents[measured])
    drawn = np.stack([given.draw(generator) for _ in range(n)])
    mean, std = fill_missing(prior, frames, measured, times)
    draws = draw_missing(prior, mean, measured, times, latents, None, drawn, generator)
    draws = np.stack(list(draws))
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * std / np.sqrt(n) + 1e-4)
    assert np.allclose(draws.std(axis=0), std, rtol=5 / np.sqrt(2 * n))


def drawn_frames(prior, measured, n, seed):
    """Draws (S, K, d) of latents, and (S, M, V) of missing frames; what is measured is 0."""
    n_frames, (d, n_vertices) = len(measured), prior.autoencoder.decoder.shape
    generator, times = np.random.default_rng(seed), times_of(n_frames)
    frames, latents = np.zeros((n_frames, n_vertices), np.float32), np.zeros((n_frames, d))
    drawn = draw_exactly(prior, times, latents, measured, None, n, generator)
    mean, _ = fill_missing(prior, frames, measured, times)
    return drawn, draw_missing(prior, mean, measured, times, latents, None, drawn, generator)


LONG = 1400  # frames: two windows of 700
SPARSE = {"nothing measured": np.zeros(LONG, bool), "a few measured": np.arange(LONG) % 100 == 40}


@pytest.mark.parametrize("name", SPARSE)
def test_draws_have_no_seams(prior_of, name):
    prior, measured = prior_of(30, 3), SPARSE[name]
    (_, second) = windows_of(prior, measured, times_of(LONG))
    border = second.context.start + np.flatnonzero(second.rows)[0]
    assert border == 700
    latents, frames = drawn_frames(prior, measured, 40, 8)
    whole = np.zeros((40, LONG, 30), np.float32)
    whole[:, ~measured] = list(frames)
    for draws in (latents, whole):
        step = np.sqrt(np.square(np.diff(draws, axis=1)).mean(axis=(0, 2)))
        others = np.delete(step[~measured[1:] & ~measured[:-1]], border - 1 - measured[:border].sum())
        assert others.min() < step[border - 1] < others.max()
        assert others.max() < 2 * others.min()


@pytest.mark.parametrize("name", SPARSE)
def test_draws_covary_across_the_border_of_windows(prior_of, name):
    n, n_vertices = 400, 8
    prior, measured, times = prior_of(n_vertices, 1, 1), SPARSE[name], times_of(LONG)
    around = np.flatnonzero(np.isin(np.arange(LONG), np.arange(696, 704)))
    latents, frames = drawn_frames(prior, measured, n, 9)
    number = np.cumsum(~measured) - 1
    drawn = np.stack([frame[number[around]] for frame in frames]).reshape(n, -1)

    def left(covariance):
        kernel = covariance.kernel(0, times)
        gain = np.linalg.solve(kernel[np.ix_(measured, measured)], kernel[np.ix_(measured, around)]).T
        return kernel[np.ix_(around, around)] - gain @ kernel[np.ix_(measured, around)]

    shared = left(prior.latents) * prior.latents.variance
    decoder = prior.autoencoder.decoder.astype(np.float64)
    outside = np.eye(n_vertices) - np.linalg.pinv(decoder) @ decoder
    rest = outside * Between.of(prior).rest @ outside
    assert np.allclose(np.diagonal(rest), np.square(prior.autoencoder.rest), rtol=1e-3)
    for draws, expected in (
        (latents[:, around, 0], shared),
        (drawn, np.kron(shared, decoder.T @ decoder) + np.kron(left(prior.rest), rest)),
    ):
        variance = np.diagonal(expected)
        allowed = 5.5 * np.sqrt((np.outer(variance, variance) + expected**2) / n)
        assert np.all(np.abs(draws.T @ draws / n - expected) < allowed)
