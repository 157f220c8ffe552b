"""Tables of text as BIDS and fMRIPrep write them: tabs, a header line, `n/a` where nothing is known."""

import codecs
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_there, listed

if TYPE_CHECKING:
    from pandas import DataFrame


SEPARATORS = {".tsv": "\t", ".csv": ","}
BETWEEN = {"\t": "tab", ";": "semicolon", ",": "comma", " ": "blank"}  # separators, the likeliest first
UNKNOWN = ("n/a", "nan", "")  # in lower case


def read_text(path: Path) -> str:
    """A file of text, UTF-8 or what spreadsheets call Unicode (UTF-16), its lines ended by line feeds alone.

    Raises
    ------
    InputError
        If the file is missing, isn't text, or is empty.
    """
    check_there(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder; pass a table, or remove it")
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not a table of text in UTF-8 ({error}); save it as UTF-8") from error
    if "\0" in text:
        raise InputError(f"{path.name}: not a table of text, it holds NUL bytes; export or copy it again")
    if not text.strip():
        raise InputError(f"{path.name}: not a table: it is empty; export or copy it again")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path, separator: str = "\t") -> "DataFrame":
    """Every line of a table as text: "0.50" stays "0.50", and `n/a` stays `n/a`.

    Raises
    ------
    InputError
        As `read_text` and `split_lines`.
    """
    return split_lines(path, read_text(path), separator)


def split_lines(path: Path, text: str, separator: str) -> "DataFrame":
    """The fields of each line of a file's text, between tabs, commas, semicolons or blanks; see `read_lines`.

    Raises
    ------
    InputError
        If something else stands between fields, or a line has another number of them than the first.
    """
    import pandas as pd

    kind = BETWEEN[separator]
    first, *others = text.strip("\n").split("\n", 2)
    second = others[0] if others else first
    for other, name in BETWEEN.items():
        # Where commas are decimal, semicolons stand between fields.
        absent = separator not in first + second or (separator, other) == (",", ";")
        if absent and 0 < first.count(other) == second.count(other):
            raise InputError(f"{path.name}: {name}s between fields, expected {kind}s; export it with {kind}s")
    try:
        # The header is read as a line like others, or pandas renames and shifts columns to fit. Its faster
        # engine makes a line that was cut off look as if its last fields were empty.
        as_text = {"dtype": str, "keep_default_na": False, "header": None, "engine": "python"}
        lines = pd.read_csv(StringIO(text), sep=r"\s+" if separator == " " else separator, **as_text)
    except ValueError as error:  # pandas' own
        raise InputError(
            f"{path.name}: not a table of {kind}-separated text ({error}); export or copy it again"
        ) from error
    n_fields = lines.count(axis=1)
    if n_fields.min() < n_fields[0]:
        short = int((n_fields < n_fields[0]).argmax())
        raise InputError(
            f"{path.name}: line {short + 1} has {n_fields[short]} fields but the first has {n_fields[0]}; "
            f"the file is truncated or not {kind}-separated: copy it again"
        )
    return lines


def read_tsv(path: Path, needed: Sequence[str] = ()) -> "DataFrame":
    """A tab-separated table as text, its first line the columns' names, those that are needed among them.

    Raises
    ------
    InputError
        As `read_lines`, or if it names a column twice or lacks one.
    """
    lines = read_lines(path)
    table = lines.iloc[1:].set_axis(lines.iloc[0].str.strip(), axis=1)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{path.name}: more than one column is called {twice!r}; remove or rename one")
    if lacking := [name for name in needed if name not in table]:
        raise InputError(f"{path.name}: no column {listed(lacking)}; BIDS has it: correct or remove the file")
    return table


def numbers(path: Path, table: "DataFrame", name: str) -> NDArray[np.float64]:
    """One column, NaN for `n/a`; InputError names the first entry that is no finite number."""
    import pandas as pd

    text = table[name].str.strip().str.lower()
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values) & ~text.isin(UNKNOWN))
    if wrong.size:
        got = table[name].iloc[wrong[0]]
        remedy = "; export it with decimal points" if "," in got else "; correct it"
        raise InputError(
            f"{path.name}: column {name}, line {wrong[0] + 2}: expected a number or n/a, got {got!r}{remedy}"
        )
    return values
