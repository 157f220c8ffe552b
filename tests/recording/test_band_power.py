"""Log band power against SciPy's spectrogram, and its lagged copies against np.interp."""

import numpy as np
import pytest
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from neuroframes.errors import InputError
from neuroframes.recording.band_power import (
    BANDS,
    WINDOW,
    BandPower,
    check_bands,
    lagged,
    log_band_power,
    parse_bands,
)


def slow_band_power(eeg, rate, bands, step=0.4):
    """Mean over each band of SciPy's power spectral density, edges mirrored."""
    length, hop = round(WINDOW * rate), round(step * rate)
    transform = ShortTimeFFT(hann(length, sym=False), hop, rate, scale_to="psd")
    last = -(-eeg.shape[1] // hop)
    power = np.empty((last, len(eeg), len(bands)))
    for channel, trace in enumerate(eeg.astype(np.float64)):
        density = transform.spectrogram(trace, padding="even", p0=0, p1=last)
        for band, (low, high) in enumerate(bands.values()):
            power[:, channel, band] = density[(transform.f >= low) & (transform.f < high)].mean(axis=0)
    return np.log(np.maximum(power, 1e-18)).reshape(last, -1), hop / rate


def noise(n_channels, seconds, rate, seed=0):
    generator = np.random.default_rng(seed)
    return (1e-5 * generator.standard_normal((n_channels, round(seconds * rate)))).astype(np.float32)


@pytest.mark.parametrize("rate", [200.0, 250.0, 256.0, 221.5])
@pytest.mark.parametrize("seconds", [WINDOW + 0.01, 5.3, 31.77])
def test_equals_scipy_s_spectrogram(rate, seconds):
    eeg = noise(3, seconds, rate)
    expected, step = slow_band_power(eeg, rate, BANDS)
    got = log_band_power(eeg, rate)
    assert got.values.dtype == np.float32
    assert np.allclose(got.values, expected, atol=1e-5)
    assert np.allclose(got.times, step * np.arange(len(expected)))


def test_a_window_in_the_middle_is_one_periodogram_written_out():
    rate, eeg = 200.0, noise(1, 10, 200.0)
    window = hann(400, sym=False)
    density = np.abs(np.fft.rfft(eeg[0, 960 - 200 : 960 + 200] * window)) ** 2 / (rate * np.sum(window**2))
    frequency = np.arange(201) / 2
    alpha = density[(frequency >= 8) & (frequency < 13)].mean()
    got = log_band_power(eeg, rate)
    index = np.flatnonzero(np.isclose(got.times, 4.8))[0]
    assert got.values[index, list(BANDS).index("alpha")] == pytest.approx(np.log(alpha), abs=1e-5)


def test_white_noise_has_the_density_it_was_made_with():
    rate = 200.0
    got = np.exp(log_band_power(noise(4, 120, rate), rate).values).mean(axis=0)
    # One-sided frequencies, two-sided density: sigma^2 / rate.
    assert np.allclose(got, 1e-10 / rate, rtol=0.1)


@pytest.mark.parametrize(("frequency", "name"), [(2, "delta"), (6, "theta"), (10, "alpha"), (20, "beta")])
def test_a_sine_shows_up_in_its_band_only(frequency, name):
    rate = 200.0
    sine = 1e-5 * np.sin(2 * np.pi * frequency * np.arange(6000) / rate + 0.3)
    got = log_band_power((sine + noise(1, 30, rate)[0] * 1e-3).astype(np.float32)[None], rate)
    inside = got.times > WINDOW
    inside &= got.times < got.times[-1] - WINDOW
    strongest = got.values[inside].argmax(axis=1)
    assert np.all(strongest == list(BANDS).index(name))
    rest = np.delete(got.values[inside], strongest[0], axis=1)
    assert np.all(got.values[inside].max(axis=1) - rest.max(axis=1) > 5)


def test_a_burst_is_found_when_it_happens():
    rate = 200.0
    eeg = noise(2, 60, rate)
    eeg[1, round(29.5 * rate) : round(30.5 * rate)] *= 30
    got = log_band_power(eeg, rate, {"beta": BANDS["beta"]})
    assert got.times[got.values[:, 1].argmax()] == pytest.approx(30, abs=0.4)
    assert got.values[:, 0].max() < got.values[:, 1].max() - 5


def test_channels_are_independent_and_bands_fastest():
    rate, eeg = 200.0, noise(3, 8, 200.0)
    whole = log_band_power(eeg, rate).values.reshape(-1, 3, len(BANDS))
    for channel in range(3):
        assert np.array_equal(log_band_power(eeg[channel : channel + 1], rate).values, whole[:, channel])
    for index, (name, edges) in enumerate(BANDS.items()):
        assert np.allclose(log_band_power(eeg, rate, {name: edges}).values, whole[:, :, index], atol=1e-6)


def test_a_flat_channel_stays_finite():
    got = log_band_power(np.zeros((1, 1000), np.float32), 200.0)
    assert np.allclose(got.values, np.log(1e-18))


def test_bands_above_nyquist_are_refused_and_usable_ones_named():
    with pytest.raises(
        InputError, match=r"125 Hz carries nothing above 62.5 Hz.*gamma.*up to 100 Hz"
    ) as error:
        log_band_power(noise(1, 10, 125.0), 125.0)
    assert "; train with --bands delta,theta,alpha,beta, or use a recording with a higher rate" in str(
        error.value
    )
    with pytest.raises(InputError, match="Hz; use a recording with a higher rate"):
        check_bands(50.0, {"gamma": BANDS["gamma"]})
    check_bands(200.0, BANDS)


def test_a_recording_shorter_than_a_window_is_refused():
    with pytest.raises(InputError, match="lasts 1.5 s; band power needs at least 2 s"):
        log_band_power(noise(1, 1.5, 200.0), 200.0)


def test_parse_bands():
    assert parse_bands(None) == dict(BANDS)
    assert list(parse_bands("beta, delta")) == ["beta", "delta"]
    with pytest.raises(InputError, match="unknown bands mu; choose from delta"):
        parse_bands("alpha,mu")


def test_times_and_values_must_match():
    with pytest.raises(ValueError, match="3 times for values of shape"):
        BandPower(np.zeros((4, 2), np.float32), np.arange(3.0))


def test_lagged_is_linear_interpolation_held_at_the_ends():
    generator = np.random.default_rng(1)
    power = BandPower(generator.standard_normal((50, 3)).astype(np.float32), 2.0 + 0.4 * np.arange(50))
    times = generator.uniform(-5, 45, 40)  # beyond the recording on both sides
    lags = np.arange(0, 20, 0.8)
    got = lagged(power, times, lags).reshape(40, len(lags), 3)
    assert got.dtype == np.float32
    for index, lag in enumerate(lags):
        for feature in range(3):
            expected = np.interp(times - lag, power.times, power.values[:, feature])
            assert np.allclose(got[:, index, feature], expected, atol=1e-5)
    at_grid = lagged(power, power.times, np.zeros(1))
    assert np.allclose(at_grid, power.values, atol=1e-5)


def test_what_is_known_at_one_time_is_held_at_all():
    power = BandPower(np.array([[3.0, -1.0]], np.float32), np.array([7.0]))
    held = lagged(power, np.array([0.0, 7.0, 9.0]), np.array([0.0, 2.0]))
    np.testing.assert_array_equal(held, np.tile(power.values, (3, 2)))


@pytest.mark.parametrize("late", [1, 20])
def test_a_late_trigger_changes_nothing_beyond_its_neighbours(late):
    generator = np.random.default_rng(2)
    times, values = 0.8 * np.arange(60), generator.standard_normal((60, 3)).astype(np.float32)
    lags = np.arange(0, 20, 0.8)
    even = lagged(BandPower(values, times), times, lags).reshape(60, len(lags), 3)
    jittered = times + 0.004 * (np.arange(60) == late)
    got = lagged(BandPower(values, jittered), times, lags).reshape(even.shape)
    changed = np.abs(got - even).max(axis=2) > 1e-4
    at = np.subtract.outer(times, lags)
    assert not changed[np.abs(at - times[late]) > 0.8].any()
    assert np.abs(got - even).max() < 0.05
