"""Missing channels: the conditional mean in the subset's own reference, and the power that it lacks."""

import numpy as np
import pytest

from neuroframes.models.channels import ChannelCovariance
from neuroframes.recording.band_power import log_band_power

NAMES = tuple(f"E{i}" for i in range(8))
BANDS = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
RATE = 200.0


def mixed(rank=8, n_samples=400, seed=0):
    """EEG (8, N) of `rank` sources, average reference, and its exact covariance."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((8, rank)) @ generator.standard_normal((rank, n_samples))
    x -= x.mean(axis=0)
    return x, x @ x.T / n_samples


def subset(x, names):
    """The channels `names` in their own average reference."""
    y = x[[NAMES.index(name) for name in names]]
    return y - y.mean(axis=0)


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("names", [NAMES[:5], ("E6", "E1", "E3"), NAMES])
def test_filling_is_the_regression_of_all_channels_on_the_subset(names, average):
    x, sigma = mixed()
    model = ChannelCovariance(NAMES, np.stack([0.3 * sigma, 0.7 * sigma]), average)
    y = subset(x, names) if average else x[[NAMES.index(name) for name in names]]
    expected = (np.linalg.lstsq(y.T, x.T, rcond=1e-6)[0].T @ y).astype(np.float32)
    np.testing.assert_allclose(model.fill(y.astype(np.float32), names), expected, atol=2e-5)
    np.testing.assert_allclose(model.total, sigma)


def test_what_is_there_stays_and_its_reference_is_no_matter():
    x, sigma = mixed()
    model = ChannelCovariance(NAMES, sigma[None], True)
    names = NAMES[2:]
    filled = model.fill(subset(x, names), names)
    np.testing.assert_allclose(subset(filled, names), subset(x, names), atol=1e-5)
    np.testing.assert_allclose(filled.sum(axis=0), 0, atol=1e-5)
    referred_to_e4 = x[2:] - x[4]
    np.testing.assert_allclose(model.fill(referred_to_e4, names), filled, atol=1e-5)
    np.testing.assert_allclose(model.fill(x, NAMES), x, atol=1e-5)


def test_as_few_sources_as_channels_see_are_filled_exactly():
    x, sigma = mixed(rank=3)
    model = ChannelCovariance(NAMES, 1e-12 * sigma[None], True)  # volts: cut-offs are relative
    names = ("E7", "E0", "E2", "E5")
    np.testing.assert_allclose(model.fill(subset(x, names), names), x, atol=1e-4)


@pytest.mark.parametrize("filters", [np.eye(8), np.random.default_rng(1).standard_normal((5, 8))])
def test_the_offset_is_what_the_power_of_filled_channels_lacks(filters):
    x, sigma = mixed()
    model, names = ChannelCovariance(NAMES, sigma[None], True), NAMES[:5]
    true, found = (np.square(filters @ z).mean(axis=1) for z in (x, model.fill(subset(x, names), names)))
    offset = model.power_offset(names, filters)
    np.testing.assert_allclose(found * np.exp(offset[:, 0]), true, rtol=1e-4)
    if len(filters) == 8:  # the channels themselves
        assert (offset[5:] > 0.05).all() and (offset[:, 0] > -1e-12).all()
    np.testing.assert_allclose(model.power_offset(NAMES, filters), 0, atol=1e-9)


def test_channels_without_signal_are_filled_with_nothing():
    x, _ = mixed()
    x[3] = 0
    model = ChannelCovariance(NAMES, (x @ x.T / x.shape[1])[None], False)
    names = (*NAMES[:3], *NAMES[4:7])
    assert (model.fill(x[[0, 1, 2, 4, 5, 6]].astype(np.float32), names)[3] == 0).all()
    offset = model.power_offset(names, np.eye(len(model.channels)))
    assert np.isfinite(offset).all() and offset[3] == 0


def sines(n_samples, rate, seed):
    """10 and 20 Hz of random phases through two maps, volts, and the covariance of each band."""
    generator = np.random.default_rng(seed)
    maps = np.random.default_rng(0).standard_normal((2, 8))
    at = np.arange(n_samples) / rate
    waves = [np.cos(2 * np.pi * f * at + generator.uniform(0, 6)) for f in (10.0, 20.0)]
    covariances = np.stack([np.outer(m, m) / 2 for m in maps])
    return 1e-5 * maps.T @ np.stack(waves), 1e-10 * covariances


def test_the_covariance_of_each_band_from_runs_of_any_rate():
    parts = [(sines(n, rate, i)[0], rate) for i, (n, rate) in enumerate([(9000, 200.0), (40_000, 500.0)])]
    model = ChannelCovariance.fit(iter(parts), NAMES, BANDS, average=False)
    np.testing.assert_allclose(model.covariances, sines(1, RATE, 0)[1], rtol=1e-9, atol=1e-20)
    assert model.covariances.dtype == np.float64 and model.channels == NAMES


def test_log_band_power_of_filled_noise_is_unbiased():
    generator = np.random.default_rng(2)
    mixing = generator.standard_normal((8, 8))
    train, test = (1e-5 * mixing @ generator.standard_normal((8, 60_000)) for _ in range(2))
    train, test = (x - x.mean(axis=0) for x in (train, test))
    model, names = ChannelCovariance.fit([(train, RATE)], NAMES, BANDS, average=True), NAMES[3:]
    true, filled = (
        log_band_power(x.astype(np.float32), RATE, BANDS).values.mean(axis=0).reshape(8, 2)
        for x in (test, model.fill(subset(test, names), names))
    )
    np.testing.assert_allclose(
        filled + model.power_offset(names, np.eye(len(model.channels))), true, atol=0.06
    )
    assert (filled < true - 0.06).any()
