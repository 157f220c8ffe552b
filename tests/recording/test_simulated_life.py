"""Vigilance, balloons, movement in bursts, and activity that arrives later."""

import numpy as np
import pytest

from neuroframes.recording import simulated_life as life


def test_drowsiness_comes_later_in_a_run():
    drowsy = np.stack([life.drowsiness(p, 1.0) for p in np.random.default_rng(0).normal(size=(200, 100))])
    assert drowsy.min() >= 0 and drowsy.max() <= 1
    assert drowsy[:, 70:].mean() > 1.3 * drowsy[:, :30].mean()
    assert not life.drowsiness(np.ones(10, np.float32), 0.0).any()


def steady(log_inflow: float) -> float:
    """What a lasting inflow ends in, by the equations."""
    inflow = np.exp(life.MOST * np.tanh(log_inflow / life.MOST))
    volume = inflow**life.STIFFNESS
    extracted = (1 - (1 - life.EXTRACTION) ** (1 / inflow)) / life.EXTRACTION
    blue = volume * extracted
    return life.K1 * (1 - blue) + life.K2 * (1 - blue / volume) + life.K3 * (1 - volume)


def test_a_balloon_settles_where_its_equations_say():
    size = np.array([-2.0, -0.5, 0.5, 1.0, 2.0], np.float32)
    lasting = np.repeat(size[:, None], 400, axis=1)
    end = life.balloon(lasting, 5.0, gain=0.2)[:, -1]
    np.testing.assert_allclose(end / end[2], [steady(0.2 * s) / steady(0.1) for s in size], rtol=1e-3)
    assert end[4] < 2 * end[3] and -end[0] > end[4]  # it saturates, and falls lower than it rises


def test_a_balloon_of_small_activity_is_linear():
    activity = np.sin(2 * np.pi * 0.01 * np.arange(2000) / 5).astype(np.float32)[None]
    bold = life.balloon(activity, 5.0, gain=1e-3)
    np.testing.assert_allclose(bold.std(), activity.std(), rtol=0.02)
    twice = life.balloon(2 * activity, 5.0, gain=1e-3)
    np.testing.assert_allclose(twice, 2 * bold, atol=0.01)


def test_a_balloon_survives_violent_activity():
    activity = 50 * np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32)
    assert np.isfinite(life.balloon(activity, 5.0, 0.2)).all()


def test_heads_move_as_published():
    rng, tr = np.random.default_rng(0), life.DISPLACEMENT_TR
    heads = np.exp(0.52 * rng.normal(size=400))
    steps = np.stack([life.head_movement(rng, 261, tr, size) for size in heads])
    displacement = np.abs(steps).sum(axis=2)
    assert not displacement[:, 0].any()
    moved = displacement[:, 1:]
    assert np.median(moved) == pytest.approx(0.224, rel=0.1)
    assert (moved > 0.5).mean() == pytest.approx(0.127, abs=0.03)
    course = np.log(moved) - np.log(moved).mean(axis=1, keepdims=True)
    assert course.std() == pytest.approx(0.54, rel=0.05)
    assert np.corrcoef(course[:, 1:].ravel(), course[:, :-1].ravel())[0, 1] == pytest.approx(0.386, abs=0.03)


def test_spread_mixes_and_delays():
    rng = np.random.default_rng(0)
    courses, size = rng.normal(size=(2, 50)).astype(np.float32), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]])
    np.testing.assert_allclose(life.spread(courses, size, np.zeros((2, 3)), 5.0), size.T @ courses, rtol=1e-6)
    later = life.spread(courses, size, np.full((2, 3), 0.4), 5.0)
    np.testing.assert_allclose(later[:, 2:], (size.T @ courses)[:, :-2], rtol=1e-5, atol=1e-6)
