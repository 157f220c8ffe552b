"""The evaluation of a small model: every method on every task, no leak, files that say the same."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from neuroframes.checksums import write_checksums
from neuroframes.commands.evaluate import BESIDE, evaluate
from neuroframes.commands.train import train
from neuroframes.errors import InputError
from neuroframes.recording.store import Store
from neuroframes.registry import BACKBONE, NO_EEG, SHUFFLED

IN_TIME = {"run mean", "linear", "cubic spline", "kriging", NO_EEG}  # nothing to say without frames


@pytest.fixture(scope="module")
def evaluated(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation") / "results"
    return evaluate([recording.store], model=recording.model, out=out, tasks="eeg, gap-4"), out


@pytest.fixture(scope="module")
def r(evaluated):
    """Temporal r by method and task, shuffled EEG apart."""
    whole = evaluated[0].query("region == 'whole'")
    return whole.pivot_table("value", ["metric", "method"], "task")


def test_every_method_on_every_task(evaluated, r):
    results, out = evaluated
    here = r.loc["temporal_r"]
    assert set(here["gap-4"].dropna().index) == {*BESIDE, NO_EEG, BACKBONE}
    assert set(here["eeg"].dropna().index) == {*BESIDE, NO_EEG, BACKBONE} - IN_TIME
    metrics = set(results.query("method == @BACKBONE and task == 'gap-4'")["metric"])
    assert {"temporal_r", "mse", "r2", "cosine", "variance_ratio", "lag1_error", "coverage"} <= metrics
    assert np.isfinite(results.query("metric in ('temporal_r', 'mse')")["value"]).all()
    files = ["cells", "differences.csv", "evaluation.json", "evaluation.md", "results.csv"]
    assert sorted(path.name for path in out.iterdir()) == files


def test_the_files_say_what_the_function_returns(evaluated, r):
    results, out = evaluated
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), results)
    text = (out / "evaluation.md").read_text()
    assert "task-movie_run-3 0:120" in text and "at least 40 s" in text and "quarter" not in text
    row = next(line for line in text.splitlines() if line.startswith(f"| {BACKBONE} |"))
    assert f"{r.loc[('temporal_r', BACKBONE), 'gap-4']:.3f}" in row
    assert f"| {BACKBONE}{SHUFFLED} |" in text and f"| ridge FIR{SHUFFLED} |" in text


def test_scores_are_in_the_order_that_they_must_be(r):
    alone, gap = (r.loc["temporal_r", task] for task in ("eeg", "gap-4"))
    shuffled = r.loc["control, shuffled"]
    assert alone["mean frame"] == 0
    assert alone[BACKBONE] > 0.1 and alone[BACKBONE] > shuffled.loc[BACKBONE, "eeg"] + 0.1
    # 5 shuffles of 2 minutes scatter by about .03
    assert abs(shuffled.loc[BACKBONE, "eeg"]) < 0.1
    assert gap[NO_EEG] > gap["linear"] > gap["cubic spline"]
    assert gap[BACKBONE] > gap[NO_EEG] - 0.02
    assert 0.8 < r.loc[("coverage", BACKBONE), "gap-4"] < 0.97
    # Where frames are ignored there is one control, with frames one more.
    assert np.isnan(shuffled.loc["ridge FIR", "gap-4"]) and np.isfinite(shuffled.loc[BACKBONE, "gap-4"])


def test_the_seed_decides_the_shuffles_alone(recording, r, tmp_path):
    one, other = (
        evaluate([recording.store], model=recording.model, out=tmp_path / str(seed), tasks="eeg", seed=seed)
        for seed in (0, 2)
    )
    one, other = (x.query("region == 'whole'").pivot_table("value", "metric", "method") for x in (one, other))
    assert one.loc["temporal_r", BACKBONE] == r.loc[("temporal_r", BACKBONE), "eeg"]
    assert one.loc["control, shuffled", BACKBONE] == r.loc[("control, shuffled", BACKBONE), "eeg"]
    assert other.loc["temporal_r", BACKBONE] == one.loc["temporal_r", BACKBONE]
    assert other.loc["control, shuffled", BACKBONE] != one.loc["control, shuffled", BACKBONE]


def test_frames_are_scored_where_nothing_can_be_decoded(recording, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Store, "stimulus_features", ("light",))
    monkeypatch.setattr(Store, "shown", lambda _, run: np.ones((len(run.frame_times), 1), np.float32))
    monkeypatch.setattr("neuroframes.decoding.decoder.find_spec", lambda _: None)
    results = evaluate([recording.store], model=recording.model, out=tmp_path / "out", tasks="gap-4")

    assert "nothing is decoded: decoding needs himalaya; pip install" in caplog.text
    assert not results["metric"].str.contains("decoded").any()


def test_models_beside_have_rows_of_their_own(recording, tmp_path):
    for name in ("other", "a,b", "a b"):
        shutil.copytree(recording.model, tmp_path / name)
    beside = [tmp_path / "other", tmp_path / "a,b", tmp_path / "a b"]  # a comma is part of a name
    results = evaluate(
        [recording.store], model=recording.model, out=tmp_path / "out", tasks="gap-4", beside=beside
    )
    r = results.query("metric == 'temporal_r' and region == 'whole'").set_index("method")["value"]
    assert r[BACKBONE] == r[f"{BACKBONE}, other"] == r[f"{BACKBONE}, a,b"] == r[f"{BACKBONE}, a b"]
    with pytest.raises(InputError, match="names two models other; rename a folder"):
        evaluate([recording.store], model=recording.model, out=tmp_path / "o", beside=[beside[0]] * 2)


def test_what_cannot_be_evaluated(recording, tmp_path):
    everything = tmp_path / "everything"
    train([recording.store], out=everything, preset="gaussian", test_fraction=0, latents=4, bands="alpha")
    with pytest.raises(
        InputError, match="trained on everything; train it on one person, or adapt it, with --test-fraction"
    ):
        evaluate([recording.store], model=everything, out=tmp_path / "out")
    with pytest.raises(InputError, match="unknown tasks gap-3, x; choose from eeg, gap-1"):
        evaluate([recording.store], model=recording.model, out=tmp_path / "out", tasks="eeg,gap-3,x")
    with pytest.raises(InputError, match="is or holds"):
        evaluate([recording.store], model=everything, out=everything, overwrite=True)
    for options in ({"seed": -1}, {"seed": 0.5}, {"draws": 2.5}, {"draws": -2}):
        with pytest.raises(InputError, match=r"--(seed|draws) \S+; expected a whole number of at least 0"):
            evaluate([recording.store], model=recording.model, out=tmp_path / "out", **options)
    about = json.loads((everything / "model.json").read_text())
    (everything / "model.json").write_text(json.dumps({**about, "channels": about["channels"][::-1]}))
    write_checksums(everything)
    with pytest.raises(InputError, match="channels .*; pass the store that it was trained on"):
        evaluate([recording.store], model=everything, out=tmp_path / "out")
    (everything / "model.json").write_text(json.dumps({**about, "subject": "02"}))
    write_checksums(everything)
    with pytest.raises(
        InputError, match="was fitted to sub-02, not to sub-01, whose store this is; pass the"
    ):
        evaluate([recording.store], model=everything, out=tmp_path / "out")
    settings = {**about["eeg_settings"], "l_freq": 1.0, "reference": None}
    (everything / "model.json").write_text(json.dumps({**about, "eeg_settings": settings}))
    write_checksums(everything)
    message = (
        "isn't what everything was trained on: l_freq 0.5, not 1.0; reference average, not None; pass the"
    )
    with pytest.raises(InputError, match=message):
        evaluate([recording.store], model=everything, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["everything"]
