"""The command line: its arguments, its outputs, a full disk, and whose files it never replaces."""

import errno
import functools
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import neuroframes
from neuroframes.cli import COMMANDS, main, parse
from neuroframes.cortex.space import CorticalSpace
from neuroframes.options import IN_PYTHON_ONLY
from neuroframes.recording.bold import write_bold
from neuroframes.registry import load_model


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


# The least that each command takes.
LEAST = {
    "simulate": ("o",),
    "check": ("d",),
    "prepare": ("b", "--out", "o"),
    "train": ("s", "--out", "o"),
    "prior": ("--out", "o"),
    "reconstruct": ("m", "--eeg", "e", "--out", "o"),
    "complete": ("b", "--out", "o"),
    "resample": ("b", "--out", "o", "--tr", "1"),
    "export": ("b", "--out", "o"),
    "adapt": ("m", "s", "--out", "o"),
    "evaluate": ("s", "--out", "o"),
    "decode fit": ("s", "--out", "o"),
    "decode score": ("d", "b", "--stimulus", "s", "--out", "o"),
    "benchmark": ("--out", "o"),
    "view": ("r", "--out", "o"),
}


def options_of(*arguments: str) -> dict:
    command, options = parse(arguments)
    assert command == arguments[0]
    return options


def test_strings_stay_strings():
    options = options_of("complete", "1", "--out", "2", "--frames", "40", "--trigger", "1", "--censor", "3")
    assert options["frames"] == "40" and options["trigger"] == "1"
    assert (options["bold"], options["out"], options["censor"]) == (Path("1"), Path("2"), Path("3"))
    assert options_of("complete", "b", "--out", "o", "--frames", "10:14,40")["frames"] == "10:14,40"
    for subject in ("01", "1", "1e3", "null", "none"):
        assert options_of("prepare", "root", "--out", "o", "--subject", subject)["subject"] == subject
    options = options_of("resample", "b", "--out", "o", "--tr", "1", "--trigger", "S  1")
    assert options["tr"] == 1.0 and options["trigger"] == "S  1"


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_the_function_s_parameters_with_its_defaults(command):
    signature = inspect.signature(getattr(neuroframes, command.replace(" ", "_")))
    parameters = {name: of for name, of in signature.parameters.items() if name not in IN_PYTHON_ONLY}
    options = options_of(command, *LEAST[command])
    assert list(options) == list(parameters)
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty and name != "out":
            repeated = parameter.default == () and parameter.kind is parameter.KEYWORD_ONLY
            default = [] if repeated else parameter.default
            assert options[name] == default and type(options[name]) is type(default), name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_word_for_every_option_and_none_of_python_s(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    shown = capsys.readouterr().out
    for word in ("<class", "Union", "pathlib", "type:", "None", "null", "{metavar}"):
        assert word not in shown
    assert shown.startswith(f"usage: neuroframes {command} ") and "--config PATH" in shown
    for name in options_of(command, *LEAST[command]):
        # Every option has some words of help on its line or the next.
        shape = rf"^  ({name.upper()}|--{name.replace('_', '-')})( .+)?\n? {{2,}}\S"
        assert re.search(shape, shown, re.M), name


def test_a_command_may_have_two_words(capsys):
    command, options = parse(["--debug", "decode", "score", "d", "b", "--stimulus=s", "--out", "o"])
    assert command == "decode score" and (options["decoder"], options["bold"]) == (Path("d"), [Path("b")])
    # Elsewhere they are files.
    assert options_of("train", "decode", "fit", "--out", "o")["stores"] == [Path("decode"), Path("fit")]
    for words in (["decode"], ["decode", "--help"], ["decode", "nothing"], ["fit"]):
        with pytest.raises(SystemExit, match="2"):
            parse(words)
        assert "'decode fit', 'decode score'" in capsys.readouterr().err


def test_types_in_help_are_words(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["complete", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--model PATH What train or prior wrote" in shown
    assert "--fd-threshold NUMBER Frames with more displacement count as missing (mm; default: 0.5)" in shown
    assert "--seed WHOLE NUMBER Seed of the draws (default: 0)" in shown
    assert "--frames TEXT" in shown and "--save-draws Write" in shown


def test_sequences_flags_choices_and_mappings():
    assert options_of("benchmark", "a", "b", "--out", "o")["stores"] == [Path("a"), Path("b")]
    given = ("--beside", "a,1", "--beside", "b")
    assert options_of("evaluate", *LEAST["evaluate"], *given)["beside"] == [Path("a,1"), Path("b")]
    options = options_of("benchmark", "--out", "o", "--cluster", "slurm", "--cluster-parameters", '{"n": 1}')
    assert options["cluster"] == "slurm" and options["cluster_parameters"] == {"n": 1}
    assert options_of("complete", "--overwrite", "b", "--out", "o")["overwrite"] is True
    assert options_of("complete", "--out=o", "--", "-b")["bold"] == Path("-b")


def test_none_means_none_where_it_is_a_choice():
    assert options_of("complete", "x", "--out", "y", "--trigger", "none")["trigger"] is None
    given = ("--trigger", "none", "--reference", "none", "--l-freq", "none")
    options = options_of("prepare", "x", "--out", "y", *given)
    assert options["trigger"] is options["reference"] is options["l_freq"] is None


def test_a_yaml_file_is_read_as_if_it_were_typed(usage, tmp_path):
    config = tmp_path / "c.yaml"

    def options(text: str, command: str = "complete", *more: str) -> dict:
        config.write_text(text)
        return options_of(command, "--config", str(config), *more)

    both = "bold: x.nii\nout: y.nii\n"
    text = f"{both}frames: '10:14'\nfd_threshold: 1\ntrigger: none\noverwrite: True\n"
    read = options(text, "complete", "--seed", "3")
    assert read["bold"] == Path("x.nii") and read["frames"] == "10:14" and read["overwrite"] is True
    assert (read["fd_threshold"], read["seed"], read["trigger"]) == (1.0, 3, None)
    # YAML itself reads these as 614 (to the base of 60) and 1.
    assert options(f"{both}frames: 10:14\n")["frames"] == "10:14"
    assert options("bids_root: x\nout: y\nsubject: 01\n", "prepare")["subject"] == "01"
    for name in ("01", "2020-13-41", "no", "on", "false", "1e3", "0x1f", "1_000", "=", "~", ".5"):
        assert options(f"bids_root: x\nout: y\nsubject: {name}\n", "prepare")["subject"] == name
    for word, given in (("yes", True), ("On", True), ("no", False), ("off", False)):
        assert options(f"\ufeff{both}overwrite: {word}\n")["overwrite"] is given
    assert options(f"{both}frames:\n- 10:14\n- 40\n")["frames"] == "10:14,40"
    read = options("stores: x\nout: y\nmodel: z\nbeside: [a, b]\ntasks: [eeg, gap-4]\n", "evaluate")
    assert read["beside"] == [Path("a"), Path("b")] and read["tasks"] == "eeg,gap-4"
    assert options(f"{both}frames: 1\nsave-draws: false\n", "complete", "--frames", "2")["frames"] == "2"
    assert options("stores: [a, b]\nout: y\ncluster_parameters: {n: 1}\n", "benchmark") | {"out": 0} == {
        **options_of("benchmark", "a", "b", "--out", "y", "--cluster-parameters", '{"n": 1}'),
        "out": 0,
    }
    for text, message in (
        (f"{both}fd_threshold: .nan\n", "argument --fd-threshold: '.nan' is no number"),
        (f"{both}bold_tr: .inf\n", "argument --bold-tr: '.inf' is no number"),
        (f"{both}frame: 3\n", "no option --frame; did you mean --frames?"),
        (f"{both}seed: null\n", "'null' is no whole number"),
        ("bold: x.nii\n", "required: --out"),
        ("- x\n", "c.yaml: expected options as `name: value`, one a line"),
        ("a: [\n", "c.yaml can't be read (while parsing"),
        ("bold: x.nii\nframes:\nout: y\n", "c.yaml: frames holds nothing; give it a value, or leave it out"),
        (f"{both}overwrite: maybe\n", "c.yaml: overwrite holds maybe; expected true or false"),
        (f"{both}frames: [[1], 2]\n", "c.yaml: frames holds ['1']; expected plain text or a list of it"),
        ("bold: {a: b}\nout: y\n", "c.yaml: bold holds {'a': 'b'}; expected plain text"),
        (f"{both}1: {{a: b}}\n", "no option --1"),
    ):
        config.write_text(text)
        assert message in usage("complete", "--config", str(config))
    read = options("model: x\nstore: y\nout: z\n", "adapt")
    assert (read["model"], read["store"]) == (Path("x"), Path("y"))
    config.write_text("stores: [[a, b]]\nout: y\n")
    assert "c.yaml: stores holds ['a', 'b']; expected" in usage("benchmark", "--config", str(config))
    assert "nowhere.yaml" in usage("prepare", "--config", "nowhere.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["fill"], "invalid choice: 'fill'"),
        (["complete", "x.nii"], "required: --out"),
        (["complete", "--out", "y.nii"], "required: BOLD"),
        (["complete", "x.nii", "z.nii", "--out", "y.nii"], "unrecognized arguments: z.nii"),
        (["complete", "x.nii", "--out", "y.nii", "--bogus", "1"], "no option --bogus"),
        (["complete", "x.nii", "--confound", "t.tsv"], "no option --confound; did you mean --confounds?"),
        (["complete", "x.nii", "--conf=t"], "no option --conf; did you mean --config or --confounds?"),
        (["complete", "x.nii", "--fd_threshold", "1"], "did you mean --fd-threshold?"),
        (["complete", "x.nii", "--out", "y.nii", "--seed", "-1"], "--seed: '-1' is no whole number"),
        (["complete", "x.nii", "--out", "y.nii", "--seed", "1.5"], "--seed: '1.5' is no whole number"),
        (["complete", "x.nii", "--out", "y.nii", "--skip-volumes", "-2"], "--skip-volumes: '-2'"),
        (["complete", "x.nii", "--out", "y.nii", "--onset", "nan"], "--onset: 'nan' is no number"),
        (["complete", "x.nii", "--out", "y.nii", "--frames"], "--frames: expected one argument"),
        (["complete", "x.nii", "--config"], "--config: expected one argument"),
        (["resample", "x.nii", "--out", "y.nii"], "required: --tr"),
        (["resample", "x.nii", "--out", "y.nii", "--tr", "fast"], "--tr: 'fast' is no number"),
        (["simulate", "x", "--space", "mni"], "'fsLR', 'fsaverage5'"),
        (["reconstruct", "m", "--out", "y.nii"], "required: --eeg"),
        (["benchmark", "--out", "o", "--cluster-parameters", "[1]"], "'[1]' is no JSON mapping"),
    ],
)
def test_arguments_that_cannot_be(usage, arguments, message):
    shown, error = usage(*arguments).splitlines()
    command = f" {arguments[0]}" if arguments and arguments[0] in COMMANDS else ""
    assert shown.startswith(f"usage: neuroframes{command} ")
    assert error.startswith(f"neuroframes{command}: error: ") and message in error


def test_usage_names_what_is_needed(usage):
    assert "neuroframes complete BOLD --out PATH [options]\n" in usage("complete")
    assert "neuroframes resample BOLD --tr NUMBER --out PATH [options]\n" in usage("resample")
    assert "neuroframes benchmark [STORES ...] --out PATH [options]\n" in usage("benchmark")


@pytest.fixture
def broken_view(monkeypatch):
    """Let `view` raise."""

    def breaks(error: BaseException) -> None:
        @functools.wraps(neuroframes.view)
        def broken(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(neuroframes, "view", broken, raising=False)

    return breaks


def test_an_interrupt_is_130(broken_view, capsys):
    broken_view(KeyboardInterrupt())
    assert main(["view", "x", "--out", "y"]) == 130
    assert capsys.readouterr().err == "neuroframes: interrupted\n"


def test_a_bug_is_one_line_that_asks_for_a_report(broken_view, capsys):
    broken_view(RuntimeError("of\nours"))
    assert main(["view", "x.nii", "--out", "y"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("neuroframes: error: view x.nii: RuntimeError: of ours; ")
    assert "please report it" in line and "--debug" in line
    for arguments in (["--debug", "view", "x", "--out", "y"], ["view", "x", "--out", "y", "--debug"]):
        with pytest.raises(RuntimeError):
            main(arguments)


@pytest.mark.parametrize("error", [RecursionError("too deep"), RuntimeWarning("as an error"), KeyError("a")])
def test_whatever_else_is_raised_is_said_in_one_line(broken_view, capsys, error):
    broken_view(error)
    assert main(["view", "x.nii", "--out", "y"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"view x.nii: {type(error).__name__}: " in line and "please report it" in line


def test_of_several_inputs_the_first_are_named(monkeypatch, capsys):
    @functools.wraps(neuroframes.train)
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a")

    monkeypatch.setattr(neuroframes, "train", broken, raising=False)
    assert main(["train", "a", "b", "--out", "y"]) == 1
    assert "neuroframes: error: train a, b: KeyError: 'a'; " in capsys.readouterr().err


def test_too_little_memory_is_no_fault_of_ours(broken_view, capsys):
    for error, why in (
        (MemoryError(), ""),
        (MemoryError("Unable to allocate 8 TiB"), " (Unable to allocate 8 TiB)"),
    ):
        broken_view(error)
        assert main(["view", "x.nii", "--out", "y"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(
            f"neuroframes: error: view x.nii: not enough memory{why}; close other programs"
        )


def test_what_is_raised_while_a_command_is_looked_up_is_said_too(monkeypatch, capsys):
    monkeypatch.setattr("neuroframes.cli.add_options", lambda *_: 1 / 0)
    assert main(["view", "x.nii", "--out", "y"]) == 1
    assert "neuroframes: error: ZeroDivisionError: division by zero; " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--help",), ("complete", "--help")])
def test_nobody_need_read_what_is_printed(arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "neuroframes", *arguments]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=buffered)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_terminated_command_clears_away_what_is_half_written(run_of, tmp_path, monkeypatch, capsys):
    bold, before = run_of(60), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        "neuroframes.report.result.write_bold", lambda *_, **__: signal.raise_signal(signal.SIGTERM)
    )
    there = sorted(tmp_path.rglob("*"))
    assert run("complete", bold, "--frames", "3", "--out", tmp_path / "new" / "o.dtseries.nii") == 143
    assert capsys.readouterr().err.splitlines()[-1] == "neuroframes: terminated"
    assert sorted(tmp_path.rglob("*")) == there and signal.getsignal(signal.SIGTERM) == before


def test_a_bug_writes_nothing(run_of, tmp_path, monkeypatch):
    monkeypatch.setattr("neuroframes.commands.fill.standardised", lambda *_: 1 / 0)
    bold = run_of(60)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run("complete", bold, "--frames", "3", "--out", tmp_path / "new" / "o.dtseries.nii") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_python_m_is_the_command():
    def shown(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "neuroframes", *arguments], capture_output=True, text=True
        )

    assert shown("--version").stdout == f"neuroframes {neuroframes.__version__}\n"
    refused = shown("complete")
    assert refused.returncode == 2 and refused.stderr.startswith("usage: neuroframes complete BOLD")
    listed = shown("--help").stdout
    for name in COMMANDS:
        summary = str(getattr(neuroframes, name.replace(" ", "_")).__doc__).partition("\n")[0]
        assert re.search(rf"^  {name} +{re.escape(summary)}$", listed, re.M)


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
    assert list(load_model(tmp_path / "model").origin.bands) == ["alpha"]
    for overwrite in ([], ["--overwrite"]):
        arguments = ("evaluate", recording.store, "--model", recording.model, "--tasks", "eeg", "--out", "e")
        assert run(*arguments, *overwrite) == 0
    printed = capsys.readouterr().out
    assert "ridge FIR" in printed and "temporal r" in printed and printed.endswith("\ne\n")
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["tasks"] == ["eeg"]
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
        assert f"{out}: no space left on the disk; free some space or choose another --out" in error
        assert "nothing" not in error


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


def test_a_full_disk_in_processes_of_prior(people, refused, monkeypatch):
    monkeypatch.setattr(
        "neuroframes.evaluation.jobs._in_pool",
        lambda _, jobs, __: ((job, full_at(job.result)) for job in jobs),
    )
    error = refused("prior", *people.runs[:2], "--out", "p")
    assert "no space left on the disk; free some space or choose another --out" in error


def full_at(path: Path) -> OSError:
    return OSError(errno.ENOSPC, "no space left on the disk", str(path))


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


def test_simulate_and_prepare_print_where(tmp_path, capsys, caplog):
    bids = tmp_path / "bids"
    arguments = ("--minutes", "0.6", "--runs", "1", "--tr", "1.5", "--space", "fsaverage5", "--channels", "4")
    assert run("simulate", bids, *arguments) == 0
    assert capsys.readouterr().out == f"{bids}\n"
    assert run("simulate", bids, *arguments, "--seed", "1", "--overwrite") == 0
    assert capsys.readouterr().out == f"{bids}\n"
    assert run("prepare", bids, "--out", tmp_path / "stores") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'stores' / 'sub-01.zarr'}\n"
    assert run("prepare", bids, "--out", tmp_path / "stores") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'stores' / 'sub-01.zarr'}\n"
    assert "1 run: 1 kept, 0 read" in caplog.text
