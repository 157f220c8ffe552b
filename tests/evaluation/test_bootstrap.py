"""The paired block bootstrap: equal to one that copies frames, and right as often as it says."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neuroframes.evaluation import bootstrap
from neuroframes.evaluation.bootstrap import compare_r
from neuroframes.evaluation.metrics import score

TR = 2.0


def smooth(generator, n_frames, n_vertices):
    """Noise of variance 2 with neighbours alike over some 4 frames, in part shared by the vertices."""
    noise = generator.standard_normal((n_frames + 40, n_vertices)) + generator.standard_normal(
        (n_frames + 40, 1)
    )
    unit = np.linalg.norm(gaussian_filter1d(np.eye(1, 81, 40)[0], 2))
    return (gaussian_filter1d(noise, 2, axis=0)[20:-20] / unit).astype(np.float32)


def case(generator, lengths=(90, 130, 15), n_vertices=6, better=0.0):
    """Truth, two predictions with errors of the same law, the first less by `better`, and a mask."""
    truth = [smooth(generator, n, n_vertices) for n in lengths]
    first = [x + (1 - better) * smooth(generator, len(x), n_vertices) for x in truth]
    second = [x + smooth(generator, len(x), n_vertices) for x in truth]
    return truth, first, second, [generator.random(len(x)) < 0.8 for x in truth]


def test_it_equals_a_bootstrap_that_copies_frames(monkeypatch):
    monkeypatch.setattr(bootstrap, "REPLICATES", 60)
    truth, first, second, scored = case(np.random.default_rng(0))
    scored[1][20:46] = False  # rows 22 to 43 are a block
    found = compare_r(truth, first, second, scored, TR, np.random.default_rng(1), interval=0.8)

    blocks = []
    for segment, mask in enumerate(scored):
        for part in np.array_split(np.arange(len(mask)), max(1, int(len(mask) * TR / 40))):
            if mask[part].any():
                blocks.append((segment, part[mask[part]]))
    assert found.n_blocks == len(blocks)
    # 4 of 45 s, 5 of 6 of 43 s, 1 of 30 s
    assert [len(part) for _, part in blocks[:1]] == [scored[0][:23].sum()] and len(blocks) == 4 + 5 + 1

    def mean_r(counts):
        x, a, b = (
            np.concatenate(
                [frames[s][rows] for (s, rows), n in zip(blocks, counts, strict=True) for _ in range(n)]
            ).astype(float)
            for frames in (truth, first, second)
        )
        return np.mean([np.corrcoef(x[:, v], a[:, v])[0, 1] - np.corrcoef(x[:, v], b[:, v])[0, 1]
                        for v in range(6)])  # fmt: skip

    draws = np.random.default_rng(1).multinomial(10, np.full(10, 0.1), 60)
    slow = [mean_r(counts) for counts in draws]
    assert found.difference == pytest.approx(mean_r(np.ones(10, int)), abs=1e-9)
    # 80 % of a t distribution with 9 degrees of freedom, for means that divide by 10: 1.383 sqrt(10 / 9)
    low, high = np.quantile(slow, [0.07244, 1 - 0.07244])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_the_difference_is_that_of_the_scores_and_vertices_can_be_chosen():
    truth, first, second, scored = case(np.random.default_rng(2), better=0.3)
    for frames in (truth, first, second):
        for segment in frames:
            segment[:, 5] = 3.0  # undefined: counts as 0, as in the scores of predictions
    vertices = np.array([4, 0, 1])
    found = compare_r(truth, first, second, scored, TR, np.random.default_rng(0), vertices=vertices)
    r = [score(truth, p, scored, regions={"some": vertices})["some"]["temporal_r"] for p in (first, second)]
    assert found.difference == pytest.approx(r[0] - r[1], abs=1e-9)
    whole = compare_r(truth, first, second, scored, TR, np.random.default_rng(0))
    five = compare_r(truth, first, second, scored, TR, np.random.default_rng(0), vertices=np.arange(5))
    assert whole.difference == pytest.approx(five.difference * 5 / 6)


def test_a_constant_but_for_rounding_counts_as_one(rounded_constant):
    truth, first, _, scored = case(np.random.default_rng(6))
    lengths = np.cumsum([len(x) for x in truth])
    rounded = np.split(rounded_constant(lengths[-1], 6), lengths[:-1])
    constant = [np.ones_like(x) for x in truth]
    found, expected = (
        compare_r(truth, first, second, scored, TR, np.random.default_rng(0))
        for second in (rounded, constant)
    )
    assert found == expected


def test_the_interval_covers_no_difference_as_often_as_it_says():
    generator, covered, n_cases = np.random.default_rng(3), 0, 300
    for _ in range(n_cases):
        truth, first, second, scored = case(generator, lengths=(120, 120), n_vertices=3)
        found = compare_r(truth, first, second, scored, TR, generator)
        assert found.low < found.high
        covered += found.low <= 0 <= found.high
    assert 0.9 < covered / n_cases < 0.99


def test_a_difference_that_is_there_is_found_and_its_sign_follows_the_order():
    truth, first, second, scored = case(np.random.default_rng(4), lengths=(300, 300), better=0.3)
    found = compare_r(truth, first, second, scored, TR, np.random.default_rng(0))
    turned = compare_r(truth, second, first, scored, TR, np.random.default_rng(0))
    assert 0 < found.low < found.difference < found.high
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    same = compare_r(truth, first, first, scored, TR, np.random.default_rng(0))
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_one_block_is_too_few():
    truth, first, second, scored = case(np.random.default_rng(5), lengths=(30,))
    with pytest.raises(ValueError, match="in 1 blocks of 40 s"):
        compare_r(truth, first, second, scored, TR, np.random.default_rng(0))
