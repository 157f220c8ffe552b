"""Windows of EEG within a recording and beyond its ends."""

import numpy as np
import pytest

from neuroframes.recording.signal import eeg_windows, window_samples

RATE = 10.0


@pytest.fixture
def eeg():
    return np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)


def test_a_window_is_the_samples_from_its_start_on(eeg):
    windows = eeg_windows(eeg, RATE, np.array([0.0, 1.24, 1.26, 3.0]), 10)
    assert windows.dtype == np.float32
    for window, begin in zip(windows, (0, 12, 13, 30), strict=True):
        np.testing.assert_array_equal(window, eeg[:, begin : begin + 10])
    before = eeg_windows(eeg, RATE, [2.0], 10, -10)
    np.testing.assert_array_equal(before[0], eeg[:, 10:20])


@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_beyond_its_ends_a_recording_is_mirrored_as_often_as_needed(eeg, length):
    data = eeg[:, :length]
    (window,) = eeg_windows(data, RATE, [-10.0], 100 + length + 130)
    np.testing.assert_array_equal(window, np.pad(data, ((0, 0), (100, 130)), mode="reflect"))


def test_channels_and_windows_can_be_cut_one_at_a_time(eeg):
    start = np.linspace(-3, 7, 9)
    samples = window_samples(eeg.shape[1], RATE, start, 12, -5)
    assert samples.min() >= 0 and samples.max() < 40
    windows = eeg_windows(eeg, RATE, start, 12, -5)
    for channel, trace in enumerate(eeg):
        np.testing.assert_array_equal(trace[samples], windows[:, channel])
    for sample, window in zip(samples, windows, strict=True):
        np.testing.assert_array_equal(eeg[:, sample], window)
