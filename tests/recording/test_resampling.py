"""Resampling by blocks: the filter's response, alignment in time, and independence of the blocks."""

import mne
import numpy as np
import pytest
from scipy import signal

from neuroframes.recording import resampling
from neuroframes.recording.resampling import factors, low_pass, resampled


def raw_of(data: np.ndarray, rate: float) -> mne.io.RawArray:
    return mne.io.RawArray(data, mne.create_info(len(data), rate, "eeg"), verbose="ERROR")


@pytest.mark.parametrize(
    "rate, target, expected",
    [
        (5000, 200, (1, 25)),
        (512, 200, (25, 64)),
        (2048, 200, (25, 256)),
        (511.99998, 200, (25, 64)),
        (200, 200, (1, 1)),
        (128, 200, (1, 1)),  # never upsampled
        (1000 * 2**0.5, 200, (1, 7)),  # no ratio of small numbers: the next possible rate above
    ],
)
def test_factors(rate, target, expected):
    assert factors(rate, target) == expected


@pytest.mark.parametrize("up, down", [(1, 25), (25, 64), (4, 5)])
def test_low_pass_response(up, down):
    nyquist = 1 / max(up, down)
    frequencies, response = signal.freqz(low_pass(up, down), worN=np.linspace(0, 1, 4001)[:-1] * np.pi)
    gain, frequencies = np.abs(response), frequencies / np.pi
    np.testing.assert_allclose(gain[frequencies < 0.8 * nyquist], 1, atol=2e-3)
    assert gain[frequencies > nyquist].max() < 2e-3  # what would alias


@pytest.mark.parametrize("rate", [5000, 512, 250])
def test_a_sine_keeps_its_time(rate):
    times = np.arange(20 * rate) / rate
    data, new_rate, _ = resampled(raw_of(np.cos(2 * np.pi * 11 * times)[None], rate), [0], 200)
    assert new_rate == 200 and data.shape == (1, 4000)
    expected = np.cos(2 * np.pi * 11 * np.arange(4000) / 200) - 1
    inner = slice(100, -100)
    np.testing.assert_allclose(data[0, inner], expected[inner], atol=2e-3)


@pytest.mark.parametrize("rate, n_samples", [(1000, 7_013), (512, 9_001), (128, 1_000)])
def test_blocks_make_no_difference(monkeypatch, rate, n_samples):
    raw = raw_of(np.random.default_rng(0).standard_normal((3, n_samples)) + 50, rate)
    whole, *_ = resampled(raw, [0, 2], 200)
    monkeypatch.setattr(resampling, "BLOCK_BYTES", 8 * 3 * 700)
    pieces, *_ = resampled(raw, [0, 2], 200)
    np.testing.assert_allclose(pieces, whole, atol=1e-10)


def test_an_offset_rings_nowhere():
    data, *_ = resampled(raw_of(np.full((1, 5000), 0.3), 1000), [0], 200)
    np.testing.assert_allclose(data, 0, atol=1e-12)
