"""Filling runs: measured frames untouched, gaps at the ends, windows of long runs, calibration."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve, toeplitz

from neuroframes.frames.completion import (
    FEWEST_HIDDEN,
    HIDDEN_SHARE,
    calibrated,
    fill_missing,
    given_frames,
    hide_alike,
)
from neuroframes.frames.joint import JointCovariance
from neuroframes.frames.measurement import FrameMask
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
    std = fill_missing(prior, frames, measured, times_of(200))
    assert frames[measured].tobytes() == before[measured].tobytes()
    assert np.all(np.isfinite(frames)) and np.all(std > 0)
    assert std.shape == (int((~measured).sum()), 12)
    marginal = np.sqrt(prior.latents.variance @ prior.autoencoder.decoder**2 + prior.autoencoder.rest**2)
    assert np.all(std <= 1.0001 * marginal)


def test_a_run_of_one_window_is_the_exact_posterior(prior):
    generator = np.random.default_rng(1)
    frames = generator.standard_normal((150, 12)).astype(np.float32)
    measured = generator.random(150) > 0.4
    mean = generator.standard_normal((150, 3))
    seen = prior.autoencoder.encode(lambda block: frames[measured][:, block])
    exact = prior.given(times_of(150), FrameMask(measured), seen, mean)
    wanted = exact.mean(frames[measured], slice(0, 12))[~measured]
    std = fill_missing(prior, frames, measured, times_of(150), mean)
    assert np.allclose(frames[~measured], wanted, atol=1e-5)
    assert np.allclose(std, exact.std(slice(0, 12))[~measured], rtol=1e-5)


def test_nothing_missing_changes_nothing(prior):
    frames = np.random.default_rng(2).standard_normal((50, 12)).astype(np.float32)
    before = frames.copy()
    assert fill_missing(prior, frames, np.ones(50, bool), times_of(50)).shape == (0, 12)
    assert frames.tobytes() == before.tobytes()


def test_without_measurements_it_is_the_prior(prior):
    frames = np.full((60, 12), np.nan, np.float32)
    mean = np.random.default_rng(3).standard_normal((60, 3))
    std = fill_missing(prior, frames, np.zeros(60, bool), times_of(60), mean)
    assert np.allclose(frames, mean @ prior.autoencoder.decoder, atol=1e-5)
    marginal = np.sqrt(prior.latents.variance @ prior.autoencoder.decoder**2 + prior.autoencoder.rest**2)
    assert np.allclose(std, marginal, rtol=1e-4)


@pytest.mark.parametrize("end", ["start", "end"])
def test_beyond_the_measured_frames_the_estimate_relaxes_to_the_prior(prior, end):
    prior = replace(prior, latents=relaxing(3), rest=relaxing(1, 0.7))
    measured = np.arange(200) < 80
    order = slice(None) if end == "end" else slice(None, None, -1)
    frames = np.random.default_rng(4).standard_normal((200, 12)).astype(np.float32)
    std = fill_missing(prior, frames, measured[order], times_of(200))[order]
    beyond = frames[order][80:]
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
    std = fill_missing(prior, frames, measured, times)
    near = np.abs(np.flatnonzero(missing)[:, None] - borders).min(axis=1) < 30
    for where in (near, ~near):
        assert np.abs(frames[missing] - expected)[where].max() < 1e-4
        assert np.allclose(std[where], np.sqrt(variance)[where, None] * scale, rtol=1e-4, atol=1e-5)


def test_times_off_the_grid_are_interpolated_as_the_kernel_says(prior):
    times = np.sort(np.concatenate([TR * np.arange(40), TR * np.arange(39) + 0.3]))
    measured = np.isin(times, TR * np.arange(40))
    frames = np.random.default_rng(6).standard_normal((79, 12)).astype(np.float32)
    got = given_frames(prior, frames, measured, times)
    kernel = prior.latents.kernel(0, times)
    gain = kernel[:, measured] @ np.linalg.inv(kernel[np.ix_(measured, measured)])
    assert np.allclose(got.latents.conditionals[0].gain, gain, atol=1e-6)


def masks():
    generator = np.random.default_rng(7)
    yield "a few short gaps", np.isin(np.arange(400), [50, 51, 120, 121, 122, 300], invert=True)
    yield "scattered", generator.random(1000) > 0.2
    yield "long gaps", (np.arange(900) // 60) % 3 > 0
    yield "nothing missing", np.ones(300, bool)
    yield "mostly missing", (np.arange(600) % 20) < 5
    yield "every second", np.arange(300) % 2 == 0


MASKS = dict(masks())


@pytest.mark.parametrize("name", MASKS)
def test_hidden_frames_are_measured_and_few(name):
    measured = MASKS[name]
    hidden = hide_alike(measured)
    assert hidden.dtype == bool and hidden.shape == measured.shape
    assert not np.any(hidden & ~measured)
    longest = max(len(part) for part in "".join("x" if m else " " for m in ~measured).split() or ["x"])
    # The last gap to be hidden may exceed the budget.
    assert hidden.sum() <= HIDDEN_SHARE * measured.sum() + max(longest, 5)
    assert np.array_equal(hidden, hide_alike(measured))
    if name not in ("every second", "mostly missing"):
        assert hidden.sum() >= FEWEST_HIDDEN


@pytest.mark.parametrize("name", ["a few short gaps", "long gaps", "nothing missing"])
def test_hidden_gaps_are_as_long_as_real_ones(name):
    measured = MASKS[name]

    def lengths(mask):
        return {len(part) for part in "".join("x" if m else " " for m in mask).split()}

    hidden = hide_alike(measured)
    real = lengths(~measured) or {1}
    assert lengths(hidden) and lengths(hidden) <= real
    assert measured[hidden].all() and (measured & ~hidden).sum() >= 0.8 * measured.sum()


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_calibration_finds_by_how_much_the_deviation_is_wrong(prior_of, factor):
    prior = prior_of(12, 3)
    generator = np.random.default_rng(8)
    frames = JointCovariance(prior, times_of(700)).draw(generator).astype(np.float32)
    wrong = replace(
        prior,
        latents=replace(prior.latents, variance=prior.latents.variance * factor**2),
        autoencoder=replace(prior.autoencoder, rest=prior.autoencoder.rest * np.float32(factor)),
    )
    measured = generator.random(700) > 0.15
    right = calibrated(wrong, frames, measured, times_of(700))
    assert right.spread == pytest.approx(1 / factor, rel=0.15)
    hidden = ~measured
    estimate = np.where(measured[:, None], frames, 0)
    std = fill_missing(right, estimate, measured, times_of(700))
    covered = np.abs(estimate - frames)[hidden] <= 1.645 * std
    assert covered.mean() == pytest.approx(0.9, abs=0.04)


def test_calibration_needs_enough_frames_to_hide(prior):
    frames = np.zeros((30, 12), np.float32)
    assert calibrated(prior, frames, np.arange(30) % 2 == 0, times_of(30)) is prior
