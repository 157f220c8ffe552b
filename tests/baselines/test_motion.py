from dataclasses import replace

import numpy as np
import pytest

from neuroframes.baselines.motion import MotionRidge
from neuroframes.errors import InputError
from neuroframes.evaluation.metrics import score


def moved(segment, seed):
    """The segment with motion that half of each vertex's frames follow, two frames later."""
    generator = np.random.default_rng(seed)
    motion = np.cumsum(generator.normal(0, 0.05, (len(segment.times), 6)), axis=0)
    jump = np.roll(np.abs(np.diff(motion, axis=0, prepend=motion[:1])) ** 2, 2, axis=0).sum(axis=1)
    frames = segment.frames / segment.frames.std() + 2 * (jump / jump.std())[:, None]
    return replace(segment, frames=frames.astype(np.float32), motion=motion)


def test_it_finds_what_follows_the_head_and_reads_no_eeg(coupled):
    train, test = moved(coupled[0], 0), moved(coupled[1], 1)
    nothing = np.zeros(len(test.times), bool)
    frames = MotionRidge().fit([train]).estimate(test.given(nothing))
    assert score(test.frames, frames, ~nothing)["whole"]["temporal_r"] > 0.4
    silent = [replace(segment, power=None) for segment in (train, test)]
    np.testing.assert_array_equal(MotionRidge().fit(silent[:1]).estimate(silent[1].given(nothing)), frames)


def test_features_are_parameters_differences_and_squares(coupled):
    segment = moved(coupled[0], 0)
    model = MotionRidge().fit([segment])
    now = model.features(segment)[:, :24]  # lag 0
    p = segment.motion - segment.motion.mean(axis=0)
    np.testing.assert_allclose(now[:, :6], p, atol=1e-5)
    np.testing.assert_allclose(now[1:, 6:12], np.diff(p, axis=0), atol=1e-5)
    np.testing.assert_allclose(now[:, 12:], now[:, :12] ** 2, atol=1e-5)


def test_without_motion_it_says_so(coupled):
    with pytest.raises(InputError, match="the confounds have none"):
        MotionRidge().fit([coupled[0]])
