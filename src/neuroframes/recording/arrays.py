"""Files of named arrays: NumPy's `.npz`, and MATLAB's `.mat` of either kind."""

import math
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import scipy.io
from numpy.lib import format as npy
from numpy.typing import NDArray

ARRAYS = (".npz", ".mat")
# Of MATLAB's version 5: types of elements, arrays and compressed ones among them; classes of arrays, those
# with values of their own, and those that need no byte an entry (structures, objects, sparse).
TYPES, MATRIX, COMPRESSED = {*range(1, 8), 9, *range(12, 19)}, 14, 15
CLASSES, WITH_VALUES, MAY_BE_EMPTY, OPAQUE = range(1, 19), range(4, 16), (2, 3, 5), 17


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Every array of a file by its name; of `.mat` cells are arrays of objects, and others are left out.

    Raises
    ------
    OSError, ValueError, zipfile.BadZipFile
        If it is damaged.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    stored: dict[str, Any]
    try:
        if (version := scipy.io.matlab.matfile_version(path)[0]) < 2:
            if version == 1:
                _check_matlab(path.read_bytes())
            stored = scipy.io.loadmat(path)
        else:
            from pymatreader import read_mat

            stored = {name: np.asarray(value) for name, value in read_mat(path).items()}
    except (scipy.io.matlab.MatReadError, IndexError, TypeError) as error:  # of bytes that are no .mat
        raise ValueError(error) from error
    return {name: value for name, value in stored.items() if isinstance(value, np.ndarray)}


def texts(array: NDArray[np.generic]) -> tuple[str, ...]:
    """Names from an array of text, or of MATLAB's cells, each of which is an array of its own."""
    return tuple("".join(np.asarray(entry).astype(str).ravel()).strip() for entry in array.ravel())


def _check_matlab(content: bytes) -> None:
    """Raise ValueError where an element of a `.mat` isn't as large as it states, or of an unknown type.

    SciPy trusts both, and then ends Python. Compressed elements have a checksum of their own.
    """
    order = "<" if content[126:128] == b"IM" else ">"
    _check_elements(content, 128, len(content), order)


def _check_elements(content: bytes, start: int, stop: int, order: str) -> list[tuple[int, int, int]]:
    """Type, start and size of each element there; those of arrays are checked, too."""
    elements = []
    while start < stop:
        if stop - start < 8:
            raise ValueError(f"{stop - start} bytes are left over at {start}")
        kind, size = _whole_numbers(content, start, 2, order)
        begin, small = start + 8, kind >> 16
        if small:  # four bytes at most, in the place of their size
            kind, size, begin = kind & 0xFFFF, small, start + 4
        if kind not in TYPES or size > stop - begin or small > 4:
            raise ValueError(f"an element of type {kind} and {size:,} bytes at {start}, of {stop - begin:,}")
        if kind == MATRIX and size:
            _check_matrix(content, begin, begin + size, order)
        elements.append((kind, begin, size))
        start = start + 8 if small else begin + size + (0 if kind == COMPRESSED else -size % 8)
    return elements


def _check_matrix(content: bytes, start: int, stop: int, order: str) -> None:
    """Raise ValueError unless an array has what its class needs, and its dimensions fit into its bytes."""
    (*first, flags), *others = (
        (of, size, at) for of, at, size in _check_elements(content, start, stop, order)
    )
    word = _whole_numbers(content, flags, 1, order)[0]
    kind, is_complex = word & 0xFF, bool(word & 0x800)
    if first != [6, 8] or kind not in CLASSES:
        raise ValueError(f"an array of class {kind} at {start}")
    if kind == OPAQUE:
        return
    (of, size, dims), *others = others
    # A name, values, and their imaginary part.
    if of not in (5, 6) or size % 4 or size < 8 or len(others) < 1 + (kind in WITH_VALUES) * (1 + is_complex):
        raise ValueError(f"an array of class {kind} without its dimensions or values at {start}")
    stated = math.prod(_whole_numbers(content, dims, size // 4, order))
    if stated > stop - start and kind not in MAY_BE_EMPTY:
        raise ValueError(f"an array of {stated:,} values at {start}, in {stop - start:,} bytes")


def _whole_numbers(content: bytes, start: int, count: int, order: str) -> list[int]:
    return [int(number) for number in np.frombuffer(content, f"{order}u4", count, start)]


def _read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """Not np.load, which takes memory for what a damaged header states, and other files than archives."""
    arrays = {}
    with ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                first = npy.read_magic(file) == (1, 0)
                read_header = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
                shape, _, dtype = read_header(file)
                stated, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
                if stated > there and not dtype.hasobject:
                    raise ValueError(f"{member.filename} states {stated:,} bytes of values, has {there:,}")
                file.seek(0)
                arrays[member.filename.removesuffix(".npy")] = npy.read_array(file)
    return arrays
