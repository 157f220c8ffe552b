"""The JSON file beside an image, as BIDS has it: the same stem, the suffix `.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuroframes.errors import InputError
from neuroframes.files import written_whole

# Longest first, so that a stem keeps no half of a double suffix.
SUFFIXES = (".dtseries.nii", ".dscalar.nii", ".func.gii", ".nii.gz", ".nii", ".gii", ".mgz", ".mgh")


def split_suffix(path: Path) -> tuple[str, str]:
    """Stem and suffix of a file name, double suffixes such as `.dtseries.nii` kept together."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix), suffix
    return path.stem, path.suffix


def sidecar_path(path: Path) -> Path:
    """Where the JSON sidecar of `path` is or would be."""
    return path.with_name(split_suffix(path)[0] + ".json")


def read_sidecar(path: Path) -> dict[str, Any]:
    """The sidecar's content, {} where there is none.

    Raises
    ------
    InputError
        If it is not a JSON object.
    """
    beside = sidecar_path(path)
    if not beside.exists():
        return {}
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{beside}: not valid JSON ({error}); repair or remove it") from error
    if not isinstance(content, dict):
        raise InputError(f"{beside}: expected a JSON object, got {type(content).__name__}")
    return content


def seconds(path: Path, name: str) -> float | None:
    """A duration that the sidecar of `path` states; None where it doesn't.

    Raises
    ------
    InputError
        If it is no number.
    """
    value = read_sidecar(path).get(name)
    if value is None or (type(value) in (int, float) and np.isfinite(value)):
        return value
    raise InputError(f"{sidecar_path(path)}: {name} is {value!r}; expected a number of seconds")


def slice_reference(path: Path) -> float | None:
    """Seconds from a volume's start to the time that its slices were corrected to; None if they weren't."""
    return seconds(path, "StartTime") if read_sidecar(path).get("SliceTimingCorrected") else None


def write_sidecar(path: Path, content: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write `content` beside the image `path`; NumPy numbers, arrays and paths become plain JSON."""
    beside = sidecar_path(Path(path))
    with written_whole(beside, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")
    return beside


def _plain(value: object) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
