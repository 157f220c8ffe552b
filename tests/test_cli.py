"""The command line: bad input gives exit code 2, one clear line and no file; good input gives results."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mne
import nibabel as nib
import numpy as np
import pytest

from neuroframes import cli
from neuroframes.cli import main
from neuroframes.cortex.space import CorticalSpace
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.bold import write_bold, write_sidecar


def run(*arguments: str | Path) -> int:
    return main([os.fspath(argument) for argument in arguments])


@pytest.fixture
def usage(capsys):
    """Parse arguments that argparse must refuse; returns what it printed."""

    def parse(*arguments: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == "" and "Traceback" not in printed.err
        return printed.err

    return parse


@pytest.fixture
def options_of(monkeypatch):
    """The options that a command would be called with."""

    def parse(*arguments: str) -> dict:
        seen = {}
        for name in cli._COMMANDS:
            monkeypatch.setitem(cli._COMMANDS, name, seen.update)
        monkeypatch.setitem(cli._COMMANDS, arguments[0], lambda **options: seen.update(options))
        assert main(arguments) == 0
        return seen

    return parse


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


# ---- arguments


def test_strings_stay_strings(options_of):
    options = options_of("complete", "1", "--out", "2", "--frames", "40", "--trigger", "1", "--censor", "3")
    assert options["frames"] == "40" and options["trigger"] == "1"
    assert (options["bold"], options["out"], options["censor"]) == (Path("1"), Path("2"), Path("3"))
    assert options_of("complete", "b", "--out", "o", "--frames", "10:14,40")["frames"] == "10:14,40"
    for subject in ("01", "1", "1e3", "null"):
        assert options_of("prepare", "root", "--out", "o", "--subject", subject)["subject"] == subject
    options = options_of("resample", "b", "--out", "o", "--tr", "1", "--trigger", "S  1")
    assert options["tr"] == 1.0 and options["trigger"] == "S  1"


def test_the_options_of_every_command_fit_its_function(options_of):
    import inspect

    from neuroframes import completion, reconstruction, training
    from neuroframes.evaluation.evaluate import evaluate
    from neuroframes.recording.simulate import simulate
    from neuroframes.recording.store import prepare
    from neuroframes.report.view import view

    functions = {
        ("simulate", "o"): simulate,
        ("prepare", "b", "--out", "o"): prepare,
        ("train", "s", "--out", "o"): training.train,
        ("reconstruct", "m", "--eeg", "e", "--out", "o"): reconstruction.reconstruct,
        ("evaluate", "s", "--model", "m", "--out", "o"): evaluate,
        ("view", "r", "--out", "o"): view,
        ("complete", "b", "--out", "o"): completion.complete,
        ("resample", "b", "--out", "o", "--tr", "1"): completion.resample,
    }
    for arguments, function in functions.items():
        parameters = dict(inspect.signature(function).parameters)
        if function in (completion.complete, completion.resample):
            parameters |= inspect.signature(completion.read_task).parameters
        options = options_of(*arguments)
        assert set(options) <= set(parameters), arguments
        for name, value in options.items():
            default = parameters[name].default
            if default is not inspect.Parameter.empty and value is not None:
                assert value == default, (arguments, name)


def test_a_yaml_file_stands_for_options(options_of, usage, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("bold: x.nii\nout: y.nii\nframes: '10:14'\nfd_threshold: 1\ntrigger: none\n")
    options = options_of("complete", "--config", str(config), "--seed", "3")
    assert options["bold"] == Path("x.nii") and options["frames"] == "10:14"
    assert (options["fd_threshold"], options["seed"], options["trigger"]) == (1.0, 3, "none")
    assert options_of("complete", "--config", str(config), "--frames", "2")["frames"] == "2"
    # YAML reads these as the numbers 614 (sexagesimal) and 1: not what was meant, so not taken.
    config.write_text("bold: x.nii\nout: y.nii\nframes: 10:14\n")
    assert '"frames"' in usage("complete", "--config", str(config))
    config.write_text("bids_root: x\nout: y\nsubject: 01\n")
    assert '"subject"' in usage("prepare", "--config", str(config))
    config.write_text("bids_root: x\nout: y\nsubjct: a\n")
    assert "subjct" in usage("prepare", "--config", str(config))
    assert "nowhere.yaml" in usage("prepare", "--config", "nowhere.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "subcommand"),
        (["fill"], "invalid choice: 'fill'"),
        (["complete", "x.nii"], "required: complete.out"),
        (["complete", "x.nii", "--out", "y.nii", "--bogus", "1"], "--bogus"),
        (["complete", "x.nii", "--out", "y.nii", "--seed", "-1"], '"seed"'),
        (["complete", "x.nii", "--out", "y.nii", "--seed", "1.5"], '"seed"'),
        (["complete", "x.nii", "--out", "y.nii", "--skip-volumes", "-2"], '"skip_volumes"'),
        (["complete", "x.nii", "--out", "y.nii", "--onset", "nan"], '"onset"'),
        (["resample", "x.nii", "--out", "y.nii"], "tr"),
        (["resample", "x.nii", "--out", "y.nii", "--tr", "fast"], '"tr"'),
        (["simulate", "x", "--space", "mni"], "'fsLR', 'fsaverage5'"),
        (["reconstruct", "m", "--out", "y.nii"], "eeg"),
    ],
)
def test_arguments_that_cannot_be(usage, arguments, message):
    assert message in usage(*arguments)


def test_none_means_none(monkeypatch):
    seen = {}
    monkeypatch.setattr("neuroframes.completion.complete", lambda **options: seen.update(options) or ())
    assert main(["complete", "x", "--out", "y", "--trigger", "none"]) == 0
    assert seen["trigger"] is None
    monkeypatch.setattr("neuroframes.recording.store.prepare", lambda **options: seen.update(options) or ())
    assert main(["prepare", "x", "--out", "y", "--trigger", "none", "--reference", "none"]) == 0
    assert seen["trigger"] is None and seen["reference"] is None


def test_an_interrupt_is_130(monkeypatch, capsys):
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli._COMMANDS, "view", interrupted)
    assert main(["view", "x", "--out", "y"]) == 130
    assert capsys.readouterr().err == "neuroframes: interrupted\n"


def test_a_bug_is_not_hidden(monkeypatch):
    def broken(**_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setitem(cli._COMMANDS, "view", broken)
    with pytest.raises(RuntimeError):
        main(["view", "x", "--out", "y"])


def test_help_is_quick_and_light():
    command = "import sys; sys.argv[0] = 'neuroframes'; from neuroframes.cli import main; main(['--help'])"
    code = (
        f"try:\n    {command}\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'mne', 'nibabel', 'scipy', 'zarr', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", "import sys\n" + code], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    for name in cli._COMMANDS:
        assert name in shown.stdout


# ---- frames that are missing


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
    assert run("complete", bold, "--out", "o_bold.dtseries.nii", "--frames", "16:99") == 0


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
        ("--censor", "a\tb\n" + "0\t1\n" * 100, ("which column of a, b?",)),
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


# ---- BOLD


def test_bold_that_cannot_be_used(run_of, refused, tmp_path, smooth_frames, cifti_space):
    out = ("--out", "o_bold.dtseries.nii")
    assert "nowhere.dtseries.nii: no such file" in refused("complete", "nowhere.dtseries.nii", *out)
    (tmp_path / "notes.txt").write_text("no image")
    assert "cannot be read as an image" in refused("complete", "notes.txt", *out)
    (tmp_path / "folder.dtseries.nii").mkdir()
    refused("complete", "folder.dtseries.nii", *out)
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
    assert (
        "the header says a TR of 0.8 s" in error
        and "says 0.72 s" in error
        and "correct the wrong one" in error
    )
    assert run(*arguments, "--bold-tr", "0.72") == 0
    assert nib.load(tmp_path / "o_bold.dtseries.nii").header.get_axis(0).step == 0.72


def test_results_go_to_stdout_and_the_rest_to_stderr(run_of, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("complete", run_of(60), "--out", "new/o_bold.dtseries.nii", "--frames", "3") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["new/o_bold.dtseries.nii", "new/o_stat-std_bold.dtseries.nii"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "o_bold.dtseries.nii",
        "o_bold.json",
        "o_stat-std_bold.dtseries.nii",
        "o_stat-std_bold.json",
    ]


# ---- outputs


def test_outputs_that_cannot_be(run_of, recording, refused, tmp_path):
    bold = run_of(60)
    complete = ("complete", bold, "--frames", "3", "--out")
    error = refused(*complete, "o.nii.gz")
    assert "cifti space are written as .dtseries.nii" in error and "change the output's suffix" in error
    assert "written as" in refused(*complete, ".")
    assert "which is read here; choose another --out" in refused(*complete, bold, "--overwrite")
    (tmp_path / "taken.dtseries.nii").write_text("mine")
    error = refused(*complete, "taken.dtseries.nii")
    assert "taken.dtseries.nii exists already; pass --overwrite" in error
    (tmp_path / "folder.dtseries.nii").mkdir()
    assert "is a folder; give --out the name of a file" in refused(
        *complete, "folder.dtseries.nii", "--overwrite"
    )
    assert "is a file, so" in refused(*complete, "taken.dtseries.nii/o.dtseries.nii")
    assert run(*complete, "taken.dtseries.nii", "--overwrite") == 0
    assert nib.load(tmp_path / "taken.dtseries.nii").shape == (60, 200)


def test_no_command_replaces_a_folder_that_is_not_its_own(recording, refused, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset_description.json").write_text('{"Name": "years of work"}')
    shutil.copytree(recording.model, tmp_path / "model")
    page = tmp_path / "page.html"
    page.write_text("mine")
    simulate = ("simulate", "data", "--minutes", "1", "--runs", "1")
    train = ("train", recording.store, "--out")
    evaluate = ("evaluate", recording.store, "--model", "model", "--out")
    for command in (simulate, (*train, "data"), (*evaluate, "data"), (*train, ".")):
        refused(*command)
        assert "neuroframes didn't write" in refused(*command, "--overwrite")
    for out in ("model", ".."):
        assert "is or holds model" in refused(*evaluate, out, "--overwrite").replace("sub-01.zarr", "model")
    assert "exists already" in refused(*train, "model")
    assert "name of a folder" in refused(*train, "page.html", "--overwrite")
    view = ("view", recording.bold(3), "--out")
    assert "is a folder" in refused(*view, "data", "--overwrite")
    assert "is a folder" in refused(*view, "model", "--overwrite")
    assert "is a folder" in refused(*view, ".", "--overwrite")
    assert "exists already" in refused(*view, "page.html")


def test_a_model_and_an_evaluation_are_replaced_when_told(recording, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(recording.model, "model")
    assert (
        run("train", recording.store, "--out", "model", "--overwrite", "--bands", "alpha", "--latents", "3")
        == 0
    )
    assert capsys.readouterr().out == "model\n"
    assert list(GaussianModel.load(tmp_path / "model").bands) == ["alpha"]
    for overwrite in ([], ["--overwrite"]):
        arguments = ("evaluate", recording.store, "--model", recording.model, "--tasks", "eeg", "--out", "e")
        assert run(*arguments, *overwrite) == 0
    printed = capsys.readouterr().out
    assert "ridge FIR, shuffled EEG" in printed and printed.endswith("e\n")
    assert "eeg" in json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "model"]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "where", ["nibabel.cifti2.Cifti2Image.to_filename", "os.replace", "pathlib.Path.write_text"]
)
def test_a_full_disk_in_complete(run_of, refused, monkeypatch, where):
    bold = run_of(60)
    monkeypatch.setattr(where, full)
    for out in ("o_bold.dtseries.nii", "deep/er/o_bold.dtseries.nii"):
        error = refused("complete", bold, "--out", out, "--frames", "3")
        assert f"{out}: no space left on the disk; nothing was written" in error


def test_a_full_disk_in_the_other_commands(recording, refused, monkeypatch):
    from safetensors import SafetensorError

    def full_rust(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr("neuroframes.models.gaussian.save_file", full_rust)
        error = refused("train", recording.store, "--out", "new/model", "--bands", "alpha", "--latents", "3")
        assert "new/model: no space left on the disk" in error
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        arguments = ("evaluate", recording.store, "--model", recording.model, "--tasks", "gap-1")
        assert "results: no space left" in refused(*arguments, "--out", "results")
    with monkeypatch.context() as patch:
        patch.setattr("neuroframes.recording.simulate.bids.write_eeg", full)
        arguments = ("--minutes", "1", "--runs", "1", "--space", "fsaverage5", "--channels", "4")
        assert "bids: no space left" in refused("simulate", "bids", *arguments)
    with monkeypatch.context() as patch:
        patch.setattr(nib, "save", full)
        arguments = ("reconstruct", recording.model, "--eeg", recording.eeg(3))
        assert "o.func.gii: no space left" in refused(*arguments, "--out", "o.func.gii")


def test_a_folder_without_permission(run_of, refused, monkeypatch):
    bold = run_of(60)

    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    error = refused("complete", bold, "--out", "locked/o_bold.dtseries.nii", "--frames", "3")
    assert error.startswith("neuroframes: error: locked: Permission denied")


# ---- models and EEG


def test_models_that_cannot_be_used(recording, run_of, refused, tmp_path, cifti_space):
    out = ("--out", "o_bold.dtseries.nii", "--frames", "3")
    bold = run_of(120)
    assert "no model can be read there" in refused("complete", bold, *out, "--model", "nowhere")
    assert "--eeg needs --model" in refused("complete", bold, *out, "--eeg", recording.eeg(3))
    error = refused("complete", bold, *out, "--model", recording.model)
    assert f"{bold.name} has 200 values" in error and "were expected, in the same places and order" in error
    # As many grayordinates, in other places.
    model = GaussianModel.load(recording.model)
    other = CorticalSpace.from_axis(cifti_space.axis()[::-1])
    replace(model, space=other, scale=model.scale[: other.V]).save(tmp_path / "cifti")
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
    assert "the EEG lasts 90.0 s but the frames go from 0.0 to 120.0 s" in error
    assert "30 of 120 frames have no EEG" in error
    error = refused(*command, "--eeg", recording.eeg(3), "--trigger", "Bell")
    assert "no event is called 'Bell'" in error and "pass --trigger with one of them" in error
    # With another TR the triggers aren't the frames'.
    error = refused(*command, "--eeg", recording.eeg(3), "--bold-tr", "0.9")
    assert "expected the TR of 0.9 s within 5%" in error


def test_channels_that_are_missing_or_renamed(recording, gifti_run, refused, eeg_of):
    first, second = GaussianModel.load(recording.model).channels[:2]

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


def test_eeg_that_is_too_slow_for_a_band(recording, refused, eeg_of, tmp_path):
    eeg = eeg_of(lambda raw: raw.resample(150, verbose="ERROR"))
    error = refused("reconstruct", recording.model, "--eeg", eeg, "--out", "o.func.gii")
    assert "EEG at 150 Hz carries nothing above 75 Hz" in error and "gamma" in error
    error = refused("train", recording.store, "--out", "m", "--bands", "alpha,mu")
    assert "unknown bands mu" in error


def test_eeg_that_cannot_be_read(recording, refused, tmp_path):
    reconstruct = ("reconstruct", recording.model, "--out", "o.func.gii", "--eeg")
    assert "nowhere.vhdr: no such file" in refused(*reconstruct, "nowhere.vhdr")
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        shutil.copy(recording.eeg(3).with_suffix(suffix), tmp_path)
    header = tmp_path / recording.eeg(3).name
    samples = header.with_suffix(".eeg").read_bytes()
    header.with_suffix(".eeg").write_bytes(samples[: len(samples) // 2])
    complete = ("complete", recording.bold(3), "--frames", "3", "--model", recording.model)
    error = refused(*complete, "--out", "o.func.gii", "--eeg", header)
    assert "volume triggers but 120 frames" in error
    header.with_suffix(".eeg").unlink()
    assert "truncated, missing or renamed" in refused(*reconstruct, header)
    header.write_text(header.read_text()[:200])
    assert "MNE cannot read it" in refused(*reconstruct, header)


def test_a_store_prepared_too_slow_for_gamma_or_of_copies(recording, refused, tmp_path):
    assert run("prepare", recording.root, "--out", "stores", "--rate", "125") == 0
    error = refused("train", "stores/sub-01.zarr", "--out", "m")
    assert "bands gamma need up to 100 Hz" in error and "--bands delta,theta,alpha,beta" in error
    error = refused("prepare", recording.root, "--out", "stores", "--rate", "100")
    assert "was prepared with rate=125.0" in error and "--overwrite" in error
    assert "no such folder" in refused("prepare", "nowhere", "--out", "stores")
    assert "no EEG of sub-02" in refused("prepare", recording.root, "--out", "stores", "--subject", "02")


# ---- the whole chain


def test_view_shows_a_result(tmp_path, capsys):
    space = CorticalSpace.fsaverage5()
    data = np.random.default_rng(0).standard_normal((3, space.V)).astype(np.float32)
    paths = write_bold(tmp_path / "x_bold.func.gii", data, space, tr=1.0)
    assert run("view", paths[0], "--out", tmp_path / "x.html", "--max-frames", "2") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.html'}\n"
    assert (tmp_path / "x.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_simulate_and_prepare_print_where(tmp_path, capsys):
    bids = tmp_path / "bids"
    arguments = ("--minutes", "0.6", "--runs", "1", "--tr", "1.5", "--space", "fsaverage5", "--channels", "4")
    assert run("simulate", bids, *arguments) == 0
    assert capsys.readouterr().out == f"{bids}\n"
    assert run("simulate", bids, *arguments, "--seed", "1", "--overwrite") == 0
    assert capsys.readouterr().out == f"{bids}\n"
    assert run("prepare", bids, "--out", tmp_path / "stores") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'stores' / 'sub-01.zarr'}\n"
