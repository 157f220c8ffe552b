"""Files of named arrays: NumPy's `.npz`, and MATLAB's `.mat` of either kind."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from neuroframes.errors import InputError

ARRAYS = (".npz", ".mat")


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Every array of a file by its name; of `.mat` cells are arrays of objects, and others are left out.

    Raises
    ------
    InputError
        If it takes a package that isn't installed.
    OSError, ValueError, zipfile.BadZipFile
        If it is damaged.
    """
    if path.suffix == ".npz":
        with path.open("rb") as file, np.lib.npyio.NpzFile(file) as arrays:
            return dict(arrays)
    stored: dict[str, Any]
    try:
        if scipy.io.matlab.matfile_version(path)[0] < 2:
            stored = scipy.io.loadmat(path)
        elif find_spec("pymatreader") and find_spec("h5py"):
            from pymatreader import read_mat

            stored = {name: np.asarray(value) for name, value in read_mat(path).items()}
        else:
            raise InputError(
                f"{path.name}: MATLAB's format 7.3, which takes pymatreader and h5py; run: pip install "
                "pymatreader h5py, or save it in MATLAB with -v7"
            )
    except (scipy.io.matlab.MatReadError, TypeError) as error:  # of bytes that are no .mat
        raise ValueError(error) from error
    return {name: value for name, value in stored.items() if isinstance(value, np.ndarray)}


def texts(array: NDArray[np.generic]) -> tuple[str, ...]:
    """Names from an array of text, or of MATLAB's cells, each of which is an array of its own."""
    return tuple("".join(np.asarray(entry).astype(str).ravel()).strip() for entry in array.ravel())
