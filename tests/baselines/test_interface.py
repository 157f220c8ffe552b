"""What every baseline owes its caller."""

import re
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
from neuroframes.errors import InputError
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
    given = test.given(measured)
    mean = fitted.fill(given).mean
    assert mean.dtype == np.float32 and mean.shape == ((~measured).sum(), test.frames.shape[1])
    frames = given.completed(mean)
    assert np.array_equal(frames[measured], test.frames[measured])
    assert np.array_equal(frames[~measured], mean)
    assert np.isfinite(frames).all()


def test_where_all_is_measured_there_is_nothing_to_estimate(fitted, coupled):
    assert fitted.fill(coupled[1]).mean.shape == (0, 30)


def test_a_baseline_states_no_deviation_and_draws_nothing(fitted, coupled):
    given = coupled[1].given(TASKS["gap-4"](len(coupled[1].times)))
    estimate = fitted.fill(given)
    assert np.array_equal(estimate.mean, fitted.estimate(given))
    assert estimate.std is None and not list(estimate.draws)
    assert not fitted.states_deviation
    with pytest.raises(InputError, match=f"--draws 2, but {re.escape(fitted.name)} draws nothing"):
        fitted.fill(given, draws=2)


def test_what_a_baseline_says_it_reads_decides(fitted, coupled):
    """`reads_frames` and `needs_eeg` are what callers ask, so both must be true of what it computes."""
    test = coupled[1].given(TASKS["gap-4"](len(coupled[1].times)))
    others = replace(test, frames=test.frames[::-1].copy())
    assert np.array_equal(fitted.estimate(others), fitted.estimate(test)) != fitted.reads_frames
    silent = replace(test, power=None)
    if fitted.needs_eeg:
        with pytest.raises(InputError, match=f"{re.escape(fitted.name)} needs EEG"):
            fitted.fill(silent)
    else:
        assert np.array_equal(fitted.fill(silent).mean, fitted.estimate(test))


def test_what_is_missing_is_never_looked_at(fitted, coupled):
    test = coupled[1]
    measured = TASKS["gap-4"](len(test.times))
    other = replace(test, frames=np.where(measured[:, None], test.frames, np.nan))
    assert np.array_equal(fitted.estimate(test.given(measured)), fitted.estimate(other.given(measured)))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_censored_frames_are_neither_fitted_on_nor_given(kind, coupled):
    censored = []
    for segment in coupled:
        keep = np.ones(len(segment.times), bool)
        keep[[0, 7, 8, 9, 60, -1]] = False
        censored.append(replace(segment, measured=keep))
    spoilt = [replace(s, frames=np.where(s.measured[:, None], s.frames, np.nan)) for s in censored]
    expected = kind().fit(censored[:1]).estimate(censored[1])
    got = kind().fit(spoilt[:1]).estimate(spoilt[1])
    assert len(got) == 6
    assert np.isfinite(got).all()
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("n_given", [0, 1, 2, 3])
def test_few_given_frames_are_enough(fitted, coupled, n_given):
    measured = np.zeros(len(coupled[1].times), bool)
    measured[100 : 100 + n_given] = True
    assert np.isfinite(fitted.estimate(coupled[1].given(measured))).all()


@pytest.mark.parametrize(
    "kind", [MeanFrame, RunMean, HoldLast, Linear, Nearest, CubicSpline, LombScargle, Kriging]
)
def test_without_any_frame_the_training_mean_remains(kind, coupled, segment_of):
    train = segment_of(coupled[0].frames + 5)
    nothing = np.zeros(len(coupled[1].times), bool)
    frames = kind().fit([train]).estimate(coupled[1].given(nothing))
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
