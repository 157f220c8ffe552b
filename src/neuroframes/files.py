"""Files are written whole or not at all: in a hidden folder beside the target, then renamed."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from neuroframes.errors import InputError

# A folder is replaced only where one of these files says that it was made here: a model, an evaluation, a
# benchmark, simulated data, a run of a store (a whole store is `prepare`'s own business). All else is data.
MARKS = {
    "model.json": '"format": "neuroframes-model',
    "evaluation.json": '"neuroframes',
    "benchmark.json": '"real_bold"',
    "dataset_description.json": '"neuroframes simulate"',
    "zarr.json": '"stamp"',
}


def refuse_existing(
    path: Path, overwrite: bool, *, folder: bool | str | None = None, inputs: Iterable[Path] = ()
) -> None:
    """Raise InputError where `path` can't or mustn't be written. Call it before any long work.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Files may be replaced then, and folders that neuroframes wrote.
    folder : bool or str, optional
        Whether a folder or a file is to be written, or of `MARKS` what is in a folder of that kind; None if
        it isn't known yet.
    inputs : iterable of Path
        What is read to write it: never replaced, nor is a folder that holds it.
    """
    parent = next(above for above in path.absolute().parents if above.exists())
    if not parent.is_dir():
        raise InputError(f"{parent} is a file, so {path} can't be written; choose another --out")
    if not path.exists():
        return
    if folder is not None and path.is_dir() != bool(folder):
        is_now, expected = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise InputError(f"{path} is a {is_now}; give --out the name of a {expected}")
    for read in inputs:
        if read.exists() and read.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{path} is or holds {read.name}, which is read here; choose another --out")
    if not overwrite:
        raise InputError(f"{path} exists already; pass --overwrite to replace it, or another --out")
    kinds = [folder] if isinstance(folder, str) else [*MARKS]
    if path.is_dir() and not _is_ours(path, kinds):
        raise InputError(
            f"{path} is a folder that neuroframes didn't write (without a {' or '.join(kinds)} of its own), "
            "which --overwrite doesn't replace; choose another --out, or remove it yourself"
        )


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path of the same name; on success it becomes `path`, on failure it is removed.

    Parameters
    ----------
    path : Path
        The target, a file or a folder: what the body creates at the temporary path decides.

    Raises
    ------
    InputError, OSError
        As `written_together`.
    """
    path = path.absolute()  # "." has no name
    with written_together([path], overwrite=overwrite) as folder:
        yield folder / path.name


@contextmanager
def written_together(
    targets: Sequence[Path], *, removed: Sequence[Path] = (), overwrite: bool = False
) -> Iterator[Path]:
    """Yield a hidden folder; what the body writes there under the targets' names becomes the targets.

    All of them are new and `removed` are gone, or all is as it was.

    Parameters
    ----------
    targets : sequence of Path
        Files or folders, all in one folder.
    removed : sequence of Path
        Files of the same folder that go when the targets come.

    Raises
    ------
    InputError
        If one of them exists and mustn't be replaced: see `refuse_existing`.
    OSError
        With the first target as its filename where the disk is full.
    """
    for target in (*targets, *removed):
        refuse_existing(target, overwrite)
    with _room_for(targets[0]):
        scratch = _hidden_folder(targets[0].parent)
        try:
            yield scratch
            moves = {scratch / target.name: target for target in targets}
            for source, target in moves.items():
                refuse_existing(target, overwrite, folder=source.is_dir())
            _open_to_others(scratch)
            put_in_place(moves, removed)
        finally:
            shutil.rmtree(scratch)


def put_in_place(moves: Mapping[Path, Path], removed: Sequence[Path] = ()) -> None:
    """Rename files or folders, in place of what is there, and remove others: all of it, or all is as it was.

    Parameters
    ----------
    moves : mapping from what there is to its target; targets are in one folder, sources on the same disk
    removed : sequence of Path, in that folder
    """
    targets = [*moves.values(), *removed]
    if len(targets) == 1 and not targets[0].is_dir():
        os.replace(next(iter(moves)), targets[0])  # a single file at once: nobody ever finds it missing
        return
    aside = _hidden_folder(targets[0].parent)
    begun: list[tuple[Path, Path]] = []
    try:
        for step in [*((old, aside / old.name) for old in targets if old.exists()), *moves.items()]:
            begun.append(step)
            os.replace(*step)
    except BaseException:
        for before, after in reversed(begun):
            if after.exists() and not before.exists():
                os.replace(after, before)
        aside.rmdir()
        raise
    shutil.rmtree(aside)


@contextmanager
def set_aside(path: Path, *, unless: str) -> Iterator[None]:
    """Hide a folder while the body makes it anew; in the end one of the two is removed.

    The old one is put back, whatever happened, unless the new one holds a file of the pattern `unless`. If
    the process is killed it stays beside it, as `.NAME-` and eight digits.
    """
    path = path.resolve()  # a link may lead to another disk
    aside = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    os.replace(path, aside)
    try:
        yield
    finally:
        if any(path.glob(unless)):
            shutil.rmtree(aside)
        else:
            shutil.rmtree(path, ignore_errors=True)
            os.replace(aside, path)


def _hidden_folder(parent: Path) -> Path:
    folder = parent / f".{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    return folder


def _open_to_others(folder: Path) -> None:
    """Give each file the mode that the umask gives: safetensors, for one, makes its own private."""
    mode = folder.stat().st_mode & 0o666
    for file in folder.rglob("*"):
        if file.is_file() and mode & ~file.stat().st_mode:
            file.chmod(file.stat().st_mode | mode)


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Make the folders above `path`, or leave none behind if the body fails; a full disk names `path`."""
    missing = [above for above in path.parents if not above.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for above in missing:
            with suppress(OSError):  # others may have written there meanwhile
                above.rmdir()
        if _says_disk_full(error):
            raise OSError(errno.ENOSPC, "no space left on the disk", str(path)) from error
        raise


def _is_ours(folder: Path, kinds: Iterable[str]) -> bool:
    files = {folder / name: MARKS[name] for name in kinds if (folder / name).is_file()}
    ours = any(mark in file.read_text("utf-8", "replace") for file, mark in files.items())
    return ours or not any(folder.iterdir())


def _says_disk_full(error: BaseException) -> bool:
    # safetensors has an exception of its own, without a number.
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or "no space left on device" in str(error).lower()
