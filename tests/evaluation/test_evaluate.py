"""The evaluation of a small model: every method on every task, no leak, files that say the same."""

import json
from dataclasses import replace

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.evaluation.evaluate import OURS, OURS_SHUFFLED, OURS_WITHOUT, compare, evaluate, predict
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.segments import load_segments
from neuroframes.recording.store import open_store
from neuroframes.training.train import train

ALWAYS = ["mean frame", "run mean", "drift", "ridge FIR", OURS, OURS_SHUFFLED]
IN_TIME = ["linear", "cubic spline", "kriging", "kriging + EEG", OURS_WITHOUT]


@pytest.fixture(scope="module")
def evaluated(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation") / "results"
    return evaluate(recording.store, model=recording.model, out=out, tasks="eeg, gap-4"), out


@pytest.fixture(scope="module")
def parts(recording):
    model, store = GaussianModel.load(recording.model), open_store(recording.store)
    train_part, scale = load_segments(store, model.split.train, model.bands)
    return model, train_part, load_segments(store, model.split.test, model.bands, scale)[0]


def test_every_method_on_every_task(evaluated):
    results, out = evaluated
    assert list(results) == ["eeg", "gap-4"]
    assert set(results["eeg"]) == {*ALWAYS, "ridge FIR, shuffled EEG"}
    assert set(results["gap-4"]) == {*ALWAYS, *IN_TIME}
    for by_method in results.values():
        for method, by_region in by_method.items():
            whole = by_region["whole"]
            assert {"temporal_r", "mse", "r2", "cosine", "variance_ratio", "lag1_error"} <= set(whole), method
            assert np.isfinite(whole["temporal_r"]) and np.isfinite(whole["mse"])
    assert "coverage" in results["gap-4"][OURS]["whole"]
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "evaluation.md"]


def test_the_files_say_what_the_function_returns(evaluated):
    results, out = evaluated
    stored = json.loads((out / "evaluation.json").read_text())
    for task, by_method in results.items():
        for method, by_region in by_method.items():
            for metric, value in by_region["whole"].items():
                kept = stored[task][method]["whole"][metric]
                assert kept == (value if np.isfinite(value) else None)
    text = (out / "evaluation.md").read_text()
    assert "task-movie_run-3 0:120" in text and "at least 40 s" in text
    row = next(line for line in text.splitlines() if line.startswith(f"| {OURS} |"))
    assert f"{results['gap-4'][OURS]['whole']['temporal_r']:.3f}" in row


def test_scores_are_in_the_order_that_they_must_be(evaluated):
    results, _ = evaluated
    r = {
        task: {m: by["whole"]["temporal_r"] for m, by in by_method.items()}
        for task, by_method in results.items()
    }
    assert r["eeg"]["mean frame"] == pytest.approx(0, abs=1e-6)
    assert r["eeg"][OURS] > 0.1 and r["eeg"][OURS] > r["eeg"][OURS_SHUFFLED] + 0.1
    # 5 shuffles of 2 minutes scatter by about .03
    assert abs(r["eeg"][OURS_SHUFFLED]) < 0.1
    assert r["gap-4"][OURS_WITHOUT] > r["gap-4"]["linear"] > r["gap-4"]["cubic spline"]
    assert r["gap-4"][OURS] > r["gap-4"][OURS_WITHOUT] - 0.02
    assert 0.8 < results["gap-4"][OURS]["whole"]["coverage"] < 0.97


def test_predictions_keep_what_is_given_and_see_nothing_else(parts):
    model, _, (segment,) = parts
    given = np.arange(120) % 12 < 8
    frames, deviation = predict(model, segment, given)
    assert frames[given].tobytes() == segment.frames[given].tobytes()
    assert (deviation[given] == 0).all() and (deviation[~given][:, model.scale > 0] > 0).all()
    hidden = np.array(segment.frames)
    hidden[~given] = 1e3
    blind = replace(segment, frames=hidden)
    np.testing.assert_array_equal(predict(model, blind, given)[0], frames)


def test_the_seed_decides_the_shuffles_alone(parts):
    model, train_part, test_part = parts
    one, same, other = (
        compare(model, train_part, test_part, ["eeg"], {}, np.random.default_rng(seed))["eeg"]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one[OURS] == other[OURS] and one[OURS_SHUFFLED] != other[OURS_SHUFFLED]


def test_rows_have_names_of_their_own(parts):
    model, train_part, test_part = parts
    with pytest.raises(InputError, match="drift is another row's name; rename the folder"):
        compare(model, train_part, test_part, ["eeg"], {}, np.random.default_rng(0), {"drift": None})


def test_what_cannot_be_evaluated(recording, tmp_path):
    everything = tmp_path / "everything"
    train(recording.store, out=everything, preset="gaussian", test_fraction=0, latents=4, bands="alpha")
    with pytest.raises(InputError, match="trained on everything; train with --test-fraction"):
        evaluate(recording.store, model=everything, out=tmp_path / "out")
    with pytest.raises(InputError, match="unknown tasks gap-3, x; choose from eeg, gap-1"):
        evaluate(recording.store, model=recording.model, out=tmp_path / "out", tasks="eeg,gap-3,x")
    with pytest.raises(InputError, match="is or holds"):
        evaluate(recording.store, model=everything, out=everything, overwrite=True)
    about = json.loads((everything / "model.json").read_text())
    (everything / "model.json").write_text(json.dumps({**about, "channels": about["channels"][::-1]}))
    with pytest.raises(InputError, match="pass the store that it was trained on"):
        evaluate(recording.store, model=everything, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["everything"]
