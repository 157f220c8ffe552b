"""Ridge and kriging at once: each where the other has nothing to say, better than either where both have."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import toeplitz

from neuroframes.baselines import Kriging, KrigingEeg, RidgeFIR
from neuroframes.evaluation.metrics import score
from neuroframes.evaluation.tasks import given_and_scored

TR = 0.8


@pytest.fixture(scope="module")
def both(coupled):
    """Segments whose mean follows the EEG and whose rest is smooth in time, a quarter of the variance."""
    generator, segments = np.random.default_rng(7), []
    for segment in coupled:
        n = len(segment.times)
        root = np.linalg.cholesky(toeplitz(np.exp(-TR * np.arange(n) / 6)) + 1e-6 * np.eye(n))
        power, at = segment.power.values, segment.times - 4
        mean = np.stack([np.interp(at, segment.power.times, feature) for feature in power.T], axis=1)
        frames = mean @ np.random.default_rng(2).standard_normal((5, 30))
        frames = frames / frames.std() + 0.6 * root @ generator.standard_normal((n, 30))
        segments.append(replace(segment, frames=frames.astype(np.float32)))
    return tuple(segments)


def test_with_nothing_measured_it_is_ridge(both):
    train, test = both
    nothing = np.zeros(len(test.times), bool)
    model, ridge = (kind().fit([train]) for kind in (KrigingEeg, RidgeFIR))
    np.testing.assert_array_equal(model.estimate(test.given(nothing)), ridge.estimate(test.given(nothing)))


def test_it_is_ridge_and_the_kriging_of_what_ridge_leaves_over(both):
    train, test = both
    given, _ = given_and_scored("gap-4", test)
    model = KrigingEeg().fit([train])
    mean = model.ridge_.estimate(test.given(np.zeros_like(given))).astype(float)
    known, missing = test.times[given], test.times[~given]
    across, inside = (model.kriging_.kernel(np.subtract.outer(t, known)) for t in (missing, known))
    inside += model.kriging_.amplitudes_[0] * np.eye(len(known))
    expected = mean[~given] + across @ np.linalg.solve(inside, test.frames[given] - mean[given])
    np.testing.assert_allclose(model.estimate(test.given(given)), expected, atol=1e-3)


def test_the_kernel_is_that_of_frames_that_ridge_was_not_fitted_to(both):
    train, test = both
    model = KrigingEeg().fit([train])
    held_out = test.frames - model.ridge_.estimate(test.given(np.zeros(len(test.times), bool)))
    fitted = train.frames - model.ridge_.estimate(train.given(np.zeros(len(train.times), bool)))
    assert fitted.var() < 0.5 * held_out.var()
    stated = model.kriging_.amplitudes_.sum()
    assert stated == pytest.approx(model.ridge_.left_out_.var(), rel=0.05)
    assert stated == pytest.approx(held_out.var(), rel=0.25)


@pytest.mark.parametrize("task", ["gap-1", "gap-4", "gap-16", "ends-only"])
def test_it_beats_kriging_and_ridge_where_eeg_tells_the_mean(both, task):
    train, test = both
    given, scored = given_and_scored(task, test)
    part = test.given(given)
    r = [
        score(test.frames, part.completed(kind().fit([train]).estimate(part)), scored)["whole"]["temporal_r"]
        for kind in (KrigingEeg, Kriging, RidgeFIR)
    ]
    assert r[0] > max(r[1:])


def test_where_eeg_tells_nothing_it_is_as_good_as_kriging(smooth, coupled):
    train, test = (
        replace(segment, power=other.power) for segment, other in zip(smooth, coupled, strict=True)
    )
    given, scored = given_and_scored("gap-4", test)
    part = test.given(given)
    r = [
        score(test.frames, part.completed(kind().fit([train]).estimate(part)), scored)["whole"]["temporal_r"]
        for kind in (KrigingEeg, Kriging)
    ]
    assert r[0] == pytest.approx(r[1], abs=0.02)
