"""What the commands write: frames, their standard deviation, and a sidecar that says which is which.

    sub-01_..._desc-completed_bold.dtseries.nii            frames, measured ones bit-exact
    sub-01_..._desc-completed_bold.json                    sources, model, version, NeuroframesMeasured
    sub-01_..._desc-completed_stat-std_bold.dtseries.nii   standard deviation, 0 where measured
    sub-01_..._desc-completed_draw-01_bold.dtseries.nii    a draw, one of many sequences that could be

GIFTI has two images of each, one a hemisphere.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
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
    """Where the standard deviation of `path` goes."""
    return with_entity(path, "stat-std")


def with_entity(path: Path, entity: str) -> Path:
    """`path` with an entity before the BIDS suffix."""
    stem, suffix = split_suffix(path)
    head, underscore, last = stem.rpartition("_")
    # A last part with a dash is an entity, not the BIDS suffix.
    if underscore and "-" not in last:
        return path.with_name(f"{head}_{entity}_{last}{suffix}")
    return path.with_name(f"{stem}_{entity}{suffix}")


def parts_of(out: Path, n_draws: int) -> list[Path]:
    """Frames, their standard deviation, and each draw, as if they were one file each."""
    return [out, deviation_path(out), *(with_entity(out, f"draw-{i + 1:02d}") for i in range(n_draws))]


def images_of(part: Path, space: CorticalSpace) -> list[Path]:
    """The images that hold `part`: GIFTI has one a hemisphere."""
    if space.kind != "gifti":
        return [part]
    sides = [side for side, code in (("L", 0), ("R", 1)) if (space.hemisphere == code).any()]
    return [hemisphere_paths(part)[side] for side in sides]


def check_result(
    out: Path, space: CorticalSpace, overwrite: bool, *, n_draws: int = 0, inputs: Iterable[Path] = ()
) -> None:
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
    for part in parts_of(out, n_draws):
        for path in images_of(part, space):
            for file in (path, sidecar_path(path)):
                refuse_existing(file, overwrite, folder=False, inputs=read)


def write_result(
    out: Path,
    frames: NDArray[np.float32],
    deviation: NDArray[np.float32] | None,
    space: CorticalSpace,
    *,
    tr: float,
    start: float,
    measured: NDArray[np.bool_],
    about: Mapping[str, Any],
    draws: Iterable[NDArray[np.float32]] = (),
    n_draws: int = 0,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write frames, standard deviation and draws with their sidecars: all of these files or none.

    Parameters
    ----------
    out : Path
    frames : array, shape (K, V)
    deviation : array, shape (K, V), in the same units, or None where none is stated
        That of an earlier result is removed then.
    space : CorticalSpace
    tr, start : float, seconds
    measured : array, shape (K,)
    about : mapping
        What else the sidecar says: Description, Sources, NeuroframesModel, Units ...
    draws : iterable of `n_draws` arrays, shape (K, V), taken one at a time

    Returns
    -------
    tuple of Path
        The images, frames first.
    """
    check_result(out, space, overwrite, n_draws=n_draws)
    parts, stated = parts_of(out, n_draws), deviation is not None
    if not stated:
        parts.remove(deviation_path(out))
    arrays = [frames] if deviation is None else [frames, deviation]
    shared = {
        "RepetitionTime": tr,
        "NeuroframesStart": start,
        "NeuroframesVersion": __version__,
        "NeuroframesMeasured": measured.tolist(),
    }
    # Everything is written beside the target first, so that a full disk leaves nothing half done.
    with room_for(out), tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as scratch:
        folder = Path(scratch)
        for number, (part, data) in enumerate(zip(parts, chain(arrays, draws), strict=True)):
            write_bold(folder / part.name, data, space, tr=tr, start=start)
            images = zip(*(images_of(of, space) for of in (part, out, deviation_path(out))), strict=True)
            for path, source, of_deviation in images:
                content = {**about, **shared}
                if number == 0:
                    if stated:
                        content["NeuroframesStandardDeviation"] = of_deviation.name
                elif number < len(arrays):
                    content["Description"] = f"Standard deviation of {source.name}; 0 where measured."
                else:
                    content["Description"] = (
                        f"Draw {number - len(arrays) + 1} of {n_draws} from the posterior whose mean is "
                        f"{source.name}: one of many sequences that could be; measured frames are the same "
                        "in all."
                    )
                write_sidecar(folder / path.name, content)
        paths = [path for part in parts for path in images_of(part, space)]
        _move_all([target for path in paths for target in (path, sidecar_path(path))], folder)
        # Beside these frames it would pass for theirs.
        for stale in () if stated else images_of(deviation_path(out), space):
            stale.unlink(missing_ok=True)
            sidecar_path(stale).unlink(missing_ok=True)
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
