"""What the commands write: frames, their standard deviation, and a sidecar that says which is which.

    sub-01_..._desc-completed_bold.dtseries.nii            frames, measured ones bit-exact
    sub-01_..._desc-completed_bold.json                    sources, model, version, NeuroframesMeasured
    sub-01_..._desc-completed_stat-std_bold.dtseries.nii   standard deviation, 0 where measured
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes import __version__
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing
from neuroframes.recording.bold import SUFFIXES, hemisphere_paths, write_bold
from neuroframes.recording.sidecar import sidecar_path, split_suffix, write_sidecar


def deviation_path(path: Path) -> Path:
    """Where the standard deviation of `path` goes: `stat-std` before the BIDS suffix."""
    stem, suffix = split_suffix(path)
    head, underscore, last = stem.rpartition("_")
    # A last part with a dash is an entity, not the BIDS suffix.
    if underscore and "-" not in last:
        return path.with_name(f"{head}_stat-std_{last}{suffix}")
    return path.with_name(f"{stem}_stat-std{suffix}")


def result_paths(out: Path, space: CorticalSpace) -> list[Path]:
    """Every image that a result at `out` consists of, the frames before their standard deviation."""
    both = [out, deviation_path(out)]
    if space.kind != "gifti":
        return both
    sides = [side for side, code in (("L", 0), ("R", 1)) if (space.hemisphere == code).any()]
    return [hemisphere_paths(path)[side] for path in both for side in sides]


def check_result(out: Path, space: CorticalSpace, overwrite: bool) -> None:
    """Refuse, before any long work, an `out` that can't be written.

    Raises
    ------
    InputError
        If its suffix doesn't fit the space, or any of the files exists and `overwrite` is False.
    """
    if not out.name.endswith(SUFFIXES[space.kind]):
        raise InputError(
            f"--out {out.name}: frames of a {space.kind} space are written as "
            f"{' or '.join(SUFFIXES[space.kind])}; change the output's suffix"
        )
    for path in result_paths(out, space):
        if path.is_dir():
            raise InputError(f"{path} is a folder; give --out the name of a file")
        refuse_existing(path, overwrite)
        refuse_existing(sidecar_path(path), overwrite)


def write_result(
    out: Path,
    frames: NDArray[np.float32],
    deviation: NDArray[np.float32],
    space: CorticalSpace,
    *,
    tr: float,
    start: float,
    measured: NDArray[np.bool_],
    about: Mapping[str, Any],
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write frames and standard deviation with their sidecars: all of these files or none.

    Parameters
    ----------
    out : Path
    frames, deviation : array, shape (K, V), in the same units
    space : CorticalSpace
    tr, start : float, seconds
    measured : array, shape (K,)
    about : mapping
        What else the sidecar says: Description, Sources, NeuroframesModel, Units ...

    Returns
    -------
    tuple of Path
        The images, frames first.
    """
    check_result(out, space, overwrite)
    paths = result_paths(out, space)
    half = len(paths) // 2
    shared = {
        "RepetitionTime": tr,
        "StartTime": start,
        "NeuroframesVersion": __version__,
        "NeuroframesMeasured": measured.tolist(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    # Everything is written beside the target first, so that a full disk leaves nothing half done.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as folder:
        for path, data in ((out, frames), (deviation_path(out), deviation)):
            write_bold(Path(folder) / path.name, data, space, tr=tr, start=start)
        for index, path in enumerate(paths):
            content = {**about, **shared}
            if index < half:
                content["NeuroframesStandardDeviation"] = paths[index + half].name
            else:
                content["Description"] = f"Standard deviation of {paths[index - half].name}; 0 where measured."
            write_sidecar(Path(folder) / path.name, content)
        for path in paths:
            os.replace(Path(folder) / path.name, path)
            os.replace(sidecar_path(Path(folder) / path.name), sidecar_path(path))
    return tuple(paths)
