"""What goes wrong because of the input, as opposed to because of us."""

import errno
import math
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any

# What git-annex, also as DataLad, and Git LFS leave in the place of a file that wasn't fetched.
POINTERS = (b"/annex/objects/", b"version https://git-lfs")
FETCH = "fetch it: datalad get, git annex get or git lfs pull"
MOST_SAID = 200  # characters of a library's message
# What to do about errors of the operating system.
REMEDIES = {
    errno.ENOSPC: "free some space or choose another --out",
    errno.EFBIG: "choose another --out",
    errno.EACCES: "change who may read or write it",
}


class InputError(ValueError):
    """The data or the arguments can't be used; the message says what, expected, got, what to do.

    The command line prints the message and exits with code 2. Everything else is a bug.
    """


def explained(error: BaseException) -> str:
    """What an error says; of the operating system's which file it is about, too, and what to do."""
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    remedy = f"; {REMEDIES[error.errno]}" if error.errno in REMEDIES else ""
    return f"{where}{error.strerror or error}{remedy}"


def check_number(
    value: object,
    option: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> float:
    """`value` as a float, once it is sure to be a finite number within the limits that are given.

    Parameters
    ----------
    value : object
    option : str
        Where the user gave it, for the message: "--fd-threshold".
    whole : bool
        It must be a whole number, and comes back as an int: 2.0 does, 2.5 is refused.

    Raises
    ------
    InputError
        If it isn't; true, false and text are no numbers.
    """
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    number = float(value) if is_real else math.nan  # type: ignore[arg-type]
    # The limits that nobody gave keep out the infinities, and nothing compares with NaN.
    if not (above < number < below and number >= at_least) or (whole and number % 1):
        limits = {"above": above, "of at least": at_least, "below": below}
        stated = [f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit)]
        got = value if is_real else repr(value)
        kind = "whole" if whole else "finite"
        raise InputError(f"{option} {got}; expected a {kind} number {' and '.join(stated)}".rstrip())
    return int(value) if whole else number  # type: ignore[call-overload]


def check_list(given: Any, name: str) -> None:
    """Raise InputError where one path, or one of something else, was passed in place of several."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{name} is one {type(given).__name__}; pass a list, also of one")


def check_there(path: Path) -> None:
    """Raise InputError where there is no such file or folder, or its content wasn't fetched."""
    if not path.exists():
        why = f", but a link to what isn't there; {FETCH}" if path.is_symlink() else ""
        raise InputError(f"{path}: no such file{why}")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(64).startswith(POINTERS):
                raise InputError(f"{path} holds a pointer, not its content; {FETCH}")


def said(error: Exception) -> str:
    """What a library says of a file, on one line, without bytes of the file that it may repeat."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    text = " ".join(text.partition(", please report")[0].split()) or type(error).__name__
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]} ..."


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what it counts: "1 run", "2 runs"; `many` where a plural has no s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(names: Sequence[object], most: int = 20) -> str:
    """Names with commas between them, of many the first ones."""
    more = f" and {len(names) - most:,} more" * (len(names) > most)
    return ", ".join(map(str, names[:most])) + more


def has_torch() -> bool:
    """Whether PyTorch and Lightning, which come together, are installed."""
    return bool(find_spec("torch") and find_spec("lightning"))


def need_av(why: str) -> None:
    """Raise InputError where PyAV isn't installed."""
    if not find_spec("av"):
        raise InputError(f"{why}; pip install 'neuroframes[decoding]'")


def need_torch(why: str) -> None:
    """Raise InputError where PyTorch or Lightning isn't installed."""
    if not has_torch():
        raise InputError(f"{why}; pip install 'neuroframes[diffusion]'")
