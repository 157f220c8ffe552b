import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from neuroframes.evaluation.decoding_scores import chance_of, classify, decoding_scores, feature_r, identify

TR = 2.0


def series(lengths=(60, 50), n_features=3, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    shown = [rng.standard_normal((n, n_features)) for n in lengths]
    return shown, [part + noise * rng.standard_normal(part.shape) for part in shown]


def everywhere(parts):
    return [np.ones(len(part), bool) for part in parts]


def test_r_is_pooled_over_the_scored_moments_of_all_runs():
    shown, decoded = series()
    rows = [np.random.default_rng(1).random(len(part)) < 0.5 for part in shown]
    x, y = (np.concatenate([p[m] for p, m in zip(of, rows, strict=True)]) for of in (shown, decoded))
    expected = [np.corrcoef(x[:, f], y[:, f])[0, 1] for f in range(3)]

    assert np.allclose(feature_r(shown, decoded, rows), expected)


def slowly_identified(shown, decoded, rows, size):
    """2-way and ranks, stretch by stretch."""
    stretches = []
    for run, mask in enumerate(rows):
        k = 0
        while k + size <= len(mask):
            if mask[k : k + size].all():
                stretches.append((run, k))
                k += size
            else:
                k += 1
    x = [shown[run][k : k + size] for run, k in stretches]
    y = [decoded[run][k : k + size] for run, k in stretches]
    mean = [np.concatenate(of).mean(axis=0) for of in (x, y)]
    std = [np.concatenate(of).std(axis=0) for of in (x, y)]
    x, y = ([(part - m) / s for part in of] for of, m, s in zip((x, y), mean, std, strict=True))
    r = np.array([[np.corrcoef(b.ravel(), a.ravel())[0, 1] for a in x] for b in y])
    n = len(r)
    won = [r[i, j] < r[i, i] for i in range(n) for j in range(n) if i != j]
    return stretches, r, np.mean(won)


@pytest.mark.parametrize("length", [2.0, 6.0, 10.0])
def test_identification_equals_a_slow_loop_and_scikit_learn(length):
    shown, decoded = series()
    rows = [np.random.default_rng(1).random(len(part)) < 0.9 for part in shown]
    found = identify(shown, decoded, rows, TR, length)
    stretches, r, two_way = slowly_identified(shown, decoded, rows, round(length / TR))

    assert [tuple(start) for start in found.start] == stretches
    assert np.allclose(found.similarity, r, atol=1e-10)
    assert found.two_way == pytest.approx(two_way)
    for k in (1, 5):
        expected = top_k_accuracy_score(np.arange(len(r)), r, k=k, labels=np.arange(len(r)))
        assert found.top(k) == pytest.approx(expected)
    assert np.array_equal(found.nearest(2)[:, 0], r.argmax(axis=1))


def test_features_that_are_the_same_everywhere_are_found_by_chance():
    shown, _ = series()
    found = identify(shown, [np.zeros_like(part) for part in shown], everywhere(shown), TR, 4.0)

    assert found.two_way == pytest.approx(0.5)
    assert found.top(5) == pytest.approx(5 / len(found.similarity))


def test_what_was_shown_itself_is_always_found():
    shown, _ = series()
    found = identify(shown, shown, everywhere(shown), TR, 4.0)

    assert (found.two_way, found.top(1)) == (1, 1)


def test_scores_of_noise_are_at_chance():
    expected, found = [], []
    for seed in range(200):
        shown, _ = series(seed=seed)
        noise, _ = series(seed=1000 + seed)
        scores = decoding_scores(shown, noise, everywhere(shown), ["a", "b", "c"], TR)
        expected.append(chance := chance_of(scores))
        found.append({name: scores[name] for name in chance})

    for name in expected[0]:
        values = np.array([of[name] for of in found]) - expected[0][name]
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values)), name


def test_classification_equals_scikit_learn():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 80)
    shown, decoded = np.eye(3)[kind], np.eye(3)[kind] + 0.7 * rng.standard_normal((80, 3))
    shown[:5] = 0  # nothing of a kind
    names = ["kind=circle", "kind=square", "kind=triangle"]
    expected = balanced_accuracy_score(kind[5:], decoded[5:].argmax(axis=1))

    found = classify([shown], [decoded], everywhere([shown]), names)
    assert found == {"kind": (pytest.approx(expected), 3)}


def test_only_values_that_occur_are_answers():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 80)
    shown, decoded = np.eye(3)[kind], rng.standard_normal((80, 3))
    names = ["kind=circle", "kind=square", "kind=triangle"]
    expected = balanced_accuracy_score(kind, decoded[:, :2].argmax(axis=1))
    scores = decoding_scores([shown], [decoded], everywhere([shown]), names, TR)

    assert scores["balanced accuracy, kind"] == pytest.approx(expected)
    assert chance_of(scores)["balanced accuracy, kind"] == 1 / 2
    for none in (np.eye(3)[kind * 0], np.zeros((80, 3))):  # nothing to tell it from, or nothing at all
        assert classify([none], [decoded], everywhere([none]), names) == {}


def test_moments_without_features_are_not_scored():
    shown, decoded = series()
    shown[0][:10] = np.nan
    whole = decoding_scores(shown, decoded, everywhere(shown), ["a", "b", "c"], TR)
    cut = [[part[10:] if n == 0 else part for n, part in enumerate(of)] for of in (shown, decoded)]

    assert whole == decoding_scores(*cut, everywhere(cut[0]), ["a", "b", "c"], TR)


def test_few_moments_have_no_scores():
    shown, decoded = series((4,))
    few = [np.array([True, True, False, False])]

    assert decoding_scores(shown, decoded, few, ["a", "b", "c"], TR) == {}
    assert identify(shown, decoded, few, TR, 2.0) is None
