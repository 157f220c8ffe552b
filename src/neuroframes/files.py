"""Files are written whole or not at all: under a temporary name beside the target, then renamed."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuroframes.errors import InputError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise InputError where `path` exists and may not be replaced. Call it before any long work."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; pass --overwrite to replace it, or another --out")


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
        If `path` exists and `overwrite` is False.
    """
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        if path.is_dir() and temporary.exists():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
