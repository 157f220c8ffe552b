"""Commands on tables of features and parcels per frame, in place of raw EEG and vertices."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

from neuroframes.commands.complete import complete
from neuroframes.commands.evaluate import evaluate
from neuroframes.commands.reconstruct import reconstruct
from neuroframes.commands.resample import resample
from neuroframes.commands.train import train
from neuroframes.evaluation.plan import inapplicable
from neuroframes.evaluation.recordings import folds_of, own
from neuroframes.recording.bold import read_bold
from neuroframes.recording.features import Features, write_features
from neuroframes.recording.prepare import prepare
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.recording.store import open_store
from neuroframes.registry import BACKBONE, NO_EEG, load_model

TR, P, K = 2.0, 12, 110
NAMES = tuple(f"{place} {band}" for place in ("left", "right", "back") for band in ("alpha", "beta"))


@dataclass(frozen=True)
class Tables:
    """A data set of 4 runs, its store, and a model trained on the first 3."""

    root: Path
    store: Path
    model: Path

    def features(self, run: int) -> Path:
        suffix = {1: ".parquet", 2: ".mat"}.get(run, ".tsv")
        return self.root / f"sub-01/eeg/sub-01_task-rest_run-{run}_features{suffix}"

    def parcels(self, run: int) -> Path:
        return self.root / f"derivatives/xcp_d/sub-01/func/sub-01_task-rest_run-{run}_timeseries.tsv"


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Tables:
    """Parcels follow three features 6 s later, with noise."""
    folder, generator = tmp_path_factory.mktemp("tables"), np.random.default_rng(3)
    mixing, found = (
        generator.standard_normal((3, P)),
        Tables(folder / "bids", folder / "sub-01.zarr", folder / "m"),
    )
    for run in (1, 2, 3, 4):
        values = gaussian_filter1d(generator.standard_normal((K + 20, len(NAMES))), 1.0, axis=0)
        values /= values.std(axis=0)
        bold = 100 + values[17:-3, :3] @ mixing + 1.5 * generator.standard_normal((K, P))
        for path in (found.features(run), found.parcels(run)):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_features(found.features(run), Features(values[20:].astype(np.float32), NAMES, TR))
        pd.DataFrame(bold, columns=[f"area {p}" for p in range(P)]).to_csv(
            found.parcels(run), sep="\t", index=False
        )
        write_sidecar(found.parcels(run), {"RepetitionTime": TR})
    prepare(found.root, folder, progress=False)
    train([found.store], out=found.model, preset="gaussian")
    return found


def test_a_model_of_features_says_what_it_was_made_of(tables):
    model = load_model(tables.model)
    assert (model.origin.channels, model.origin.features, model.origin.bands) == ((), NAMES, {})
    assert model.eeg.channels is None and model.eeg.ridge.response in ("haemodynamic", "free")
    assert [part.run[-1] for part in model.origin.split.test] == ["4"]


def test_evaluate_scores_it_beside_the_regressions_and_shuffled_features(tables, tmp_path):
    results = evaluate([tables.store], model=tables.model, out=tmp_path / "out", tasks="eeg,gap-8")
    r = results.query("region == 'whole'").set_index(["metric", "method", "task"])["value"]
    for method in (BACKBONE, "ridge FIR", "kriging + EEG"):
        assert r["temporal_r", method, "eeg"] > 0.3
        for control in ("shuffled", "zeroed", "backwards"):
            assert abs(r[f"control, {control}", method, "eeg"]) < 0.15
    assert r["temporal_r", BACKBONE, "gap-8"] > r["temporal_r", NO_EEG, "gap-8"] + 0.1


def test_reconstruct_follows_the_frames(tables, tmp_path):
    frames, deviation = reconstruct(tables.model, eeg=tables.features(4), out=tmp_path / "a.tsv", draws=2)
    found, truth = read_bold(frames), read_bold(tables.parcels(4))
    assert found.data.shape == truth.data.shape and found.tr == TR and found.times[0] == 0
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.data.T, truth.data.T, strict=True)]
    assert np.mean(r) > 0.3 and (read_bold(deviation).data > 0).all()
    method = read_sidecar(frames)["NeuroframesMethod"]
    ridge = load_model(tables.model).eeg.ridge
    assert f"given features of the EEG; {ridge}" in method and "response along lags" in method
    finer, _ = reconstruct(tables.model, eeg=tables.features(4), out=tmp_path / "b.tsv", tr=1.0)
    assert read_bold(finer).data.shape == (2 * K, P)


def test_complete_and_resample_use_the_features(tables, tmp_path):
    missing, beside = np.arange(30, 50), {"frames": "30:49", "model": tables.model}
    truth, error = read_bold(tables.parcels(4)).data, {}
    for name, eeg in (("with", tables.features(4)), ("without", None)):
        path, _ = complete(tables.parcels(4), out=tmp_path / f"{name}.tsv", eeg=eeg, **beside)
        filled = read_bold(path).data
        error[name] = np.square(filled - truth)[missing].mean()
        kept = np.delete(np.arange(K), missing)
        assert filled[kept].tobytes() == truth[kept].tobytes()
    assert error["with"] < 0.85 * error["without"]
    assert tables.features(4).name in read_sidecar(tmp_path / "with.tsv")["Sources"]
    path, _ = resample(tables.parcels(4), tr=1.0, out=tmp_path / "fine.tsv", eeg=tables.features(4), **beside)
    fine = read_bold(path).data
    assert np.abs(fine[::2] - read_bold(tmp_path / "with.tsv").data).max() < 1e-3


def test_what_takes_raw_eeg_refuses_features(tables, refused, recording):
    text = refused("train", tables.store, "--out", "m")
    assert (
        "neuroframes takes raw EEG, but there are features of each frame; use the backbone: --preset g"
        in text
    )
    assert "--bands: sub-01.zarr has features" in refused(
        *("train", tables.store, "--out", "m", "--preset", "gaussian", "--bands", "alpha")
    )
    assert "--preset paper has no --response" in refused(
        *("train", tables.store, "--out", "m", "--preset", "paper", "--response", "free")
    )
    left_out = inapplicable(own([tables.store])[0])
    assert {"neuroframes", "CNN-TC", "paper's recipe"} < set(left_out)
    assert not {"ridge FIR", "banded ridge", "kriging + EEG", "neuroframes backbone"} & set(left_out)
    table, raw = tables.features(4), recording.eeg(3)
    assert "features of each frame (.tsv, .npz, .parquet, .mat), but the model takes raw EEG" in refused(
        *("reconstruct", recording.model, "--eeg", table, "--out", "x_hemi-L_bold.func.gii")
    )
    assert (
        "_eeg.vhdr: raw EEG, but the model takes features of each frame (.tsv, .npz, .parquet, .mat); "
        in refused(*("reconstruct", tables.model, "--eeg", raw, "--out", "x.tsv"))
    )


def test_a_table_that_does_not_fit_the_run_is_refused(tables, refused, tmp_path):
    bold, out = tables.parcels(4), ("--out", "x.tsv", "--frames", "3", "--model", tables.model)
    table = pd.read_csv(tables.features(4), sep="\t")
    for name, changed, tr in (
        ("short", table[:-5], TR),
        ("other", table.rename(columns={"left alpha": "delta"}), TR),
        ("slow", table, 3.0),
    ):
        changed.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        write_sidecar(tmp_path / f"{name}.tsv", {"RepetitionTime": tr})
    for name, message in (
        ("short.tsv", "features of 105 frames for 110 frames of BOLD"),
        ("other.tsv", "1 of the 6 features of the model are missing from the table: left alpha"),
        ("slow.tsv", "states a TR of 3 s, not 2 s"),
    ):
        assert message in refused("complete", bold, "--eeg", name, *out)
    refusal = refused("complete", bold, "--eeg", tables.features(4), "--skip-volumes", "2", *out)
    assert "--skip-volumes: sub-01_task-rest_run-4_features.tsv holds features of each frame" in refusal
    refusal = refused(
        "reconstruct", tables.model, "--eeg", tables.features(4), "--trigger", "x", "--out", "y.tsv"
    )
    assert "--trigger: sub-01_task-rest_run-4_features.tsv" in refusal


def test_another_person_s_features_are_a_control(tables, tmp_path):
    second = tmp_path / "sub-02.zarr"
    second.symlink_to(tables.store)
    first, _ = own([tables.store, second])
    assert first.other == second
    (fold,) = folds_of(first, ("eeg",))
    signal, power = fold.other
    assert signal is None and np.array_equal(power.values, open_store(second).runs[-1].eeg())
