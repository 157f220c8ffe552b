"""Lead and lag between latents: what is recovered, what it is worth, and that it is nothing at weight 0."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.coupling import (
    HIGHEST_ORDER,
    ORDER,
    WEIGHT,
    Lags,
    coupled,
    expected_products,
    fit_lags,
    fit_products,
    process_of,
)
from neuroframes.frames.filling import draw_exactly
from neuroframes.frames.measurement import Averaging, FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.frames.prior import FramePrior
from neuroframes.frames.temporal import (
    FEWEST_MEASURED,
    N_FFT,
    TemporalCovariance,
    autoregressive,
    fit_temporal_covariance,
    octave_groups,
    total_power,
)

TR, D = 2.0, 5
LAG = 3  # frames by which latent 1 follows latent 0


def following(n_frames, generator, share=0.9):
    """Latent 1 is latent 0 of `LAG` frames before, latents 2 to 4 are their own; unit variance in all."""
    own = lfilter([1], [1, -0.8], generator.standard_normal((n_frames + 200, D)), axis=0) * 0.6
    late = np.sqrt(share) * own[200 - LAG : -LAG, 0] + np.sqrt(1 - share) * own[200:, 1]
    return np.column_stack([own[200:, 0], late, own[200:, 2:]])


def fit_coupling(latents, measured, marginal, weight=0.5):
    return coupled(marginal, fit_products(latents, measured, marginal), weight)


def fitted(latents, measured, **weight):
    marginal = fit_temporal_covariance([(latents, measured)], TR, octave_groups(D))
    return marginal, fit_coupling(latents, measured, marginal, **weight)


def squared_error(prior, latents, measured):
    times = TR * np.arange(len(latents))
    found = posterior(prior, times, FrameMask(measured), latents[measured]).mean
    return np.square(found - latents)[~measured].mean(axis=0)


@pytest.fixture(scope="module")
def pair():
    """Latents, measured, marginal and coupled covariance; gaps of 4 in every 20 frames."""
    latents, measured = following(600, np.random.default_rng(0)), np.arange(600) % 20 >= 4
    return latents, measured, *fitted(latents, measured)


MASKS = {
    "scattered": np.random.default_rng(1).random(80) < 0.6,
    "gaps": np.arange(80) % 20 >= 8,
    "nine tenths missing": np.arange(80) % 10 == 4,
    "nothing measured": np.zeros(80, bool),
}


@pytest.mark.parametrize("off_grid", [False, True], ids=["on the grid", "off it"])
@pytest.mark.parametrize("name", MASKS)
def test_at_weight_0_latents_are_independent(pair, name, off_grid):
    latents, measured, marginal, _ = pair
    nothing = fit_coupling(latents, measured, marginal, 0.0)
    times, known = TR * np.arange(80), MASKS[name]
    y = following(80, np.random.default_rng(3))[known]
    if off_grid:
        between = TR * np.random.default_rng(2).uniform(10, 60, 12)
        order = np.argsort(np.append(times, between))
        times = np.append(times, between)[order]
        known = np.append(known, np.zeros(12, bool))[order]
    got, expected = (posterior(prior, times, FrameMask(known), y) for prior in (nothing, marginal))
    scale = np.sqrt(marginal.variance)
    assert np.abs((got.mean - expected.mean) / scale).max() < 1e-3
    assert np.abs((got.std - expected.std) / scale).max() < 1e-3


def spectra_of(process):
    inverse = np.linalg.inv(np.fft.rfft(process.filters[-1], 512, axis=0))
    return inverse @ inverse.conj().transpose(0, 2, 1)


def covariances_of(process, n_lags):
    """C(0) to C(n_lags)."""
    return np.fft.irfft(spectra_of(process), 512, axis=0)[: n_lags + 1]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_cross_spectra_are_positive_definite_and_keep_each_latent_s_own(pair, weight):
    latents, measured, marginal, _ = pair
    process = fit_coupling(latents, measured, marginal, weight).coupling
    spectra = spectra_of(process)
    assert np.linalg.eigvalsh(spectra).min() > 0
    own = total_power(marginal)[marginal.group].T[::16] * marginal.variance * 4096
    diagonal = np.einsum("fdd->fd", spectra).real
    # The process' order is finite, so what is shared moves a latent's own a little.
    np.testing.assert_allclose(diagonal[::2], own, rtol=0.15 if weight else 1e-3)
    np.testing.assert_allclose(np.diagonal(process.lags[0]), marginal.variance, rtol=1e-6)


def test_a_latent_that_follows_another_is_found_to(pair):
    latents, _, marginal, prior = pair
    lags = covariances_of(prior.coupling, 6) / np.sqrt(np.outer(marginal.variance, marginal.variance))
    follows = np.array([*(row[0, 1] for row in lags[:0:-1]), *(row[1, 0] for row in lags)])  # E z_t+l,1 z_t,0
    assert np.argmax(follows) - 6 == LAG
    others = np.abs(lags[:, 2:, :2]).max()
    assert follows.max() > 0.4 > 3 * others  # `WEIGHT` halves what latents say of each other
    full = covariances_of(fit_coupling(latents, np.ones(600, bool), marginal, 1.0).coupling, LAG)
    expected = latents[LAG:, 1] @ latents[:-LAG, 0] / 600
    assert full[LAG, 1, 0] == pytest.approx(expected, rel=0.1)


def test_what_follows_is_filled_better(pair):
    latents, measured, marginal, prior = pair
    without, with_coupling = (squared_error(p, latents, measured) for p in (marginal, prior))
    assert with_coupling[1] < 0.8 * without[1]
    assert np.all(with_coupling < 1.1 * without)
    latents = following(600, np.random.default_rng(8))  # that it wasn't fitted to
    without, with_coupling = (squared_error(p, latents, measured) for p in (marginal, prior))
    assert with_coupling[1] < 0.8 * without[1]


def test_all_of_the_weight_is_better_where_much_follows():
    latents, measured = following(600, np.random.default_rng(4), 1.0), np.arange(600) % 20 >= 4
    marginal, half = fitted(latents, measured)
    full = fit_coupling(latents, measured, marginal, 1.0)
    errors = [squared_error(prior, latents, measured)[1] for prior in (marginal, half, full)]
    assert errors[2] < errors[1] < errors[0]


def test_a_process_of_a_band_has_the_order_that_it_takes():
    frequency = np.linspace(0, 0.5, 2049)
    group, variance = np.zeros(2, int), np.ones(2)

    def order(power):
        return process_of(TemporalCovariance.of_power(power[None], group, variance, TR)).order

    decay = np.abs(1 - 0.7 * np.exp(-2j * np.pi * frequency)) ** -2
    assert order(np.ones(2049)) == 0 and order(decay) == 1
    assert order(np.where(np.abs(frequency - 0.1) < 0.08, 1, 1e-6)) == HIGHEST_ORDER


@pytest.mark.parametrize("band", [(0.008, 0.0723), (0.0166, 0.05), (0.02, 0.1603)])
def test_a_process_of_a_narrow_band_has_its_covariances(band):
    frequency = np.arange(N_FFT // 2 + 1) / N_FFT
    power = autoregressive(np.where((frequency > band[0]) & (frequency < band[1]), 1.0, 1e-8), 5000)
    marginal = TemporalCovariance.of_power(power[None], np.zeros(1, int), np.ones(1), TR)
    process = process_of(marginal)
    expected = marginal.kernel(0, TR * np.arange(process.order + 1))[0]
    np.testing.assert_allclose(process.lags[:, 0, 0], expected, atol=0.01)


# Sums of a run


def test_products_of_measured_frames_are_sums(pair):
    latents = pair[0]
    process = pair[3].coupling
    got = expected_products(process, latents, np.ones(600, bool))
    for lag in range(ORDER + 1):
        expected = sum(np.outer(latents[t], latents[t - lag]) for t in range(lag, 600))
        np.testing.assert_allclose(got[lag], expected, atol=1e-9)


def test_expected_products_hold_what_is_uncertain():
    """Averaged over draws of the process, those of an incomplete run are those of the whole."""
    generator = np.random.default_rng(5)
    process = fitted(following(600, generator), np.ones(600, bool), weight=1.0)[1].coupling
    measured, joint = generator.random(100) < 0.4, covariances_of(process, 100)
    joint = np.block([[joint[s - t] if s >= t else joint[t - s].T for t in range(100)] for s in range(100)])
    root, n_draws = np.linalg.cholesky(joint), 150
    draws = (root @ generator.standard_normal((500, n_draws))).T.reshape(n_draws, 100, D)
    found = np.stack([expected_products(process, z, measured) for z in draws]) / 100
    expected = covariances_of(process, ORDER)
    pairs = (100 - np.arange(ORDER + 1))[:, None, None] / 100
    error = found.mean(axis=0) - pairs * expected
    assert np.all(np.abs(error) < 5 * found.std(axis=0) / np.sqrt(n_draws))


def test_lags_are_sums_over_measured_frames(pair):
    latents, measured, marginal, _ = pair
    own = fit_lags(latents, measured, TR)
    assert own.frames == measured.sum()
    np.testing.assert_allclose(own.power / own.frames, total_power(marginal))
    assert own.cross.shape == (ORDER + 1, D, D)
    # Both say what a frame's square is, the latter as if nothing were missing.
    np.testing.assert_allclose(np.diagonal(own.cross[0]) / own.frames, marginal.variance, rtol=0.05)
    complete = fit_lags(latents, np.ones(600, bool), TR)
    np.testing.assert_allclose(complete.cross[0], latents.T @ latents)
    np.testing.assert_allclose(complete.cross[LAG], latents[LAG:].T @ latents[:-LAG])


def test_sums_of_one_run_make_the_covariance_fitted_to_it(pair):
    latents, everything = pair[0], np.ones(600, bool)
    marginal, prior = fitted(latents, everything)
    together = fit_lags(latents, everything, TR).together(TR, 0.5)
    np.testing.assert_allclose(together.power, marginal.power, atol=1e-12)
    np.testing.assert_allclose(together.variance, marginal.variance)
    products = expected_products(prior.coupling, latents, everything)
    np.testing.assert_allclose(
        together.coupling.lags, coupled(marginal, products, 0.5).coupling.lags, atol=1e-9
    )


def test_missing_frames_are_not_read(pair):
    latents, measured, marginal, _ = pair
    found = []
    for value in (np.nan, 1e30):
        broken = np.where(measured[:, None], latents, value)
        lags = fit_lags(broken, measured, TR)
        beside = fit_lags(broken, measured, TR, lags)
        prior = fit_coupling(broken, measured, marginal)
        found.append([lags.cross, lags.power, beside.cross, prior.coupling.lags])
    for first, second in zip(*found, strict=True):
        assert np.all(np.isfinite(first))
        np.testing.assert_array_equal(first, second)


def test_sums_add_and_scale(pair):
    one, other = (fit_lags(following(200, np.random.default_rng(n)), np.ones(200, bool), TR) for n in (6, 7))
    both = one + other
    np.testing.assert_array_equal(both.cross, one.cross + other.cross)
    np.testing.assert_array_equal(both.power, one.power + other.power)
    assert both.frames == 400
    half, whole = one.scaled(0.5), one.together(TR)
    assert half.frames == 100
    np.testing.assert_allclose(half.together(TR).coupling.lags, whole.coupling.lags)
    np.testing.assert_allclose(half.together(TR).variance, whole.variance)


def test_a_run_counts_beside_others_by_its_frames():
    generator = np.random.default_rng(9)
    others = fit_lags(following(3000, generator), np.ones(3000, bool), TR)
    weights, distances = [], []
    for n_frames in (40, 400, 4000):
        own = fit_lags(following(n_frames, generator), np.ones(n_frames, bool), TR)
        both = own.beside(others)
        weights.append(own.weight)
        share = own.weight * own.power / own.frames + (1 - own.weight) * others.power / others.frames
        np.testing.assert_allclose(both.power, share)
        assert both.frames == pytest.approx(1)
        diagonal = np.diagonal(own.cross[0]) / n_frames
        expected = own.weight * diagonal + (1 - own.weight) * np.diagonal(others.cross[0]) / 3000
        np.testing.assert_allclose(np.diagonal(both.cross[0]), expected)
        distances.append(np.abs(both.cross[0] - others.cross[0] / 3000).max())
    assert weights[1] == 0.5 and np.all(np.diff(weights) > 0)


def test_others_help_to_say_what_missing_frames_may_have_been():
    """Nine tenths missing: what follows is found beside people who show it, hardly alone."""
    generator = np.random.default_rng(10)
    others = fit_lags(following(2000, generator), np.ones(2000, bool), TR)
    whole, sparse = following(600, generator), np.arange(600) % 10 == 4
    truth = fit_lags(whole, np.ones(600, bool), TR)

    def miss(lags):
        return np.abs(lags.cross[LAG, 1, 0] / lags.frames - truth.cross[LAG, 1, 0] / 600)

    assert miss(fit_lags(whole, sparse, TR, others)) < 0.5 * miss(fit_lags(whole, sparse, TR))


@pytest.mark.parametrize("n_alive", [3, 0])
def test_latents_that_are_0_do_no_harm(n_alive):
    latents = following(200, np.random.default_rng(11))
    latents[:, n_alive:] = 0
    lags = fit_lags(latents, np.arange(200) % 10 > 2, TR)
    assert np.all(np.isfinite(lags.cross)) and np.all(np.isfinite(lags.power))
    for measured in (np.arange(200) % 10 > 2, np.ones(200, bool)):
        marginal, prior = fitted(latents, measured)
        got, expected = (
            posterior(p, TR * np.arange(200), FrameMask(measured), latents[measured])
            for p in (prior, marginal)
        )
        assert np.all(np.isfinite(got.mean)) and np.abs(got.mean[:, n_alive:]).max() < 1e-9
        assert np.abs(got.std - expected.std)[:, n_alive:].max() < 1e-4
        averages = Averaging(200, 4)
        told = posterior(prior, TR * np.arange(200), averages, averages.apply(latents), noise=0.1)
        assert np.all(np.isfinite(told.mean)) and np.abs(told.mean[:, n_alive:]).max() < 1e-9
        assert np.all(np.isfinite(told.std))


def test_too_few_measured_frames_are_refused():
    with pytest.raises(InputError, match="too few to fit a prior in time"):
        fit_lags(np.ones((60, D)), np.arange(60) < FEWEST_MEASURED - 1, TR)


def test_a_long_run_of_which_few_frames_are_measured_makes_a_process_or_is_refused():
    """No two measured frames are `ORDER` frames apart, or so thinly spread that no window has enough."""
    latents, at = following(3000, np.random.default_rng(12)), np.arange(3000)
    found = fit_lags(latents[:1000], at[:1000] % 50 == 4, TR)
    assert np.all(np.isfinite(found.together(TR, WEIGHT).coupling.precision))
    with pytest.raises(InputError, match="no run has 8 measured frames in a window of at most 1024, too few"):
        fit_lags(latents, at % 150 == 4, TR)


def test_lags_are_scaled_without_changing_their_own():
    lags = Lags(np.ones((ORDER + 1, 2, 2)), np.ones((1, 9)), 4.0)
    lags.scaled(3).cross[:] = 0
    assert np.all(lags.cross == 1) and lags.frames == 4


def test_lagged_products_of_few_frames_make_a_process_once_shrunk():
    latents = np.random.default_rng(8).standard_normal((150, 37))
    lags = fit_lags(latents, np.ones(150, bool), 2.0)
    with pytest.raises(np.linalg.LinAlgError):
        lags.together(2.0)
    assert np.all(np.isfinite(lags.trusted().together(2.0).coupling.lags))


def test_draws_of_a_long_run_on_a_finer_grid():
    generator, measured = np.random.default_rng(9), np.arange(2400) % 4 == 0
    coarse = [(generator.standard_normal((600, 3)), np.ones(600, bool))]
    coupled = fit_coupling(*coarse[0], fit_temporal_covariance(coarse, 2.0, octave_groups(3)))
    prior = FramePrior(
        LinearAutoencoder(np.eye(3, dtype=np.float32), np.zeros(3, np.float32)), coupled, coupled
    )
    known = np.where(measured[:, None], np.repeat(coarse[0][0], 4, axis=0), 0)
    drawn = draw_exactly(prior, 0.5 * np.arange(2400), known, measured, None, 2, generator)
    assert np.array_equal(drawn[0][measured], known[measured].astype(np.float32)) and np.isfinite(drawn).all()
