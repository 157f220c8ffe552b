"""Tab-separated tables as BIDS and fMRIPrep write them: a header line, `n/a` where nothing is known."""

import csv
from pathlib import Path

import numpy as np

from neuroframes.errors import InputError


def read_tsv(path: Path) -> dict[str, list[str]]:
    """Columns by name, in the order of the file, as text.

    Raises
    ------
    InputError
        If the file is missing, isn't text, is empty, or a line has another number of fields than the header.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file, delimiter="\t") if row]
    except ValueError as error:  # empty (nothing to unpack), or bytes that aren't UTF-8
        raise InputError(
            f"{path.name}: not a table of tab-separated text ({error}); export it again"
        ) from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(
                f"{path.name}: line {number} has {len(row)} fields but the header has {len(header)}; "
                "the file is truncated or not tab-separated: copy it again"
            )
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return {name.strip(): list(column) for name, column in zip(header, columns, strict=True)}


def numbers(path: Path, name: str, column: list[str]) -> np.ndarray:
    """One column as float64, NaN for `n/a`; InputError names the first entry that is no number."""
    values = np.empty(len(column))
    for index, text in enumerate(column):
        try:
            values[index] = np.nan if text.strip().lower() in ("n/a", "") else float(text)
        except ValueError as error:
            raise InputError(
                f"{path.name}: column {name}, line {index + 2}: expected a number or n/a, got {text!r}"
            ) from error
    return values
