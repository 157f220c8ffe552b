from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import toeplitz
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from neuroframes.baselines import CubicSpline, Kriging, Linear
from neuroframes.baselines.interface import training_mean
from neuroframes.baselines.kriging import dictionary, likeliest_amplitudes, pooled_autocovariance
from neuroframes.evaluation.metrics import score
from neuroframes.evaluation.tasks import given_and_scored

TR = 0.8


def test_pooled_autocovariance_equals_a_loop_over_pairs(segment_of):
    generator = np.random.default_rng(0)
    segments = [
        segment_of(generator.standard_normal((n, 4)).cumsum(axis=0), censored=censored)
        for n, censored in ((30, (0, 4, 5)), (6, ()))
    ]
    mean = generator.standard_normal(4).astype(np.float32)
    expected = []
    for lag in range(8):
        products = [
            ((s.frames[i] - mean) * (s.frames[i + lag] - mean)).mean()
            for s in segments
            for i in range(len(s.times) - lag)
            if s.measured[i] and s.measured[i + lag]
        ]
        expected.append(np.mean(products))
    assert np.allclose(pooled_autocovariance(segments, mean, 8), expected, rtol=1e-5)


def test_every_atom_of_the_dictionary_is_a_correlation_function():
    for atom in dictionary(TR * np.arange(200.0), TR):
        assert atom[0] == pytest.approx(1)
        assert np.linalg.eigvalsh(toeplitz(atom)).min() > -1e-10


def test_amplitudes_never_lower_the_likelihood():
    lag = TR * np.arange(64.0)
    data = 0.7 * np.exp(-lag / 6) + 0.2 * np.exp(-((lag / 2) ** 2))
    data[0] += 0.1
    atoms = np.concatenate([np.eye(1, 64), dictionary(lag, TR)])

    def loss(iterations: int) -> float:
        covariance = toeplitz(likeliest_amplitudes(data, atoms, iterations) @ atoms)
        return np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, toeplitz(data)))

    losses = [loss(iterations) for iterations in (0, 1, 2, 5, 20, 100, 300)]
    assert np.all(np.diff(losses) < 0)
    best = np.linalg.slogdet(toeplitz(data))[1] + 64  # the model that is the data
    assert losses[-1] - best < 0.1


def test_kernel_of_the_process_is_recovered(smooth):
    model = Kriging().fit([smooth[0]])
    lag = TR * np.arange(1, 12)
    assert np.allclose(model.kernel(lag), np.exp(-lag / 6), atol=0.1)
    assert model.amplitudes_.sum() == pytest.approx(1.1, abs=0.15)


def test_lags_without_a_pair_of_measured_frames_are_between_their_neighbours(smooth, segment_of):
    train, _ = smooth
    every_third = replace(train, measured=np.arange(600) % 3 == 0)
    got = pooled_autocovariance([every_third], training_mean([every_third]), 31)
    np.testing.assert_allclose(got, np.interp(np.arange(31), np.arange(0, 31, 3), got[::3]))
    # Zeros there would say that neighbours have nothing to do with each other.
    task = np.arange(600) % 3 == 0
    misses = [
        np.square(kind().fit([every_third]).estimate(every_third) - train.frames[~task]).mean()
        for kind in (Kriging, Linear)
    ]
    assert misses[0] < 1.05 * misses[1]


def test_posterior_equals_scikit_learn(smooth):
    model = Kriging().fit([smooth[0]])
    model.amplitudes_ = np.zeros_like(model.amplitudes_)
    model.amplitudes_[[0, 4]] = 0.1, 0.9  # white, and the exponential of the second scale, 1 TR
    scale = TR * 0.5 * 128 ** (1 / 7)
    kernel = ConstantKernel(0.9) * Matern(scale, nu=0.5) + WhiteKernel(0.1)
    generator = np.random.default_rng(1)
    known, missing = np.sort(generator.uniform(0, 60, 80)), np.linspace(-5, 70, 40)
    values = generator.standard_normal((80, 3))
    reference = GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(known[:, None], values)
    mean, std = reference.predict(missing[:, None], return_std=True)
    weights, deviation = model.posterior(known, missing)
    assert np.allclose(weights @ values, mean, atol=1e-5)
    assert np.allclose(deviation, std[:, 0], atol=1e-5)


def test_far_from_measured_frames_the_prior_remains(smooth):
    model = Kriging().fit([smooth[0]])
    weights, std = model.posterior(np.arange(10) * TR, np.array([1e4]))
    assert np.abs(weights).max() < 1e-9
    assert std[0] == pytest.approx(np.sqrt(model.amplitudes_.sum()))


@pytest.mark.parametrize("task", ["gap-1", "gap-2", "gap-4", "gap-8", "gap-16", "ends-only"])
def test_it_beats_linear_and_cubic_spline_on_a_gaussian_process(smooth, task):
    train, test = smooth
    given, scored = given_and_scored(task, test)
    part = test.given(given)
    r = [
        score(test.frames, part.completed(kind().fit([train]).estimate(part)), scored)["whole"]["temporal_r"]
        for kind in (Kriging, Linear, CubicSpline)
    ]
    assert r[0] > max(r[1:])
