"""What every baseline owes its caller."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.baselines import (
    BandedRidge,
    CubicSpline,
    Drift,
    HoldLast,
    Kriging,
    KrigingEeg,
    Linear,
    LombScargle,
    MeanFrame,
    Nearest,
    RidgeFIR,
    RunMean,
)
from neuroframes.baselines.interface import Baseline, repetition_time, training_mean
from neuroframes.evaluation.tasks import TASKS


class QuickBandedRidge(BandedRidge):
    """Few ratios of penalties to try, for few components."""

    def __init__(self) -> None:
        super().__init__(latents=4, samples=2)


ALL = [
    *(MeanFrame, RunMean, Drift),
    *(HoldLast, Linear, Nearest, CubicSpline, LombScargle, Kriging),
    *(RidgeFIR, QuickBandedRidge, KrigingEeg),
]


@pytest.fixture(scope="module", params=ALL, ids=lambda kind: kind.__name__)
def fitted(request, coupled) -> Baseline:
    return request.param().fit([coupled[0]])


@pytest.mark.parametrize("task", TASKS)
def test_given_frames_are_bit_exact_and_the_rest_is_finite(fitted, coupled, task):
    test = coupled[1]
    measured = TASKS[task](len(test.times))
    frames = fitted.predict(test, measured)
    assert frames.dtype == np.float32 and frames.shape == test.frames.shape
    assert np.array_equal(frames[measured], test.frames[measured])
    assert np.isfinite(frames).all()


def test_what_is_missing_is_never_looked_at(fitted, coupled):
    test = coupled[1]
    measured = TASKS["gap-4"](len(test.times))
    other = replace(test, frames=np.where(measured[:, None], test.frames, np.nan))
    assert np.array_equal(fitted.predict(test, measured), fitted.predict(other, measured))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_censored_frames_are_neither_fitted_on_nor_given(kind, coupled):
    censored = []
    for segment in coupled:
        keep = np.ones(len(segment.times), bool)
        keep[[0, 7, 8, 9, 60, -1]] = False
        censored.append(replace(segment, measured=keep))
    spoilt = [replace(s, frames=np.where(s.measured[:, None], s.frames, np.nan)) for s in censored]
    everything = np.ones(len(coupled[1].times), bool)
    expected = kind().fit(censored[:1]).predict(censored[1], everything)
    got = kind().fit(spoilt[:1]).predict(spoilt[1], everything)
    assert np.isfinite(got).all()
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("n_given", [0, 1, 2, 3])
def test_few_given_frames_are_enough(fitted, coupled, n_given):
    measured = np.zeros(len(coupled[1].times), bool)
    measured[100 : 100 + n_given] = True
    assert np.isfinite(fitted.predict(coupled[1], measured)).all()


@pytest.mark.parametrize(
    "kind", [MeanFrame, RunMean, HoldLast, Linear, Nearest, CubicSpline, LombScargle, Kriging]
)
def test_without_any_frame_the_training_mean_remains(kind, coupled, segment_of):
    train = segment_of(coupled[0].frames + 5)
    nothing = np.zeros(len(coupled[1].times), bool)
    frames = kind().fit([train]).predict(coupled[1], nothing)
    assert np.allclose(frames, train.frames.mean(axis=0), atol=1e-5)


def test_training_mean_pools_segments_and_skips_censored_frames(segment_of):
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, 20, 3))
    a[4] = np.nan
    mean = training_mean([segment_of(a, censored=(4,)), segment_of(b[:7])])
    assert np.allclose(mean, np.concatenate([np.delete(a, 4, axis=0), b[:7]]).mean(axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="no measured frame"):
        training_mean([segment_of(a[4:5], censored=(0,))])


def test_repetition_time_is_the_step_of_the_frames(smooth):
    assert repetition_time(smooth) == pytest.approx(0.8)
