"""The surface model from training to tables, by the functions behind the commands."""

import json
import shutil

import numpy as np
import pytest
from neuroframes.completion import complete, resample
from neuroframes.models.load import load_model
from neuroframes.reconstruction import heard_by, reconstruct
from neuroframes.training.train import train
from nibabel.cifti2 import BrainModelAxis

from neuroframes.cli import main
from neuroframes.cortex.mesh import cortical_vertices, surface
from neuroframes.cortex.regions import regions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.evaluation.evaluate import OURS, SURFACE, evaluate
from neuroframes.evaluation.metrics import score
from neuroframes.evaluation.tasks import given_and_scored
from neuroframes.models.surface import SurfaceModel
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.eeg import read_simultaneous_eeg
from neuroframes.recording.segments import detrend, load_segments, trend_basis, vertex_scale
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.recording.store import open_store, prepare
from neuroframes.recording.timeline import frame_times

TINY = {"preset": "surface", "width": 8, "epochs": 1, "bands": "alpha,beta"}


@pytest.fixture(scope="module")
def patches(recording, tmp_path_factory):
    """BIDS root and store of the recording's first vertices, as if they were two patches of fsLR-32k."""
    root = tmp_path_factory.mktemp("patches") / "bids"
    shutil.copytree(recording.root, root, ignore=shutil.ignore_patterns("*_bold.func.gii", "*_bold.json"))
    axes, whole = [], CorticalSpace.fs_lr_32k()
    for hemi, name, region in (("L", "CortexLeft", "V1"), ("R", "CortexRight", "auditory")):
        cortex = cortical_vertices("fsLR-32k", hemi)
        at = surface("fsLR-32k", "sphere", hemi)[0]
        inside = [v for v in regions(whole)[region] if whole.hemisphere[v] == (hemi == "R")]
        centre = at[whole.vertex[inside[0]]]
        patch = np.sort(cortex[np.argsort(-at[cortex] @ centre)[:40]])
        axes.append(BrainModelAxis.from_surface(patch, 32_492, name=name))
    space = CorticalSpace.from_axis(axes[0] + axes[1])
    for run in (1, 2, 3):
        gifti = read_bold(recording.bold(run))
        frames = gifti.data[:, gifti.data.std(axis=0) > 0][:, :80]
        path = _bold(root, run)
        write_bold(path, frames, space, tr=1.0)
        write_sidecar(path, {"RepetitionTime": 1.0})
    (store,) = prepare(root, root.parent / "stores", progress=False)
    return root, store


def _bold(root, run):
    name = f"sub-01_task-movie_run-{run}_space-fsLR_den-32k_bold.dtseries.nii"
    return root / "derivatives/fmriprep/sub-01/func" / name


@pytest.fixture(scope="module")
def trained(patches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("surface") / "model"
    train(patches[1], out=folder, **TINY)
    return folder


def test_training_makes_a_model_of_the_options(patches, trained):
    model = load_model(trained)
    assert isinstance(model, SurfaceModel) and model.settings.width == 8
    assert list(model.network.encoder.bands) == ["alpha", "beta"]
    assert model.space.V == len(model.network.place) == 80 and model.split.test
    degree = np.bincount(model.network.graph.indices[0].numpy()) - 1
    assert 2 <= degree.mean() <= 6
    assert model.n_parameters == sum(p.numel() for p in model.network.parameters())
    assert list(trained.parent.iterdir()) == [trained]


def test_reconstruction_states_no_deviation(recording, trained, tmp_path):
    out = tmp_path / "x_bold.dtseries.nii"
    (path,) = reconstruct(trained, eeg=recording.eeg(3), out=out)
    assert path == out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x_bold.dtseries.nii", "x_bold.json"]
    values = read_bold(out)
    assert values.data.shape == (120, 80) and np.isfinite(values.data).all() and values.tr == 1.0
    about = read_sidecar(out)
    assert "NeuroframesStandardDeviation" not in about and not any(about["NeuroframesMeasured"])
    assert about["NeuroframesMethod"].endswith("given EEG; no uncertainty is stated")
    assert "draws" not in about["NeuroframesMethod"] and about["NeuroframesModel"] == str(trained)
    with pytest.raises(InputError, match="exists already"):
        reconstruct(trained, eeg=recording.eeg(3), out=out)
    reconstruct(trained, eeg=recording.eeg(3), out=out, overwrite=True)
    with pytest.raises(InputError, match="a frame every 0.5 s is wanted; a model of --preset surface"):
        reconstruct(trained, eeg=recording.eeg(3), out=tmp_path / "y.dtseries.nii", tr=0.5)


def test_completion_keeps_measured_frames_and_the_file_s_units(recording, patches, trained, tmp_path):
    run = _bold(patches[0], 3)
    out = tmp_path / "x_bold.dtseries.nii"
    given = {"model": trained, "eeg": recording.eeg(3), "frames": "20:29,60"}
    assert complete(run, out=out, **given) == (out,)
    truth, values = read_bold(run).data, read_bold(out).data
    hidden = np.zeros(120, bool)
    hidden[[*range(20, 30), 60]] = True
    assert values[~hidden].tobytes() == truth[~hidden].tobytes()
    np.testing.assert_allclose(values[hidden], _filled(trained, recording, truth, ~hidden)[hidden], rtol=1e-4)
    about = read_sidecar(out)
    assert "NeuroframesStandardDeviation" not in about
    assert about["NeuroframesMeasured"] == (~hidden).tolist()
    assert "EEG and the measured frames" in about["NeuroframesMethod"]
    assert len(list(tmp_path.iterdir())) == 2
    # Nothing to fill: no deviation either, and that of an earlier result goes.
    (tmp_path / "x_stat-std_bold.dtseries.nii").write_text("another model's")
    given["frames"] = None
    assert complete(run, out=out, overwrite=True, **given) == (out,)
    assert read_bold(out).data.tobytes() == truth.tobytes() and len(list(tmp_path.iterdir())) == 2


def _filled(trained, recording, truth, measured):
    """`fill_missing` of the z-scored run, in the file's units."""
    model, frames = load_model(trained), np.array(truth, order="F")
    trend = detrend(frames, measured)
    scale = model.scale * np.median(vertex_scale(frames, measured) / model.scale)
    eeg = read_simultaneous_eeg(recording.eeg(3), trigger="auto", onset=None, tr=1.0, **model.eeg_settings)
    times = frame_times(eeg.triggers, 1.0, len(truth), name="eeg")
    frames /= scale
    model.fill_missing(frames, measured, heard_by(model, eeg, "eeg"), times, np.random.default_rng(0))
    return frames * scale + trend_basis(np.arange(len(truth)), len(truth)) @ trend


def test_what_it_cannot_do_is_refused(recording, patches, trained, tmp_path):
    bold, eeg = _bold(patches[0], 3), recording.eeg(3)
    run = {"out": tmp_path / "x_bold.dtseries.nii", "model": trained, "frames": "3"}
    with pytest.raises(InputError, match="of --preset surface, which always hears EEG: pass --eeg"):
        complete(bold, **run)
    with pytest.raises(InputError, match="of --preset surface, which has frames on one grid only"):
        resample(bold, tr=0.5, eeg=eeg, **run)
    for command in (
        lambda: complete(bold, eeg=eeg, draws=4, **run),
        lambda: reconstruct(trained, eeg=eeg, out=run["out"], draws=4),
    ):
        with pytest.raises(InputError, match="--draws 4, but a model of --preset surface draws nothing"):
            command()
    with pytest.raises(InputError, match="is of --preset surface; pass it as --beside"):
        evaluate(patches[1], model=trained, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_it_needs_a_mesh_and_has_its_own_options(recording, patches, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(InputError, match="needs a cortical mesh.*prepare frames on fsLR-32k or fsaverage5"):
        train(recording.store, out=out, preset="surface")
    for wrong, message in (
        ({"latents": 4}, "no autoencoder.*leave --latents out"),
        ({"members": 2}, "one network; leave --members out"),
        ({"layers": 2}, "--layers is for --preset paper"),
        ({"width": 9}, "--width 9 with 4 heads"),
    ):
        with pytest.raises(InputError, match=message):
            train(patches[1], out=out, preset="surface", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_it_stands_beside_others_in_the_table(patches, trained, tmp_path):
    train(patches[1], out=tmp_path / "model", preset="gaussian", latents=4, bands="alpha")
    given = ("--model", tmp_path / "model", "--beside", trained, "--tasks", "eeg,gap-4")
    assert main(["evaluate", str(patches[1]), *map(str, given), "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    model, store = load_model(trained), open_store(patches[1])
    bands = model.network.encoder.bands
    _, scale = load_segments(store, model.split.train, bands)
    (test,), _ = load_segments(store, model.split.test, bands, scale)
    for task, by_method in results.items():
        given, scored = given_and_scored(task, test)
        frames = np.array(test.frames, order="F")
        model.fill_missing(frames, given, test.eeg, test.times, np.random.default_rng(0))
        expected = score(test.frames, frames, scored)["whole"]
        assert by_method[SURFACE]["whole"]["temporal_r"] == pytest.approx(expected["temporal_r"], rel=1e-6)
        assert "coverage" not in by_method[SURFACE]["whole"] and "coverage" in by_method[OURS]["whole"]
    assert f"| {SURFACE} |" in (tmp_path / "out" / "evaluation.md").read_text()
