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
        if scipy.io.matlab.matfile_version(path)[0] < 2:
            stored = scipy.io.loadmat(path)
        else:
            from pymatreader import read_mat

            stored = {name: np.asarray(value) for name, value in read_mat(path).items()}
    except (scipy.io.matlab.MatReadError, TypeError) as error:  # of bytes that are no .mat
        raise ValueError(error) from error
    return {name: value for name, value in stored.items() if isinstance(value, np.ndarray)}


def texts(array: NDArray[np.generic]) -> tuple[str, ...]:
    """Names from an array of text, or of MATLAB's cells, each of which is an array of its own."""
    return tuple("".join(np.asarray(entry).astype(str).ravel()).strip() for entry in array.ravel())


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
