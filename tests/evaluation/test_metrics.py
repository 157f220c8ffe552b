"""Every metric against SciPy, scikit-learn, or a loop that follows its definition."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, pearsonr
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.metrics.pairwise import cosine_similarity

from neuroframes.errors import InputError
from neuroframes.evaluation import metrics
from neuroframes.evaluation.metrics import (
    correlation,
    crps,
    ensemble_coverage,
    ensemble_crps,
    frame_series,
    score,
    vertex_maps,
)

K, V = 60, 23


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((K, V)).cumsum(axis=0).astype(np.float32) / 4


@pytest.fixture
def prediction(truth) -> np.ndarray:
    return (0.6 * truth + 0.5 * np.random.default_rng(1).standard_normal((K, V)) + 0.3).astype(np.float32)


@pytest.fixture
def scored() -> np.ndarray:
    return np.random.default_rng(2).random(K) < 0.6


@pytest.fixture(params=[1, 100, 2**16])
def cells(request, monkeypatch) -> None:
    """Blocks of one vertex, of a few, of all."""
    monkeypatch.setattr(metrics, "CELLS", request.param)


@pytest.mark.usefixtures("cells")
def test_per_vertex_metrics_equal_scipy_and_scikit_learn(truth, prediction, scored):
    maps = vertex_maps(truth, prediction, scored)
    x, y = truth[scored].astype(float), prediction[scored].astype(float)
    assert np.allclose(maps["mse"], mean_squared_error(x, y, multioutput="raw_values"))
    assert np.allclose(maps["r2"], r2_score(x, y, multioutput="raw_values"))
    assert np.allclose(maps["temporal_r"], [pearsonr(x[:, v], y[:, v])[0] for v in range(V)])
    assert np.allclose(maps["mean_truth"], x.mean(axis=0))
    assert np.allclose(maps["variance_truth"], x.var(axis=0))
    assert np.allclose(maps["variance_prediction"], y.var(axis=0))


@pytest.mark.usefixtures("cells")
def test_spatial_metrics_equal_a_loop_over_frames(truth, prediction, scored):
    x, y = truth[scored].astype(float), prediction[scored].astype(float)
    means = {"mean_truth": x.mean(axis=0), "mean_prediction": y.mean(axis=0)}
    series = frame_series(truth, prediction, scored, **means)
    assert np.allclose(series["spatial_r"], [pearsonr(a, b)[0] for a, b in zip(x, y, strict=True)])
    centred = zip(x - x.mean(axis=0), y - y.mean(axis=0), strict=True)
    assert np.allclose(series["spatial_r_test_mean"], [pearsonr(a, b)[0] for a, b in centred])
    assert np.allclose(series["cosine"], np.diag(cosine_similarity(x, y)))


@pytest.mark.usefixtures("cells")
def test_differences_and_lag_1_equal_a_loop_over_pairs(truth, prediction, scored):
    censored = np.zeros(K, bool)
    censored[[10, 30]] = True
    scored = scored & ~censored
    ends = [slice(0, 25), slice(25, K)]
    parts = [[array[end] for end in ends] for array in (truth, prediction, scored, censored)]
    maps = vertex_maps(*parts[:3], censored=parts[3])
    pairs = [
        (k, k + 1)
        for k in range(K - 1)
        if k != 24 and (scored[k] or scored[k + 1]) and not (censored[k] or censored[k + 1])
    ]
    first, second = np.transpose(pairs)
    x, y = truth.astype(float), prediction.astype(float)
    step = (y[second] - y[first]) - (x[second] - x[first])
    assert np.allclose(maps["frame_difference"], np.mean(step**2, axis=0))
    steps = (y[second] - y[first]).T, (x[second] - x[first]).T
    assert np.allclose(maps["difference_r"], [pearsonr(a, b)[0] for a, b in zip(*steps, strict=True)])
    for name, array in (("truth", x), ("prediction", y)):
        expected = [pearsonr(array[first, v], array[second, v])[0] for v in range(V)]
        assert np.allclose(maps[f"lag1_{name}"], expected)


def test_score_averages_maps_and_series(truth, prediction, scored):
    maps = vertex_maps(truth, prediction, scored)
    whole = score(truth, prediction, scored)["whole"]
    means = ("mse", "temporal_r", "r2", "frame_difference", "difference_r", "lag1_truth", "lag1_prediction")
    for name in means:
        assert whole[name] == pytest.approx(maps[name].mean())
    assert whole["lag1_error"] == pytest.approx(np.abs(maps["lag1_truth"] - maps["lag1_prediction"]).mean())
    ratio = maps["variance_prediction"].sum() / maps["variance_truth"].sum()
    assert whole["variance_ratio"] == pytest.approx(ratio)
    assert whole["frames"] == scored.sum() and whole["vertices"] == V
    assert whole["undefined_r"] == 0 and whole["without_signal"] == 0
    assert "crps" not in whole


def test_a_list_of_segments_is_pooled_not_averaged(truth, prediction, scored):
    joint = score(truth, prediction, scored)["whole"]
    parts = [[array[:25], array[25:]] for array in (truth, prediction, scored)]
    split = score(*parts)["whole"]
    # The pair 24-25 is gone.
    across = {"frame_difference", "difference_r", "lag1_truth", "lag1_prediction", "lag1_error"}
    assert {name: split[name] for name in split if name not in across} == pytest.approx(
        {name: joint[name] for name in joint if name not in across}
    )


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_region_is_the_score_of_its_vertices(truth, prediction, scored, order):
    truth, prediction = np.asarray(truth, order=order), np.asarray(prediction, order=order)
    std = np.ones_like(truth)
    vertices = np.array([2, 3, 5, 7, 11, 13, 17])
    regions = score(truth, prediction, scored, std=std, regions={"primes": vertices})
    alone = score(truth[:, vertices], prediction[:, vertices], scored, std=std[:, vertices])
    assert list(regions) == ["whole", "primes"]
    assert regions["primes"] == pytest.approx(alone["whole"])


def test_a_perfect_prediction(truth, scored):
    whole = score(truth, truth, scored)["whole"]
    ones = ("temporal_r", "r2", "spatial_r", "spatial_r_test_mean", "cosine", "variance_ratio")
    assert all(whole[name] == pytest.approx(1) for name in ones)
    assert all(whole[name] == 0 for name in ("mse", "frame_difference", "lag1_error"))


def test_a_constant_prediction_earns_nothing_and_is_counted(truth, scored):
    pattern = np.broadcast_to(np.linspace(0.1, 3, V, dtype=np.float32), (K, V))
    whole = score(truth, pattern, scored)["whole"]
    assert whole["temporal_r"] == 0 and whole["undefined_r"] == V
    assert whole["spatial_r_test_mean"] == 0 and whole["variance_ratio"] == 0
    zero = score(truth, np.zeros_like(truth), scored)["whole"]
    assert zero["spatial_r"] == 0 and zero["cosine"] == 0


def test_a_constant_but_for_rounding_earns_nothing(truth, scored, rounded_constant):
    constant = rounded_constant(K, V)
    assert (np.ptp(constant, axis=0) > 0).all()
    maps = vertex_maps(truth, constant, scored)
    undefined = ("temporal_r", "difference_r", "lag1_prediction")
    assert all(np.isnan(maps[name]).all() for name in undefined)
    whole = score(truth, constant, scored)["whole"]
    assert all(whole[name] == 0 for name in (*undefined, "spatial_r_test_mean", "variance_ratio"))
    assert whole["undefined_r"] == V
    nothing = score(truth, 1e-8 * truth, scored)["whole"]  # rounding of 0
    assert nothing["spatial_r"] == nothing["cosine"] == nothing["temporal_r"] == 0


@pytest.mark.parametrize("level", [0, 1, 5])
def test_a_prediction_of_a_thousandth_of_the_truth_keeps_its_r(truth, prediction, scored, level):
    small = np.float32(level) + np.float32(1e-3) * prediction
    maps, expected = (vertex_maps(truth, of, scored) for of in (small, prediction))
    for name in ("temporal_r", "difference_r", "lag1_prediction"):
        np.testing.assert_allclose(maps[name], expected[name], atol=2e-3)
    raw = 10_000 + truth  # about as a scanner gives it
    np.testing.assert_allclose(vertex_maps(raw, raw, scored)["temporal_r"], 1)


def test_vertices_without_signal_are_left_out_and_counted(truth, prediction, scored):
    expected = score(truth[:, 3:], prediction[:, 3:], scored)["whole"]
    truth[:, 0], truth[:, 1], truth[np.flatnonzero(scored)[4], 2] = 0, 7.3, np.nan
    whole = score(truth, prediction, scored)["whole"]
    assert whole.pop("without_signal") == 3 and expected.pop("without_signal") == 0
    assert whole == pytest.approx(expected)


def test_a_region_without_signal_is_left_out(truth, prediction, scored):
    expected = score(truth, prediction, scored, regions={"rest": np.arange(5, V)})["rest"]
    truth[:, :2], truth[3, 2] = 4, np.nan
    scored[3] = True
    regions = {"beyond": np.arange(3), "nowhere": np.array([], int), "rest": np.arange(5, V)}
    found = score(truth, prediction, scored, regions=regions)
    assert list(found) == ["whole", "rest"] and found["whole"]["without_signal"] == 3
    assert found["rest"]["vertices"] == expected["vertices"]
    with pytest.raises(InputError, match="none of 3 vertices has .* check that the BOLD holds signal"):
        score(truth[:, :3], prediction[:, :3], scored)


def test_r2_follows_scikit_learn_where_the_truth_is_constant():
    truth = np.ones((5, 2), np.float32)
    truth[0] = 0
    prediction = truth.copy()
    prediction[3, 1] = 2
    scored = np.arange(5) > 0
    maps = vertex_maps(truth, prediction, scored)
    expected = r2_score(truth[1:], prediction[1:], multioutput="raw_values")
    assert np.array_equal(maps["r2"], expected)
    assert np.array_equal(maps["r2"], [1, 0])


def test_frames_that_are_not_scored_do_not_count(truth, prediction, scored):
    expected = score(truth, prediction, scored)["whole"]
    far = ~scored
    far[1:] &= ~scored[:-1]
    far[:-1] &= ~scored[1:]
    truth[far], prediction[far] = np.nan, np.nan
    assert far.any()
    assert score(truth, prediction, scored)["whole"] == pytest.approx(expected)


def test_coverage_and_crps_per_vertex(truth, prediction, scored):
    std = np.random.default_rng(3).uniform(0.2, 1.5, (K, V)).astype(np.float32)
    maps = vertex_maps(truth, prediction, scored, std=std, interval=0.8)
    x, y, s = (array[scored].astype(float) for array in (truth, prediction, std))
    low, high = norm.interval(0.8, y, s)
    assert np.allclose(maps["coverage"], ((x >= low) & (x <= high)).mean(axis=0))
    assert np.allclose(maps["crps"], crps(x, y, s).mean(axis=0))


def test_a_calibrated_gaussian_covers_what_it_says():
    generator = np.random.default_rng(0)
    std = generator.uniform(0.1, 2, (400, 100)).astype(np.float32)
    mean = generator.standard_normal((400, 100)).astype(np.float32)
    truth = (mean + std * generator.standard_normal((400, 100))).astype(np.float32)
    whole = score(truth, mean, np.ones(400, bool), std=std)["whole"]
    assert whole["coverage"] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(("truth", "mean", "std"), [(0.3, 0.3, 1.0), (2.0, -1.0, 0.5), (-4.0, 1.0, 3.0)])
def test_crps_equals_its_integral(truth, mean, std):
    below = quad(lambda t: norm.cdf(t, mean, std) ** 2, mean - 12 * std, truth, epsabs=1e-10)[0]
    above = quad(lambda t: norm.sf(t, mean, std) ** 2, truth, mean + 12 * std, epsabs=1e-10)[0]
    got = crps(np.array([truth]), np.array([mean]), np.array([std]))
    assert got[0] == pytest.approx(below + above, abs=1e-7)


def test_crps_without_spread_is_the_absolute_error():
    assert crps(np.array([1.0, 2.0]), np.array([3.0, 2.0]), np.zeros(2)).tolist() == [2, 0]


def test_correlation_is_undefined_for_a_constant():
    ramp = np.arange(6.0)[:, None]
    assert correlation(ramp, 2 * ramp + 1)[0] == pytest.approx(1)
    assert np.isnan(correlation(ramp, np.full((6, 1), np.float32(0.1)).astype(float)))[0]


def test_disagreeing_shapes_and_empty_masks_are_refused(truth, prediction, scored):
    with pytest.raises(ValueError, match="differ in shape"):
        score(truth, prediction[:, 1:], scored)
    with pytest.raises(ValueError, match="differ in shape"):
        score(truth, prediction, scored[1:])
    with pytest.raises(ValueError, match="no frame is scored"):
        score(truth, prediction, np.zeros(K, bool))


def test_the_fair_crps_of_an_ensemble_equals_its_definition():
    generator = np.random.default_rng(0)
    draws, truth = generator.standard_normal((7, 4, 3)), generator.standard_normal((4, 3))
    expected = np.zeros((4, 3))
    for k, v in np.ndindex(4, 3):
        x, y = draws[:, k, v], truth[k, v]
        pairs = sum(abs(a - b) for a in x for b in x)
        expected[k, v] = np.mean([abs(a - y) for a in x]) - pairs / (2 * 7 * 6)
    np.testing.assert_allclose(ensemble_crps(truth, draws), expected, atol=1e-12)
    np.testing.assert_allclose(ensemble_crps(truth, np.broadcast_to(truth + 2, (5, 4, 3))), 2)


@pytest.mark.parametrize("n_draws", [2, 3, 30])
def test_the_fair_crps_is_that_of_the_law_for_any_number_of_draws(n_draws):
    generator = np.random.default_rng(n_draws)
    draws, truth = 0.5 + 2 * generator.standard_normal((n_draws, 400, 500)), np.full((400, 500), 1.2)
    expected = crps(np.array(1.2), np.array(0.5), np.array(2.0))
    assert ensemble_crps(truth, draws).mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("n_draws", [19, 39, 99])
def test_coverage_of_an_ensemble_is_that_of_its_quantiles(n_draws):
    generator = np.random.default_rng(0)
    draws, truth = generator.standard_normal((n_draws, 30, 20)), 2 * generator.standard_normal((30, 20))
    low, high = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull")
    np.testing.assert_allclose(ensemble_coverage(truth, draws), (low < truth) & (truth < high), atol=1e-9)


@pytest.mark.parametrize("n_draws", [1, 2, 8, 16, 32, 50])
@pytest.mark.parametrize("interval", [0.5, 0.9])
def test_coverage_is_exact_over_all_ranks_of_an_exchangeable_truth(n_draws, interval):
    values = np.random.default_rng(0).standard_normal(n_draws + 1)
    covered = [
        ensemble_coverage(values[[i], None], np.delete(values, i)[:, None, None], interval).item()
        for i in range(n_draws + 1)
    ]
    assert np.mean(covered) == pytest.approx(interval)
    tied = values.round()  # ties count as what they are on average
    covered = [
        ensemble_coverage(tied[[i], None], np.delete(tied, i)[:, None, None], interval).item()
        for i in range(n_draws + 1)
    ]
    assert np.mean(covered) == pytest.approx(interval)


def test_too_narrow_an_ensemble_covers_too_little():
    generator = np.random.default_rng(1)
    draws, truth = generator.standard_normal((400, 50, 40)), 2 * generator.standard_normal((50, 40))
    coverage = ensemble_coverage(truth, draws)
    assert ((coverage >= 0) & (coverage <= 1)).all()
    assert coverage.mean() == pytest.approx(2 * norm.cdf(1.645 / 2) - 1, abs=0.03)
