"""Frames from EEG alone: one a volume trigger, deterministic, labelled as estimates."""

import json

import mne
import nibabel as nib
import numpy as np
import pytest

from neuroframes.cli import main
from neuroframes.commands.complete import complete
from neuroframes.commands.reconstruct import reconstruct
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold
from neuroframes.recording.eeg import read_eeg
from neuroframes.registry import load_model


@pytest.fixture(scope="module")
def reconstructed(recording, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "sub-01_run-3_desc-reconstructed_bold.func.gii"
    return reconstruct(recording.model, eeg=recording.eeg(3), out=out)


def temporal_r(estimate, truth):
    """Mean over vertices of the correlation along time."""
    a, b = (x - x.mean(axis=0) for x in (estimate, truth))
    return np.mean((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))


def test_one_frame_a_trigger_in_the_model_s_space(recording, reconstructed):
    assert [path.name for path in reconstructed] == [
        f"sub-01_run-3_hemi-{side}_desc-reconstructed_{part}bold.func.gii"
        for part in ("", "stat-std_")
        for side in "LR"
    ]
    frames, deviation = read_bold(reconstructed[0]), read_bold(reconstructed[2])
    measured = read_bold(recording.bold(3))
    assert frames.data.shape == deviation.data.shape == measured.data.shape  # 120 volumes, 120 triggers
    assert frames.tr == measured.tr == 1.0
    frames.space.check_same(measured.space, "the run")
    live = load_model(recording.model).origin.scale > 0
    assert np.isfinite(frames.data).all() and (frames.data[:, ~live] == 0).all()
    # z has variance 1: what EEG explains and what it leaves add up to about that.
    total = np.mean(frames.data[:, live] ** 2) + np.mean(deviation.data[:, live] ** 2)
    assert (deviation.data[:, live] > 0).all() and 0.6 < total < 1.6


def test_it_says_that_nothing_was_measured(recording, reconstructed):
    about = json.loads(reconstructed[0].with_suffix("").with_suffix(".json").read_text())
    assert about["NeuroframesMeasured"] == [False] * 120
    assert about["RepetitionTime"] == 1.0
    assert about["Sources"] == [recording.eeg(3).name]
    assert "(z)" in about["Units"] and "estimates" in about["Description"]
    assert about["NeuroframesStandardDeviation"] == reconstructed[2].name
    assert about["NeuroframesModel"] == str(recording.model)


def test_it_follows_the_held_out_run(recording, reconstructed):
    frames, measured = (read_bold(path).data.astype(float) for path in (reconstructed[0], recording.bold(3)))
    live = measured.std(axis=0) > 0
    assert temporal_r(frames[:, live], measured[:, live]) > 0.1


def test_missing_channels_are_filled_from_the_others(recording, reconstructed, tmp_path, caplog):
    channels = load_model(recording.model).origin.channels
    raw = mne.io.read_raw_brainvision(recording.eeg(3), preload=True, verbose="ERROR")
    gone = np.random.default_rng(0).choice(channels, 3, replace=False)
    raw.drop_channels(list(gone)).save(tmp_path / "some_eeg.fif", verbose="ERROR")
    some = reconstruct(recording.model, eeg=tmp_path / "some_eeg.fif", out=tmp_path / "some.func.gii")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "3 of the 16 channels of the model are missing" in warnings[0]
    assert all(name in warnings[0] for name in gone)
    estimate, whole, truth = (
        read_bold(path).data.astype(float) for path in (some[0], reconstructed[0], recording.bold(3))
    )
    live = truth.std(axis=0) > 0
    r_some, r_whole = (temporal_r(frames[:, live], truth[:, live]) for frames in (estimate, whole))
    assert r_some > 0.85 * r_whole
    assert np.mean((estimate - whole) ** 2) < 0.2 * np.mean(whole**2)


def test_the_same_eeg_gives_the_same_bytes(recording, reconstructed, tmp_path):
    again = reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / reconstructed[0].name)
    for one, two in zip(reconstructed, again, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_the_step_of_the_triggers_may_be_said_another_is_in_between(recording, reconstructed, tmp_path):
    said = reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / "said.func.gii", tr=1.0)
    np.testing.assert_array_equal(read_bold(said[0]).data, read_bold(reconstructed[0]).data)
    finer = read_bold(
        reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / "finer.func.gii", tr=0.5)[0]
    )
    seconds = nib.load(finer.sources[0]).meta["TimeStep"]
    assert float(seconds) == 500 and finer.tr == 0.5
    # From the first trigger to the end of the last volume; the trigger's clock is the EEG's.
    assert len(finer.data) == 2 * 120
    about = json.loads((tmp_path / "finer_hemi-L.json").read_text())
    first = read_eeg(recording.eeg(3)).triggers[0]
    assert first > 0 and about["NeuroframesStart"] == pytest.approx(first)
    coarse = reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / "coarse.func.gii", tr=3.0)
    at_volumes = read_bold(reconstructed[0]).data[1::3]  # the middle of every third volume, jitter apart
    np.testing.assert_allclose(read_bold(coarse[0]).data, at_volumes, atol=0.02)


@pytest.mark.parametrize("lost", [slice(30, 33), slice(30, 80)])
def test_frames_go_on_where_triggers_pause(recording, reconstructed, tmp_path, lost, caplog):
    caplog.set_level("INFO", "neuroframes")
    raw = mne.io.read_raw_brainvision(recording.eeg(3), preload=True, verbose="ERROR")
    volumes = np.flatnonzero([name == "Response/R128" for name in raw.annotations.description])
    raw.annotations.delete(volumes[lost])
    written = reconstruct(recording.model, eeg=raw, out=tmp_path / "x_bold.func.gii")
    frames, whole = (read_bold(paths[0]) for paths in (written, reconstructed))
    assert frames.tr == whole.tr and not frames.measured.any()
    # Between triggers their times are interpolated: none is off by more than the triggers jitter.
    np.testing.assert_allclose(frames.data, whole.data, atol=0.05)
    assert f"{lost.stop - lost.start} frames where volume triggers pause" in caplog.text


def test_without_triggers_frames_run_from_the_start(recording, tmp_path, caplog):
    out = tmp_path / "x.func.gii"
    eeg, model = str(recording.eeg(3)), str(recording.model)
    assert main(["reconstruct", model, "--eeg", eeg, "--out", str(out), "--trigger", "none"]) == 0
    about = json.loads((tmp_path / "x_hemi-L.json").read_text())
    assert about["NeuroframesStart"] == 0 and about["RepetitionTime"] == 1.0
    assert len(about["NeuroframesMeasured"]) >= 120
    said = "no volume triggers; frames are counted from the EEG's start"
    assert said not in caplog.text  # nobody asked for them
    raw = mne.io.read_raw_brainvision(recording.eeg(3), preload=True, verbose="ERROR")
    reconstruct(recording.model, eeg=raw.set_annotations(None), out=tmp_path / "y.func.gii")
    assert said in caplog.text


def test_from_an_onset_or_a_single_trigger_frames_run_to_the_end(recording, tmp_path, caplog):
    raw = mne.io.read_raw_brainvision(recording.eeg(3), preload=True, verbose="ERROR")
    raw.set_annotations(mne.Annotations([10.0], [0.0], ["R128"]))
    frames = {"one": reconstruct(recording.model, eeg=raw, out=tmp_path / "one.func.gii", onset=3.0)}
    assert "frames are at the volume triggers; the onset isn't used" in caplog.text
    said = ": one volume trigger, at 10.000 s; frames are counted from it to the EEG's end, every 1 s"
    assert recording.eeg(3).with_suffix(".eeg").name + said in caplog.messages
    frames["onset"] = reconstruct(
        recording.model, eeg=recording.eeg(3), out=tmp_path / "onset.func.gii", trigger=None, onset=10.0
    )
    one, onset = (read_bold(written[0]).data for written in frames.values())
    np.testing.assert_array_equal(one, onset)
    assert len(one) == int(raw.times[-1] - 10 + 0.5)
    assert json.loads((tmp_path / "onset_hemi-L.json").read_text())["NeuroframesStart"] == 10
    with pytest.raises(InputError, match="--onset 5000.0; expected a finite number of at least 0 and below"):
        reconstruct(recording.model, eeg=raw, out=tmp_path / "x.func.gii", onset=5000.0)


def test_an_object_of_mne_is_read_as_its_file(recording, reconstructed, tmp_path):
    raw = mne.io.read_raw_brainvision(recording.eeg(3), verbose="ERROR")
    again = reconstruct(recording.model, eeg=raw, out=tmp_path / "a.func.gii")
    for one, two in zip(reconstructed, again, strict=True):
        np.testing.assert_allclose(read_bold(one).data, read_bold(two).data, atol=1e-5)
    options = {"model": recording.model, "frames": "30:40"}
    filled = [
        read_bold(complete(recording.bold(3), eeg=eeg, out=tmp_path / f"{i}.func.gii", **options)[0]).data
        for i, eeg in enumerate((raw, recording.eeg(3)))
    ]
    np.testing.assert_allclose(*filled, atol=1e-3)


def test_steps_that_cannot_be(recording, tmp_path):
    wrong = ((0.0, "--tr 0.0; expected"), (float("nan"), "--tr nan; expected"), (5000.0, "hold no frame"))
    for tr, message in wrong:
        with pytest.raises(InputError, match=message):
            reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / "x.func.gii", tr=tr)
    assert list(tmp_path.iterdir()) == []


def test_draws_scatter_as_the_closed_form_says(recording, reconstructed, tmp_path):
    written = reconstruct(
        recording.model, eeg=recording.eeg(3), out=tmp_path / "d_bold.func.gii", draws=40, save_draws=True
    )
    assert len(written) == 2 * (2 + 40)
    mean, closed = (read_bold(reconstructed[i]).data for i in (0, 2))
    np.testing.assert_allclose(read_bold(written[0]).data, mean, atol=1e-4)
    live = closed.any(axis=0)
    spread = read_bold(written[2]).data[:, live].mean() / closed[:, live].mean()
    assert abs(spread - 1) < 0.05
    draws = np.stack([read_bold(path).data[:, live] for path in written[4::2]])
    error = (draws - mean[:, live]) / closed[:, live]
    assert abs(error.mean()) < 0.1 and abs(error.std() - 1) < 0.1


@pytest.mark.parametrize(
    "options", [{"draws": 1}, {"draws": -2}, {"draws": 2.5}, {"draws": 2, "seed": -1}, {"save_draws": True}]
)
def test_draws_that_say_nothing_are_refused(recording, tmp_path, options):
    with pytest.raises(InputError, match="expected .*at least [02]"):
        reconstruct(recording.model, eeg=recording.eeg(3), out=tmp_path / "d_bold.func.gii", **options)
    assert not list(tmp_path.iterdir())
