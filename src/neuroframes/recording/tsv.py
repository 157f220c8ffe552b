"""Tables of text as BIDS and fMRIPrep write them: tabs, a header line, `n/a` where nothing is known."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame


SEPARATORS = {".tsv": "\t", ".csv": ","}
UNKNOWN = ("n/a", "nan", "")  # in lower case


def read_lines(path: Path, separator: str = "\t") -> "DataFrame":
    """Every line of a table as text: "0.50" stays "0.50", and `n/a` stays `n/a`.

    Raises
    ------
    InputError
        If the file is missing, isn't text, is empty, or a line has another number of fields than the first.
    """
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: no such file{', but a folder' * path.is_dir()}")
    kind = "tab" if separator == "\t" else "comma"
    try:
        # The header is read as a line like others, or pandas renames and shifts columns to fit. Its faster
        # engine makes a line that was cut off look as if its last fields were empty.
        text = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
        lines = pd.read_csv(path, sep=separator, header=None, engine="python", **text)
    except ValueError as error:  # pandas' own, and bytes that aren't UTF-8
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


def read_tsv(path: Path) -> "DataFrame":
    """A tab-separated table as text, its first line the columns' names.

    Raises
    ------
    InputError
        As `read_lines`, or if it names a column twice.
    """
    lines = read_lines(path)
    table = lines.iloc[1:].set_axis(lines.iloc[0].str.strip(), axis=1)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{path.name}: more than one column is called {twice!r}; remove or rename one")
    return table


def numbers(path: Path, table: "DataFrame", name: str) -> NDArray[np.float64]:
    """One column, NaN for `n/a`; InputError names the first entry that is no finite number."""
    import pandas as pd

    text = table[name].str.strip().str.lower()
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values) & ~text.isin(UNKNOWN))
    if wrong.size:
        raise InputError(
            f"{path.name}: column {name}, line {wrong[0] + 2}: expected a number or n/a, "
            f"got {table[name].iloc[wrong[0]]!r}"
        )
    return values
