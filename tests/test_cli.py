"""The command line: its arguments, its outputs, a full disk, and whose files it never replaces."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from neuroframes import cli
from neuroframes.cli import main
from neuroframes.cortex.space import CorticalSpace
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.bold import write_bold


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

    from neuroframes import completion, reconstruction, task
    from neuroframes.evaluation.benchmark import benchmark
    from neuroframes.evaluation.evaluate import evaluate
    from neuroframes.recording.simulate import simulate
    from neuroframes.recording.store import prepare
    from neuroframes.report.view import view
    from neuroframes.training.train import train

    functions = {
        ("simulate", "o"): simulate,
        ("prepare", "b", "--out", "o"): prepare,
        ("train", "s", "--out", "o"): train,
        ("reconstruct", "m", "--eeg", "e", "--out", "o"): reconstruction.reconstruct,
        ("evaluate", "s", "--model", "m", "--out", "o"): evaluate,
        ("view", "r", "--out", "o"): view,
        ("benchmark", "--out", "o"): benchmark,
        ("complete", "b", "--out", "o"): completion.complete,
        ("resample", "b", "--out", "o", "--tr", "1"): completion.resample,
    }
    for arguments, function in functions.items():
        parameters = dict(inspect.signature(function).parameters)
        if function in (completion.complete, completion.resample):
            parameters |= inspect.signature(task.read_task).parameters
        options = options_of(*arguments)
        assert set(options) <= set(parameters), arguments
        for name, value in options.items():
            default = parameters[name].default
            if default is not inspect.Parameter.empty and value is not None:
                assert (tuple(value) if isinstance(value, list) else value) == default, (arguments, name)


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
    small = ("--preset", "gaussian", "--bands", "alpha", "--latents", "3")
    assert run("train", recording.store, "--out", "model", "--overwrite", *small) == 0
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
        patch.setattr("neuroframes.models.stored.save_file", full_rust)
        small = ("--preset", "gaussian", "--bands", "alpha", "--latents", "3")
        error = refused("train", recording.store, "--out", "new/model", *small)
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
        assert "o_hemi-L.func.gii: no space left" in refused(*arguments, "--out", "o.func.gii")


def test_a_folder_without_permission(run_of, refused, monkeypatch):
    bold = run_of(60)

    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    error = refused("complete", bold, "--out", "locked/o_bold.dtseries.nii", "--frames", "3")
    assert error.startswith("neuroframes: error: locked: Permission denied")


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
