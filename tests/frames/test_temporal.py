"""Stationary covariances: their kernels against sums of waves, their estimates against known processes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve
from scipy.signal import lfilter

from neuroframes.errors import InputError
from neuroframes.evaluation.tasks import TASKS
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import condition, posterior
from neuroframes.frames.temporal import (
    FINER_GRIDS,
    N_FFT,
    TemporalCovariance,
    fit_temporal_covariance,
    octave_groups,
    reduced,
)

TR = 0.8
GENERATOR = np.random.default_rng(0)
TIMES = {
    **{f"1/{parts}": 7.3 + TR / parts * GENERATOR.choice(400, 60, replace=False) for parts in FINER_GRIDS},
    "1/7": 7.3 + TR / 7 * np.arange(60),
    "irregular": GENERATOR.uniform(0, 100, 60),
    "long": np.linspace(0, 2040, 60).round() * TR,
    "none": np.zeros(0),
}


def waves(covariance, group, times, others):
    """sum_f p_f cos(2 pi f tau) + n [tau = 0]."""
    lag = np.subtract.outer(times, others)
    kernel = covariance.noise[group] * (np.abs(lag) < 1e-9)
    n_bins = covariance.power.shape[1]
    for f, power in enumerate(covariance.power[group]):
        kernel += power * np.cos(np.pi * f / ((n_bins - 1) * covariance.tr) * lag)
    return kernel


@pytest.mark.parametrize("name", TIMES)
def test_kernel_is_the_sum_of_waves(covariance_of, name):
    covariance = covariance_of(4, 2)
    covariance.power[1] = covariance.power[1, ::-1]  # one with most power at the highest frequencies
    times = TIMES[name]
    for others in (None, times[:20]):
        got = covariance.kernel(1, times, others)
        assert np.allclose(got, waves(covariance, 1, times, times if others is None else others), atol=1e-9)


@pytest.mark.parametrize("name", TIMES)
def test_kernel_is_positive_semi_definite(covariance_of, name):
    kernel = covariance_of(2, floor=1e-6).kernel(0, TIMES[name])
    assert np.allclose(kernel, kernel.T, atol=1e-12)
    assert np.allclose(np.diagonal(kernel), 1)
    assert np.linalg.eigvalsh(kernel).min(initial=0) > -1e-10


def test_between_frames_noise_is_not_interpolated(covariance_of):
    kernel = covariance_of(1, floor=0.2).kernel(
        0, np.array([0.0, TR, TR]), np.array([0.0, 0.05 * TR, TR / 4])
    )
    assert kernel[0, 0] == pytest.approx(1)
    assert kernel[0, 1] == pytest.approx(0.8, abs=1e-3)
    assert np.all(kernel[:, 2] < 0.8)


def test_jitter_below_a_thousandth_of_tr_counts_as_on_the_grid(covariance_of):
    covariance, times = covariance_of(1), TR * np.arange(100)
    jittered = times + GENERATOR.uniform(-5e-4, 5e-4, 100) * TR
    assert np.array_equal(covariance.kernel(0, times), covariance.kernel(0, jittered - jittered[0]))


def test_a_spectrum_of_eleven_orders_of_magnitude(covariance_of):
    frequency = np.arange(N_FFT // 2 + 1) / (N_FFT * TR)
    total = np.where((frequency > 0.01) & (frequency < 0.1), 1.0, 1e-11)  # band-passed
    total /= total.sum()
    covariance = TemporalCovariance(
        (total - total[0])[None], total[:1] * N_FFT / 2, np.zeros(1, int), np.ones(1), TR
    )
    times = TR * np.arange(1024)
    kernel = covariance.kernel(0, times)
    factor = cho_factor(kernel, lower=True)
    x = np.random.default_rng(1).standard_normal(1024)
    assert np.linalg.norm(kernel @ cho_solve(factor, x) - x) < 1e-4 * np.linalg.norm(x)
    # Band-passed signals are sampled far above their Nyquist rate: single gaps hold no surprise.
    measured = np.arange(1024) % 7 != 3
    got = condition(kernel, FrameMask(measured))
    phase = np.random.default_rng(2).uniform(0, 2 * np.pi, 40)
    z = np.cos(2 * np.pi * np.outer(times, np.linspace(0.015, 0.095, 40)) + phase).sum(axis=1) / np.sqrt(20)
    assert np.abs(got.gain @ z[measured] - z)[20:-20].max() < 1e-3
    assert got.std[20:-20].max() < 1e-3


def test_octave_groups():
    assert np.array_equal(octave_groups(18), [0] * 4 + [1] * 4 + [2] * 8 + [3] * 2)
    assert np.array_equal(octave_groups(1), [0])


def autoregressive(n_frames, d, generator):
    """A damped oscillation of about 0.05 Hz plus a fifth of white noise; unit variance in all."""
    angle, decay = 2 * np.pi * 0.05 * TR, 0.93
    burn_in = 300
    driven = generator.standard_normal((n_frames + burn_in, d))
    x = lfilter([1], [1, -2 * decay * np.cos(angle), decay**2], driven, axis=0)[burn_in:]
    return x, np.array([1, -2 * decay * np.cos(angle), decay**2])


def autocovariance(polynomial, n_lags):
    """Of the autoregressive process with unit innovations, from its spectrum on a fine grid."""
    transfer = np.fft.rfft(polynomial, 2**16)
    return np.fft.irfft(1 / np.abs(transfer) ** 2)[:n_lags]


def test_recovers_an_autoregressive_process():
    generator = np.random.default_rng(3)
    n_lags, series, estimates = 40, [], []
    for _ in range(6):
        x, polynomial = autoregressive(600, 8, generator)
        series.append((x, np.ones(600, bool)))
        covariance = fit_temporal_covariance(series[-1:], TR, np.zeros(8, int))
        estimates.append(covariance.kernel(0, TR * np.arange(n_lags), np.zeros(1))[:, 0])
    expected = autocovariance(polynomial, n_lags)
    pooled = fit_temporal_covariance(series, TR, np.zeros(8, int))
    error = pooled.kernel(0, TR * np.arange(n_lags), np.zeros(1))[:, 0] - expected / expected[0]
    # Smoothing over 0.04 Hz damps long lags; up to 10 frames that is small against the Monte-Carlo error.
    assert np.all(np.abs(error[:10]) < 0.02 + 4 * np.std(estimates, axis=0)[:10] / np.sqrt(6))
    assert np.abs(error).max() < 0.15
    measured = np.concatenate([x for x, _ in series])
    assert np.allclose(pooled.variance, np.square(measured).mean(axis=0))


def test_finds_the_frequency_of_a_sinusoid():
    times = TR * np.arange(800)
    phase = np.random.default_rng(4).uniform(0, 2 * np.pi, 6)
    z = np.cos(2 * np.pi * 0.11 * times[:, None] + phase)
    covariance = fit_temporal_covariance([(z, np.ones(800, bool))], TR, np.zeros(6, int))
    frequency = np.arange(N_FFT // 2 + 1) / (N_FFT * TR)
    peak = covariance.power[0] > 0.01 * covariance.power[0].max()
    assert np.all(np.abs(frequency[peak] - 0.11) < 0.022)
    assert covariance.power[0] @ frequency == pytest.approx(0.11, abs=1e-3)
    assert covariance.noise[0] < 2e-6


def test_power_and_noise_sum_to_one_and_are_not_negative():
    x, _ = autoregressive(300, 9, np.random.default_rng(5))
    covariance = fit_temporal_covariance([(x, np.ones(300, bool))], TR, octave_groups(9))
    assert covariance.power.shape[0] == len(covariance.noise) == 3
    assert np.allclose(covariance.power.sum(axis=1) + covariance.noise, 1)
    assert covariance.power.min() >= 0 and covariance.noise.min() >= 0


def test_white_noise_is_white():
    x = np.random.default_rng(6).standard_normal((1500, 10))
    covariance = fit_temporal_covariance([(x, np.ones(1500, bool))], TR, np.zeros(10, int))
    correlation = covariance.kernel(0, TR * np.arange(30), np.zeros(1))[1:, 0]
    assert np.abs(correlation).max() < 5 / np.sqrt(15000)


def test_expectation_maximisation_gets_close_to_complete_data():
    generator = np.random.default_rng(7)
    lags = TR * np.arange(30)
    complete, incomplete, started = [], [], []
    for _ in range(5):
        x, _ = autoregressive(300, 6, generator)
        x += 0.4 * x.std() * generator.standard_normal(x.shape)
        measured = generator.random(300) > 0.3
        measured[100:112] = False
        everything = np.ones(300, bool)
        broken = np.where(measured[:, None], x, np.nan)  # what stands there is not read
        for estimates, z, mask, iterations in (
            (complete, x, everything, 1),
            (incomplete, broken, measured, 6),
            (started, broken, measured, 1),
        ):
            covariance = fit_temporal_covariance([(z, mask)], TR, np.zeros(6, int), iterations=iterations)
            estimates.append(covariance.kernel(0, lags, np.zeros(1))[:, 0])
    complete, incomplete, started = map(np.array, (complete, incomplete, started))
    monte_carlo = complete.std(axis=0, ddof=1)[1:].mean()
    from_complete = np.abs(incomplete - complete)[:, 1:].mean()
    # An order more or less, as fewer frames support it, is a step.
    assert from_complete < 1.25 * monte_carlo
    bias = np.abs((incomplete - complete).mean(axis=0))
    assert bias.max() < 4 * complete.std(axis=0, ddof=1).max() / np.sqrt(5)
    # At lag 1 a spline through the gaps exaggerates how smooth the process is.
    assert abs(bias[1]) < abs((started - complete).mean(axis=0)[1])


@pytest.mark.parametrize("task", ["every-third", "irregular", "ends-only"])
def test_from_few_measured_frames_the_fit_is_neither_worse_nor_surer_than_it_should(task):
    """Beside the covariance that all frames give: without doubt about gaps, noise would be missed."""
    generator = np.random.default_rng(3)
    slow = lfilter([1], [1, -0.9], generator.standard_normal((700, 4)), axis=0)[100:]
    z = np.sqrt(0.75) * slow / slow.std(axis=0) + 0.5 * generator.standard_normal((600, 4))
    measured = TASKS[task](600)
    group, times = np.zeros(4, np.int64), TR * np.arange(600)

    def miss(given):
        fitted = fit_temporal_covariance([(z, given)], TR, group)
        found = posterior(fitted, times, FrameMask(measured), z[measured], np.zeros_like(z))
        error = (z - found.mean)[~measured]
        inside = np.abs(error) <= 1.645 * found.std[~measured]
        return np.square(error).mean(), inside.mean()

    best, _ = miss(np.ones(600, bool))
    mse, coverage = miss(measured)
    assert mse < (1.3 if task == "ends-only" else 1.05) * best
    assert 0.8 < coverage < 0.97


@pytest.mark.parametrize("seed", [1, 6])
def test_between_pairs_that_are_far_apart_memory_is_no_longer_than_measured_frames_say(seed):
    driven = np.random.default_rng(seed).standard_normal((660, 4))
    z = lfilter([1], [1, -1.3, 0.5], driven, axis=0)[100:]
    z /= z.std(axis=0)
    measured, times = TASKS["ends-only"](560), TR * np.arange(560)
    fitted = fit_temporal_covariance([(z, measured)], TR, np.zeros(4, int))
    assert np.abs(fitted.kernel(0, times[20:40], np.zeros(1))).max() < 0.2
    found = posterior(fitted, times, FrameMask(measured), z[measured], np.zeros_like(z))
    assert np.square(z - found.mean)[~measured].mean() < 1.05


def test_long_runs_are_cut_and_runs_pooled():
    generator = np.random.default_rng(8)
    x, _ = autoregressive(2500, 4, generator)
    whole = fit_temporal_covariance([(x, np.ones(2500, bool))], TR, np.zeros(4, int))
    edges = np.linspace(0, 2500, 4).astype(int)
    parts = [(x[a:b], np.ones(b - a, bool)) for a, b in pairwise(edges)]
    again = fit_temporal_covariance(parts, TR, np.zeros(4, int))
    assert np.allclose(whole.power, again.power)
    assert np.allclose(whole.variance, again.variance)


def test_latents_that_are_zero_do_no_harm():
    x = np.zeros((100, 5))
    x[:, 0] = np.random.default_rng(9).standard_normal(100)
    covariance = fit_temporal_covariance([(x, np.ones(100, bool))], TR, octave_groups(5))
    assert np.all(np.isfinite(covariance.power)) and np.all(np.isfinite(covariance.noise))
    assert np.array_equal(covariance.variance[1:], np.zeros(4))


@pytest.mark.parametrize(("n_runs", "n_measured"), [(1, 15), (4, 5)])
def test_too_few_measured_frames_are_refused(n_runs, n_measured):
    runs = [(np.ones((60, 2)), np.arange(60) < n_measured)] * n_runs
    with pytest.raises(InputError, match="too few to fit a prior in time.*censor fewer"):
        fit_temporal_covariance(runs, TR, np.zeros(2, int))


def density(covariance):
    """Two-sided power, the white part in it."""
    halves = np.full(N_FFT // 2 + 1, 2.0)
    halves[[0, -1]] = 1
    return covariance.power / halves + covariance.noise[:, None] / N_FFT


def test_what_explains_nothing_reduces_nothing(covariance_of):
    prior, before = covariance_of(6, 3), covariance_of(6, 3, floor=0.05)
    got = reduced(prior, before, before)
    assert np.allclose(density(got), density(prior), rtol=1e-9)
    assert np.allclose(got.variance, prior.variance)


def test_reduction_is_a_ratio_per_frequency_that_never_adds_variance(covariance_of):
    prior, before, after = (
        covariance_of(6, 2),
        covariance_of(6, 2, floor=0.05),
        covariance_of(6, 2, floor=0.3),
    )
    after.variance[:] = before.variance * np.array([0.1, 0.5, 0.9, 1, 1.1, 2])
    got = reduced(prior, before, after)
    assert np.allclose(got.variance / prior.variance, [0.1, 0.5, 0.9, 1, 1, 1])
    assert np.allclose(got.power.sum(axis=1) + got.noise, 1)
    assert got.power.min() >= 0 and got.noise.min() >= 0

    ratio = density(got) / (density(prior) * density(after) / density(before))
    assert np.allclose(ratio, ratio[:, :1])
    # The opposite step undoes it.
    assert np.allclose(density(reduced(got, after, before)), density(prior), rtol=1e-9)
