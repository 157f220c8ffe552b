"""What the commands write: frames, their standard deviation, and a sidecar that says which is which.

    sub-01_..._desc-completed_bold.dtseries.nii            frames, measured ones bit-exact
    sub-01_..._desc-completed_bold.json                    sources, model, version, NeuroframesMeasured
    sub-01_..._desc-completed_stat-std_bold.dtseries.nii   standard deviation, 0 where measured
    sub-01_..._desc-completed_draw-01_bold.dtseries.nii    a draw, one of many sequences that could be

GIFTI has two images of each, one a hemisphere. A name is kept as it was given; what is added stands where
BIDS has it, `hemi` before `space`, `den` and `desc`, `stat` and `draw` after them: see `with_entity`.
"""

from collections.abc import Iterable, Mapping
from itertools import chain, count, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes import __version__
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing, written_together
from neuroframes.recording.bold import check_suffix, images_at, images_of, write_bold
from neuroframes.recording.sidecar import read_sidecar, sidecar_path, split_suffix, with_entity, write_sidecar


def deviation_path(path: Path) -> Path:
    """Where the standard deviation of `path` goes."""
    return with_entity(path, "stat-std")


def parts_of(out: Path, n_draws: int) -> list[Path]:
    """Frames, their standard deviation, and each draw, as if they were one file each."""
    return [out, deviation_path(out), *(with_entity(out, f"draw-{i + 1:02d}") for i in range(n_draws))]


def part_at(path: Path) -> str:
    """What of a result an image is: "frames", "deviation" or "draw"; "" where it is none.

    As its sidecar says; where that was lost, as its name does.
    """
    entities = split_suffix(path)[0].split("_")
    by_name = "deviation" * ("stat-std" in entities) or "draw" * any(e.startswith("draw-") for e in entities)
    return str(read_sidecar(path).get("NeuroframesPart", by_name))


def measured_frames(path: str | Path) -> NDArray[np.intp]:
    """Numbers of the measured frames of what `complete` or `resample` wrote, as its sidecar says.

    They are what nilearn takes as `sample_mask`. Of a GIFTI pair a frame is measured where both say so.

    Parameters
    ----------
    path : path
        The image; it isn't read itself.

    Returns
    -------
    array of int, from 0, increasing

    Raises
    ------
    InputError
        If there is no sidecar that says so.
    """
    path = Path(path)
    contents = [read_sidecar(image) for image in images_at(path)]
    stated = [content["NeuroframesMeasured"] for content in contents if "NeuroframesMeasured" in content]
    lengths = {len(each) if isinstance(each, list) else None for each in stated}
    if len(lengths) != 1 or any({*map(type, each)} - {bool} for each in stated):
        raise InputError(
            f"{sidecar_path(path)}: no NeuroframesMeasured, true or false for each frame; pass what complete "
            "or resample wrote, with its .json beside it"
        )
    return np.flatnonzero(np.all(stated, axis=0))


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
    check_suffix(out, space)
    # A result in the place of its own source would leave nothing to check it against.
    read = [file for image in inputs for file in (image, sidecar_path(image))]
    for file in _files_of([*parts_of(out, n_draws), *_surplus_draws(out, space, n_draws)], space):
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
    tables: Mapping[Path, str] = MappingProxyType({}),
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write frames, standard deviation and draws with their sidecars: all of these files or none.

    Parameters
    ----------
    out : Path
    frames : array, shape (K, V)
    deviation : array, shape (K, V), in the same units, or None where none is stated
        That of an earlier result is removed then, as are its draws beyond `n_draws`.
    space : CorticalSpace
    tr, start : float, seconds
    measured : array, shape (K,)
    about : mapping
        What else the sidecar says: Description, Sources, NeuroframesModel, Units ...
    draws : iterable of `n_draws` arrays, shape (K, V), taken one at a time
    tables : mapping
        Text to write with them in the same folder.

    Returns
    -------
    tuple of Path
        The images, frames first.
    """
    parts, stale = parts_of(out, n_draws), _surplus_draws(out, space, n_draws)
    if deviation is None:
        stale.append(parts.pop(1))  # beside these frames it would pass for theirs, as draws would
    arrays = [frames] if deviation is None else [frames, deviation]
    shared = {
        **about,
        "RepetitionTime": tr,
        "NeuroframesStart": start,
        "NeuroframesVersion": __version__,
        "NeuroframesMeasured": measured.tolist(),
    }
    if space.kind == "volume":  # which else is told from values, and a deviation may be 0 throughout
        shared["NeuroframesSpace"] = space.to_json()
    with written_together(
        [*_files_of(parts, space), *tables], removed=_files_of(stale, space), overwrite=overwrite
    ) as folder:
        for number, (part, data) in enumerate(zip(parts, chain(arrays, draws), strict=True)):
            write_bold(folder / part.name, data, space, tr=tr, start=start)
            for path, of_out, of_deviation in zip(
                *(images_of(name, space) for name in (part, out, deviation_path(out))), strict=True
            ):
                content = {**shared, **_role(number, len(arrays), n_draws, of_out.name, of_deviation.name)}
                write_sidecar(folder / path.name, content)
        for table, text in tables.items():
            (folder / table.name).write_text(text, encoding="utf-8")
    return tuple(path for part in parts for path in images_of(part, space))


def _surplus_draws(out: Path, space: CorticalSpace, n_draws: int) -> list[Path]:
    """Draws of an earlier result at `out` beyond the first `n_draws`."""
    numbered = (with_entity(out, f"draw-{number:02d}") for number in count(n_draws + 1))
    return [*takewhile(lambda draw: any(file.exists() for file in _files_of([draw], space)), numbered)]


def _files_of(parts: Iterable[Path], space: CorticalSpace) -> list[Path]:
    """Images of these parts and their sidecars."""
    images = [image for part in parts for image in images_of(part, space)]
    return [file for image in images for file in (image, sidecar_path(image))]


def _role(number: int, n_stated: int, n_draws: int, frames: str, deviation: str) -> dict[str, str]:
    """What the sidecar of part `number` says of its part; draws come after the `n_stated` others."""
    if number >= n_stated:
        described = (
            f"Draw {number - n_stated + 1} of {n_draws} from the posterior whose mean is {frames}: "
            "one of many sequences that could be; measured frames are the same in all."
        )
    elif number == 1:
        described = f"Standard deviation of {frames}; 0 where measured."
    else:
        named = {"NeuroframesStandardDeviation": deviation} if n_stated == 2 else {}
        return {"NeuroframesPart": "frames", **named}
    return {"Description": described, "NeuroframesPart": "draw" if number >= n_stated else "deviation"}
