"""What is stored of a model: a folder of `model.safetensors` (arrays), `model.json` (the rest), checksums."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from neuroframes import __version__
from neuroframes.checksums import CHECKSUMS, check_files, write_checksums
from neuroframes.errors import InputError
from neuroframes.files import written_whole

PREFIX = "neuroframes-model-"  # of every format
# What a model may consist of; those of a learned correction may lack.
FILES = [f"{name}.{kind}" for name in ("model", "correction") for kind in ("json", "safetensors")]
# What reading an array or a setting that isn't as it was written may raise.
DAMAGE = (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError)


@dataclass(frozen=True)
class Stored:
    """A model as it was read.

    Attributes
    ----------
    path : Path
    about : dict
    tensors : dict of name to array
    """

    path: Path
    about: dict[str, Any]
    tensors: dict[str, NDArray[Any]]

    @property
    def format(self) -> str:
        return str(self.about.get("format"))

    @property
    def kind(self) -> str:
        """KIND of the format "neuroframes-model-KIND-NUMBER"; "" of any other."""
        name, _, number = self.format.removeprefix(PREFIX).rpartition("-")
        return name if self.format.startswith(PREFIX) and number.isdigit() else ""

    @contextmanager
    def opened(self, expected: str) -> Iterator[None]:
        """Make a model of it in the body.

        Raises
        ------
        InputError
            If it is of another format than expected, or something in it isn't as it was written.
        """
        if self.format != expected:
            raise InputError(
                f"{self.path}: a model of format {self.format}, but this version reads {expected}; "
                "train it again"
            )
        try:
            yield
        except InputError:
            raise
        except DAMAGE as error:
            raise InputError(f"{self.path}: the model is damaged ({error!r}); train it again") from error


def read_stored(path: Path) -> Stored:
    """Read what `write_stored` wrote.

    Raises
    ------
    InputError
        If there is no model at `path`, or one of its files isn't as it was written.
    """
    if not path.is_dir():
        missing = "is a file" if path.exists() else "no such folder"
        raise InputError(f"{path}: {missing}; pass the folder that neuroframes train or prior wrote")
    for store in (path, *sorted(path.glob("*.zarr"))):
        if (store / "zarr.json").exists():
            raise InputError(
                f"{path}: what neuroframes prepare wrote, not a model; pass the folder of one, which "
                f"neuroframes train {store} --out MODEL makes"
            )
    if not os.path.lexists(path / "model.json"):
        raise InputError(f"{path} holds no model.json; pass the folder that neuroframes train or prior wrote")
    if (path / "model.json").exists():
        check_files(path, "make the model again, or copy it again from where it is whole", FILES)
    try:
        about = json.loads((path / "model.json").read_text())
        tensors = load_file(path / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{path}: no model can be read there ({error}); "
            "make one with neuroframes train or neuroframes prior"
        ) from error
    return Stored(path, about if isinstance(about, dict) else {}, tensors)


def digest(path: Path) -> str:
    """What tells a model's files from those of any other: BLAKE2 of their checksums, 32 hexadecimal digits.

    Other files in its folder, such as an evaluation that was written there, don't count.
    """
    return hashlib.blake2b((path / CHECKSUMS).read_bytes(), digest_size=16).hexdigest()


def write_stored(
    path: Path,
    model_format: str,
    about: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    *,
    overwrite: bool,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write a folder; `beside` writes into it what else there is."""
    about = {"format": model_format, "version": __version__, **about}
    with written_whole(path, overwrite=overwrite) as folder:
        folder.mkdir()
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        save_file(contiguous, folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n")
        if beside is not None:
            beside(folder)
        write_checksums(folder)
