"""Reordered blocks: equal to a test that moves frames, of the right level, and powerful."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import false_discovery_control, kstest

from neuroframes.evaluation import surrogates
from neuroframes.evaluation.metrics import score
from neuroframes.evaluation.surrogates import permutation_p

TR = 4.0
LENGTH = 10  # frames of 40 s


def autocorrelated(generator, n_frames, n_vertices, coefficient=0.7):
    noise = generator.standard_normal((50 + n_frames, n_vertices))
    return lfilter([1], [1, -coefficient], noise, axis=0)[50:].astype(np.float32)


def reordered(prediction, order):
    """Frames with blocks in another order, by moving them."""
    return np.concatenate([prediction[LENGTH * b : LENGTH * (b + 1)] for b in order])


@pytest.mark.parametrize("products", [1, 2**21])
def test_it_equals_a_test_that_moves_frames(products, monkeypatch):
    monkeypatch.setattr(surrogates, "PRODUCTS", products)  # vertices one by one, and at once
    generator = np.random.default_rng(0)
    truth = [autocorrelated(generator, n, 5) for n in (47, 66, 9)]
    prediction = [0.3 * x + autocorrelated(generator, len(x), 5) for x in truth]
    for x, y in zip(truth, prediction, strict=True):
        x[:, 3], y[:, 4] = 1.5, -0.2
    scored = [np.arange(len(x)) % 9 != 4 for x in truth]
    found = permutation_p(truth, prediction, scored, TR, np.random.default_rng(1), n=60)

    # 42 and 59 scored frames fill 4 and 5 blocks; 8 fill none.
    kept = [np.flatnonzero(scored[0])[:40], np.flatnonzero(scored[1])[:50]]
    x, y = (np.concatenate([f[s][kept[s]] for s in (0, 1)]) for f in (truth, prediction))
    assert found.n_blocks == 9
    again = np.random.default_rng(1)
    rs = []
    for order in [np.arange(9), *(again.permutation(9) for _ in range(60))]:
        moved = reordered(y, order).astype(float)
        rs.append([np.corrcoef(x[:, v], moved[:, v])[0, 1] if v < 3 else 0 for v in range(5)])
    rs = np.array(rs)
    assert found.r == pytest.approx(rs[0].mean(), abs=1e-6)
    assert found.p == (1 + (rs[1:].mean(axis=1) >= rs[0].mean()).sum()) / 61
    expected = (1 + (rs[1:] >= rs[0]).sum(axis=0)) / 61
    np.testing.assert_array_equal(found.p_vertices, expected)
    assert expected[3] == expected[4] == 1
    # The truth of vertex 3 is constant: no question was asked there.
    np.testing.assert_allclose(
        found.q_vertices[[0, 1, 2, 4]], false_discovery_control(expected[[0, 1, 2, 4]])
    )
    assert found.q_vertices[3] == 1


def test_a_constant_but_for_rounding_says_nothing(rounded_constant):
    generator = np.random.default_rng(8)
    truth, constant = autocorrelated(generator, 60, 8), rounded_constant(60, 8)
    found = permutation_p([truth], [constant], [np.ones(60, bool)], TR, generator)
    assert found.r == 0 and found.p == 1 and (found.p_vertices == 1).all()


def test_surrogates_keep_the_spectra_of_blocks():
    prediction = autocorrelated(np.random.default_rng(2), 8 * LENGTH, 3)
    order = np.random.default_rng(3).permutation(8)
    before, after = (
        np.abs(np.fft.rfft(frames.reshape(8, LENGTH, 3), axis=1)) ** 2
        for frames in (prediction, reordered(prediction, order))
    )
    np.testing.assert_allclose(after, before[order])


def test_unrelated_series_have_uniform_p():
    generator, p = np.random.default_rng(4), []
    for _ in range(400):
        truth, prediction = autocorrelated(generator, 200, 1), autocorrelated(generator, 200, 1)
        p.append(permutation_p([truth], [prediction], [np.ones(200, bool)], TR, generator, n=99).p)
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09


def test_frames_moved_one_by_one_would_not():
    # Why there are blocks: the same series, as if frames were exchangeable.
    generator, hits = np.random.default_rng(5), 0
    for _ in range(200):
        x, y = (autocorrelated(generator, 200, 1)[:, 0] for _ in "xy")
        products = x @ np.stack([y, *(generator.permutation(y) for _ in range(39))], axis=1)
        hits += (products >= products[0]).sum() / 40 <= 0.05
    assert hits / 200 > 0.1


def test_related_series_have_the_smallest_p_there_is_and_fdr_finds_their_vertices():
    generator = np.random.default_rng(6)
    truth = [autocorrelated(generator, 300, 40) for _ in range(2)]
    prediction = [autocorrelated(generator, 300, 40) for _ in range(2)]
    for x, y in zip(truth, prediction, strict=True):
        y[:, :20] += x[:, :20]
    scored = [np.ones(300, bool)] * 2
    found = permutation_p(truth, prediction, scored, TR, generator, n=999)
    assert found.p == 1 / 1000
    assert (found.q_vertices[:20] < 0.05).all() and (found.q_vertices[20:] < 0.05).sum() <= 3
    assert found.r == pytest.approx(score(truth, prediction, scored)["whole"]["temporal_r"], abs=1e-6)


def test_too_few_blocks_are_refused():
    x = autocorrelated(np.random.default_rng(7), 39, 2)
    with pytest.raises(ValueError, match="fill 3 blocks of 40 s"):
        permutation_p([x], [x], [np.ones(39, bool)], TR, np.random.default_rng(0))
