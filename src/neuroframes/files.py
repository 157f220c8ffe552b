"""Files are written whole or not at all: in a hidden folder beside the target, then renamed.

What is hidden beside a target NAME, and what the next process that writes NAME makes of it if one was killed:

    .NAME.lock       held while NAME is written: another process is refused, a killed one's is taken over
    .NAME.partial    what is being written; removed
    .NAME.old        what is being moved out of the way; moved back
    .NAME.replaced   all of that, once it is: what is new follows, then this is removed
    .NAME.set-aside  a folder that is being made anew, until there is something to take its place
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import ParamSpec, TypeVar

from neuroframes.errors import InputError

# A folder is replaced only where one of these files says that it was made here: a model, an evaluation, an
# export, a benchmark, a decoder, its scores, simulated data, a run of a store (a whole store is `prepare`'s
# own business). All else is data.
MARKS = {
    "model.json": '"format": "neuroframes-model',
    "evaluation.json": '"neuroframes',
    "export.json": '"neuroframes export"',
    "benchmark.json": '"real_bold"',
    "decoder.json": '"format": "neuroframes-decoder',
    "decoding.json": '"neuroframes decode score"',
    "dataset_description.json": '"neuroframes simulate"',
    "zarr.json": '"stamp"',
}
FULL = {
    errno.ENOSPC: "no space left on the disk",
    errno.EFBIG: "the file is too large for this disk, or for the limit that `ulimit -f` shows",
}
# What a file system says that has no locks: then two processes aren't kept apart.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)

Given = ParamSpec("Given")
Result = TypeVar("Result")
_held: set[Path] = set()  # locks of this process


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
    _refuse_below_file(path)
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
    with alone(targets[0]):
        for target in (*targets, *removed):
            refuse_existing(target, overwrite)
        scratch = _hidden(targets[0], "partial")
        scratch.mkdir()
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
    old, replaced = (_hidden(targets[0], what) for what in ("old", "replaced"))
    old.mkdir()
    aside = [(target, old / target.name) for target in targets if target.exists()]
    begun: list[tuple[Path, Path]] = []
    try:
        for step in [*aside, (old, replaced), *moves.items()]:
            begun.append(step)
            os.replace(*step)
    except BaseException:
        for before, after in reversed(begun):
            if after.exists() and not before.exists():
                os.replace(after, before)
        old.rmdir()
        raise
    shutil.rmtree(replaced)


@contextmanager
def set_aside(path: Path, *, unless: str, anew: bool) -> Iterator[None]:
    """Hide a folder while the body makes it anew; in the end one of the two is removed.

    The old one is put back, whatever happened, unless the new one holds a file of the pattern `unless`. Where
    a process was killed meanwhile, the next one does that in the end, whether it makes the folder `anew` or
    goes on with it.
    """
    path = path.resolve()  # a link may lead to another disk
    aside = _hidden(path, "set-aside")
    if anew and aside.exists():
        shutil.rmtree(path)
    elif anew:
        os.replace(path, aside)
    try:
        yield
    finally:
        if not aside.exists():
            pass
        elif any(path.glob(unless)):
            shutil.rmtree(aside)
        else:
            shutil.rmtree(path, ignore_errors=True)
            os.replace(aside, path)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other processes from writing `path`, and clear away first what a killed one left half done.

    A process that holds it already may ask again.

    Raises
    ------
    InputError
        If another process holds it.
    """
    lock = _hidden(path, "lock")
    if lock in _held:
        yield
        return
    _refuse_below_file(path)
    with _room_for(path):
        descriptor = _locked(lock, path)
        _held.add(lock)
        try:
            _settle(path)
            yield
        finally:
            _held.remove(lock)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def writes_alone(command: Callable[Given, Result]) -> Callable[Given, Result]:
    """A command during which no other process writes its `out`, or goes on from the state beside it."""

    @wraps(command)
    def held(*arguments: Given.args, **options: Given.kwargs) -> Result:
        out = signature(command).bind(*arguments, **options).arguments["out"]
        if os.environ.get("LOCAL_RANK", "0") != "0":  # a part of a training whose first process holds it
            return command(*arguments, **options)
        with alone(Path(out)):
            return command(*arguments, **options)

    return held


def _hidden(path: Path, what: str) -> Path:
    whole = path.absolute()
    return whole.with_name(f".{whole.name}.{what}")


def _locked(lock: Path, path: Path) -> int:
    """Descriptor of a lock that this process has now, and that ends with it however it ends."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise InputError(
                f"{path} is being written by another process; wait until that has ended, or choose "
                "another --out"
            ) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                os.close(descriptor)
                raise
        # The process that had it may have removed the file after we opened it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        os.close(descriptor)


def _settle(path: Path) -> None:
    """End or undo what a process was doing to `path` when it was killed."""
    path = path.absolute()
    kinds = ("partial", "old", "replaced", "set-aside")
    scratch, old, replaced, aside = (_hidden(path, what) for what in kinds)
    if replaced.exists():
        for new in scratch.iterdir() if scratch.exists() else ():
            os.replace(new, scratch.with_name(new.name))
        if (replaced / path.name).exists() and not path.exists():  # what is new lies elsewhere
            os.replace(replaced / path.name, path)
        shutil.rmtree(replaced)
    elif old.exists():
        for file in old.iterdir():
            os.replace(file, old.with_name(file.name))
        old.rmdir()
    if scratch.exists():
        shutil.rmtree(scratch)
    if aside.exists() and not path.exists():
        os.replace(aside, path)


def _refuse_below_file(path: Path) -> None:
    parent = next(above for above in path.absolute().parents if above.exists())
    if not parent.is_dir():
        raise InputError(f"{parent} is a file, so {path} can't be written; choose another --out")


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
        if number := _fullness(error):
            raise OSError(number, FULL[number], str(path)) from error
        raise


def _is_ours(folder: Path, kinds: Iterable[str]) -> bool:
    files = {folder / name: MARKS[name] for name in kinds if (folder / name).is_file()}
    ours = any(mark in file.read_text("utf-8", "replace") for file, mark in files.items())
    return ours or not any(folder.iterdir())


def _fullness(error: BaseException) -> int | None:
    """Of `FULL`, what an error says; None if it is about something else."""
    number = getattr(error, "errno", None)
    if number in (*FULL, errno.EDQUOT):
        return errno.ENOSPC if number == errno.EDQUOT else number
    # safetensors has an exception of its own, without a number.
    return next((code for code in FULL if os.strerror(code).lower() in str(error).lower()), None)
