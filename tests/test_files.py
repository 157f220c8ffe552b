"""Files appear whole or not at all, and nobody's folder is deleted."""

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from neuroframes.commands.benchmark import benchmark
from neuroframes.commands.prior import prior
from neuroframes.commands.train import train
from neuroframes.errors import InputError
from neuroframes.evaluation.plan import claim
from neuroframes.evaluation.suites import SUITES
from neuroframes.files import alone, refuse_existing, set_aside, written_together, written_whole


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_appears_with_the_body_s_content_and_the_temporary_has_the_name(tmp_path):
    target = tmp_path / "deep" / "er" / "x_bold.dtseries.nii"
    with written_whole(target) as temporary:
        assert temporary.parent.parent == target.parent and temporary.name == target.name
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert everything(tmp_path) == ["deep", "deep/er", "deep/er/x_bold.dtseries.nii"]


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_failure_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(type(error)), written_whole(tmp_path / "new" / "file.txt") as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(type(error)), written_whole(tmp_path / "new" / "folder") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("half")
        raise error
    assert everything(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError), written_whole(file, overwrite=True) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert file.read_text() == "old" and everything(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("at", range(9))
def test_several_files_are_all_new_or_all_as_they_were(tmp_path, monkeypatch, at):
    old = {name: f"old {name}" for name in "abd"}
    for name, content in old.items():
        (tmp_path / name).write_text(content)
    made, replace = [], os.replace

    def full(source: Path, target: Path) -> None:
        made.append(target)
        if len(made) == at + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    def write() -> None:
        targets = [tmp_path / name for name in "abc"]
        with written_together(targets, removed=[tmp_path / "d", tmp_path / "e"], overwrite=True) as folder:
            for target in targets:
                (folder / target.name).write_text(f"new {target.name}")

    monkeypatch.setattr(os, "replace", full)
    if at < 7:  # three are moved out of the way, one says so, three are put in place
        with pytest.raises(OSError, match="no space left"):
            write()
    else:
        write()
    expected = old if at < 7 else {name: f"new {name}" for name in "abc"}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


def test_a_target_that_the_body_leaves_out_is_an_error(tmp_path):
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(FileNotFoundError),
        written_together([tmp_path / "a", tmp_path / "b"], overwrite=True) as folder,
    ):
        (folder / "a").write_text("new")
    assert everything(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with written_whole(tmp_path / "model") as folder:
            folder.mkdir()
            save_file({"a": np.zeros(2)}, folder / "model.safetensors")  # which makes it private
    finally:
        os.umask(before)
    assert (tmp_path / "model" / "model.safetensors").stat().st_mode & 0o777 == mode


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text('{"format": "neuroframes-model-2"}')

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with (
        pytest.raises(OSError, match="no space left") as caught,
        written_whole(model, overwrite=True) as folder,
    ):
        folder.mkdir()
    assert caught.value.filename == str(model)
    assert everything(tmp_path) == ["model", "model/model.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_of_the_target(tmp_path):
    with pytest.raises(OSError, match="no space left") as caught, written_whole(tmp_path / "x") as temporary:
        temporary.symlink_to("/dev/full")
        with temporary.open("w") as file:
            file.write("x" * 100_000)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "x"))
    assert everything(tmp_path) == []


@pytest.mark.parametrize(
    ("said", "code"), [("No space left on device", errno.ENOSPC), ("File too large", errno.EFBIG)]
)
def test_safetensors_own_error_for_a_full_disk_is_understood(tmp_path, said, code):
    # What its version 0.6 says; it carries no number.
    error = RuntimeError(f"Error while serializing: I/O error: {said} (os error {code})")
    with pytest.raises(OSError) as caught, written_whole(tmp_path / "x"):
        raise error
    assert caught.value.errno == code and caught.value.__cause__ is error


def test_a_file_too_large_leaves_the_old_one(tmp_path):
    (tmp_path / "x").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with (
            pytest.raises(OSError, match="too large for this disk") as caught,
            written_whole(tmp_path / "x", overwrite=True) as path,
        ):
            path.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "x")
    assert everything(tmp_path) == ["x"] and (tmp_path / "x").read_text() == "old"


def test_an_existing_target_needs_overwrite(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(InputError, match="exists already; pass --overwrite"), written_whole(tmp_path / "x"):
        raise AssertionError("the body must not run")
    with written_whole(tmp_path / "x", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "x").read_text() == "new"


def test_only_folders_that_neuroframes_wrote_are_replaced(tmp_path):
    own = {
        "model": ("model.json", {"format": "neuroframes-model-2"}),
        "evaluation": ("evaluation.json", {"eeg": {"neuroframes": {}}}),
        "bids": ("dataset_description.json", {"GeneratedBy": [{"Name": "neuroframes simulate"}]}),
        "run": ("zarr.json", {"attributes": {"stamp": []}}),
    }
    for name, (file, content) in own.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(json.dumps(content, indent=2))
        with written_whole(tmp_path / name, overwrite=True) as temporary:
            temporary.mkdir()
        assert everything(tmp_path / name) == []
    for file, content in {
        "notes.txt": "mine",
        "dataset_description.json": '{"Name": "a real data set"}',
        "model.json": '{"format": "another program"}',
        "zarr.json": '{"attributes": {"format": "neuroframes-store-1"}}',
    }.items():
        folder = tmp_path / f"others-{file}"
        folder.mkdir()
        (folder / file).write_text(content)
        with pytest.raises(InputError, match="neuroframes didn't write"):
            refuse_existing(folder, True)
        assert (folder / file).read_text() == content


def test_the_folder_of_a_benchmark_is_replaced(tmp_path):
    for name, suite in SUITES.items():
        claim(tmp_path / name, suite, [])
        (tmp_path / name / "cells").mkdir()
        refuse_existing(tmp_path / name, True, folder=True)
        with written_whole(tmp_path / name, overwrite=True) as folder:
            folder.mkdir()
        assert everything(tmp_path / name) == []


def test_files_and_folders_do_not_replace_each_other(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="file is a file; give --out the name of a folder"):
        refuse_existing(tmp_path / "file", True, folder=True)
    with pytest.raises(InputError, match="folder is a folder; give --out the name of a file"):
        refuse_existing(tmp_path / "folder", True, folder=False)
    with (
        pytest.raises(InputError, match="name of a file"),
        written_whole(tmp_path / "folder", overwrite=True) as temporary,
    ):
        temporary.write_text("x")
    with (
        pytest.raises(InputError, match="name of a folder"),
        written_whole(tmp_path / "file", overwrite=True) as temporary,
    ):
        temporary.mkdir()
    with pytest.raises(InputError, match="is a file, so .* can't be written"):
        refuse_existing(tmp_path / "file" / "below" / "x", False)
    assert everything(tmp_path) == ["file", "folder"]


def test_the_current_folder_is_a_folder_like_others(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text('{"format": "neuroframes-model-2"}')
    monkeypatch.chdir(tmp_path / "model")
    with written_whole(Path("."), overwrite=True) as temporary:
        temporary.mkdir()
        np.save(temporary / "a.npy", np.arange(3))
    assert everything(tmp_path) == ["model", "model/a.npy"]


def test_inputs_are_never_replaced(tmp_path):
    inner = tmp_path / "results" / "model"
    inner.mkdir(parents=True)
    for out in (inner, tmp_path / "results", tmp_path / "results" / ".." / "results"):
        with pytest.raises(InputError, match="is or holds model, which is read here"):
            refuse_existing(out, True, inputs=[inner])
    refuse_existing(inner, True, inputs=[tmp_path / "results"])


def test_a_folder_of_another_kind_is_not_replaced(tmp_path):
    (tmp_path / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "neuroframes simulate"}]}')
    refuse_existing(tmp_path, True, folder="dataset_description.json")
    with pytest.raises(InputError, match="didn't write .without a model.json"):
        refuse_existing(tmp_path, True, folder="model.json")


# Runs the rest of its source in a process that is killed instead of renaming something for the n-th time.
KILLED = """
import os, signal, sys
from pathlib import Path
from neuroframes.files import alone, put_in_place, set_aside, written_together, written_whole

left, replace = int(sys.argv[1]), os.replace

def replaced(*names):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    replace(*names)

os.replace = replaced
"""


def killed(folder: Path, source: str, at: int = 0) -> None:
    """Run Python's `source` in a folder, in a process that ends by SIGKILL."""
    ended = subprocess.run([sys.executable, "-c", KILLED + source, str(at)], cwd=folder)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("at", range(7))
def test_the_next_process_ends_or_undoes_what_a_killed_one_began(tmp_path, at):
    old = {name: f"old {name}" for name in "abd"}
    for name, content in old.items():
        (tmp_path / name).write_text(content)
    body = """
targets = [Path(name) for name in "abc"]
with written_together(targets, removed=[Path("d")], overwrite=True) as folder:
    for target in targets:
        (folder / target.name).write_text(f"new {target.name}")
"""
    killed(tmp_path, body, at)
    with alone(tmp_path / "a"):
        pass
    expected = old if at < 4 else {name: f"new {name}" for name in "abc"}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == expected


@pytest.mark.parametrize("at", range(3))
def test_a_folder_is_old_or_new_after_a_kill(tmp_path, at):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text('{"format": "neuroframes-model-2"}')
    body = """
with written_whole(Path("model"), overwrite=True) as folder:
    folder.mkdir()
    (folder / "new").write_text("")
"""
    killed(tmp_path, body, at)
    with pytest.raises(InputError, match="exists already"), written_whole(tmp_path / "model"):
        raise AssertionError
    assert everything(tmp_path) == ["model", "model/new" if at == 2 else "model/model.json"]


@pytest.mark.parametrize("at", range(3))
def test_a_draft_that_was_to_take_a_folder_s_place_loses_neither(tmp_path, at):
    for name in ("store", ".store"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name.strip(".")).write_text(name)
    killed(tmp_path, 'with alone(Path("store")): put_in_place({Path(".store"): Path("store")})', at)
    with alone(tmp_path / "store"):
        pass
    assert everything(tmp_path) == [".store", ".store/store", "store", "store/store"]
    assert (tmp_path / "store" / "store").read_text() == "store"


def test_what_was_killed_while_it_was_written_is_removed(tmp_path):
    body = """
with written_whole(Path("x")) as path:
    path.write_text("half")
    os.replace(path, path)
"""
    killed(tmp_path, body)
    assert everything(tmp_path) == [".x.lock", ".x.partial", ".x.partial/x"]
    with written_whole(tmp_path / "other") as path:
        path.write_text("another's business")
    assert (tmp_path / ".x.partial" / "x").exists()
    with written_whole(tmp_path / "x") as path:
        path.write_text("whole")
    assert everything(tmp_path) == ["other", "x"] and (tmp_path / "x").read_text() == "whole"


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("anew", [False, True])
def test_a_folder_that_was_set_aside_outlives_a_kill(tmp_path, anew, new):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("")
    body = """
with set_aside(Path("x"), unless="new", anew=True):
    Path("x").mkdir()
    os.replace("x", "x")
"""
    killed(tmp_path, body, 1)
    assert everything(tmp_path) == [".x.set-aside", ".x.set-aside/old", "x"]
    with set_aside(tmp_path / "x", unless="new", anew=anew):
        assert (tmp_path / "x").exists() != anew
        (tmp_path / "x").mkdir(exist_ok=True)
        if new:
            (tmp_path / "x" / "new").write_text("")
    assert everything(tmp_path) == ["x", "x/new" if new else "x/old"]


def test_a_folder_that_was_only_just_set_aside_comes_back(tmp_path):
    (tmp_path / "x").mkdir()
    killed(tmp_path, 'with set_aside(Path("x"), unless="n", anew=True):\n    os.replace("", "")', 1)
    assert everything(tmp_path) == [".x.set-aside"]
    with alone(tmp_path / "x"):
        pass
    assert everything(tmp_path) == ["x"]


@pytest.fixture
def other_process(tmp_path):
    """Another process that writes `x` in the folder, until it is killed."""
    body = """
with written_whole(Path("x")) as path:
    path.write_text("half")
    print(flush=True)
    input()
"""
    command = [sys.executable, "-c", KILLED + body, "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield process
        process.kill()


def test_one_process_at_a_time(tmp_path, other_process):
    before = everything(tmp_path)
    for write in (written_whole, alone):
        with (
            pytest.raises(InputError, match=r"/x is being written by another process; wait"),
            write(tmp_path / "x"),
        ):
            raise AssertionError("the body must not run")
    assert everything(tmp_path) == before == [".x.lock", ".x.partial", ".x.partial/x"]
    with alone(tmp_path / "y"), alone(tmp_path / "y"):  # others are free, and one's own
        pass
    other_process.kill()
    other_process.wait()
    with written_whole(tmp_path / "x") as path:
        path.write_text("whole")
    assert everything(tmp_path) == ["x"]


def test_commands_that_keep_a_state_are_alone_from_the_start(tmp_path, other_process, monkeypatch):
    out = tmp_path / "x"
    for command in (partial(train, ["nowhere"]), prior, benchmark):
        with pytest.raises(InputError, match="is being written by another process"):
            command(out=out)
    monkeypatch.setenv("LOCAL_RANK", "1")  # another process of the same training
    with pytest.raises(InputError, match="nowhere: not a store"):
        train([tmp_path / "nowhere"], out=out)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch, code):
    def unsupported(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", unsupported)
    with written_whole(tmp_path / "x") as path:
        path.write_text("whole")
    assert everything(tmp_path) == ["x"]


def test_another_process_may_remove_the_lock_that_was_just_opened(tmp_path, monkeypatch):
    flock, asked = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        asked.append(descriptor)
        if len(asked) == 1:
            (tmp_path / ".x.lock").unlink()
        flock(descriptor, how)

    monkeypatch.setattr("fcntl.flock", late)
    with alone(tmp_path / "x"):
        assert len(asked) == 2 and (tmp_path / ".x.lock").exists()
    assert everything(tmp_path) == []
