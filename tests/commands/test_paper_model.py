"""The paper's recipe from training to tables, by the functions behind the commands."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from neuroframes.checksums import write_checksums
from neuroframes.cli import main
from neuroframes.commands.complete import complete
from neuroframes.commands.evaluate import evaluate
from neuroframes.commands.reconstruct import reconstruct
from neuroframes.commands.resample import resample
from neuroframes.commands.train import train
from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.paper import PaperModel
from neuroframes.recording.bold import read_bold
from neuroframes.recording.sidecar import read_sidecar
from neuroframes.registry import BACKBONE, REDUCED, load_model

ROW = PaperModel.name + REDUCED
TINY = {"preset": "paper", "latents": 6, "width": 32, "layers": 1, "epochs": 2}


@pytest.fixture(scope="module")
def paper(recording, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper") / "model"
    train([recording.store], out=folder, **TINY)
    return folder


def test_models_are_told_apart_by_what_is_stored(recording, paper, tmp_path):
    assert isinstance(load_model(recording.model), GaussianModel)
    model = load_model(paper)
    assert isinstance(model, PaperModel) and (model.settings.layers, model.settings.width) == (1, 32)
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "nowhere")
    for about, message in (("[]", "format None"), ('{"format": "other-1"}', "format other-1")):
        (tmp_path / "model.json").write_text(about)
        shutil.copy(recording.model / "model.safetensors", tmp_path)
        write_checksums(tmp_path)
        with pytest.raises(InputError, match=f"a model of {message}, but this version reads"):
            load_model(tmp_path)


def test_reconstruction_is_the_mean_of_draws(recording, paper, tmp_path):
    out = tmp_path / "x_bold.func.gii"
    paths = reconstruct(paper, eeg=recording.eeg(3), out=out, draws=3, save_draws=True)
    values, std, *each = (read_bold(path).data for path in paths[::2])
    assert len(each) == 3 and values.shape == read_bold(recording.bold(3)).data.shape
    np.testing.assert_allclose(np.mean(each, axis=0), values, atol=1e-5)
    np.testing.assert_allclose(np.std(each, axis=0, ddof=1), std, atol=1e-5)
    live = load_model(paper).origin.scale > 0
    assert (std[:, live] > 0).all() and (values[:, ~live] == 0).all()
    assert np.sqrt(np.mean(np.square(each)[..., live])) < 4  # where latents of variance 1 are clipped
    about = read_sidecar(paths[0])
    assert about["NeuroframesMethod"].startswith("recipe of Qu, Gao, Wang and Fu (2026")
    assert about["NeuroframesMethod"].endswith("3 draws")
    assert "(z)" in about["Units"] and not any(about["NeuroframesMeasured"])
    with pytest.raises(InputError, match="one every 1 s, .* and none in between"):
        reconstruct(paper, eeg=recording.eeg(3), out=tmp_path / "y.func.gii", tr=0.5)


def test_completion_keeps_measured_frames_and_the_file_s_units(recording, paper, tmp_path):
    beside = {"model": paper, "eeg": recording.eeg(3), "frames": "20:29,60"}
    paths = complete(recording.bold(3), out=tmp_path / "x_bold.func.gii", draws=4, save_draws=True, **beside)
    truth = read_bold(recording.bold(3)).data
    hidden = np.zeros(120, bool)
    hidden[[*range(20, 30), 60]] = True
    values, std, *each = (read_bold(path).data for path in paths[::2])
    assert values[~hidden].tobytes() == truth[~hidden].tobytes() and (std[~hidden] == 0).all()
    np.testing.assert_allclose(np.mean(each, axis=0)[hidden], values[hidden], rtol=1e-5)
    live = truth.std(axis=0) > 0
    spread = truth.std(axis=0)[live]
    assert np.median(np.abs(values - truth)[hidden][:, live] / spread) < 4
    assert 0.1 < np.median(std[hidden][:, live] / spread) < 4
    method = read_sidecar(paths[0])["NeuroframesMethod"]
    assert "Qu, Gao, Wang and Fu" in method and method.endswith(
        "put into every step; standard deviation of 4 draws"
    )
    again = complete(recording.bold(3), out=tmp_path / "again_bold.func.gii", draws=4, **beside)
    assert nib.load(again[0]).agg_data()[0].tobytes() == nib.load(paths[0]).agg_data()[0].tobytes()


def test_what_it_cannot_do_is_refused(recording, paper, tmp_path):
    run = {"out": tmp_path / "x_bold.func.gii", "model": paper, "frames": "3"}
    with pytest.raises(InputError, match="paper's recipe needs EEG: pass --eeg"):
        complete(recording.bold(3), **run)
    with pytest.raises(InputError, match="frames on one grid only"):
        resample(recording.bold(3), tr=0.5, eeg=recording.eeg(3), **run)
    with pytest.raises(InputError, match="a frame every 0.5 s is asked for"):
        complete(recording.bold(3), eeg=recording.eeg(3), trigger=None, onset=0.0, bold_tr=0.5, **run)
    assert list(tmp_path.iterdir()) == []


def test_it_stands_beside_others_in_the_table(recording, paper, tmp_path):
    more = shutil.copytree(paper, tmp_path / "more")
    given = ("--model", recording.model, "--beside", paper, "--beside", recording.model, "--beside", more)
    given += ("--tasks", "eeg,gap-16", "--draws", "2", "--out", tmp_path / "out")
    assert main(["evaluate", str(recording.store), *map(str, given)]) == 0
    results = pd.read_csv(tmp_path / "out" / "results.csv").query("region == 'whole' and task != 'cost'")
    for _, by_method in results.groupby("task"):
        scores = by_method.pivot(index="metric", columns="method", values="value")
        assert -1 <= scores.loc["temporal_r", ROW] <= 1 and 0 < scores.loc["coverage", ROW] < 1
        for name, same in ((BACKBONE, f"{BACKBONE}, model"), (ROW, f"{ROW}, more")):
            pd.testing.assert_series_equal(scores[name], scores[same], check_names=False)
    assert f"| {ROW} |" in (tmp_path / "out" / "evaluation.md").read_text()


def test_it_may_stand_alone(recording, paper, tmp_path):
    results = evaluate([recording.store], model=paper, out=tmp_path / "out", tasks="gap-16", draws=2)
    assert ROW in set(results["method"]) and BACKBONE not in set(results["method"])


def test_models_beside_have_the_same_split(recording, paper, tmp_path):
    other = tmp_path / "other"
    train([recording.store], out=other, preset="gaussian", latents=4, bands="alpha", test_fraction=0.6)
    for beside, message in (
        (
            [paper, other],
            "another part of the recording, or other channels; give all models the same --test-fraction",
        ),
        ([paper, paper, paper], "names two models model"),
        ([tmp_path / "none"], "no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate([recording.store], model=recording.model, out=tmp_path / "out", beside=beside)
    with pytest.raises(InputError, match="--draws 1"):
        evaluate([recording.store], model=recording.model, out=tmp_path / "out", draws=1)
