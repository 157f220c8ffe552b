"""The surface model from training to tables, by the functions behind the commands."""

import shutil

import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import BrainModelAxis

from neuroframes.cli import main
from neuroframes.commands.complete import complete
from neuroframes.commands.reconstruct import reconstruct
from neuroframes.commands.resample import resample
from neuroframes.commands.train import train
from neuroframes.cortex.mesh import cortical_vertices, surface
from neuroframes.cortex.regions import regions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.evaluation.metrics import score
from neuroframes.evaluation.tasks import given_and_scored
from neuroframes.models.surface import SurfaceModel
from neuroframes.recording.bold import Bold, read_bold, write_bold
from neuroframes.recording.eeg import check_channels, read_eeg_of_bold
from neuroframes.recording.prepare import prepare
from neuroframes.recording.segments import Segment, detrend, load_segments, trend_basis, vertex_scale
from neuroframes.recording.sidecar import read_sidecar, write_sidecar
from neuroframes.recording.store import open_store
from neuroframes.registry import BACKBONE, REDUCED, load_model

ROW = SurfaceModel.name + REDUCED
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
    train([patches[1]], out=folder, **TINY)
    return folder


def test_training_makes_a_model_of_the_options(patches, trained):
    model = load_model(trained)
    assert isinstance(model, SurfaceModel) and model.settings.width == 8
    assert list(model.network.encoder.bands) == ["alpha", "beta"]
    assert model.origin.space.V == len(model.network.place) == 80 and model.origin.split.test
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
    with pytest.raises(InputError, match="a frame every 0.5 s is asked for; surface model"):
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
    # A deviation of an earlier result goes.
    (tmp_path / "x_stat-std_bold.dtseries.nii").write_text("another model's")
    assert complete(run, out=out, overwrite=True, **given) == (out,)
    assert len(list(tmp_path.iterdir())) == 2


def _filled(trained, recording, truth, measured):
    """`fill` of the z-scored run, in the file's units."""
    model, frames = load_model(trained), np.array(truth, order="F")
    trend = detrend(frames, measured)
    known = model.origin.scale
    scale = known * np.median(vertex_scale(frames, measured, trend[0]) / known)
    run = Bold(truth, 1.0, np.arange(len(truth), dtype=float), model.origin.space, ())
    clock = {"trigger": "auto", "onset": None, "skip_volumes": 0}
    eeg, times = read_eeg_of_bold(recording.eeg(3), run, **clock, **model.origin.eeg_settings)
    frames /= scale
    eeg = check_channels(eeg, model.origin.channels, "the model")
    segment = Segment(frames, times, times - times[0], measured, None, "run", eeg)
    filled = segment.completed(model.fill(segment).mean)
    return filled * scale + trend_basis(np.arange(len(truth)), len(truth)) @ trend


def test_what_it_cannot_do_is_refused(recording, patches, trained, tmp_path):
    bold, eeg = _bold(patches[0], 3), recording.eeg(3)
    run = {"out": tmp_path / "x_bold.dtseries.nii", "model": trained, "frames": "3"}
    with pytest.raises(InputError, match="surface model needs EEG: pass --eeg"):
        complete(bold, **run)
    with pytest.raises(InputError, match="surface model has frames on one grid only"):
        resample(bold, tr=0.5, eeg=eeg, **run)
    for command in (
        lambda: complete(bold, eeg=eeg, draws=4, **run),
        lambda: reconstruct(trained, eeg=eeg, out=run["out"], draws=4),
    ):
        with pytest.raises(InputError, match="--draws 4, but surface model draws nothing"):
            command()
    assert list(tmp_path.iterdir()) == []


def test_it_needs_a_mesh_and_has_its_own_options(recording, patches, tmp_path):
    out = tmp_path / "model"
    with pytest.raises(InputError, match="needs a cortical mesh.*prepare frames on fsLR-32k or fsaverage5"):
        train([recording.store], out=out, preset="surface")
    for wrong, message in (
        ({"latents": 4}, "--preset surface has no --latents; leave that out, it has --width, --epochs"),
        ({"members": 2}, "has no --members"),
        ({"layers": 2}, "has no --layers"),
        ({"width": 9}, "--width 9 with 4 heads"),
    ):
        with pytest.raises(InputError, match=message):
            train([patches[1]], out=out, preset="surface", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_it_stands_beside_others_in_the_table(patches, trained, tmp_path):
    train([patches[1]], out=tmp_path / "model", preset="gaussian", latents=4, bands="alpha")
    given = ("--model", tmp_path / "model", "--beside", trained, "--tasks", "eeg,gap-4")
    assert main(["evaluate", str(patches[1]), *map(str, given), "--out", str(tmp_path / "out")]) == 0
    results = pd.read_csv(tmp_path / "out" / "results.csv").query("region == 'whole'")
    scores = results.pivot(index=["task", "metric"], columns="method", values="value")
    model, store = load_model(trained), open_store(patches[1])
    bands = model.network.encoder.bands
    _, scale = load_segments(store, model.origin.split.train, bands)
    (test,), _ = load_segments(store, model.origin.split.test, bands, scale)
    for task in ("eeg", "gap-4"):
        mask, scored = given_and_scored(task, test)
        given = test.given(mask)
        expected = score(test.frames, given.completed(model.fill(given).mean), scored)["whole"]
        got = scores.loc[task]
        assert got.loc["temporal_r", ROW] == pytest.approx(expected["temporal_r"], rel=1e-6)
        assert np.isnan(got.loc["coverage", ROW]) and np.isfinite(got.loc["coverage", BACKBONE])
    assert f"| {ROW} |" in (tmp_path / "out" / "evaluation.md").read_text()
