"""Fitting the ridge from EEG to latents: what a fit finds, and what it doesn't."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from neuroframes.models.eeg_ridge import responses_to
from neuroframes.models.response import response_basis, response_of
from neuroframes.models.ridge import Ridge, folds
from neuroframes.recording.band_power import LAST_LAG, BandPower
from neuroframes.recording.segments import Segment
from neuroframes.training.eeg_ridge import WEIGHED, fit_eeg_ridge, weigh_bands

TR = 2.0
LAGS = np.arange(0, LAST_LAG + TR / 2, TR)
MARGIN = round(LAST_LAG / TR)
BANDS = 3
BAND = np.tile(np.arange(BANDS), 2)  # of two channels
GROUP = np.array([0, 0, 1, 1])


def recording(n_frames, generator, coupling):
    """Band power of two channels, frame times, and latents that follow it 4 s later with noise."""
    at = 0.4 * np.arange(round((n_frames * TR + 40) / 0.4))
    white = generator.standard_normal((len(at), len(coupling)))
    smooth = np.apply_along_axis(np.convolve, 0, white, np.ones(8), "same")
    power = BandPower((smooth / smooth.std(axis=0)).astype(np.float32), at, BAND)
    times = 30 + TR * np.arange(n_frames)
    before = np.stack([np.interp(times - 4, at, feature) for feature in power.values.T], axis=1)
    latents = before @ coupling
    return power, times, latents + generator.standard_normal(latents.shape)


def fit(runs, measured, group=GROUP, responses=("haemodynamic",)):
    powers, times, latents = zip(*runs, strict=True)
    segments = [
        Segment(np.zeros((len(at), 0), np.float32), at, at - at[0], mask, None, "run")
        for at, mask in zip(times, measured, strict=True)
    ]
    return fit_eeg_ridge(segments, powers, latents, group, np.ones(len(group)), TR, responses)


def joined(parts, measured):
    return np.concatenate([part[mask] for part, mask in zip(parts, measured, strict=True)])


@pytest.fixture(scope="module", params=[(150, 130, 120), (110, 100, 100, 90)], ids=["blocks", "segments"])
def coupled(request):
    """Three or four runs; the first two latents follow the first band, the last two nothing."""
    generator = np.random.default_rng(0)
    coupling = np.zeros((6, 4))
    coupling[[0, 3], :2] = [[1.5, 1.0], [-1.0, 1.5]]
    runs = [recording(n, generator, coupling) for n in request.param]
    return runs, [generator.random(len(times)) > 0.1 for _, times, _ in runs]


@pytest.fixture(scope="module")
def fitted(coupled):
    return fit(*coupled)


def test_weights_are_ridge_s_with_one_penalty_a_group(coupled, fitted):
    runs, measured = coupled
    model, left_out = fitted
    assert np.allclose(model.lags, LAGS)
    assert np.array_equal(model.responses, response_basis(LAGS))
    phi = joined(
        [
            responses_to(
                BandPower(model.standardisation(power.values), power.times), times, LAGS, model.responses
            )
            for power, times, _ in runs
        ],
        measured,
    )
    targets = joined([z for _, _, z in runs], measured)
    lengths = [mask.sum() for mask in measured]
    main = phi[:, : 2 * len(BAND)]  # columns that hold nine tenths of the basis
    emphasis = weigh_bands(main, targets, BAND, MARGIN, lengths)
    assert emphasis[0] == emphasis.max() > 1.2 * emphasis[1:].max()
    scale = np.tile(emphasis, phi.shape[1] // BANDS)
    ridge = Ridge(phi * scale, MARGIN, folds(lengths))
    penalties = [ridge.best_penalty(targets[:, these])[0] for these in (slice(0, 2), slice(2, 4))]
    assert penalties[0] < penalties[1]
    for these, penalty in zip((slice(0, 2), slice(2, 4)), penalties, strict=True):
        reference = Reference(alpha=penalty, fit_intercept=False).fit(phi * scale, targets[:, these])
        assert np.allclose(model.weights[:, these], scale[:, None] * reference.coef_.T, atol=1e-4)
    assert [part.shape for part in left_out] == [z.shape for _, _, z in runs]


def test_coupling_is_found_and_only_where_it_is(coupled, fitted):
    runs, measured = coupled
    model, left_out = fitted
    truth, guess = joined([z for _, _, z in runs], measured), joined(left_out, measured)
    explained = 1 - np.square(truth - guess).mean(axis=0) / np.square(truth).mean(axis=0)
    assert np.all(explained[:2] > 0.5)  # the ceiling is 0.76
    assert np.all(np.abs(explained[2:]) < 0.05)
    fresh = recording(200, np.random.default_rng(2), np.zeros((6, 4)))
    assert model(*fresh[:2])[:, 2:].std() < 0.2


def test_unrelated_band_power_predicts_nothing_that_was_left_out(coupled):
    runs, measured = coupled
    generator = np.random.default_rng(3)
    strange = [recording(len(times), generator, np.zeros((6, 1)))[0] for _, times, _ in runs]
    mixed = [(power, times, z) for power, (_, times, z) in zip(strange, runs, strict=True)]
    _, left_out = fit(mixed, measured, np.zeros(4, int))
    truth, guess = joined([z for _, _, z in runs], measured), joined(left_out, measured)
    explained = 1 - np.square(truth - guess).mean() / np.square(truth).mean()
    assert -0.02 < explained < 0.02


def test_censored_latents_are_not_read(coupled, fitted):
    runs, measured = coupled
    broken = [
        (power, times, np.where(mask[:, None], z, np.nan))
        for (power, times, z), mask in zip(runs, measured, strict=True)
    ]
    again, left_out = fit(broken, measured)
    assert np.array_equal(again.weights, fitted[0].weights)
    assert np.array_equal(again.kernels, fitted[0].kernels)
    for part, same in zip(left_out, fitted[1], strict=True):
        assert np.array_equal(part, same)


def test_eeg_of_held_out_time_changes_nothing(coupled):
    halves = [
        (power, times[: len(times) // 2], z[: len(times) // 2], mask[: len(times) // 2])
        for (power, times, z), mask in zip(*coupled, strict=True)
    ]
    changed = []
    for power, times, z, mask in halves:
        later = power.times > times[-1] + 1
        assert later.any()
        changed.append(
            (replace(power, values=power.values + 10 * later[:, None].astype(np.float32)), times, z, mask)
        )
    before, after = (
        fit([run[:3] for run in runs], [run[3] for run in runs])[0] for runs in (halves, changed)
    )
    assert np.array_equal(before.standardisation.centre, after.standardisation.centre)
    assert np.array_equal(before.weights, after.weights)
    assert np.array_equal(before.kernels, after.kernels)


def banded(generator, n, gains, n_channels=8):
    """Features (n, responses x channels x bands), and a latent a band, of these signal-to-noise ratios."""
    features = generator.standard_normal((n, 2, n_channels, len(gains)))
    pattern = np.random.default_rng(5).standard_normal(n_channels) / np.sqrt(n_channels)
    signal = np.einsum("ncb,c->nb", features[:, 0], pattern) * gains
    return features.reshape(n, -1), signal + generator.standard_normal(signal.shape)


def test_the_band_that_counts_is_emphasised():
    features, targets = banded(np.random.default_rng(6), 600, np.array([1.0, 1.0, 0.0]))
    lengths = [150] * 4
    for importance in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]):
        emphasis = weigh_bands(features, targets * np.sqrt(importance), np.tile(np.arange(3), 8), 2, lengths)
        assert np.mean(emphasis**2) == pytest.approx(1, rel=1e-5)
        assert emphasis.argmax() == np.argmax(importance)
        assert emphasis.max() > 3 * np.sort(emphasis)[1]
    none = weigh_bands(
        features, np.random.default_rng(7).standard_normal((600, 3)), np.tile(np.arange(3), 8), 2, lengths
    )
    assert none.max() < 2


def test_emphasis_predicts_a_new_run_better():
    generator, gains = np.random.default_rng(8), np.array([0.8, 0.0, 0.0, 0.0])
    (features, targets), (new, truth) = (banded(generator, n, gains) for n in (240, 2000))
    lengths, amplitude = [60] * 4, [1.0, 0.0, 0.0, 0.0]
    emphasis = weigh_bands(features, targets * amplitude, np.tile(np.arange(4), 8), 2, lengths)
    errors = []
    for scale in (np.tile(emphasis, 16), np.ones(64)):
        ridge = Ridge(features * scale, 2, folds(lengths))
        weights = ridge.right @ ridge.coefficients(targets, ridge.best_penalty(targets[:, :1])[0])
        errors.append(np.square(truth - new * scale @ weights)[:, 0].mean())
    assert errors[0] < 0.95 * errors[1]


def test_bands_are_weighed_on_evenly_spread_frames_of_every_segment():
    features, targets = banded(np.random.default_rng(9), 3 * WEIGHED, np.array([1.0, 0.0]))
    # The last segments are shorter than the step between weighed frames, so that some hold none.
    lengths = [WEIGHED, WEIGHED, WEIGHED - 4, 1, 1, 2]
    thinned, band = (features[::3], targets[::3]), np.tile(np.arange(2), 8)
    expected = weigh_bands(*thinned, band, 2, [400, 400, 399, 0, 0, 1])
    assert np.array_equal(weigh_bands(features, targets, band, 6, lengths), expected)


def followed(weights, lags, n_frames, generator):
    """A run whose first latent is features at some lags (in frames), weighted, with as much noise."""
    at = TR * np.arange(n_frames + 60)
    power = BandPower(generator.standard_normal((len(at), 4)).astype(np.float32), at)
    signal = sum(
        w * power.values[30 - lag : 30 - lag + n_frames, 0] for w, lag in zip(weights, lags, strict=True)
    )
    latents = np.stack([signal / np.std(signal), np.zeros(n_frames)], axis=1)
    return power, at[30 : 30 + n_frames], latents + generator.standard_normal(latents.shape)


@pytest.mark.parametrize(
    ("response", "weights", "lags"),
    [
        ("haemodynamic", (0.5, 1.0, 0.7, 0.2), (2, 3, 4, 5)),  # peaks at 6 s
        ("free", (0.7, -0.7, 0.7), (0, 8, 10)),
        ("convolved", (1.0, 0.7), (-1, 0)),
    ],
)
def test_the_response_is_chosen_by_left_out_error(response, weights, lags, caplog):
    generator = np.random.default_rng(11)
    runs = [followed(weights, lags, n, generator) for n in (120, 110, 100)]
    measured = [np.ones(len(times), bool) for _, times, _ in runs]
    kinds = ("haemodynamic", "free", "convolved")
    with caplog.at_level("INFO"):
        model, _ = fit(runs, measured, np.array([0, 1]), kinds)
    assert (model.response, model.emphasis) == (response, ())
    assert np.array_equal(model.lags, response_of(response, TR)[0])
    assert f"response along lags: {response}; no emphasis on bands" in caplog.text
    told, _ = fit(runs, measured, np.array([0, 1]), (response,))
    assert np.array_equal(told.weights, model.weights)
    power, times, truth = followed(weights, lags, 400, generator)
    fresh = {kind: fit(runs, measured, np.array([0, 1]), (kind,))[0](power, times) for kind in kinds}
    errors = {kind: np.square(truth - guess)[:, 0].mean() for kind, guess in fresh.items()}
    assert min(errors, key=errors.get) == response


def test_bands_are_emphasised_only_where_that_predicts_better(coupled, fitted):
    model, _ = fitted
    assert len(model.emphasis) == BANDS and max(model.emphasis) == model.emphasis[0]
    runs, measured = coupled
    plain = [(replace(power, band=0), *rest) for power, *rest in runs]
    assert fit(plain, measured)[0].emphasis == ()
    equal, noise = np.ones((6, 4)), np.random.default_rng(12)
    assert fit([recording(len(mask), noise, equal) for mask in measured], measured)[0].emphasis == ()
