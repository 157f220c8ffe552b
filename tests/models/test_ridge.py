"""Ridge in closed form, against scikit-learn and against refitting without each block."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from neuroframes.models.ridge import CLIP, Ridge, Standardisation

N, Q, FOLDS, MARGIN = 60, 5, 4, 3


@pytest.fixture(params=[20, 90], ids=["primal", "dual"])
def data(request):
    generator = np.random.default_rng(0)
    phi = generator.standard_normal((N, request.param))
    return phi, phi[:, :Q] + generator.standard_normal((N, Q))


def refitted(phi, targets, penalty, n_folds=FOLDS, margin=MARGIN):
    """Prediction of each block by scikit-learn, fitted without the block and its margins."""
    frame, predicted = np.arange(len(phi)), np.empty_like(targets)
    for block in np.array_split(frame, n_folds):
        kept = (frame < block[0] - margin) | (frame > block[-1] + margin)
        model = Reference(alpha=penalty, fit_intercept=False).fit(phi[kept], targets[kept])
        predicted[block] = model.predict(phi[block])
    return predicted


@pytest.mark.parametrize("penalty", [0.1, 3.0, 1000.0])
def test_weights_are_scikit_learn_s(data, penalty):
    phi, targets = data
    ridge = Ridge(phi, FOLDS, MARGIN)
    weights = ridge.right @ ridge.coefficients(targets, penalty)
    reference = Reference(alpha=penalty, fit_intercept=False).fit(phi, targets)
    assert np.allclose(weights, reference.coef_.T, atol=1e-9)


@pytest.mark.parametrize("penalty", [0.1, 3.0, 1000.0])
@pytest.mark.parametrize(("n_folds", "margin"), [(4, 3), (2, 0), (6, 8)])
def test_left_out_is_a_refit_without_the_block_and_its_margins(data, penalty, n_folds, margin):
    phi, targets = data
    got = Ridge(phi, n_folds, margin).left_out(targets, penalty)
    assert np.allclose(got, refitted(phi, targets, penalty, n_folds, margin), atol=1e-8)


def test_the_best_penalty_has_the_lowest_left_out_error(data):
    phi, targets = data
    ridge = Ridge(phi, FOLDS, MARGIN)
    errors = [np.mean((targets - refitted(phi, targets, penalty)) ** 2) for penalty in ridge.penalties]
    assert np.allclose(ridge.left_out_errors(targets), errors)
    assert ridge.best_penalty(targets) == ridge.penalties[np.argmin(errors)]
    noise = np.random.default_rng(1).standard_normal((N, 200))
    assert ridge.best_penalty(noise) >= ridge.penalties[-6]


def test_penalties_scale_with_the_features(data):
    phi, _ = data
    few, many = Ridge(phi, FOLDS, MARGIN), Ridge(np.hstack([phi, phi]), FOLDS, MARGIN)
    assert np.allclose(many.penalties, 2 * few.penalties)


def test_repeated_and_empty_features_change_nothing(data):
    phi, targets = data
    plain = Ridge(phi, FOLDS, MARGIN)
    padded = Ridge(np.hstack([phi, phi[:, :4], np.zeros((N, 3))]), FOLDS, MARGIN)
    assert len(padded.squared) == len(plain.squared)
    reference = refitted(np.hstack([phi, phi[:, :4]]), targets, 2.0)
    assert np.allclose(padded.left_out(targets, 2.0), reference, atol=1e-8)
    assert np.allclose((padded.right @ padded.coefficients(targets, 2.0))[-3:], 0)


def test_single_precision_features_are_fitted_in_double(data):
    phi, targets = data
    single = phi.astype(np.float32)
    ridge = Ridge(single, FOLDS, MARGIN)
    assert np.allclose(ridge.left_out(targets, 3.0), refitted(single.astype(float), targets, 3.0), atol=1e-8)


def test_standardisation_is_robust_and_clips():
    generator = np.random.default_rng(2)
    features = generator.normal(-41, 0.3, (10_000, 4))
    features[::50, 1] += 1000  # artefacts
    features[:, 3] = -41.446533  # a flat channel
    got = Standardisation.of(features)
    assert np.allclose(got.centre[:3], -41, atol=0.02)
    assert np.allclose(got.spread[:3], 0.3, rtol=0.05)
    assert np.isinf(got.spread[3])
    standard = got(features)
    assert standard.dtype == np.float32
    assert np.abs(standard).max() == CLIP
    assert not standard[:, 3].any()
    clean = np.arange(10_000) % 50 > 0
    assert np.allclose(standard[clean, :3].std(axis=0), 1, atol=0.05)
