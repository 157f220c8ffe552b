"""Frames in CineBrain's layout: read back by its own adapter, with their scale, and refusals."""

import json
import logging

import nibabel as nib
import numpy as np
import pytest

from neuroframes.cli import main
from neuroframes.commands.export import export
from neuroframes.cortex.space import CorticalSpace, hcp_data
from neuroframes.errors import InputError
from neuroframes.recording.bold import write_bold
from neuroframes.recording.datasets import cinebrain
from neuroframes.recording.sidecar import write_sidecar

TR, K, V = 0.8, 17, 18_946


@pytest.fixture(scope="module")
def mask() -> CorticalSpace:
    return cinebrain.covered()


@pytest.fixture
def run_on(tmp_path):
    """Write a run in the units of a scanner, or as a sidecar says; returns its path and frames."""

    def write(space, *, name="a", n_frames=K, tr=TR, data=None, suffix=".dtseries.nii", **sidecar):
        generator = np.random.default_rng(len(name))
        if data is None:
            data = 1e4 + 100 * generator.standard_normal((n_frames, space.V))
        path = write_bold(tmp_path / f"sub-01_run-{name}_bold{suffix}", data, space, tr=tr)[0]
        if sidecar:
            write_sidecar(path, sidecar)
        return path, data.astype(np.float32)

    return write


def read_back(folder):
    """As the adapter reads the release."""
    files = cinebrain._numbered(folder, "visual_audio")
    return cinebrain._frames(files, files * 2, None, None)[:2]  # with EEG throughout


def test_runs_are_read_back_by_the_adapter(run_on, tmp_path, mask):
    cortex = CorticalSpace.fs_lr_32k()
    first, data = run_on(cortex)
    second, more = run_on(mask, name="bc", n_frames=K + 3)
    out = export([first, second], out=tmp_path / "new/sub-0001")
    frames, space = read_back(out)
    mask.check_same(space, "what was read back")
    with np.load(hcp_data("mmp_1.0.npz")) as mmp:
        inside = np.isin(mmp["map_all"][: cortex.V], cinebrain.AREAS)
    expected = [(x - x.mean(axis=0)) / x.std(axis=0) for x in (data[:, inside], more)]
    assert frames.shape == (2 * K + 3, V) == (2 * K + 3, inside.sum())
    np.testing.assert_allclose(frames, np.concatenate(expected), atol=1e-3)
    about = json.loads((out / "export.json").read_text())
    assert (about["RepetitionTime"], about["Values"]) == (TR, V)
    assert [(of["FirstFrame"], of["Frames"]) for of in about["Runs"]] == [(0, K), (K, K + 3)]
    assert about["Runs"][1]["Source"] == second.name
    assert about["Runs"][0]["StandardDeviations"] == [1, 1, 1]


def test_values_are_found_by_their_place(run_on, tmp_path, mask):
    whole = CorticalSpace.from_counts({"L": 32_492, "R": 32_492})  # GIFTI, with the medial wall
    place = 1 + whole.vertex + 1e5 * whole.hemisphere
    path, _ = run_on(whole, data=np.outer([1, 2], place), name="hemi-L", suffix=".func.gii")
    # A pattern names both hemispheres: one run.
    export(sorted(path.parent.glob("*_bold.func.gii")), out=tmp_path / "out", keep_scale=True)
    assert len([*(tmp_path / "out/visual_audio").iterdir()]) == 2
    found = np.load(tmp_path / "out/visual_audio/1.npy")
    assert np.array_equal(found, 2 * (1 + mask.vertex + 1e5 * mask.hemisphere)) and found.dtype == np.float32


def test_the_scale_is_that_of_measured_frames_and_the_sidecar_says_which(run_on, tmp_path, mask):
    data = np.random.default_rng(0).standard_normal((40, V))
    measured = np.arange(40) % 3 > 0
    data[~measured] *= 0.1  # estimates vary less
    data[:, 5] = 7.0
    data[:, 6] = np.nan  # without signal, as what is constant
    path, _ = run_on(mask, data=data, NeuroframesMeasured=measured.tolist())
    out = export([path], out=tmp_path / "out")
    frames = read_back(out)[0]
    live = ~np.isin(np.arange(V), (5, 6))
    np.testing.assert_allclose(frames[measured][:, live].std(axis=0), 1, rtol=1e-4)
    assert not frames[:, ~live].any()
    assert (
        json.loads((out / "export.json").read_text())["Runs"][0]["NeuroframesMeasured"] == measured.tolist()
    )


def test_z_scores_of_reconstruct_are_kept_and_what_they_lack_is_said(run_on, tmp_path, mask, caplog):
    caplog.set_level(logging.WARNING)
    data = 0.3 * np.random.default_rng(1).standard_normal((K, V))
    path, data = run_on(mask, data=data, NeuroframesUnits="z", NeuroframesMeasured=[False] * K)
    out = export([path], out=tmp_path / "out")
    assert np.array_equal(read_back(out)[0], data)
    said = caplog.text
    assert f"{V} of {V} values are no z-scores over the run" in said and "--save-draws" in said
    assert f"median {np.median(data.std(axis=0, dtype=float)).round(3):g}; 0 are constant" in said
    caplog.clear()
    export(run_on(mask, name="draw", NeuroframesUnits="z", data=data / 0.3 + 0.5)[:1], out=tmp_path / "draw")
    assert "no z-scores over the run" in caplog.text and "--save-draws" not in caplog.text
    caplog.clear()
    export(run_on(mask, name="scaled")[:1], out=tmp_path / "other")
    assert not caplog.text
    export(run_on(mask, name="kept")[:1], out=tmp_path / "third", keep_scale=True)
    assert "leave --keep-scale out to have them z-scored" in caplog.text


CASES = {
    "TR": "has a TR of 2 s; expected 0.8 s: make it by neuroframes resample --tr 0.8",
    "TR of EEG": "has a TR of 1 s; expected 0.8 s: make it by neuroframes reconstruct --tr 0.8",
    "volume": "is on volume (volume); expected vertices of fsLR-32k",
    "fsaverage5": "is on fsaverage5 (gifti); expected vertices of fsLR-32k",
    "few": "lacks 1 of the 18,946 grayordinates that the layout has",
    "hemisphere": "grayordinates that the layout has; expected all of them",
    "deviation": "holds standard deviations; pass the frames that they belong to",
    "lacking": "2 of 17 frames lack values; fill them by neuroframes complete",
    "constant": "no value varies; expected a run of two frames or more",
    "one frame": "no value varies; expected a run of two frames or more",
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(run_on, tmp_path, refused, mask, case):
    generator = np.random.default_rng(2)
    data, sidecar, space, more = generator.standard_normal((K, V)), {}, mask, {}
    if case.startswith("TR"):
        more = {"tr": 2.0 if case == "TR" else 1.0}
        sidecar = {} if case == "TR" else {"NeuroframesMeasured": [False] * K}
    elif case == "volume":
        space, more = CorticalSpace.from_mask(np.ones((2, 3, 4), bool), np.eye(4)), {"suffix": ".nii.gz"}
    elif case == "fsaverage5":
        space, more = CorticalSpace.fsaverage5(), {"suffix": ".func.gii"}
    elif case == "few":
        space = CorticalSpace.from_axis(mask.axis()[1:])
    elif case == "hemisphere":
        space = CorticalSpace.from_axis(mask.axis()[mask.hemisphere == 0])
    elif case == "deviation":
        sidecar = {"NeuroframesPart": "deviation"}
    elif case == "lacking":
        data[3, 4] = data[9, :7] = np.nan
    elif case == "constant":
        data[:] = 3.0
    else:
        data = data[:1]
    data = data if space is mask else generator.standard_normal((K, space.V))
    path, _ = run_on(space, data=data, **more, **sidecar)
    good, _ = run_on(mask, name="good")
    assert CASES[case] in refused("export", good, path, "--out", "out")


def test_only_an_export_is_replaced(run_on, tmp_path, refused, mask, capsys):
    path, _ = run_on(mask)
    assert main(["export", str(path), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert "exists already; pass --overwrite" in refused("export", path, "--out", "out")
    shorter, _ = run_on(mask, name="shorter", n_frames=K - 4)
    assert main(["export", str(shorter), "--out", str(tmp_path / "out"), "--overwrite"]) == 0
    assert len([*(tmp_path / "out/visual_audio").iterdir()]) == K - 4
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/0.npy").write_text("years of work")
    assert "which --overwrite doesn't replace" in refused("export", path, "--out", "mine", "--overwrite")
    assert "no image to export" in refused("export", "--out", "other")
    with pytest.raises(InputError, match="--layout bids; expected cinebrain"):
        export([path], out=tmp_path / "other", layout="bids")
    with pytest.raises(InputError, match="images is one .*; pass a list"):
        export(path, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert nib.load(path).shape == (K, V)
