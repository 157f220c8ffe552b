"""What is computed from frames, against NumPy and SciPy, and ceilings against what more data would reach."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from neuroframes.evaluation.preservation import (
    network_r,
    of_repeats,
    preservation_scores,
    representational_similarity,
    rsa_stretches,
    spearman_brown,
    stretches,
)
from neuroframes.evaluation.similarity import fc_similarity

TR, K, V = 2.0, 150, 12
PARCELS = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, -1])


def runs(seed, lengths=(K, K)):
    generator = np.random.default_rng(seed)
    mixed = generator.standard_normal((V, V))
    return [(generator.standard_normal((n, V)) @ mixed).astype(np.float32) for n in lengths]


@pytest.fixture
def pair():
    """Truth, an estimate that knows some of it, and frames that are scored."""
    truth = runs(0)
    estimate = [x + 2 * y for x, y in zip(truth, runs(1), strict=True)]
    return truth, estimate, [np.random.default_rng(2).random(K) < 0.6 for _ in truth]


def test_network_r_is_the_mean_r_of_mean_courses(pair, rounded_constant):
    truth, estimate, scored = pair
    labels = np.repeat([0, 2, -1, 1], 3)
    x, y = (np.concatenate([of[m] for of, m in zip(f, scored, strict=True)]) for f in (truth, estimate))
    expected = [np.corrcoef(x[:, labels == n].mean(1), y[:, labels == n].mean(1))[0, 1] for n in range(3)]
    assert network_r(truth, estimate, scored, labels=labels) == pytest.approx(np.mean(expected), abs=1e-6)
    still = [np.where(labels == 2, np.float32(0.1), of) for of in truth]  # one network has no signal
    expected = np.mean(expected[:2])
    assert network_r(still, estimate, scored, labels=labels) == pytest.approx(expected, abs=1e-6)
    silent = np.split(rounded_constant(2 * K, V), 2)
    assert network_r(truth, silent, scored, labels=labels) == 0
    assert np.isnan(network_r(silent, truth, scored, labels=labels))


def test_representational_similarity_is_spearmans_of_dissimilarities():
    generator = np.random.default_rng(3)
    truth = generator.standard_normal((9, V))
    estimate = truth + generator.standard_normal((9, V))
    a, b = pdist(truth, "correlation"), pdist(estimate, "correlation")
    assert representational_similarity(truth, estimate) == pytest.approx(spearmanr(a, b).statistic, abs=1e-3)
    far = np.abs(np.subtract.outer(np.arange(9), np.arange(9))) > 1
    upper = np.triu(far)
    a, b = squareform(a)[upper], squareform(b)[upper]
    found = representational_similarity(truth, estimate, apart=2)
    assert found == pytest.approx(spearmanr(a, b).statistic, abs=1e-3)
    assert representational_similarity(truth, truth) == 1
    without = representational_similarity(truth[1:], estimate[1:])
    truth[0] = 0.3  # a pattern without signal
    assert representational_similarity(truth, estimate) == without
    truth[0] = np.nan
    assert representational_similarity(truth, estimate) == without


def test_an_estimate_that_says_nothing_gets_nothing(rounded_constant):
    truth, image = np.random.default_rng(4).standard_normal((9, V)), np.arange(V)
    for silent in (np.zeros((9, V)), np.full((9, V), 3.0), np.tile(image, (9, 1)), rounded_constant(9, V)):
        assert representational_similarity(truth, silent) == 0
        assert np.isnan(representational_similarity(silent, truth))
    assert np.isnan(representational_similarity(truth[:3], truth[:3]))


def test_stretches_are_means_of_whole_tens_of_seconds(pair):
    frames, _, used = pair
    used[0][5:10] = False
    found = stretches([frames[0][:33], frames[1]], [used[0][:33], used[1]], TR)
    expected = [frames[0][:33], frames[1]]
    expected = [
        of[5 * n : 5 * n + 5][mask[5 * n : 5 * n + 5]].mean(axis=0)
        for of, mask in zip(expected, used, strict=True)
        for n in range(len(of) // 5)
        if mask[5 * n : 5 * n + 5].any()
    ]
    assert np.allclose(found, expected) and len(found) <= 5 + K // 5


def test_a_ceiling_is_what_other_measured_frames_reach():
    """Halves brought to their whole length agree as two independent wholes do."""
    generator = np.random.default_rng(5)
    mixed = generator.standard_normal((8, 8))
    parcels, every = np.arange(8), np.ones(100, bool)
    ceilings, reached = [], []
    for _ in range(300):
        first, second = generator.standard_normal((2, 100, 8)) @ mixed
        ceilings.append(spearman_brown(fc_similarity([first[:50]], [first[50:]], [every[:50]], parcels)))
        reached.append(fc_similarity([first], [second], [every], parcels))
    assert np.mean(ceilings) == pytest.approx(np.mean(reached), abs=0.01)
    assert np.mean(reached) < 0.97
    assert spearman_brown(-0.5) == -spearman_brown(0.5) == pytest.approx(-2 / 3)


def test_repeats_are_segments_in_which_the_same_is_shown():
    generator = np.random.default_rng(6)
    common = runs(7, (K,))[0]
    truth = [common + 3 * x for x in runs(8, (K, K))] + runs(9, (K, K))
    shown = [generator.standard_normal((K, 2))] * 2 + [np.zeros((K, 2))] * 2  # nothing is no repetition
    used = [generator.random(K) < 0.9 for _ in truth]
    both = used[0] & used[1]

    def measure(a, b, mask):
        return network_r(a, b, mask, labels=PARCELS)

    assert of_repeats(measure, truth, used, shown) == measure([truth[0]], [truth[1]], [both])
    assert np.isnan(of_repeats(measure, truth[1:], used[1:], shown[1:]))


def events(generator):
    """Where five types of events are shown, each for two frames."""
    shown = np.zeros((1500, 6))
    shown[:, 0] = 0.7  # no event
    for n, k in enumerate(range(5, 1480, 9)):
        shown[k + generator.integers(0, 5) + np.arange(2), 1 + n % 5] = 1
    return shown, ["luminance", *(f"kind={name}" for name in "abcde")]


def test_the_ceiling_of_events_is_what_other_measured_frames_reach():
    generator, every = np.random.default_rng(10), [np.ones(1500, bool)]
    ends, found = ("", ", ceiling"), []
    for _ in range(6):
        shown, stimulus = events(generator)
        perfect, responses = np.zeros((1500, 6)), generator.standard_normal((5, 11, 6))
        for t in range(5):
            for k in np.flatnonzero(np.diff(shown[:, 1 + t], prepend=0) == 1):
                perfect[k : k + 11] += responses[t, : 1500 - k]
        truth, again = ([perfect + 5 * generator.standard_normal((1500, 6))] for _ in range(2))
        keywords = {"tr": TR, "parcels": np.arange(6), "shown": [shown], "stimulus": stimulus}
        scores, best = (preservation_scores(truth, [y], every, every, **keywords) for y in (*again, perfect))
        of = [np.mean([scores[f"event_r, kind={name}{end}"] for name in "abcde"]) for end in ends]
        found.append([*of, np.mean([best[f"event_r, kind={name}"] for name in "abcde"])])
    reached, ceiling, top = np.mean(found, axis=0)
    assert 0.3 < reached < 0.7
    assert ceiling == pytest.approx(reached, abs=0.06)
    assert top == pytest.approx(np.sqrt(reached), abs=0.04)
    assert {"rsa_conditions", "rsa_conditions, ceiling", "rsa_stretches", "network_r"} < {*scores}
    assert not {"network_r, ceiling", "rsa_stretches, ceiling"} & {*scores}  # nothing is shown twice


def test_scores_are_of_scored_frames_or_of_all_that_are_measured(pair):
    truth, estimate, scored = pair
    measured = [np.ones(K, bool) for _ in truth]
    scores = preservation_scores(truth, estimate, scored, measured, tr=TR, parcels=PARCELS)
    rows = np.concatenate([x[m] for x, m in zip(truth, scored, strict=True)])
    half = len(rows) // 2
    halves = fc_similarity([rows[:half]], [rows[-half:]], [np.ones(half, bool)], PARCELS)
    means = np.eye(6)[PARCELS[:11]] / [2, 2, 2, 2, 2, 1]
    x, y = ([of[:, :11] @ means for of in frames] for frames in (truth, estimate))
    expected = {
        "fc_similarity": fc_similarity(truth, estimate, scored, PARCELS),
        "fc_similarity, ceiling": spearman_brown(halves),
        "network_r": network_r(truth, estimate, scored, labels=PARCELS),
        "rsa_stretches": rsa_stretches(x, y, measured, tr=TR),
    }
    assert scores == pytest.approx(expected, abs=1e-4)


def test_networks_and_repeats_have_scores_where_they_are_known(pair):
    truth, estimate, scored = pair
    networks = np.arange(V) % 3
    nothing, film = np.full((K, 1), np.nan), np.random.default_rng(11).standard_normal((K, 1))
    film[:5] = np.nan
    shown = [film, film]
    keywords = {"tr": TR, "parcels": PARCELS, "networks": networks, "shown": shown, "stimulus": ["luminance"]}
    scores = preservation_scores(truth, estimate, scored, scored, **keywords)
    assert scores["network_r"] == network_r(truth, estimate, scored, labels=networks)
    both = [scored[0] & scored[1]]
    assert scores["network_r, ceiling"] == network_r([truth[0]], [truth[1]], both, labels=networks)
    assert "rsa_stretches, ceiling" in scores and not any("event" in name for name in scores)
    scores = preservation_scores(truth, estimate, scored, scored, **keywords | {"shown": [nothing] * 2})
    assert not any(name.endswith("r, ceiling") for name in scores)


def test_a_few_frames_and_silence_have_scores_where_they_can():
    truth = [np.random.default_rng(12).standard_normal((4, V)).astype(np.float32)]
    every = [np.ones(4, bool)]
    scores = preservation_scores(truth, [np.zeros((4, V))], every, every, tr=TR, parcels=PARCELS)
    assert scores == {"fc_similarity": 0, "network_r": 0}
