"""Weights along time, against the one-dimensional interpolation of NumPy and SciPy vertex by vertex."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline as ScipySpline
from scipy.interpolate import interp1d

from neuroframes.baselines import CubicSpline, Linear, Nearest


@pytest.fixture
def measured() -> np.ndarray:
    """Irregular gaps, at both ends too; 300 frames."""
    mask = np.random.default_rng(3).random(300) < 0.4
    mask[[0, 1, 2, -1]] = False
    return mask


def test_linear_equals_numpy_interp(smooth, measured):
    train, test = smooth
    frames = Linear().fit([train]).estimate(test.given(measured))
    for vertex in range(test.frames.shape[1]):
        expected = np.interp(test.times[~measured], test.times[measured], test.frames[measured, vertex])
        assert np.allclose(frames[:, vertex], expected, atol=1e-6)


def test_nearest_equals_scipy_and_holds_the_earlier_of_two(smooth, measured):
    train, test = smooth
    frames = Nearest().fit([train]).estimate(test.given(measured))
    held = interp1d(
        np.flatnonzero(measured), test.frames[measured], "nearest", axis=0, bounds_error=False,
        fill_value=(test.frames[measured][0], test.frames[measured][-1]),
    )  # fmt: skip
    assert np.allclose(frames, held(np.flatnonzero(~measured)), atol=1e-6)


def test_cubic_spline_equals_scipy_inside_and_holds_outside(smooth, measured):
    train, test = smooth
    given = test.given(measured)
    frames = given.completed(CubicSpline().fit([train]).estimate(given))
    first, last = np.flatnonzero(measured)[[0, -1]]
    spline = ScipySpline(test.times[measured], test.frames[measured].astype(float))
    assert np.allclose(frames[first : last + 1], spline(test.times[first : last + 1]), atol=1e-5)
    assert np.allclose(frames[:first], test.frames[first]) and np.allclose(frames[last:], test.frames[last])


def test_extrapolating_cubic_spline_is_nilearn_s(smooth, measured):
    train, test = smooth
    frames = CubicSpline(extrapolate=True).fit([train]).estimate(test.given(measured))
    expected = ScipySpline(test.times[measured], test.frames[measured].astype(float), extrapolate=True)
    assert np.allclose(frames, expected(test.times[~measured]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [Linear, Nearest, CubicSpline])
def test_weights_sum_to_one(kind, measured):
    times = 0.8 * np.arange(300)
    weights = kind().weights(times[measured], times[~measured])
    assert weights.shape == ((~measured).sum(), measured.sum())
    assert np.allclose(weights.sum(axis=1), 1)
