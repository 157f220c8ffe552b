"""Commands on parcels: what they do with vertices they do with parcels too, but for what needs a mesh."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis, ParcelsAxis

from neuroframes.commands.benchmark import benchmark
from neuroframes.commands.complete import complete
from neuroframes.commands.evaluate import evaluate
from neuroframes.commands.reconstruct import reconstruct
from neuroframes.commands.resample import resample
from neuroframes.commands.train import train
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, read_deviation, write_bold
from neuroframes.recording.prepare import prepare
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.recording.store import open_store
from neuroframes.registry import load_model
from neuroframes.report.view import view

TR, P = 2.0, 24
MISSING = np.isin(np.arange(120), [10, 11, 12, 13, 40])
FRAMES = "10:13,40"
NAMES = [f"area {number}" for number in range(P)]
SUFFIXES = (".tsv", ".csv", ".npz", ".ptseries.nii")


def parcels_axis(count: int) -> ParcelsAxis:
    """Parcels of four vertices of the left hemisphere, and a last one of the right."""
    models = [
        (f"area {i}", BrainModelAxis.from_surface(4 * i + np.arange(4), 10_242, name="CortexLeft"))
        for i in range(count - 1)
    ]
    right = BrainModelAxis.from_surface(np.arange(4), 10_242, name="CortexRight")
    return ParcelsAxis.from_brain_models([*models, (f"area {count - 1}", right)])


def space_of(suffix: str) -> CorticalSpace:
    if suffix == ".ptseries.nii":
        return CorticalSpace.from_axis(parcels_axis(P))
    return CorticalSpace.from_parcels(P, NAMES)


@pytest.fixture
def table(tmp_path, smooth_frames):
    """Write a run of 120 frames x 24 parcels with a sidecar; returns its path and what is in it."""

    def write(suffix: str, data: np.ndarray | None = None) -> tuple[Path, np.ndarray]:
        data = smooth_frames(120, P, tr=TR) if data is None else data
        (path,) = write_bold(tmp_path / f"sub-01_timeseries{suffix}", data, space_of(suffix), tr=TR)
        write_sidecar(path, {"RepetitionTime": TR, "TaskName": "rest"})
        return path, data

    return write


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_complete_and_resample_write_what_they_read(table, tmp_path, suffix):
    path, data = table(suffix)
    written = complete(
        path, out=tmp_path / f"sub-01_desc-x_timeseries{suffix}", frames=FRAMES, draws=2, save_draws=True
    )
    entities = ("", "stat-std_", "draw-01_", "draw-02_")
    assert [each.name for each in written] == [f"sub-01_desc-x_{e}timeseries{suffix}" for e in entities]
    filled, *draws = (read_bold(each) for each in (written[0], *written[2:]))
    deviation = read_deviation(filled)
    space_of(suffix).check_same(filled.space, "what was written")
    assert filled.space.names == tuple(NAMES) and filled.tr == TR
    assert filled.measured.tolist() == (~MISSING).tolist()
    for frames in (filled, *draws):
        assert frames.data[~MISSING].tobytes() == data[~MISSING].tobytes()
    assert not deviation[~MISSING].any() and (deviation[MISSING] > 0).all()
    miss = np.square(filled.data - data)[MISSING].mean(axis=0) / data.var(axis=0)
    assert miss.mean() < 0.5
    assert read_sidecar(written[0])["TaskName"] == "rest"
    finer = resample(written[0], tr=TR / 2, out=tmp_path / f"finer{suffix}")
    again = read_bold(finer[0])
    assert again.times[0] == TR / 4 and again.data[::2].tobytes() == filled.data.tobytes()
    np.testing.assert_array_equal(read_deviation(again)[::2], deviation)


def test_the_sidecar_alone_states_the_tr_of_text(table, tmp_path):
    path, _ = table(".tsv")
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="states a TR; write RepetitionTime there, or pass --bold-tr"):
        complete(path, out=tmp_path / "out.tsv", frames=FRAMES)
    written = complete(path, out=tmp_path / "out.tsv", frames=FRAMES, bold_tr=TR)
    assert read_bold(written[0]).tr == TR


def test_what_a_table_lacks_is_filled(table, tmp_path, smooth_frames):
    data = smooth_frames(120, P, tr=TR)
    data[20], data[30, 3:6], data[:, 8] = np.nan, np.nan, np.nan
    path, _ = table(".csv", data)
    filled = read_bold(complete(path, out=tmp_path / "out.csv")[0])
    assert np.flatnonzero(~filled.measured).tolist() == [20, 30]
    assert filled.sidecar["NeuroframesPartial"] == [30]
    assert np.isnan(filled.data[:, 8]).all() and np.isfinite(np.delete(filled.data, 8, axis=1)).all()
    there = np.isfinite(data)
    np.testing.assert_array_equal(filled.data[there], data[there])


@pytest.mark.skipif(shutil.which("wb_command") is None, reason="Connectome Workbench is not installed")
def test_workbench_reads_what_is_written(table, tmp_path):
    written = complete(table(".ptseries.nii")[0], out=tmp_path / "out.ptseries.nii", frames=FRAMES)
    for path in written:
        said = subprocess.run(["wb_command", "-file-information", path], capture_output=True, text=True)
        assert said.returncode == 0 and "CIFTI - Parcel Series" in said.stdout


def test_what_takes_a_mesh_says_that_there_is_none(table, tmp_path):
    with pytest.raises(InputError, match="is in the space 'parcels' .*, which has no mesh to draw it on"):
        view(table(".ptseries.nii")[0], tmp_path / "page.html")


@dataclass(frozen=True)
class Parcellated:
    """A store and a model of parcels: the simulated recording, 64 vertices a parcel."""

    root: Path
    store: Path
    model: Path

    def bold(self, run: int) -> Path:
        stem = f"sub-01_task-movie_run-{run}_space-fsaverage5_seg-x_bold.ptseries.nii"
        return self.root / "derivatives/fmriprep/sub-01/func" / stem


@pytest.fixture(scope="module")
def parcellated(recording, tmp_path_factory) -> Parcellated:
    folder = tmp_path_factory.mktemp("parcellated")
    of = Parcellated(folder / "bids", folder / "stores/sub-01.zarr", folder / "model")
    shutil.copytree(recording.root, of.root, ignore=shutil.ignore_patterns("*_bold.func.gii", "*_bold.json"))
    space = CorticalSpace.from_axis(parcels_axis(40))
    for run in (1, 2, 3):
        bold = read_bold(recording.bold(run))
        means = bold.data[:, : 64 * 40].reshape(-1, 40, 64).mean(axis=2)
        write_bold(of.bold(run), means, space, tr=bold.tr)
    prepare(of.root, folder / "stores", progress=False)
    train([of.store], out=of.model, preset="gaussian")
    return of


def test_stores_and_models_hold_parcels(parcellated):
    store, model = open_store(parcellated.store), load_model(parcellated.model)
    assert store.runs[2].bold().tobytes() == read_bold(parcellated.bold(3)).data.tobytes()
    for space in (store.space, model.origin.space):
        assert space.kind == "ptseries" and space.axis() == parcels_axis(40)


def test_a_model_fills_parcels_of_its_names_in_any_format(parcellated, recording, tmp_path):
    bold = read_bold(parcellated.bold(3))
    space = CorticalSpace.from_parcels(40, bold.space.names)
    (table,) = write_bold(tmp_path / "run.npz", bold.data, space, tr=bold.tr)
    given = {"frames": "10:13", "model": parcellated.model, "eeg": recording.eeg(3)}
    image = complete(parcellated.bold(3), out=tmp_path / "a.ptseries.nii", **given)
    text = complete(table, out=tmp_path / "b.tsv", **given)
    np.testing.assert_array_equal(read_bold(text[0]).data, read_bold(image[0]).data)
    other = CorticalSpace.from_parcels(40, [*bold.space.names[:-1], "elsewhere"])
    (table,) = write_bold(tmp_path / "other.npz", bold.data, other, tr=bold.tr)
    with pytest.raises(InputError, match="other.npz: parcel 40 is called 'elsewhere' but 'area 39' was exp"):
        complete(table, out=tmp_path / "c.npz", **given)
    estimated = reconstruct(parcellated.model, eeg=recording.eeg(3), out=tmp_path / "d.ptseries.nii")
    assert nib.load(estimated[0]).header.get_axis(1) == parcels_axis(40)


def test_parcels_are_scored(parcellated, tmp_path):
    table = evaluate([parcellated.store], model=parcellated.model, out=tmp_path / "scores", tasks="gap-4")
    own = table[(table.method == "neuroframes backbone") & (table.task == "gap-4")].set_index("metric").value
    assert own["temporal_r"] > 0.3
    asked = {"methods": "linear", "tasks": "gap-4", "workers": 1, "progress": False}
    report = benchmark([parcellated.store], out=tmp_path / "benchmark", **asked)
    table = pd.read_csv(report.with_name("results.csv")).set_index("metric").value
    assert table["fc_similarity"] > 0.3


def test_the_surface_model_is_refused(parcellated, tmp_path):
    with pytest.raises(InputError, match="needs a cortical mesh, and there is none of the space parcels"):
        train([parcellated.store], out=tmp_path / "model", preset="surface")
