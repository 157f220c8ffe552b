"""EEG that can't tell, band power and samples alike."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.evaluation.controls import backwards, of_other, zeroed
from neuroframes.recording.band_power import log_band_power
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

RATE, TR = 200.0, 0.8
CHANNELS = ("Cz", "Pz", "Oz")


def make(seed: int, seconds: float = 60.0) -> Segment:
    generator = np.random.default_rng(seed)
    data = 1e-5 * generator.standard_normal((len(CHANNELS), round(seconds * RATE))).astype(np.float32)
    n_frames = 50
    times = TR * np.arange(n_frames)
    frames = generator.standard_normal((n_frames, 7)).astype(np.float32)
    eeg = Signal(data, RATE, CHANNELS)
    return Segment(frames, times, times, times >= 0, log_band_power(data, RATE), f"run-{seed}", eeg)


def test_zeroed_power_is_that_of_silence():
    segment = zeroed(make(0))
    assert not segment.eeg.data.any()
    np.testing.assert_array_equal(segment.power.values, log_band_power(segment.eeg.data, RATE).values)


def test_features_have_the_same_controls():
    """Features of each frame stand for band power, without raw EEG."""
    ours, theirs = (replace(make(seed), eeg=None) for seed in (0, 1))
    means = ours.power.values.mean(axis=0)
    np.testing.assert_array_equal(zeroed(ours).power.values, np.tile(means, (len(ours.power.times), 1)))
    got = of_other(ours, None, theirs.power)
    np.testing.assert_array_equal(got.power.values, theirs.power.values)
    assert got.eeg is None and (got.power.band == ours.power.band).all()


def test_backwards_twice_is_the_segment_itself():
    segment = make(0)
    once, twice = backwards(segment), backwards(backwards(segment))
    np.testing.assert_array_equal(twice.eeg.data, segment.eeg.data)
    np.testing.assert_array_equal(twice.power.values, segment.power.values)
    np.testing.assert_array_equal(once.power.values[0], segment.power.values[-1])
    np.testing.assert_array_equal(once.frames, segment.frames)


@pytest.mark.parametrize("seconds", [40.0, 60.0, 90.0])
def test_the_other_subjects_eeg_fills_the_run(seconds):
    ours, theirs = make(0), make(1, seconds)
    got = of_other(ours, theirs.eeg, theirs.power)
    n = min(ours.eeg.data.shape[1], theirs.eeg.data.shape[1])
    assert got.eeg.data.shape == ours.eeg.data.shape
    assert got.power.values.shape == ours.power.values.shape
    np.testing.assert_array_equal(got.eeg.data[:, :n], theirs.eeg.data[:, :n])
    np.testing.assert_array_equal(got.power.values[:90], theirs.power.values[:90])
    np.testing.assert_array_equal(got.frames, ours.frames)
