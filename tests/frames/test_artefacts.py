"""Frames that look like artefacts: all of those that are, and none of those that aren't."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroframes.frames.artefacts import FEWEST, suspicious

V, K = 60, 300
EVERYTHING = np.ones(K, bool)
SPIKES = np.array([0, 40, 77, 130, 131, 200, 201, 250, K - 1])


def smooth(decay, seed=0, n_frames=K):
    """Autoregressions that share some of what they do, of unit variance."""
    driven = np.random.default_rng(seed).standard_normal((n_frames + 300, V + 5))
    series = lfilter([1], [1, -decay], driven, axis=0)[300:] * np.sqrt(1 - decay**2)
    mixing = np.random.default_rng(1).standard_normal((5, V)) / np.sqrt(5)
    return np.sqrt(0.5) * (series[:, 5:] + series[:, :5] @ mixing)


def spiked(frames, at, size=5.0):
    broken = frames.copy()
    broken[at] += size * np.random.default_rng(2).standard_normal((len(at), frames.shape[1]))
    return broken.astype(np.float32)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.98])
def test_spikes_are_found_and_their_neighbours_are_not(decay):
    found = suspicious(spiked(smooth(decay), SPIKES), EVERYTHING)
    np.testing.assert_array_equal(np.flatnonzero(found), SPIKES)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.98])
def test_clean_frames_are_not_suspicious(decay):
    measured = np.random.default_rng(3).random(K) > 0.3
    for seed in range(5):
        frames = smooth(decay, seed).astype(np.float32)
        assert not suspicious(frames, EVERYTHING).any()
        assert not suspicious(frames, measured).any()


def test_a_frame_beside_a_gap_is_compared_with_those_as_far_apart():
    """What a smooth process does in 10 frames would be much in one."""
    measured = np.arange(K) % 20 < 10
    frames = smooth(0.995)
    assert not suspicious(frames.astype(np.float32), measured).any()
    at = np.array([0, 9, 20, 45, 100, 109])  # three at a gap's edge
    found = suspicious(spiked(frames, at), measured)
    np.testing.assert_array_equal(np.flatnonzero(found), at)


def test_bursts_are_found_where_every_frame_differs_from_the_next():
    at = np.concatenate([np.arange(60, 66), np.arange(200, 212)])
    found = suspicious(spiked(smooth(0.9), at), EVERYTHING)
    np.testing.assert_array_equal(np.flatnonzero(found), at)


def test_a_jump_that_stays_is_no_artefact():
    frames = smooth(0.9)
    frames[150:] += 3 * np.random.default_rng(4).standard_normal(V)
    assert not suspicious(frames.astype(np.float32), EVERYTHING).any()


def test_missing_frames_are_not_read():
    measured = np.random.default_rng(5).random(K) > 0.2
    measured[SPIKES] = True
    frames = spiked(smooth(0.9), SPIKES)
    broken = np.where(measured[:, None], frames, np.float32(np.nan))
    found = suspicious(broken, measured)
    np.testing.assert_array_equal(np.flatnonzero(found), SPIKES)
    np.testing.assert_array_equal(found, suspicious(frames, measured))


def test_few_frames_say_nothing():
    frames = spiked(smooth(0.5), np.array([5]))
    for n_measured, expected in ((FEWEST - 1, False), (FEWEST, True)):
        found = suspicious(frames, np.arange(K) < n_measured)
        assert found.any() == expected
    assert not suspicious(frames, np.zeros(K, bool)).any()


def test_constant_frames_are_not_suspicious():
    assert not suspicious(np.zeros((K, V), np.float32), EVERYTHING).any()


@pytest.mark.parametrize("at", [1, 2])
def test_the_first_frame_beside_an_artefact_is_none(at):
    frames = np.random.default_rng(3).standard_normal((200, 40)).astype(np.float32).cumsum(axis=0) / 3
    frames[at] += 60
    assert np.flatnonzero(suspicious(frames, np.ones(200, bool))).tolist() == [at]


@pytest.mark.parametrize("scale", [0.05, 20.0])
def test_the_unit_does_not_matter_where_few_frames_are_as_far_apart(scale):
    measured = np.arange(K) % 20 < 10
    measured[[12, 13, 34, 36, 75, 118, 213, 214, 257]] = True  # distances of which there are few
    frames = smooth(0.9)
    assert not suspicious((scale * frames).astype(np.float32), measured).any()
    at = np.array([34, 118])
    found = suspicious(scale * spiked(frames, at), measured)
    np.testing.assert_array_equal(np.flatnonzero(found), at)


def test_frames_that_stand_alone_are_compared_with_those_as_far_apart():
    """A process that drifts: frames far apart differ by more than most pairs do."""
    for seed in range(5):
        measured = np.arange(K) % 5 < 3
        measured[60:120], measured[180:230] = False, False
        measured[[75, 95, 105, 195, 213]] = True
        assert not suspicious(smooth(0.995, seed).astype(np.float32), measured).any()
