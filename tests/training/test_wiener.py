"""The Wiener filter keeps what is predicted and drops what is noise, frequency by frequency."""

import numpy as np
import pytest

from neuroframes.training.wiener import fit_wiener, smooth

TR = 0.8
REACH = 16  # frames: 12.8 s
GROUP = np.array([0, 0, 0, 0, 1, 1, 1, 1])


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def slow_and_fast(generator):
    """Two independent signals of 8 latents: below 0.1 Hz, and above 0.3 Hz."""
    white = generator.standard_normal((2, 900, 8))
    spectrum, frequency = np.fft.rfft(white, axis=1), np.fft.rfftfreq(900, TR)[:, None]
    return np.fft.irfft(spectrum * np.stack([frequency < 0.1, frequency > 0.3]), 900, axis=1)


def test_a_perfect_prediction_passes_unchanged(slow_and_fast):
    series = slow_and_fast.sum(axis=0)
    kernels = fit_wiener([series], [series], GROUP, TR)
    assert kernels.shape == (2, 2 * REACH + 1)
    filtered = smooth(series, kernels, GROUP)
    # The standard error is taken off, a tenth or so.
    assert np.corrcoef(filtered.ravel(), series.ravel())[0, 1] > 0.99
    assert 0.7 < filtered.std() / series.std() <= 1


def test_noise_is_not_believed(generator):
    noise, target = generator.standard_normal((2, 900, 8))
    kernels = fit_wiener([noise], [target], GROUP, TR)
    assert smooth(noise, kernels, GROUP).std() < 0.2


def test_each_group_keeps_its_own_time_scale(slow_and_fast, generator):
    slow, fast = slow_and_fast
    target = np.where(GROUP == 0, slow, fast)
    kernels = fit_wiener([slow + fast], [target], GROUP, TR)
    filtered = smooth(slow + fast, kernels, GROUP)
    for latent in range(8):
        right, wrong = (slow, fast) if GROUP[latent] == 0 else (fast, slow)
        inside = slice(REACH, -REACH)
        r = [np.corrcoef(filtered[inside, latent], x[inside, latent])[0, 1] for x in (right, wrong)]
        assert r[0] > 0.95 and abs(r[1]) < 0.25


def test_the_unlikely_direction_is_never_taken(slow_and_fast):
    series = slow_and_fast.sum(axis=0)
    assert np.allclose(fit_wiener([-series], [series], GROUP, TR), 0)


def test_smoothing_equals_convolution(generator):
    series = generator.standard_normal((60, 8))
    kernel = generator.standard_normal((2, 2 * REACH + 1))
    symmetric = kernel + kernel[:, ::-1]
    got = smooth(series, symmetric, GROUP)
    padded = np.pad(series, ((REACH, REACH), (0, 0)), mode="edge")
    for latent in range(8):
        assert np.allclose(got[:, latent], np.convolve(padded[:, latent], symmetric[GROUP[latent]], "valid"))


def test_all_of_a_long_run_counts(generator):
    series = generator.standard_normal((5000, 8))
    late = np.where(np.arange(5000)[:, None] < 2500, generator.standard_normal((5000, 8)), series)
    gain = fit_wiener([late], [series], GROUP, TR).sum(axis=1)
    assert np.all((gain > 0.3) & (gain < 0.6))
