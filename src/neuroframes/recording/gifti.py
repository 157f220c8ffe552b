"""GIFTI: a file of each hemisphere, whose names say which belong together."""

import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData
from numpy.typing import NDArray

from neuroframes.cortex.space import HEMISPHERES, PRIMARY, CorticalSpace
from neuroframes.cortex.unreadable import reading
from neuroframes.errors import InputError, listed
from neuroframes.recording.sidecar import with_entity

MILLISECONDS = {"": 1.0, "ms": 1.0, "msec": 1.0, "s": 1e3, "sec": 1e3}  # of a TimeStep
LONGEST_STEP = 20.0  # of one without a unit, in seconds: FreeSurfer states it in ms, others in s


def hemisphere_paths(path: Path) -> dict[str, Path]:
    """The two files of a GIFTI pair, {"L": ..., "R": ...}, given either, or a name without hemisphere.

    `hemi-L`/`hemi-R` and `lh`/`rh` are recognised; otherwise `hemi-X` goes where BIDS has it, as
    `with_entity` does it: `sub-01_space-fsaverage5_bold.func.gii` becomes
    `sub-01_hemi-L_space-fsaverage5_bold.func.gii`.
    """
    forms = {r"(?<![A-Za-z])hemi-[LR]": ("hemi-L", "hemi-R"), r"(?<![A-Za-z])[lr]h(?=[._-])": ("lh", "rh")}
    for pattern, names in forms.items():
        if re.search(pattern, path.name):
            renamed = (path.with_name(re.sub(pattern, name, path.name, count=1)) for name in names)
            return dict(zip(HEMISPHERES, renamed, strict=True))
    return {side: with_entity(path, f"hemi-{side}") for side in HEMISPHERES}


def hemispheres(path: Path) -> dict[str, Path]:
    """The GIFTI files that are there, by hemisphere, left first; InputError if nothing says which one is."""
    pair = {side: file for side, file in hemisphere_paths(path).items() if os.path.lexists(file)}
    if path in pair.values():
        return pair
    with _reading(path):  # no hemisphere in the name: the file itself says which it is
        gifti = GiftiImage.from_filename(path)
        stated = [meta.get("AnatomicalStructurePrimary") for meta in (gifti.meta, gifti.darrays[0].meta)]
    pair = {side: path for side, structure in PRIMARY.items() if structure in stated}
    if not pair:
        raise InputError(
            f"{path.name}: neither its name nor its metadata say which hemisphere it is; "
            "put hemi-L or hemi-R into the name"
        )
    return pair


def read_gifti(pair: Mapping[str, tuple[Path, GiftiImage]]) -> tuple[NDArray[np.float32], CorticalSpace]:
    """Frames (K, V) of the hemispheres side by side, and their space.

    Raises
    ------
    InputError
        If a file holds no frames, is of the other hemisphere, or the two differ in frames.
    """
    halves = {}
    for side, (file, gifti) in pair.items():
        with _reading(file):
            arrays = [np.asarray(array.data) for array in gifti.darrays]
            # One array a frame is the rule; one (V, K) array also occurs.
            half = arrays[0].T if len(arrays) == 1 and arrays[0].ndim == 2 else np.stack(arrays)
        if half.ndim != 2:
            raise InputError(
                f"{file.name}: expected one value a vertex and frame, got arrays of shape "
                f"{half.shape[1:]}; pass a functional GIFTI (.func.gii)"
            )
        stated = {meta.get("AnatomicalStructurePrimary") for meta in (gifti.meta, gifti.darrays[0].meta)}
        if PRIMARY[side] not in stated and stated & {*PRIMARY.values()}:
            raise InputError(
                f"{file.name}: hemisphere {side} by its name, but its metadata say "
                f"{listed([*stated - {None}])}; rename or export it again"
            )
        halves[side] = half
    lengths = {side: len(half) for side, half in halves.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{file.name}: the hemispheres differ in frames: {lengths}; export both again")
    space = CorticalSpace.from_counts({side: half.shape[1] for side, half in halves.items()})
    return np.asfortranarray(np.hstack([*halves.values()]), dtype=np.float32), space


def gifti_step(path: Path, gifti: GiftiImage) -> float:
    """The TR in seconds that a GIFTI states, 0 if none; InputError if it isn't a time."""
    stated = str(gifti.meta.get("TimeStep") or 0).strip()
    number, unit = re.fullmatch(r"(.*?)\s*([A-Za-z]*)", stated, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        step = float(number) * MILLISECONDS[unit.lower()] / 1000
    except (ValueError, KeyError):
        raise InputError(
            f"{path.name}: its TimeStep is {stated!r:.40}; expected a number of milliseconds: correct it, or "
            "pass --bold-tr"
        ) from None
    return step if unit or step * 1000 > LONGEST_STEP else step * 1000


def gifti_image(data: NDArray[np.floating[Any]], side: str, tr: float) -> GiftiImage:
    """Frames (K, V) of a hemisphere as an image of nibabel; `tr` in seconds."""
    arrays = [
        GiftiDataArray(
            np.ascontiguousarray(frame, np.float32),
            intent="NIFTI_INTENT_TIME_SERIES",
            datatype="NIFTI_TYPE_FLOAT32",
            encoding="GIFTI_ENCODING_B64GZ",
        )
        for frame in data
    ]
    # Milliseconds, as FreeSurfer (and so fMRIPrep) writes it.
    meta = GiftiMetaData({"AnatomicalStructurePrimary": PRIMARY[side], "TimeStep": f"{tr * 1000:.6f}"})
    return GiftiImage(darrays=arrays, meta=meta)


def _reading(file: Path) -> AbstractContextManager[None]:
    remedy = "expected a functional GIFTI, .func.gii: copy or export it again"
    return reading(file, "cannot be read", remedy)
