"""What the commands write: frames, their standard deviation, and a sidecar that says which is which.

    sub-01_..._desc-completed_bold.dtseries.nii            frames, measured ones bit-exact
    sub-01_..._desc-completed_bold.json                    sources, model, version, NeuroframesMeasured
    sub-01_..._desc-completed_stat-std_bold.dtseries.nii   standard deviation, 0 where measured

GIFTI has two images of each, one a hemisphere.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes import __version__
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing, room_for
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


def check_result(out: Path, space: CorticalSpace, overwrite: bool, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any long work, an `out` that can't be written.

    Raises
    ------
    InputError
        If its suffix doesn't fit the space, or any of the files exists and `overwrite` is False, or is one of
        the images `inputs` or a sidecar of theirs.
    """
    # By its whole suffix: a volume would also fit the end of ".dtseries.nii".
    if split_suffix(out)[1] not in SUFFIXES[space.kind]:
        raise InputError(
            f"--out {out.name}: frames of a {space.kind} space are written as "
            f"{' or '.join(SUFFIXES[space.kind])}; change the output's suffix"
        )
    read = [file for image in inputs for file in (image, sidecar_path(image))]
    for path in result_paths(out, space):
        for file in (path, sidecar_path(path)):
            refuse_existing(file, overwrite, folder=False, inputs=read)


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
        "NeuroframesStart": start,
        "NeuroframesVersion": __version__,
        "NeuroframesMeasured": measured.tolist(),
    }
    # Everything is written beside the target first, so that a full disk leaves nothing half done.
    with room_for(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        folder = Path(scratch)
        for path, data in ((out, frames), (deviation_path(out), deviation)):
            write_bold(folder / path.name, data, space, tr=tr, start=start)
        for index, path in enumerate(paths):
            content = {**about, **shared}
            if index < half:
                content["NeuroframesStandardDeviation"] = paths[index + half].name
            else:
                source = paths[index - half].name
                content["Description"] = f"Standard deviation of {source}; 0 where measured."
            write_sidecar(folder / path.name, content)
        _move_all([target for path in paths for target in (path, sidecar_path(path))], folder)
    return tuple(paths)


def _move_all(targets: Sequence[Path], folder: Path) -> None:
    """Rename files of `folder` to `targets`; if one can't be, none stays."""
    moved: list[Path] = []
    try:
        for target in targets:
            os.replace(folder / target.name, target)
            moved.append(target)
    except BaseException:
        for target in moved:
            target.unlink()
        raise
