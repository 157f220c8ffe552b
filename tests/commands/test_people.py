"""From several people's stores to a model across people, and what comes of it."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

from neuroframes.commands.adapt import adapt
from neuroframes.commands.evaluate import BESIDE, evaluate
from neuroframes.commands.reconstruct import reconstruct
from neuroframes.commands.train import train
from neuroframes.errors import InputError
from neuroframes.evaluation.assessment import Assessment
from neuroframes.evaluation.cells import Cell, run_cell
from neuroframes.evaluation.plan import cells_of
from neuroframes.evaluation.recordings import folds_of, left_out, own_people
from neuroframes.evaluation.suites import OF_OTHERS, SUITES
from neuroframes.evaluation.summary import read_cells, write_tables
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.bold import read_bold
from neuroframes.recording.features import Features, write_features
from neuroframes.recording.prepare import prepare
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.recording.simulated_sources import make_montage
from neuroframes.recording.store import open_store
from neuroframes.registry import ACROSS, ACROSS_NETWORKS, OTHER_EEG, SHUFFLED, load_model
from neuroframes.training.across import fit_across
from neuroframes.training.part import check_alike, read_people

TR, P, K = 2.0, 12, 200
NAMES = ("left alpha", "right alpha", "back beta")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Stores of four people whose parcels follow features 6 s later, and a model of the first three."""
    root, mixing = tmp_path_factory.mktemp("people"), np.random.default_rng(3).standard_normal((3, P))
    for number in (1, 2, 3, 4):
        generator, name = np.random.default_rng(number), f"sub-0{number}"
        values = gaussian_filter1d(generator.standard_normal((K + 20, 3)), 1.0, axis=0)
        values /= values.std(axis=0)
        bold = 100 + values[17:-3] @ mixing + 1.5 * generator.standard_normal((K, P))
        eeg = root / "bids" / name / "eeg" / f"{name}_task-rest_features.tsv"
        func = root / "bids/derivatives/xcp_d" / name / "func" / f"{name}_task-rest_timeseries.tsv"
        for path in (eeg, func):
            path.parent.mkdir(parents=True)
        write_features(eeg, Features(values[20:].astype(np.float32), NAMES, TR))
        columns = [f"area {p}" for p in range(P)]
        pd.DataFrame(bold, columns=columns).to_csv(func, sep="\t", index=False)
        write_sidecar(func, {"RepetitionTime": TR})
    prepare(root / "bids", root, progress=False)
    train([root / f"sub-0{number}.zarr" for number in (1, 2, 3)], out=root / "model")
    adapt(root / "model", root / "sub-04.zarr", out=root / "adapted")
    return root


def test_networks_are_trained_only_where_they_are_asked_for_and_take_raw_eeg(folder, tmp_path):
    assert load_model(folder / "model").name == ACROSS
    stores = [folder / f"sub-0{number}.zarr" for number in (1, 2, 3)]
    with pytest.raises(InputError, match=f"{ACROSS_NETWORKS} takes raw EEG, .* --preset gaussian"):
        train(stores, out=tmp_path / "model", preset="default")


def test_frames_of_a_stranger_are_in_units_of_a_run(folder, tmp_path):
    table = folder / "bids/sub-04/eeg/sub-04_task-rest_features.tsv"
    found = reconstruct(folder / "model", eeg=table, out=tmp_path / "from.tsv")[0]
    truth = read_bold(folder / "bids/derivatives/xcp_d/sub-04/func/sub-04_task-rest_timeseries.tsv").data
    pairs = zip(read_bold(found).data.T, truth.T, strict=True)
    assert np.mean([np.corrcoef(*pair)[0, 1] for pair in pairs]) > 0.4
    units = "standard deviations of each parcel about its mean over a run, as of the people of the model (z)"
    assert read_sidecar(found)["Units"] == units
    assert read_sidecar(found)["NeuroframesMethod"].count("a population of 3 people") == 1


def test_a_person_is_added_to_the_model_and_scored_on_what_was_held_out(folder, tmp_path):
    before, after = load_model(folder / "model"), load_model(folder / "adapted")
    assert [*after.population.people] == [*before.population.people, "sub-04"]
    results = evaluate([folder / "sub-04.zarr"], model=folder / "adapted", out=tmp_path / "out", tasks="eeg")
    r = results.query("metric == 'temporal_r' and region == 'whole'").set_index("method")["value"]
    assert r[ACROSS] > 0.4


def test_a_person_whom_the_model_knows_whole_is_not_scored(folder, tmp_path):
    with pytest.raises(InputError, match="adapted was fitted to sub-04, not to sub-01"):
        evaluate([folder / "sub-01.zarr"], model=folder / "adapted", out=tmp_path / "out")
    with pytest.raises(InputError, match="trained on everything; .* stores of several people"):
        evaluate([folder / "sub-04.zarr"], model=folder / "model", out=tmp_path / "out")


def test_each_person_is_left_out_in_turn(folder, tmp_path, caplog):
    stores = [folder / f"sub-0{number}.zarr" for number in (1, 2, 4)]
    with caplog.at_level(logging.INFO, logger="neuroframes"):
        results = evaluate(stores, out=tmp_path / "out", tasks="eeg,gap-4", latents=6)
    assert "prior: " not in caplog.text
    wide = results.query("region == 'whole'").pivot_table("value", ["metric", "task", "method"], "person")
    r, mismatched = (wide.loc[name, "eeg"] for name in ("temporal_r", "control, other subject"))
    assert list(r) == ["sub-01", "sub-02", "sub-04"] and {*r.index} <= {*BESIDE, ACROSS}
    assert (r.loc[ACROSS] > 0.3).all() and (r.loc[ACROSS] > r.loc["ridge FIR"] - 0.05).all()
    assert (mismatched.loc[ACROSS] < 0.2).all()
    assert wide.loc[("control, shuffled", "gap-4", ACROSS)].notna().all()
    report = (tmp_path / "out/evaluation.md").read_text()
    _, persons = report.split("### Temporal r by person, eeg")
    for row in (ACROSS, ACROSS + SHUFFLED, ACROSS + OTHER_EEG):
        assert f"| {row} |" in persons.split("###")[0]
    less = pd.read_csv(tmp_path / "out/differences.csv").query("recording == 'all people' and task == 'eeg'")
    less = less.set_index("reference")
    for row, other in (("ridge FIR", r), (ACROSS + OTHER_EEG, mismatched)):
        values = r.loc[ACROSS] - other.loc[row.removesuffix(OTHER_EEG)]
        assert less.loc[row, "difference"] == pytest.approx(values.mean()) and less.loc[row, "n_people"] == 3
        reach = 4.3027 * values.std() / np.sqrt(3)  # Student's t of two degrees of freedom
        assert less.loc[row, "high"] - less.loc[row, "difference"] == pytest.approx(reach, rel=1e-4)
    assert "neuroframes population" in [*pd.read_csv(tmp_path / "out/differences.csv")["reference"]]
    assert f"Temporal r of {ACROSS} less that of other rows" in report


@pytest.fixture
def others(folder):
    return left_out([folder / f"sub-0{number}.zarr" for number in (1, 2, 3, 4)])


def test_controls_read_the_eeg_of_two_other_people_and_nobodys_frames(folder, others):
    (fold,) = folds_of(others[0], ("eeg",))
    assert [of.person for of in fold.lent] == ["sub-02", "sub-03"] and not any(
        o.frames.size for o in fold.lent
    )
    fold = replace(fold, part=replace(fold.part, segments=()))  # nothing of it is read
    found = Assessment(load_model(folder / "model"), fold).controls(["eeg"])["eeg"]
    assert {"shuffled", "other subject"} <= found.keys()


def test_a_benchmark_leaves_people_out(folder, others, tmp_path):
    suite = replace(SUITES["standard"], tasks=("eeg", "gap-4"))
    cells = [*cells_of(others, suite, tmp_path / "cells")]
    assert {cell.method for cell in cells} == {*OF_OTHERS} - {ACROSS_NETWORKS}
    assert not any(cell.audit for cell in cells)
    chosen = ("ridge FIR", "neuroframes population", ACROSS)
    folders = []
    for recording in others[:2]:
        for method in chosen:
            folders.append(tmp_path / recording.name / method.replace(" ", "-"))
            run_cell(Cell(recording, method, suite.tasks, {}, False, folders[-1]))
    results, differences = write_tables(tmp_path / "benchmark.md", read_cells(folders), "")
    r = results.query("metric == 'temporal_r' and region == 'whole'").set_index(["method", "task", "person"])
    assert r["value"][ACROSS, "eeg", "sub-01"] > 0.3
    assert {*differences["n_people"]} == {1, 2}
    assert own_people([folder / "sub-01.zarr", folder / "sub-02.zarr"]) == []


def test_nothing_is_held_out_of_several_people(folder, tmp_path):
    stores = [folder / f"sub-0{number}.zarr" for number in (1, 2)]
    for options in ({"test_fraction": 0.25}, {"test_session": "01"}):
        with pytest.raises(InputError, match="leave them out: evaluate leaves whole people out"):
            train(stores, out=tmp_path / "out", **options)


def test_more_latents_than_frames_have_are_said(folder, tmp_path, caplog):
    train([folder / "sub-01.zarr"], out=tmp_path / "out", preset="gaussian", latents=50)
    assert f"--latents 50, but these frames have no more than {P}" in caplog.text


@pytest.mark.parametrize(
    ("numbers", "message"),
    [((1, 1, 2), "sub-01 is in two of the stores"), ((1, 2), "2 people; of at least 3 one can be left out")],
)
def test_people_who_cannot_be_left_out(folder, tmp_path, numbers, message):
    with pytest.raises(InputError, match=message):
        evaluate([folder / f"sub-0{number}.zarr" for number in numbers], out=tmp_path / "out")


def test_a_model_has_bands_and_latents_of_its_own(folder, tmp_path):
    for options in ({"bands": "alpha"}, {"latents": 4}):
        with pytest.raises(InputError, match="--bands and --latents are of people who are left out; a model"):
            evaluate([folder / "sub-04.zarr"], model=folder / "adapted", out=tmp_path / "out", **options)


def test_what_cannot_be_adapted(folder, tmp_path):
    for number, model, message in (
        (1, "model", "sub-01 is one of the people of the model"),
        (4, "adapted", "sub-04 is one of the people of the model"),
    ):
        with pytest.raises(InputError, match=message):
            adapt(folder / model, folder / f"sub-0{number}.zarr", out=tmp_path / "out")
    with pytest.raises(InputError, match="too few minutes; at least 32 frames"):
        adapt(folder / "model", folder / "sub-04.zarr", out=tmp_path / "out", minutes=0.5)
    prior = load_model(folder / "model").without_eeg()
    replace(prior, origin=replace(prior.origin, features=())).save(tmp_path / "prior")
    with pytest.raises(InputError, match="a prior knows nothing of EEG; pass a model that train made of"):
        adapt(tmp_path / "prior", folder / "sub-04.zarr", out=tmp_path / "out")


def test_stores_that_were_not_prepared_alike(folder):
    one, other = (open_store(folder / f"sub-0{number}.zarr") for number in (1, 2))
    slower = replace(other, runs=tuple(replace(run, tr=2.5) for run in other.runs))
    with pytest.raises(InputError, match=r"sub-02.zarr: TR \[2.5\], but sub-01.zarr has \[2.0\]"):
        read_people([one, slower], {})
    with pytest.raises(InputError, match="features .* prepare all people alike"):
        check_alike(other, TR, ("another",), {}, "the model")
    with pytest.raises(InputError, match="has features of each frame, but the model raw EEG; prepare"):
        check_alike(other, TR, (), {}, "the model")


def test_a_prior_has_no_store_to_be_evaluated_on(folder, tmp_path):
    load_model(folder / "model").without_eeg().save(tmp_path / "prior")
    with pytest.raises(InputError, match="prior is a prior, of no store; pass a model that train"):
        evaluate([folder / "sub-04.zarr"], model=tmp_path / "prior", out=tmp_path / "out")


@pytest.mark.parametrize("named", [True, False])
def test_a_person_with_more_channels_is_adapted_to_and_scored(store_of, named, tmp_path, monkeypatch):
    cap = make_montage(32)
    people = [store_of(number, cap.names[::2], cap.positions[::2]) for number in range(3)]
    settings = BackboneSettings(latents=4, response="haemodynamic")
    fit_across(read_people(people, {"alpha": BANDS["alpha"]}), settings).save(tmp_path / "model")
    own = store_of(3, cap.names if named else [f"E{n}" for n in range(32)], cap.positions, n_frames=200)
    monkeypatch.setattr("neuroframes.recording.store.open_store", lambda _: own)
    adapt(tmp_path / "model", own.path, out=tmp_path / "adapted")
    results = evaluate([own.path], model=tmp_path / "adapted", out=tmp_path / "out", tasks="eeg")
    r = results.query("metric == 'temporal_r' and region == 'whole'").set_index("method")["value"]
    assert r[ACROSS] > 0.3
