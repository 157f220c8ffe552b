"""The shares of artefacts that were put into simulated EEG are found, and none where there are none."""

import numpy as np
import pytest

from neuroframes.recording.scanner import LARGEST_DRIFT, scanner_traces

RATE, N_CHANNELS, SECONDS = 100, 8, 240
N = SECONDS * RATE


@pytest.fixture(scope="module")
def eeg() -> np.ndarray:
    """1/f noise, an alpha rhythm whose amplitude varies, and a movement every minute; volts."""
    generator = np.random.default_rng(0)
    frequency = np.fft.rfftfreq(N, 1 / RATE)
    slope = np.where(frequency < 0.5, 0, 1 / np.maximum(frequency, 0.5) ** 0.75)
    spectrum = generator.standard_normal((2, N_CHANNELS, len(frequency)))
    data = np.fft.irfft((spectrum[0] + 1j * spectrum[1]) * slope, N)
    phase = 20 * np.pi * np.arange(N) / RATE + 0.2 * generator.standard_normal(N).cumsum()
    data = 1e-5 * (data / data.std() + generator.uniform(0, 1.5, (N_CHANNELS, 1)) * np.cos(phase))
    for start in generator.integers(0, N - RATE, SECONDS // 60):
        data[:, start : start + RATE] += 1e-4 * generator.standard_normal((N_CHANNELS, 1)) * np.hanning(RATE)
    return data


def triggers(tr: float) -> np.ndarray:
    return 1.5 + tr * np.arange(int((SECONDS - 3) / tr))


def beats() -> tuple[np.ndarray, np.ndarray]:
    """R peaks (seconds) about once in 0.9 s, and the electrocardiogram."""
    generator = np.random.default_rng(1)
    peaks = np.cumsum(0.9 * (1 + 0.05 * generator.standard_normal(SECONDS)))
    ecg = 5e-5 * generator.standard_normal(N)
    ecg[np.round(peaks * RATE).astype(int)] += 2e-3
    return peaks, ecg


@pytest.mark.parametrize("tr", [0.8, 2.1])
def test_eeg_without_artefacts_has_none(eeg, tr):
    traces = scanner_traces(eeg, RATE, triggers(tr), tr, ecg=beats()[1])
    assert traces.gradient_channels == traces.heartbeat_channels == 0
    assert traces.gradient < 0.05 and traces.heartbeat < 0.01
    assert traces.heart_rate == pytest.approx(67, abs=2)
    assert traces.warnings == []


@pytest.mark.parametrize("tr", [0.8, 2.1])
def test_the_share_of_the_gradients_and_their_frequency(eeg, tr):
    """A line at the slice frequency, about 20 Hz, that makes up half of the beta power."""
    slices = round(20 * tr) / tr
    beta = np.fft.rfft(eeg) * ((np.fft.rfftfreq(N, 1 / RATE) >= 13) & (np.fft.rfftfreq(N, 1 / RATE) < 30))
    size = np.fft.irfft(beta).std(axis=1, keepdims=True)
    wave = np.sqrt(2) * size * np.cos(2 * np.pi * slices * (np.arange(N) / RATE - 1.5))
    traces = scanner_traces(eeg + wave, RATE, triggers(tr), tr)
    assert traces.band == "beta" and traces.line == pytest.approx(slices)
    assert traces.gradient == pytest.approx(0.5, abs=0.05)
    assert traces.gradient_channels == N_CHANNELS
    (said,) = traces.warnings
    assert "10% of the beta power in 8 channels" in said and "--gradient" in said
    # Without triggers volumes are taken to follow each other at the TR.
    assert scanner_traces(eeg + wave, RATE, np.empty(0), tr).gradient == pytest.approx(0.5, abs=0.05)


def test_residue_in_few_channels_is_told(eeg):
    """In 3 of 32 channels, in a band that isn't the one with the largest share of the median channel."""
    data = np.tile(eeg, (4, 1))
    calm = scanner_traces(data, RATE, triggers(2.0), 2.0).band
    line, band = (2.5, "delta") if calm != "delta" else (20.0, "beta")
    data[:3] += 3e-5 * np.cos(2 * np.pi * line * (np.arange(N) / RATE - 1.5))
    traces = scanner_traces(data, RATE, triggers(2.0), 2.0)
    assert (traces.band, traces.gradient_channels, traces.line) == (band, 3, pytest.approx(line))
    (said,) = traces.warnings
    assert f"10% of the {band} power in 3 channels" in said


def test_a_line_that_is_no_multiple_isnt_the_gradients(eeg):
    wave = 1e-5 * np.cos(2 * np.pi * 20.3 * np.arange(N) / RATE)
    assert scanner_traces(eeg + wave, RATE, triggers(2.0), 2.0).gradient_channels == 0


def test_the_share_of_the_heartbeat(eeg):
    peaks, ecg = beats()
    pulse = np.zeros(N)
    for peak in peaks:
        at = np.arange(round((peak + 0.1) * RATE), round((peak + 0.4) * RATE))
        pulse[at] += np.hanning(len(at))
    pulse = 2e-5 * (pulse - pulse.mean())
    traces = scanner_traces(eeg + pulse, RATE, triggers(2.0), 2.0, ecg=ecg)
    near = np.concatenate([np.arange(at - 10, at + 60) for at in np.round(peaks * RATE).astype(int)])
    near = near[(near >= 0) & (near < N)]
    expected = np.median(np.square(pulse[near]).mean() / (eeg + pulse)[:, near].var(axis=1))
    assert traces.heartbeat == pytest.approx(expected, abs=0.03) and expected > 0.1
    assert "at 67 beats a minute" in traces.warnings[0] and "apply_pca_obs" in traces.warnings[0]


NOISE = np.random.default_rng(2).standard_normal(N)


@pytest.mark.parametrize("ecg", [None, np.zeros(N), np.full(N, np.nan), NOISE, np.arange(N, dtype=float)])
def test_without_r_peaks_nothing_is_said_of_the_heart(eeg, ecg):
    traces = scanner_traces(eeg, RATE, triggers(2.0), 2.0, ecg=ecg)
    assert traces.heartbeat is traces.heartbeat_channels is traces.heart_rate is None


def test_drift_is_that_of_the_triggers(eeg):
    late = triggers(2.0) * (1 + 4e-5)
    assert scanner_traces(eeg, RATE, late, 2.0).drift == pytest.approx(40, abs=0.01)
    paused = np.delete(late, slice(30, 55))
    assert scanner_traces(eeg, RATE, paused, 2.0).drift == pytest.approx(40, abs=0.01)
    assert (
        scanner_traces(eeg, RATE, np.delete(late, 30) + 0.5 * (np.arange(len(late) - 1) > 30), 2.0).drift
        is None
    )
    assert scanner_traces(eeg, RATE, triggers(2.0)[:1], 2.0).drift is None
    (said,) = scanner_traces(eeg, RATE, triggers(2.002), 2.0).warnings
    assert LARGEST_DRIFT < 1000 and "+1000 ppm further apart than the TR" in said


def test_too_little_or_silent_eeg_says_nothing(eeg):
    short = scanner_traces(eeg[:, : 60 * RATE], RATE, triggers(2.0)[:28], 2.0)
    assert short.gradient is short.band is short.line is None
    assert scanner_traces(eeg, 1.0, triggers(2.0), 2.0).gradient is None
    assert scanner_traces(0 * eeg, RATE, triggers(2.0), 2.0, ecg=beats()[1]).warnings == []
