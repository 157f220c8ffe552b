"""Whether files are as they were written: a folder's `checksums.txt` has the SHA-256 of each file in it.

It is what `sha256sum` writes, so that `sha256sum -c checksums.txt` says the same as we do.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from neuroframes.errors import InputError

CHECKSUMS = "checksums.txt"


def write_checksums(folder: Path) -> None:
    """Write the checksums of all files in a folder and below, as they are now."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{_checksum(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def check_files(folder: Path, remedy: str, names: Iterable[str] | None = None) -> None:
    """Check files of a folder, before anything is read of them.

    Parameters
    ----------
    folder : Path
        In which `write_checksums` was called.
    remedy : str, what to do with what is damaged
    names : iterable of str, optional
        Files, or folders with all that is in them, which alone count; all by default, but for hidden ones.

    Raises
    ------
    InputError
        If one of them is missing, isn't as it was written, or wasn't written with the others.
    """
    table = folder / CHECKSUMS
    try:
        lines = [line.split("  ", 1) for line in table.read_text("utf-8").splitlines()]
        stated = {name: checksum for checksum, name in lines}
    except FileNotFoundError as error:
        raise InputError(f"{table} is missing; {remedy}") from error
    except ValueError as error:
        raise InputError(f"{table} is damaged; {remedy}") from error
    places = [folder] if names is None else [folder / name for name in names]
    files = {file for place in places for file in (place, *place.rglob("*")) if file.is_file()} - {table}
    files |= {folder / name for name in stated if {*places} & {folder / name, *(folder / name).parents}}
    for file in sorted(files):
        name = file.relative_to(folder).as_posix()
        if name not in stated and any(part.startswith(".") for part in Path(name).parts):
            continue
        if name not in stated:
            raise InputError(f"{file} was not written with the files beside it; {remedy}")
        if not file.is_file():
            raise InputError(f"{file} is missing; {remedy}")
        if _checksum(file) != stated[name]:
            raise InputError(f"{file} is damaged: not as it was written; {remedy}")


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
