"""Against scikit-learn's ridge, and on runs whose vertices lead and lag each other."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from neuroframes.baselines.gap_ridge import (
    BothGapRidge,
    GapRidge,
    Moments,
    OthersGapRidge,
    patterns,
    regression,
)
from neuroframes.baselines.interpolation import Linear
from neuroframes.evaluation.tasks import TASKS


@pytest.fixture(scope="module")
def travelling(segment_of):
    """Runs of eight people: slow noise that goes from vertex to vertex, a frame each, and white noise."""
    generator = np.random.default_rng(0)

    def draw(person: int):
        source = np.convolve(generator.standard_normal(340), np.hanning(9), "valid")
        waves = np.stack([source[12 - v : 312 - v] for v in range(12)], axis=1)
        frames = waves / waves.std() + 0.3 * generator.standard_normal(waves.shape)
        return replace(segment_of(frames), person=f"sub-{person}")

    return [draw(person) for person in range(8)]


def test_patterns_are_places_in_gaps():
    measured = np.array([0, 1, 1, 0, 0, 1, 1, 1, 0, 1], bool)
    assert patterns(measured, 2) == {(1, 2): [0], (-2, -1, 2, 3): [3], (-3, -2, 1, 2): [4], (-2, -1, 1): [8]}


def test_a_regression_is_scikit_learn_s(travelling):
    series, offsets = (travelling[0].frames, travelling[0].measured), (-2, -1, 3)
    at = np.arange(2, 297)
    u = np.concatenate([series[0][at + offset] for offset in offsets], axis=1)
    moments = Moments.of(series, at, offsets)
    weights = regression([(1.0, moments)], 0.3)
    reference = Ridge(alpha=0.3 * len(at), fit_intercept=False).fit(u, series[0][at])
    np.testing.assert_allclose(weights, reference.coef_.T, atol=1e-4)
    missed = np.sum((reference.predict(u) - series[0][at]) ** 2)
    assert moments.error(weights) == pytest.approx(missed, rel=1e-3)


def test_a_missing_frame_is_the_regression_of_its_pattern(travelling):
    test, *others = travelling
    given = test.given(np.arange(300) != 150)
    model = OthersGapRidge(neighbours=1).fit([given], others)
    ((offsets, weights),) = (model.fill(given), *model.weights_.values())[1:]
    assert offsets == (-1, 1)
    encoded = model.components_.encode(lambda block: test.frames[:, block])
    expected = model.components_.decode(encoded[[149, 151]].reshape(1, -1) @ weights)
    np.testing.assert_allclose(model.fill(given).mean, expected, atol=1e-4)


def test_lead_and_lag_are_learned_from_the_run_and_from_others(travelling):
    test, *others = travelling
    given = test.given(TASKS["late-gap-8"](300))

    def error(model) -> float:
        return float(np.mean((model.fill(given).mean - test.frames[~given.measured]) ** 2))

    own, theirs = GapRidge().fit([given]), OthersGapRidge().fit([given], others)
    both = BothGapRidge().fit([given], others)
    linear = error(Linear().fit([given]))
    assert error(both) < 0.8 * linear and error(theirs) < 0.8 * linear and error(own) < linear
    assert error(both) < error(own)


def test_one_other_person_is_enough(travelling):
    given = travelling[0].given(TASKS["gap-4"](300))
    assert np.isfinite(OthersGapRidge().fit([given], travelling[1:2]).fill(given).mean).all()


def test_without_examples_farther_frames_do_not_count(travelling):
    given = travelling[0].given(np.arange(300) % 10 < 2)
    model = GapRidge().fit([given])
    estimate = model.fill(given).mean
    # No frame but the two that are measured has a measured neighbour.
    assert all(set(offsets) <= {-1, 1} for offsets, _ in model.weights_.values())
    assert np.isfinite(estimate).all()


def test_what_components_leave_over_is_interpolated(segment_of):
    generator = np.random.default_rng(1)
    white = generator.standard_normal((168, 260))
    frames = np.stack([np.convolve(of, np.hanning(9), "valid") for of in white.T], axis=1)
    given = segment_of(frames).given(np.arange(160) % 40 != 20)
    model = GapRidge().fit([given])
    assert model.components_.n_latents < 24
    error = np.square(model.fill(given).mean - frames[20::40]).mean()
    assert error < 0.25 * np.square(frames).mean()
