"""Bad input on the command line: exit code 2, one clear line, and no file."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import mne
import nibabel as nib
import numpy as np
import pytest

from neuroframes.cli import main
from neuroframes.cortex.space import CorticalSpace
from neuroframes.recording.bold import write_bold
from neuroframes.recording.sidecar import write_sidecar
from neuroframes.registry import load_model


def run(*arguments: str | Path) -> int:
    return main([os.fspath(argument) for argument in arguments])


@pytest.fixture
def gifti_run(recording, tmp_path):
    """A copy of run 3 that a test may spoil; returns the left hemisphere."""
    for side in "LR":
        for suffix in (".func.gii", ".json"):
            source = recording.bold(3, side)
            source = (
                source
                if suffix == ".func.gii"
                else source.with_name(source.name.replace(".func.gii", ".json"))
            )
            if source.exists():
                shutil.copy(source, tmp_path)
    return tmp_path / recording.bold(3).name


@pytest.fixture
def eeg_of(recording, tmp_path):
    """Run 3's EEG as FIF after `change`, which gets MNE's raw object."""

    def write(change) -> Path:
        raw = mne.io.read_raw_brainvision(recording.eeg(3), preload=True, verbose="ERROR")
        raw = change(raw) or raw
        raw.save(tmp_path / "changed_eeg.fif", verbose="ERROR")
        return tmp_path / "changed_eeg.fif"

    return write


def test_too_little_measured(run_of, refused, tmp_path, smooth_frames, cifti_space):
    bold = run_of(100)
    error = refused("complete", bold, "--out", "o_bold.dtseries.nii", "--frames", "0:99")
    assert "0 of 100 frames are measured" in error and "at least 16" in error and "censor fewer" in error
    error = refused("complete", bold, "--out", "o_bold.dtseries.nii", "--frames", "15:99")
    assert "15 of 100 frames are measured" in error
    error = refused("resample", bold, "--tr", "0.4", "--out", "o_bold.dtseries.nii", "--frames", "15:99")
    assert "15 of 100 frames are measured" in error
    (tmp_path / "fd.tsv").write_text("framewise_displacement\n" + "0.6\n" * 100)
    error = refused("complete", bold, "--out", "o_bold.dtseries.nii", "--confounds", "fd.tsv")
    assert "0 of 100" in error
    data = smooth_frames(100, cifti_space.V)
    data[10:] = np.nan
    error = refused("complete", run_of(data=data, name="nan"), "--out", "o_bold.dtseries.nii")
    assert "10 of 100" in error
    few = ("complete", bold, "--out", "o_bold.dtseries.nii", "--frames", "16:99", "--fewest-frames")
    error = refused(*few, "17")
    assert "16 of 100 frames are measured" in error and "at least 17 are needed (--fewest-frames)" in error
    assert "--fewest-frames 15; expected a whole number of at least 16" in refused(*few, "15")
    assert run(*few, "16") == 0


@pytest.mark.parametrize(
    ("option", "text", "parts"),
    [
        ("--frames", "95:100", ("95:100 is out of range", "numbered 0 to 99")),
        ("--frames", "14:10", ("14:10 is out of range",)),
        ("--frames", "-1", ("'-1' is no frame or range", "10:14,40")),
        ("--frames", "ten", ("'ten' is no frame or range",)),
        ("--frames", "", ("'' is no frame or range",)),
        ("--censor", "censored\n" + "0\n" * 99, ("99 lines", "100 frames")),
        ("--censor", "censored\n" + "0\n" * 99 + "2\n", ("frame 99 has '2'", "expected 0 or 1")),
        ("--censor", "a\tb\n" + "0\t1\n" * 100, ("which of its 2 columns (a, b)?", "'keep'")),
        ("--confounds", "csf\n" + "0\n" * 100, ("no framewise_displacement", "--censor")),
        ("--confounds", "framewise_displacement\n" + "0\n" * 60, ("60 lines", "100 frames")),
        ("--confounds", "framewise_displacement\n" + "0\n" * 99 + "high\n", ("line 101", "'high'")),
        ("--confounds", "", ("not a table",)),
        ("--confounds", None, ("nowhere.tsv: no such file",)),
    ],
)
def test_frames_and_tables_that_cannot_be(run_of, refused, tmp_path, option, text, parts):
    value = text
    if option != "--frames":
        value = "table.tsv" if text is not None else "nowhere.tsv"
        if text is not None:
            (tmp_path / value).write_text(text)
    error = refused("complete", run_of(100), "--out", "o_bold.dtseries.nii", f"{option}={value}")
    assert all(part in error for part in parts), error


def test_bold_that_cannot_be_used(run_of, refused, tmp_path, smooth_frames, cifti_space):
    out = ("--out", "o_bold.dtseries.nii")
    assert "nowhere.dtseries.nii: no such file" in refused("complete", "nowhere.dtseries.nii", *out)
    (tmp_path / "notes.txt").write_text("no image")
    assert "cannot be read, truncated or of an unknown format" in refused("complete", "notes.txt", *out)
    (tmp_path / "folder.dtseries.nii").mkdir()
    for folder in ("folder.dtseries.nii", "."):
        error = refused("complete", folder, *out)
        assert f"{folder} is a folder; pass the image of one run" in error and "truncated" not in error
    bold = run_of(60)
    whole = bold.read_bytes()
    for share in (0.01, 0.3, 0.99):
        bold.write_bytes(whole[: int(share * len(whole))])
        error = refused("complete", bold, *out, "--frames", "3")
        assert bold.name in error and "truncated" in error
    error = refused("complete", run_of(data=np.full((60, cifti_space.V), np.nan, np.float32)), *out)
    assert "NaN throughout" in error and "export it again" in error
    constant = np.broadcast_to(smooth_frames(1, cifti_space.V), (60, cifti_space.V))
    error = refused("complete", run_of(data=constant), *out, "--frames", "3")
    assert "every vertex is constant" in error


@pytest.mark.parametrize("suffix", [".func.gii", ".nii.gz"])
def test_other_formats_truncated(refused, tmp_path, suffix):
    mask = np.ones((3, 3, 3), bool)
    space = (
        CorticalSpace.from_counts({"L": 9})
        if suffix == ".func.gii"
        else CorticalSpace.from_mask(mask, np.eye(4))
    )
    data = np.random.default_rng(0).standard_normal((40, space.V)).astype(np.float32)
    (bold,) = write_bold(tmp_path / f"a_hemi-L_bold{suffix}", data, space, tr=1.0)
    bold.write_bytes(bold.read_bytes()[: bold.stat().st_size // 2])
    error = refused("complete", bold, "--out", f"o_bold{suffix}", "--frames", "3")
    assert "truncated" in error and bold.name in error


def test_a_tr_that_contradicts_the_sidecar(run_of, refused, tmp_path):
    bold = run_of(60, tr=0.8)
    write_sidecar(bold, {"RepetitionTime": 0.72})
    arguments = ("complete", bold, "--out", "o_bold.dtseries.nii", "--frames", "3")
    error = refused(*arguments)
    assert "says a TR of 0.8 s" in error and "says 0.72 s" in error and "correct the wrong one" in error
    assert run(*arguments, "--bold-tr", "0.72") == 0
    assert nib.load(tmp_path / "o_bold.dtseries.nii").header.get_axis(0).step == 0.72


def test_models_that_cannot_be_used(recording, run_of, refused, tmp_path, cifti_space):
    out = ("--out", "o_bold.dtseries.nii", "--frames", "3")
    bold = run_of(120)
    assert "nowhere: no such folder" in refused("complete", bold, *out, "--model", "nowhere")
    assert "--eeg needs --model" in refused("complete", bold, *out, "--eeg", recording.eeg(3))
    error = refused("complete", bold, *out, "--model", recording.model)
    assert f"{bold.name} has 200 values" in error and "were expected, in the same places and order" in error
    # As many grayordinates, in other places.
    model = load_model(recording.model)
    other = CorticalSpace.from_axis(cifti_space.axis()[::-1])
    origin = replace(model.origin, space=other, scale=model.origin.scale[: other.V])
    replace(model, origin=origin).save(tmp_path / "cifti")
    error = refused("complete", bold, *out, "--model", "cifti")
    assert "in the same places and order; use data in the space that this was made for" in error
    shutil.copytree(recording.model, tmp_path / "broken")
    for name in ("model.safetensors", "model.json"):
        file = tmp_path / "broken" / name
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        refused("complete", bold, *out, "--model", "broken")
        refused("reconstruct", "broken", "--eeg", recording.eeg(3), "--out", "o.func.gii")
        file.write_bytes(whole)
    assert "suffix" in refused("reconstruct", recording.model, "--eeg", recording.eeg(3), "--out", "o.nii.gz")
    for arguments in (("train", "nowhere"), ("evaluate", tmp_path, "--model", recording.model)):
        assert "not a store of neuroframes" in refused(*arguments, "--out", "o")


def test_triggers_that_do_not_count_the_frames(recording, gifti_run, refused, eeg_of):
    command = ("complete", gifti_run, "--out", "o_bold.func.gii", "--model", recording.model, "--frames", "3")
    error = refused(*command, "--eeg", recording.eeg(3), "--skip-volumes", "2")
    assert "120 volume triggers but 120 frames after 2 skipped volumes" in error
    eeg = eeg_of(lambda raw: raw.crop(0, 90))
    error = refused(*command, "--eeg", eeg)
    assert "volume triggers but 120 frames" in error and "--trigger none" in error
    error = refused(*command, "--eeg", eeg, "--trigger", "none")
    assert "volume triggers, the first at" in error and "--onset SECONDS" in error
    error = refused(*command, "--eeg", eeg, "--trigger", "none", "--onset", "0")
    assert "the EEG lasts 90.0 s but the frames go from 0.0 to 120.0 s" in error
    assert "30 of 120 frames have no EEG" in error
    error = refused(*command, "--eeg", recording.eeg(3), "--trigger", "Bell")
    assert "no event is called 'Bell'" in error and "pass --trigger with one of them" in error
    # With another TR the triggers aren't the frames'.
    error = refused(*command, "--eeg", recording.eeg(3), "--bold-tr", "0.9")
    assert "expected the TR of 0.9 s within 5%" in error


def test_eeg_of_another_run(recording, gifti_run, refused):
    beside = ("--model", recording.model, "--eeg", recording.eeg(2))
    for command in (("complete", gifti_run, "--frames", "3"), ("resample", gifti_run, "--tr", "0.5")):
        error = refused(*command, *beside, "--out", "o_bold.func.gii")
        assert f"{recording.eeg(2).name} is of run-2 but {gifti_run.name} of run-3" in error


def test_channels_that_are_missing_or_renamed(recording, gifti_run, refused, eeg_of):
    first, second = load_model(recording.model).origin.channels[:2]

    def change(raw):
        raw.rename_channels({first: f"EEG {first.lower()}"})
        raw.drop_channels([second])

    eeg = eeg_of(change)
    beside = ("--model", recording.model, "--eeg", eeg)
    for command in (
        ("complete", gifti_run, *beside, "--frames", "3"),
        ("reconstruct", recording.model, "--eeg", eeg),
    ):
        error = refused(*command, "--out", "o_bold.func.gii")
        assert "2 of the 16 channels of the model are missing" in error
        assert f"renamed here, it seems: EEG {first.lower()} for {first}" in error and second in error


def test_too_few_of_the_model_s_channels(recording, gifti_run, refused, eeg_of):
    channels = load_model(recording.model).origin.channels
    eeg = eeg_of(lambda raw: raw.drop_channels(list(channels[3:])))
    for command in (
        ("complete", gifti_run, "--model", recording.model, "--eeg", eeg, "--frames", "3"),
        ("reconstruct", recording.model, "--eeg", eeg),
    ):
        error = refused(*command, "--out", "o_bold.func.gii")
        assert "13 of the 16 channels of the model are missing" in error and "at least 4 of them" in error


def test_eeg_that_is_too_slow_for_a_band(recording, refused, eeg_of, tmp_path):
    eeg = eeg_of(lambda raw: raw.resample(150, verbose="ERROR"))
    error = refused("reconstruct", recording.model, "--eeg", eeg, "--out", "o.func.gii")
    assert "EEG at 150 Hz carries nothing above 75 Hz" in error and "gamma" in error
    error = refused("train", recording.store, "--out", "m", "--bands", "alpha,mu")
    assert "unknown bands mu" in error


def test_eeg_that_cannot_be_read(recording, refused, tmp_path):
    reconstruct = ("reconstruct", recording.model, "--out", "o.func.gii", "--eeg")
    assert "nowhere.vhdr: no such file" in refused(*reconstruct, "nowhere.vhdr")
    assert ". is a folder that MNE cannot read as EEG; pass a file" in refused(*reconstruct, ".")
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        shutil.copy(recording.eeg(3).with_suffix(suffix), tmp_path)
    header = tmp_path / recording.eeg(3).name
    samples = header.with_suffix(".eeg").read_bytes()
    header.with_suffix(".eeg").write_bytes(samples[: len(samples) // 2])
    complete = ("complete", recording.bold(3), "--frames", "3", "--model", recording.model)
    error = refused(*complete, "--out", "o.func.gii", "--eeg", header)
    assert "markers lie beyond" in error and "truncated" in error
    header.with_suffix(".eeg").unlink()
    assert "truncated, missing or renamed" in refused(*reconstruct, header)
    header.write_text(header.read_text()[:200])
    assert "MNE cannot read it" in refused(*reconstruct, header)


def test_a_store_that_is_missing_matters_before_a_package(refused, monkeypatch):
    monkeypatch.setattr("neuroframes.registry.find_spec", lambda _: None)
    assert "nope: not a store of neuroframes" in refused("train", "nope", "--out", "m")


def test_a_store_prepared_too_slow_for_gamma_or_of_copies(recording, refused, tmp_path):
    assert run("prepare", recording.root, "--out", "stores", "--rate", "125") == 0
    error = refused("train", "stores/sub-01.zarr", "--out", "m")
    assert "bands gamma need up to 100 Hz" in error and "--bands delta,theta,alpha,beta" in error
    error = refused("prepare", recording.root, "--out", "stores", "--rate", "100")
    assert "was prepared with rate=125.0" in error and "--overwrite" in error
    assert "no such folder" in refused("prepare", "nowhere", "--out", "stores")
    assert "no EEG of sub-02" in refused("prepare", recording.root, "--out", "stores", "--subject", "02")
    assert "--subject 01,03; expected one label" in refused(
        *("prepare", recording.root, "--out", "stores", "--subject", "01,03")
    )


@pytest.mark.parametrize("option", ["--confounds", "--censor"])
def test_tables_of_another_run(run_of, refused, tmp_path, option):
    table = tmp_path / "sub-01_task-rest_outliers.tsv"
    table.write_text("framewise_displacement\n" + "0\n" * 99 + "1\n")
    error = refused("complete", run_of(100), "--out", "o_bold.dtseries.nii", option, table)
    assert "is of task-rest but" in error and "of task-run; pass the file of the same run" in error
