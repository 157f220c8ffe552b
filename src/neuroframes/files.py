"""Files are written whole or not at all: under a temporary name beside the target, then renamed."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuroframes.errors import InputError

# A folder is replaced only where one of these files says that it was made here: a model, an evaluation,
# a simulated data set, a run of a store (a whole store is `prepare`'s own business). All else is data.
OURS = {
    "model.json": '"format": "neuroframes-model',
    "evaluation.json": '"neuroframes',
    "dataset_description.json": '"neuroframes simulate"',
    "zarr.json": '"stamp"',
}


def refuse_existing(
    path: Path, overwrite: bool, *, folder: bool | None = None, inputs: Iterable[Path] = ()
) -> None:
    """Raise InputError where `path` can't or mustn't be written. Call it before any long work.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Files may be replaced then, and folders that neuroframes wrote.
    folder : bool, optional
        Whether a folder or a file is to be written; None if that isn't known yet.
    inputs : iterable of Path
        What is read to write it: never replaced, nor is a folder that holds it.
    """
    parent = next(above for above in path.absolute().parents if above.exists())
    if not parent.is_dir():
        raise InputError(f"{parent} is a file, so {path} can't be written; choose another --out")
    if not path.exists():
        return
    if folder is not None and path.is_dir() != folder:
        is_now, expected = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise InputError(f"{path} is a {is_now}; give --out the name of a {expected}")
    for read in inputs:
        if read.exists() and read.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{path} is or holds {read.name}, which is read here; choose another --out")
    if not overwrite:
        raise InputError(f"{path} exists already; pass --overwrite to replace it, or another --out")
    if path.is_dir() and not _is_ours(path):
        raise InputError(
            f"{path} is a folder that neuroframes didn't write, which --overwrite doesn't replace; "
            "choose another --out, or remove it yourself"
        )


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes `path`, on failure it is removed.

    Parameters
    ----------
    path : Path
        The target, a file or a folder: what the body creates at the temporary path decides. The
        temporary name keeps the target's suffixes, since writers choose the format by them.

    Raises
    ------
    InputError
        If `path` exists and mustn't be replaced: see `refuse_existing`.
    OSError
        With `path` as its filename where the disk is full.
    """
    refuse_existing(path, overwrite)
    path = path.absolute()  # "." has no name to put a prefix before
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    replaced = temporary.with_name(f"{temporary.name}.replaced")
    with room_for(path):
        try:
            yield temporary
            refuse_existing(path, overwrite, folder=temporary.is_dir())
            if path.is_dir():
                path.rename(replaced)  # a folder can't be renamed onto another
            os.replace(temporary, path)
        finally:
            if replaced.exists() and not path.exists():
                replaced.rename(path)
            for left in (temporary, replaced):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
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


def _is_ours(folder: Path) -> bool:
    if not any(folder.iterdir()):
        return True
    for name, mark in OURS.items():
        with suppress(OSError, UnicodeDecodeError):
            if mark in (folder / name).read_text(encoding="utf-8"):
                return True
    return False


def _says_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # safetensors has an exception of its own, without a number.
    return "no space left on device" in str(error).lower()
