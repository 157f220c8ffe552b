"""Tables of parcels: K frames in rows, P parcels in columns, as text or as arrays of NumPy.

    .tsv, .csv    numbers, `n/a` where a value isn't known; the first line may be the parcels' names
    .npz, .mat    bold (K, P), and if known names (P,) and tr, in seconds; another name than `bold` will do
                  where there is no other table

A first line is names where none of its entries is a number, or where they count up by one: from 0 or 1, as
pandas numbers columns, or over three columns at least from any whole number. Other numbers are a frame, with
a warning where whole ones grow from left to right, as labels do. Text has no place for the TR, which the
sidecar states.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_number
from neuroframes.recording.arrays import ARRAYS, read_arrays, texts
from neuroframes.recording.tsv import SEPARATORS, UNKNOWN, read_lines

if TYPE_CHECKING:
    from pandas import DataFrame

logger = logging.getLogger(__name__)

TABLES = (*SEPARATORS, *ARRAYS)
FEW = 0.5  # frames a parcel: a table of fewer may lie on its side

Contents = tuple[NDArray[np.float32], tuple[str, ...]]  # frames (K, P), names or ()


def read_parcels(path: Path) -> Contents:
    """Frames (K, P) in Fortran order, and the parcels' names, () where there are none.

    Raises
    ------
    InputError
        If it is no table of numbers, it isn't clear which array holds the frames, two parcels have one name,
        or there are more or fewer names than parcels.
    OSError, ValueError, zipfile.BadZipFile
        If a file of arrays is damaged.
    """
    data, names = _read_text(path) if path.suffix in SEPARATORS else _read_arrays(path)
    n_frames, n_parcels = data.shape
    if names and len(names) != n_parcels:
        remedy = "transpose the table" if len(names) == n_frames else "name each parcel, or none"
        raise InputError(
            f"{path.name}: {len(names)} names for {n_parcels} columns; expected frames in rows, parcels in "
            f"columns; {remedy}"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path.name}: more than one parcel is called {twice[0]!r}; rename one")
    if not names and n_frames < FEW * n_parcels:
        logger.warning(
            "%s: %d rows are read as frames, %d columns as parcels; transpose the table if rows are parcels",
            path.name,
            n_frames,
            n_parcels,
        )
    return data, names


def stated_tr(path: Path) -> float:
    """The TR in seconds that a table states, 0 if none; InputError where it is no number."""
    stated = None if path.suffix in SEPARATORS else read_arrays(path).get("tr")
    return 0.0 if stated is None else check_number(stated.item(), f"{path.name}: tr")


def write_parcels(path: Path, data: NDArray[np.floating[Any]], names: Sequence[str], tr: float) -> None:
    """Write frames (K, P) as float32, in the format of the suffix; see `check_names`."""
    import pandas as pd

    data = data.astype(np.float32, copy=False)
    if path.suffix == ".npz":
        named: dict[str, Any] = {"names": np.array(names)} if names else {}
        np.savez(path, bold=data, tr=np.float64(tr), **named)
        return
    if path.suffix == ".mat":
        cells: dict[str, Any] = {"names": np.array(names, object)} if names else {}
        # Compressed, as MATLAB does it: with checksums, as its reader trusts sizes that a file states.
        scipy.io.savemat(path, {"bold": data, "tr": float(tr), **cells}, do_compression=True)
        return
    # Nine digits tell every two float32 apart.
    pd.DataFrame(data, columns=names or None).to_csv(
        path, sep=SEPARATORS[path.suffix], header=bool(names), index=False, float_format="%.9g", na_rep="n/a"
    )


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise InputError where a table of text couldn't be told to begin with these names."""
    import pandas as pd

    if names and path.suffix in SEPARATORS and not _is_header(*_numbers(pd.DataFrame([names]))):
        raise InputError(
            f"{path.name}: names such as {names[0]!r} would be read as numbers there; write .npz instead"
        )


def _read_text(path: Path) -> Contents:
    lines = read_lines(path, SEPARATORS[path.suffix])
    values, wrong = _numbers(lines)
    names: tuple[str, ...] = ()
    if _is_header(values, wrong):
        names = tuple(lines.iloc[0].str.strip())
        values, wrong = values[1:], wrong[1:]
    elif _may_be_labels(values[0]):
        logger.warning(
            "%s: the first line (%g, %g, %g, ...) is read as a frame; if it holds the parcels' names, begin "
            "each with a letter",
            path.name,
            *values[0, :3],
        )
    if wrong.any():
        row, column = np.argwhere(wrong)[0] + (len(lines) - len(wrong), 0)
        got = lines.iat[row, column]
        remedy = "export it with decimal points" if "," in got else "correct it"
        raise InputError(
            f"{path.name}: line {row + 1}, column {column + 1}: expected a number or n/a, got {got!r}; "
            f"{remedy}: rows are frames and columns parcels, with a name for each or for none, and no "
            "column of row numbers or times"
        )
    return np.asfortranarray(values, np.float32), names


def _numbers(text: "DataFrame") -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The fields' values, NaN where there is none, and which are neither a number nor unknown."""
    import pandas as pd

    plain = text.apply(lambda column: column.str.strip().str.lower())
    values = plain.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    return values, np.isnan(values) & ~plain.isin(UNKNOWN).to_numpy()


def _is_header(values: NDArray[np.float64], wrong: NDArray[np.bool_]) -> bool:
    """Whether the first line is names, by what `_numbers` gives."""
    first, n_columns = values[0, 0], values.shape[1]
    counted = float(first).is_integer() and np.array_equal(values[0], first + np.arange(n_columns))
    return (counted and n_columns > 1 + (first not in (0, 1))) or bool(wrong[0].all())


def _may_be_labels(line: NDArray[np.float64]) -> bool:
    """Whether the numbers (P,) of a line are whole and grow, three at least."""
    return len(line) > 2 and bool(np.all(np.rint(line) == line) and np.all(line[1:] > line[:-1]))


def _read_arrays(path: Path) -> Contents:
    arrays = read_arrays(path)
    # Every number of MATLAB is a table of one.
    numbers = {key: array for key, array in arrays.items() if array.dtype.kind in "biuf" and array.size > 1}
    tables = [key for key, array in numbers.items() if array.ndim == 2]
    if "bold" in tables:
        tables = ["bold"]
    if len(tables) != 1:
        raise InputError(
            f"{path.name} holds {', '.join(arrays) or 'nothing'}, {len(tables)} of them 2-D and of numbers; "
            "expected frames x parcels called bold, or no other table; name it bold"
        )
    names = texts(arrays["names"]) if "names" in arrays else ()
    return np.asfortranarray(arrays[tables[0]], np.float32), names
