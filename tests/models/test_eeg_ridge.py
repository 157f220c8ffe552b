"""Latents from band power: the prediction written out."""

import numpy as np

from neuroframes.models.eeg_ridge import EegRidge, responses_to
from neuroframes.models.response import response_basis
from neuroframes.models.ridge import Standardisation
from neuroframes.recording.band_power import LAST_LAG, BandPower

REACH = 16  # frames
TR = 2.0
LAGS = np.arange(0, LAST_LAG + TR / 2, TR)


def filtered_slowly(values, at, times, basis):
    """Each column of the basis applied to each feature, one np.interp a lag; response slowest."""
    return np.stack(
        [
            sum(
                weight * np.interp(times - lag, at, feature) for lag, weight in zip(LAGS, column, strict=True)
            )
            for column in basis.T
            for feature in values.T
        ],
        axis=1,
    )


def test_a_prediction_is_filtered_responses_times_weights():
    generator = np.random.default_rng(1)
    power = BandPower(generator.standard_normal((200, 2)).astype(np.float32), 5 + 0.4 * np.arange(200))
    standardisation = Standardisation(np.array([0.1, -0.2], np.float32), np.array([1.5, 0.7], np.float32))
    basis = generator.standard_normal((len(LAGS), 4))
    weights = generator.standard_normal((4 * 2, 3)).astype(np.float32)
    kernels, group = generator.standard_normal((2, 2 * REACH + 1)), np.array([0, 1, 1])
    times = np.sort(generator.uniform(0, 90, 17))  # off the grid, and beyond the recording on both sides
    values = standardisation(power.values)
    expected = sum(
        (filtered_slowly(values, power.times, times + step * TR, basis) @ weights)
        * kernels[group, step + REACH]
        for step in range(-REACH, REACH + 1)
    )
    got = EegRidge(standardisation, basis, LAGS, weights, kernels, group, TR, "free", ())(power, times)
    assert got.dtype == np.float64
    assert np.allclose(got, expected, atol=1e-3)


def test_long_runs_are_filtered_in_pieces():
    generator, basis = np.random.default_rng(2), response_basis(LAGS)
    power = BandPower(generator.standard_normal((12_000, 2)).astype(np.float32), 0.4 * np.arange(12_000))
    times = TR * np.arange(2300)
    got = responses_to(power, times, LAGS, basis)
    assert np.allclose(got, filtered_slowly(power.values, power.times, times, basis), atol=1e-4)
