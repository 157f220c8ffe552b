"""Files of MATLAB 7.3, which are HDF5 after a block of text."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def matlab_7_3() -> Callable[..., Path]:
    """Write variables: numbers and arrays as MATLAB has them, lists of text as a cell of characters.

    A dict is a struct of one field, whose elements are text: {"labels": [...]}.
    """

    def write(path: Path, **variables) -> Path:
        with h5py.File(path, "w", userblock_size=512) as file:

            def put(name: str, value: np.ndarray, kind: str) -> h5py.Dataset:
                file[name] = value
                file[name].attrs["MATLAB_class"] = np.bytes_(kind)
                return file[name]

            def references(name: str, texts: list[str]) -> np.ndarray:
                codes = [np.array([[ord(letter)] for letter in text], "u2") for text in texts]
                made = [put(f"#refs#/{name}{i}", code, "char").ref for i, code in enumerate(codes)]
                return np.array([[each] for each in made], h5py.ref_dtype)

            for name, value in variables.items():
                if isinstance(value, dict):
                    ((field, texts),) = value.items()
                    file.create_group(name).attrs["MATLAB_class"] = np.bytes_("struct")
                    file[name].create_dataset(field, data=references(name, texts))
                elif isinstance(value, list):
                    put(name, references(name, value), "cell")
                else:
                    array = np.atleast_2d(np.asarray(value))
                    put(name, array.T.astype(float), "double")
        content = bytearray(path.read_bytes())
        content[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        path.write_bytes(content)
        return path

    return write
