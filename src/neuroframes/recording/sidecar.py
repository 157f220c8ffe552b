"""The JSON file beside an image, as BIDS has it: the same stem, the suffix `.json`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from neuroframes.errors import InputError, check_number, check_there, said
from neuroframes.files import written_whole

# Longest first, so that a stem keeps no half of a double suffix.
SUFFIXES = (
    *(".dtseries.nii", ".ptseries.nii", ".dscalar.nii", ".func.gii", ".nii.gz"),
    *(".nii", ".gii", ".mgz", ".mgh"),
)

# Entities that BIDS puts after the hemisphere, in its order, then those of this package.
LATE_ENTITIES = ("hemi", "space", "res", "den", "label", "desc", "stat", "draw")


def split_suffix(path: Path) -> tuple[str, str]:
    """Stem and suffix of a file name, double suffixes such as `.dtseries.nii` kept together."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix), suffix
    return path.stem, path.suffix


def with_entity(path: Path, entity: str) -> Path:
    """`path` with an entity such as `hemi-L` or `stat-std` where BIDS has it; what is there stays as it is.

    It goes before the first entity that BIDS puts after it, otherwise before the BIDS suffix:
    `a_desc-x_bold.nii` becomes `a_hemi-L_desc-x_bold.nii` and `a_desc-x_stat-std_bold.nii`. A name of no
    entities whose last part isn't `bold` has no BIDS suffix: `a_own.npz` becomes `a_own_stat-std.npz`.
    """
    stem, suffix = split_suffix(path)
    parts = stem.split("_")
    later = LATE_ENTITIES[LATE_ENTITIES.index(entity.partition("-")[0]) + 1 :]
    # A last part with a dash is an entity, not the BIDS suffix; without entities all is the name.
    in_bids = parts[-1] == "bold" or any("-" in part for part in parts)
    end = len(parts) - (len(parts) > 1 and in_bids and "-" not in parts[-1])
    place = next((i for i, part in enumerate(parts) if part.startswith(tuple(f"{e}-" for e in later))), end)
    parts.insert(place, entity)
    return path.with_name("_".join(parts) + suffix)


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
    if not os.path.lexists(beside):
        return {}
    check_there(beside)
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (IsADirectoryError, RecursionError, ValueError) as error:
        raise InputError(f"{beside}: not valid JSON ({said(error)}); repair or remove it") from error
    if not isinstance(content, dict):
        raise InputError(
            f"{beside}: expected a JSON object, got {type(content).__name__}; repair or remove it"
        )
    return content


def companion(path: Path, name: object) -> Path | None:
    """The file beside `path` that its sidecar calls `name`; None where it isn't there.

    Raises
    ------
    InputError
        If `name` isn't the plain name of a file: a sidecar that came with data may not lead elsewhere.
    """
    # Windows' rules know both kinds of slashes, and drives.
    if not isinstance(name, str) or name in ("", ".", "..") or PureWindowsPath(name).name != name:
        raise InputError(
            f"{sidecar_path(path)} names {name!r}; expected the name of a file in the same folder, "
            "without a path: move that file there and correct the entry"
        )
    beside = path.with_name(name)
    return beside if beside.is_file() else None


def seconds(path: Path, content: Mapping[str, Any], name: str) -> float | None:
    """A duration that the sidecar of `path` states, whose content is given; None where it doesn't.

    Raises
    ------
    InputError
        If it is no number.
    """
    value = content.get(name)
    return None if value is None else check_number(value, f"{sidecar_path(path)}: {name}")


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
