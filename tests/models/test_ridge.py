"""Ridge in closed form, against scikit-learn and against refitting without each block."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from sklearn.linear_model import Ridge as Reference

from neuroframes.models.ridge import CLIP, Ridge, Standardisation, folds

N, Q, MARGIN = 60, 5, 3
BLOCKS = np.array_split(np.arange(N), 4)


@pytest.fixture(params=[20, 90], ids=["primal", "dual"])
def data(request):
    generator = np.random.default_rng(0)
    phi = generator.standard_normal((N, request.param))
    return phi, phi[:, :Q] + generator.standard_normal((N, Q))


def refitted(phi, targets, penalty, margin=MARGIN, blocks=BLOCKS):
    """Prediction of each block by scikit-learn, fitted without the block and its margins."""
    frame, predicted = np.arange(len(phi)), np.empty_like(targets)
    for block in blocks:
        kept = (frame < block[0] - margin) | (frame > block[-1] + margin)
        model = Reference(alpha=penalty, fit_intercept=False).fit(phi[kept], targets[kept])
        predicted[block] = model.predict(phi[block])
    return predicted


@pytest.mark.parametrize("penalty", [0.1, 3.0, 1000.0])
def test_weights_are_scikit_learn_s(data, penalty):
    phi, targets = data
    ridge = Ridge(phi, MARGIN, BLOCKS)
    weights = ridge.right @ ridge.coefficients(targets, penalty)
    reference = Reference(alpha=penalty, fit_intercept=False).fit(phi, targets)
    assert np.allclose(weights, reference.coef_.T, atol=1e-9)


@pytest.mark.parametrize("penalty", [0.1, 3.0, 1000.0])
@pytest.mark.parametrize(
    ("blocks", "margin"),
    [(BLOCKS, 3), (folds([N]), 0), (folds([N]), 8), (folds([10, 25, 5, 20]), 4)],
    ids=["quarters", "no margin", "wide margin", "segments"],
)
def test_left_out_is_a_refit_without_the_block_and_its_margins(data, penalty, blocks, margin):
    phi, targets = data
    got = Ridge(phi, margin, blocks).left_out(targets, penalty)
    assert np.allclose(got, refitted(phi, targets, penalty, margin, blocks), atol=1e-8)


def test_the_best_penalty_has_the_lowest_left_out_error(data):
    phi, targets = data
    ridge = Ridge(phi, MARGIN, BLOCKS)
    errors = np.array(
        [np.square(targets - refitted(phi, targets, penalty)).mean(axis=0) for penalty in ridge.penalties]
    )
    assert errors.shape == (len(ridge.penalties), Q)
    assert np.allclose(ridge.left_out_errors(targets), errors)
    assert np.allclose(ridge.left_out_errors(targets, slice(3, 6)), errors[3:6])
    assert ridge.best_penalty(targets)[0] == ridge.penalties[np.argmin(errors.mean(axis=1))]
    noise = np.random.default_rng(1).standard_normal((N, 200))
    assert ridge.best_penalty(noise)[0] >= ridge.penalties[-6]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([7, 3, 4, 6], [7, 3, 4, 6]),  # whole segments
        ([7, 0, 4, 6, 3], [7, 4, 6, 3]),  # one that is all censored
        ([9, 3, 8], [3, 3, 3, 3, 2, 2, 2, 2]),  # blocks: segments are few
        ([9, 3, 0, 8], [3, 3, 3, 3, 2, 2, 2, 2]),
        ([5], [1, 1, 1, 1, 1]),
    ],
)
def test_every_row_is_left_out_once(lengths, expected):
    blocks = folds(lengths)
    assert [len(block) for block in blocks] == expected
    assert np.array_equal(np.concatenate(blocks), np.arange(sum(lengths)))


def session(generator, n_runs, n=150):
    """Features and targets of runs: a relation that all share, and slow fluctuations private to each."""
    mixing = np.random.default_rng(4).standard_normal((40, 6)) / 4
    runs = []
    for _ in range(n_runs):
        features = generator.standard_normal((n, 40))
        targets = features @ mixing + 2 * generator.standard_normal((n, 6))
        slow = gaussian_filter1d(generator.standard_normal((n, 3)), 25, axis=0)
        slow /= slow.std(axis=0)
        private = (slow @ generator.standard_normal((3, width)) for width in (40, 6))
        runs.append(tuple(x + slowly for x, slowly in zip((features, targets), private, strict=True)))
    return runs


@pytest.mark.parametrize("seed", range(3))
def test_leaving_whole_runs_out_sees_what_runs_have_to_themselves(seed):
    generator = np.random.default_rng(seed)
    known, new = session(generator, 6), session(generator, 24)
    features, targets = (np.concatenate(x) for x in zip(*known, strict=True))
    penalties, promised, found = [], [], []
    for blocks in (folds([150] * 6), folds([900])):
        ridge = Ridge(features, 10, blocks)
        penalties.append(ridge.best_penalty(targets)[0])
        promised.append(ridge.left_out_errors(targets).mean(axis=1).min())
        weights = ridge.right @ ridge.coefficients(targets, penalties[-1])
        found.append(np.mean([np.square(y - x @ weights).mean() for x, y in new]))
    assert penalties[0] > penalties[1]
    assert found[0] < found[1]
    assert abs(np.log(promised[0] / found[0])) < abs(np.log(promised[1] / found[1]))


def test_penalties_scale_with_the_features(data):
    phi, _ = data
    few, many = Ridge(phi, MARGIN), Ridge(np.hstack([phi, phi]), MARGIN)
    assert np.allclose(many.penalties, 2 * few.penalties)


def test_repeated_and_empty_features_change_nothing(data):
    phi, targets = data
    plain = Ridge(phi, MARGIN, BLOCKS)
    padded = Ridge(np.hstack([phi, phi[:, :4], np.zeros((N, 3))]), MARGIN, BLOCKS)
    assert len(padded.squared) == len(plain.squared)
    reference = refitted(np.hstack([phi, phi[:, :4]]), targets, 2.0)
    assert np.allclose(padded.left_out(targets, 2.0), reference, atol=1e-8)
    assert np.allclose((padded.right @ padded.coefficients(targets, 2.0))[-3:], 0)


def test_single_precision_features_are_fitted_in_double(data):
    phi, targets = data
    single = phi.astype(np.float32)
    ridge = Ridge(single, MARGIN, BLOCKS)
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
