"""Whitened channels: decorrelated, without a preferred direction, and nearer to one source each."""

import numpy as np
import pytest

from neuroframes.models.features import EQUAL, LOADING, eeg_features, equalised, whitening
from neuroframes.recording.band_power import log_band_power
from neuroframes.recording.signal import Signal

BANDS = {"delta": (0.5, 4.0), "alpha": (8.0, 13.0)}


@pytest.fixture
def covariance():
    root = np.random.default_rng(0).standard_normal((6, 6)) * np.logspace(0, -2, 6)
    return 1e-10 * root @ root.T


def test_whitening_is_the_inverse_root_of_the_loaded_covariance(covariance):
    filters = whitening(covariance)
    mean = np.trace(covariance) / 6
    assert np.allclose(filters, filters.T)
    loaded = covariance + LOADING * mean * np.eye(6)
    assert np.allclose(filters @ loaded @ filters, mean * np.eye(6), atol=1e-9 * mean)


def test_strong_directions_come_to_one_power_and_weak_ones_stay_below(covariance):
    after = np.linalg.eigvalsh(whitening(covariance) @ covariance @ whitening(covariance))
    before = np.linalg.eigvalsh(covariance)
    mean = before.mean()
    assert np.allclose(after, mean * before / (before + LOADING * mean), rtol=1e-6, atol=1e-9 * mean)
    assert after.max() < mean and np.all(np.diff(after) >= 0)


def test_no_direction_and_no_unit_is_preferred(covariance):
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    turned = whitening(rotation @ covariance @ rotation.T)
    assert np.allclose(turned, rotation @ whitening(covariance) @ rotation.T)
    assert np.allclose(whitening(1e12 * covariance), whitening(covariance))
    assert np.isfinite(whitening(np.zeros((3, 3)))).all()


def test_a_filtered_channel_tells_one_source_from_its_neighbours():
    # Sources on a line, each recorded by channels around it; their power changes every 4 s, independently.
    generator, rate, n = np.random.default_rng(2), 100.0, 8
    amplitude = np.exp(generator.standard_normal((n, 60)))
    sources = np.repeat(amplitude, 400, axis=1) * generator.standard_normal((n, 24_000))
    mixing = np.exp(-np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / 3)
    eeg = (1e-5 * mixing @ sources).astype(np.float32)
    signal = Signal(eeg, rate, tuple("abcdefgh"))
    power = eeg_features(signal, {"alpha": (8.0, 13.0)}, whitening(np.cov(eeg)))
    truth = np.log(amplitude)[:, np.minimum(power.times // 4, 59).astype(int)]
    values = power.values.T.reshape(2, n, -1)
    plain, filtered = (np.array([[np.corrcoef(x, y)[0, 1] for y in truth] for x in part]) for part in values)
    assert np.diag(filtered).mean() > np.diag(plain).mean() + 0.1
    off = ~np.eye(n, dtype=bool)
    assert np.abs(filtered[off]).mean() < 0.8 * np.abs(plain[off]).mean()


def test_features_are_channels_then_filters_band_fastest():
    generator = np.random.default_rng(3)
    eeg = 1e-5 * generator.standard_normal((3, 2000)).astype(np.float32)
    filters = generator.standard_normal((2, 3))
    power = eeg_features(Signal(eeg, 100.0, tuple("abc")), BANDS, filters)
    channels = log_band_power(eeg, 100.0, BANDS)
    assert power.values.shape == (len(channels.times), (3 + 2) * len(BANDS))
    assert np.array_equal(power.times, channels.times)
    assert np.array_equal(power.values[:, :6], channels.values)
    for index, row in enumerate(filters):
        alone = log_band_power((row @ eeg)[None].astype(np.float32), 100.0, BANDS).values
        assert np.allclose(power.values[:, 6 + 2 * index : 8 + 2 * index], alone, atol=1e-4)


def test_equalised_eeg_has_one_power_in_every_band_whatever_its_size():
    generator, rate, channels = np.random.default_rng(2), 64.0, ("Fz", "Cz", "Pz")
    # Slow waves are strong, and each channel has another size.
    noise = generator.standard_normal((3, 4000))
    data = np.float32([[1e-5], [4e-5], [1e-6]] * (noise + 5 * noise.cumsum(axis=1)))

    def found(eeg):
        signal = Signal(eeg, rate, channels)
        return equalised(signal, eeg_features(signal, BANDS, np.identity(3)), BANDS)

    once = found(data)
    power = log_band_power(once.data, rate, BANDS).values.mean(axis=0)
    np.testing.assert_allclose(power, np.log(EQUAL**2), atol=0.35)  # a slope within a band is left
    assert np.ptp(log_band_power(data, rate, BANDS).values.mean(axis=0)) > 5
    other = found(np.float32([[3.0], [0.2], [7.0]]) * data)
    np.testing.assert_allclose(other.data, once.data, rtol=1e-3, atol=1e-3 * once.data.std())
