"""Latents from band power: the prediction written out, and what a fit finds or doesn't."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from neuroframes.models.eeg_ridge import FOLDS, EegRidge, fit_eeg_ridge
from neuroframes.models.ridge import Ridge, Standardisation
from neuroframes.recording.band_power import LAST_LAG, BandPower

REACH = 16  # frames
TR = 2.0
LAGS = np.arange(0, LAST_LAG + TR / 2, TR)


def lagged_slowly(standardisation, power, times):
    """Standardised features at each time minus each lag, lag slowest, one np.interp a feature."""
    values = standardisation(power.values)
    columns = [np.interp(times - lag, power.times, feature) for lag in LAGS for feature in values.T]
    return np.stack(columns, axis=1)


def recording(n_frames, generator, coupling, n_features=3):
    """Band power, frame times, and latents that follow it 4 s later with noise."""
    at = 0.4 * np.arange(round((n_frames * TR + 40) / 0.4))
    smooth = np.apply_along_axis(
        np.convolve, 0, generator.standard_normal((len(at), n_features)), np.ones(8), "same"
    )
    power = BandPower((smooth / smooth.std(axis=0)).astype(np.float32), at)
    times = 30 + TR * np.arange(n_frames)
    before = np.stack([np.interp(times - 4, at, feature) for feature in power.values.T], axis=1)
    latents = before @ coupling
    return power, times, latents + generator.standard_normal(latents.shape)


@pytest.fixture(scope="module")
def coupled():
    """Three runs; the first two latents follow the EEG, the last two don't."""
    generator = np.random.default_rng(0)
    coupling = np.zeros((3, 4))
    coupling[:, :2] = [[1.5, 1.0], [-1.0, 1.5], [0.5, 1.0]]
    runs = [recording(n, generator, coupling) for n in (150, 130, 120)]
    measured = [generator.random(len(times)) > 0.1 for _, times, _ in runs]
    return runs, measured


@pytest.fixture(scope="module")
def fitted(coupled):
    (powers, times, latents), measured = zip(*coupled[0], strict=True), coupled[1]
    return fit_eeg_ridge(powers, times, latents, measured, np.array([0, 0, 1, 1]), TR)


def test_a_prediction_is_filtered_lagged_band_power_times_weights():
    generator = np.random.default_rng(1)
    power = BandPower(generator.standard_normal((200, 2)).astype(np.float32), 5 + 0.4 * np.arange(200))
    standardisation = Standardisation(np.array([0.1, -0.2], np.float32), np.array([1.5, 0.7], np.float32))
    weights = generator.standard_normal((2 * len(LAGS), 3)).astype(np.float32)
    kernels, group = generator.standard_normal((2, 2 * REACH + 1)), np.array([0, 1, 1])
    times = np.sort(generator.uniform(0, 90, 17))  # off the grid, and beyond the recording on both sides
    expected = sum(
        (lagged_slowly(standardisation, power, times + step * TR) @ weights) * kernels[group, step + REACH]
        for step in range(-REACH, REACH + 1)
    )
    got = EegRidge(standardisation, weights, LAGS, kernels, group, TR)(power, times)
    assert got.dtype == np.float64
    assert np.allclose(got, expected, atol=1e-4)


def test_weights_are_ridge_s_with_one_penalty_a_group(coupled, fitted):
    runs, measured = coupled
    model, left_out = fitted
    assert np.allclose(model.lags, LAGS)
    phi = np.concatenate(
        [
            lagged_slowly(model.standardisation, power, times[mask])
            for (power, times, _), mask in zip(runs, measured, strict=True)
        ]
    )
    targets = np.concatenate([z[mask] for (_, _, z), mask in zip(runs, measured, strict=True)])
    ridge = Ridge(phi, FOLDS, round(LAST_LAG / TR))
    penalties = [ridge.best_penalty(targets[:, these]) for these in (slice(0, 2), slice(2, 4))]
    assert penalties[0] < penalties[1]
    for these, penalty in zip((slice(0, 2), slice(2, 4)), penalties, strict=True):
        reference = Reference(alpha=penalty, fit_intercept=False).fit(phi, targets[:, these])
        assert np.allclose(model.weights[:, these], reference.coef_.T, atol=1e-4)
    assert [part.shape for part in left_out] == [z.shape for _, _, z in runs]


def test_coupling_is_found_and_only_where_it_is(coupled, fitted):
    runs, measured = coupled
    model, left_out = fitted
    fresh = recording(200, np.random.default_rng(2), np.zeros((3, 4)))
    truth = np.concatenate([z[mask] for (_, _, z), mask in zip(runs, measured, strict=True)])
    guess = np.concatenate([z[mask] for z, mask in zip(left_out, measured, strict=True)])
    r = [np.corrcoef(truth[:, j], guess[:, j])[0, 1] for j in range(2)]
    assert min(r) > 0.6
    explained = 1 - np.square(truth - guess).mean(axis=0) / np.square(truth).mean(axis=0)
    assert np.all(explained[:2] > 0.3)
    assert np.all(np.abs(explained[2:]) < 0.05)
    assert model(*fresh[:2])[:, 2:].std() < 0.2


def test_unrelated_band_power_predicts_nothing_that_was_left_out(coupled):
    runs, measured = coupled
    generator = np.random.default_rng(3)
    strange = [recording(len(times), generator, np.zeros((3, 1)))[0] for _, times, _ in runs]
    _, left_out = fit_eeg_ridge(
        strange, [run[1] for run in runs], [run[2] for run in runs], measured, np.zeros(4, int), TR
    )
    truth = np.concatenate([z[mask] for (_, _, z), mask in zip(runs, measured, strict=True)])
    guess = np.concatenate([z[mask] for z, mask in zip(left_out, measured, strict=True)])
    explained = 1 - np.square(truth - guess).mean() / np.square(truth).mean()
    assert -0.02 < explained < 0.02


def test_censored_latents_are_not_read(coupled, fitted):
    runs, measured = coupled
    broken = [np.where(mask[:, None], z, np.nan) for (_, _, z), mask in zip(runs, measured, strict=True)]
    powers, times, _ = zip(*runs, strict=True)
    again, left_out = fit_eeg_ridge(powers, times, broken, measured, np.array([0, 0, 1, 1]), TR)
    assert np.array_equal(again.weights, fitted[0].weights)
    assert np.array_equal(again.kernels, fitted[0].kernels)
    assert all(np.isfinite(part).all() for part in left_out)


def test_eeg_of_held_out_time_changes_nothing(coupled):
    runs, measured = coupled
    halves = [len(times) // 2 for _, times, _ in runs]

    def model(powers):
        return fit_eeg_ridge(
            powers,
            [times[:half] for (_, times, _), half in zip(runs, halves, strict=True)],
            [z[:half] for (_, _, z), half in zip(runs, halves, strict=True)],
            [mask[:half] for mask, half in zip(measured, halves, strict=True)],
            np.zeros(4, int),
            TR,
        )[0]

    powers = [power for power, _, _ in runs]
    changed = []
    for (power, times, _), half in zip(runs, halves, strict=True):
        later = power.times > times[half - 1] + 1
        assert later.any()
        changed.append(BandPower(power.values + 10 * later[:, None].astype(np.float32), power.times))
    before, after = model(powers), model(changed)
    assert np.array_equal(before.standardisation.centre, after.standardisation.centre)
    assert np.array_equal(before.weights, after.weights)
    assert np.array_equal(before.kernels, after.kernels)
