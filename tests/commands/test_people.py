"""From several people's stores to a model across people, and what comes of it."""

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
from neuroframes.recording.bold import read_bold
from neuroframes.recording.features import Features, write_features
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.recording.store import open_store, prepare
from neuroframes.registry import ACROSS, ACROSS_NETWORKS, load_model
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
    assert "over a run, as of the people of the model" in read_sidecar(found)["Units"]


def test_a_person_is_added_to_the_model_and_scored_on_what_was_held_out(folder, tmp_path):
    before, after = load_model(folder / "model"), load_model(folder / "adapted")
    assert [*after.population.people] == [*before.population.people, "sub-04"]
    results = evaluate([folder / "sub-04.zarr"], model=folder / "adapted", out=tmp_path / "out", tasks="eeg")
    r = results.query("metric == 'temporal_r' and region == 'whole'").set_index("method")["value"]
    assert r[ACROSS] > 0.4


def test_a_person_whom_the_model_knows_whole_is_not_scored(folder, tmp_path):
    with pytest.raises(InputError, match="adapted was adapted to sub-04, not to sub-01"):
        evaluate([folder / "sub-01.zarr"], model=folder / "adapted", out=tmp_path / "out")
    with pytest.raises(InputError, match="trained on everything; .* stores of several people"):
        evaluate([folder / "sub-04.zarr"], model=folder / "model", out=tmp_path / "out")


def test_each_person_is_left_out_in_turn(folder, tmp_path):
    stores = [folder / f"sub-0{number}.zarr" for number in (1, 2, 4)]
    results = evaluate(stores, out=tmp_path / "out", tasks="eeg")
    r = results.query("metric == 'temporal_r' and region == 'whole'").pivot_table("value", "method", "person")
    assert list(r) == ["sub-01", "sub-02", "sub-04"] and {*r.index} <= {*BESIDE, ACROSS}
    assert (r.loc[ACROSS] > 0.3).all() and (r.loc[ACROSS] > r.loc["ridge FIR"] - 0.05).all()
    assert "Temporal r by person" in (tmp_path / "out/evaluation.md").read_text()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [((1, 1, 2), "sub-01 is in two of the stores"), ((1, 2), "2 people; of at least 3 one can be left out")],
)
def test_people_who_cannot_be_left_out(folder, tmp_path, numbers, message):
    with pytest.raises(InputError, match=message):
        evaluate([folder / f"sub-0{number}.zarr" for number in numbers], out=tmp_path / "out")


def test_what_cannot_be_adapted(folder, tmp_path):
    for number, model, message in (
        (1, "model", "sub-01 is one of the people of the model"),
        (4, "adapted", "sub-04 is one of the people of the model"),
    ):
        with pytest.raises(InputError, match=message):
            adapt(folder / model, folder / f"sub-0{number}.zarr", out=tmp_path / "out")
    with pytest.raises(InputError, match="too few minutes; at least 32 frames"):
        adapt(folder / "model", folder / "sub-04.zarr", out=tmp_path / "out", minutes=0.5)


def test_stores_that_were_not_prepared_alike(folder):
    one, other = (open_store(folder / f"sub-0{number}.zarr") for number in (1, 2))
    slower = replace(other, runs=tuple(replace(run, tr=2.5) for run in other.runs))
    with pytest.raises(InputError, match=r"sub-02.zarr: TR \[2.5\], but sub-01.zarr has \[2.0\]"):
        read_people([one, slower], {})
    with pytest.raises(InputError, match="features .* prepare all people alike"):
        check_alike(other, TR, ("another",), {}, "the model")
