"""Images of voxels along time: which voxels are values, when they were measured, and how they are written.

Time is the fourth axis, or of more the only one that isn't of length 1. What a NIfTI header says of the place
and the units of its voxels travels with the space, and is written as it was read.
"""

import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.brikhead import AFNIHeader
from nibabel.nifti1 import Nifti1Header, unit_codes
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from neuroframes.cortex.space import SAME_GRID, CorticalSpace
from neuroframes.cortex.unreadable import UNREADABLE, reading
from neuroframes.errors import InputError, check_there
from neuroframes.recording.sidecar import sidecar_path, split_suffix

logger = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
AFNI_SECONDS = {77001: 1e-3, 77002: 1.0}
# Of a NIfTI header: where voxels lie, exactly as it states it, the units, and what the values are.
KEPT = (
    *("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units", "intent_code"),
)
MOST_FRAMES = 32_767  # of NIfTI-1
# Times: deflate can't do better; of other methods there is no bound.
MOST_COMPRESSED = {".gz": 1032, ".mgz": 1032, ".bz2": math.inf, ".zst": math.inf}
NEARLY_ALL = 0.9  # of an image's voxels: brains take less


def check_values(path: Path, image: Any) -> None:
    """Raise InputError unless an image holds one real number at each place and time, as many as it states.

    The size is checked before memory is taken for it: a damaged header may state any.
    """
    dtype, file = image.get_data_dtype(), Path(image.file_map["image"].filename)
    stated = math.prod(map(int, image.shape)) * dtype.itemsize
    if stated > MOST_COMPRESSED.get(file.suffix, 1) * file.stat().st_size:
        raise InputError(
            f"{path.name}: cannot be read, truncated: its header states {stated:,} bytes of values, the file "
            f"has {file.stat().st_size:,}; copy or export it again"
        )
    if dtype.kind not in "biuf":
        kind = "complex" if dtype.kind == "c" else "colours"
        raise InputError(
            f"{path.name}: its values are {kind} ({dtype}); expected one real number a place and frame: "
            "export the magnitude"
        )


def volume_step(path: Path, image: Any) -> float:
    """The TR in seconds that a header states, 0 if none."""
    header, axis = image.header, _time_axis(path, image)
    zooms = header.get_zooms()
    stated = float(zooms[axis]) if axis < len(zooms) else 0.0
    return stated * _time_unit(path, header) if stated else 0.0


def volume_start(image: Any) -> float:
    """When the first frame begins, in seconds, as a NIfTI header states it; otherwise 0."""
    stated = float(image.header["toffset"]) if isinstance(image.header, Nifti1Header) else 0.0
    return stated * SECONDS.get(_unit_of_time(image.header), 1.0) if stated and np.isfinite(stated) else 0.0


def read_volume(
    path: Path, image: Any, sidecar: Mapping[str, Any], mask: Path | None
) -> tuple[Float32, CorticalSpace]:
    """Frames (K, V) of a 4-D image, and the space of the voxels that are values.

    Those are the voxels that its sidecar states, otherwise those of `mask`, by default fMRIPrep's beside it,
    that aren't zero throughout.

    Raises
    ------
    InputError
        If it isn't 4-D, holds no real numbers, its affine gives voxels no place of their own, or the mask
        isn't one of its grid.
    OSError, ValueError, EOFError
        If it is truncated.
    """
    axis = _time_axis(path, image)
    check_values(path, image)
    _check_affine(path, image.affine)
    shape = image.shape[:3]
    values = np.asarray(np.asarray(image.dataobj), np.float32).reshape(*shape, image.shape[axis])
    inside = _stated_mask(path, sidecar, shape)
    if inside is None:
        # Background only: a voxel that is constant but not zero is data and must come back as it was.
        inside = np.zeros(shape, bool)
        for frame in np.moveaxis(values, 3, 0):
            if np.isfinite(frame).any():  # one that is NaN throughout says nothing of where the brain is
                inside |= frame != 0
        inside &= _brain(path, shape, image.affine, mask, inside)
    elif mask is not None:
        raise InputError(
            f"{path.name} was written by neuroframes, and its sidecar states its voxels; leave --mask out"
        )
    header = image.header
    kept: dict[str, Any] | None = None
    if isinstance(header, Nifti1Header):
        kept = {name: header[name].tolist() for name in KEPT} | {
            "version": 1 + isinstance(header, Nifti2Header)
        }
    return np.asfortranarray(values[inside].T), CorticalSpace.from_mask(inside, image.affine, kept)


def _check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    if not (np.isfinite(affine).all() and np.linalg.matrix_rank(affine) == 4):
        raise InputError(
            f"{path.name}: its affine {np.round(affine[:3], 4).tolist()} gives voxels no place of their own; "
            "expected sizes above 0 along three axes: correct its sform or qform, or export it again"
        )


def brain_mask_of(path: Path) -> Path | None:
    """fMRIPrep's `desc-brain_mask` beside a volume, of the same name otherwise; None where there is none."""
    stem, suffix = split_suffix(path)
    beside = (brain_mask_beside(path, each) for each in (suffix, ".nii.gz", ".nii"))
    return next((file for file in beside if split_suffix(file)[0] != stem and os.path.lexists(file)), None)


def brain_mask_beside(path: Path, suffix: str) -> Path:
    """Where the mask of a volume goes, so that `brain_mask_of` finds it."""
    stem = re.sub(r"(_desc-[A-Za-z0-9]+)?_bold$", "_desc-brain_mask", split_suffix(path)[0])
    return path.with_name(stem + suffix)


def volume_image(
    data: NDArray[np.floating[Any]], space: CorticalSpace, tr: float, start: float = 0.0, *, mgh: bool = False
) -> Any:
    """Frames (K, V) as an image of nibabel, NIfTI or MGH; `tr` and `start` in seconds."""
    shape, affine = space.grid()
    values = np.zeros((*shape, len(data)), np.float32, order="F")
    values[np.unravel_index(space.vertex, shape)] = data.T
    if mgh:
        image: Any = nib.MGHImage(values, affine)
        image.header.set_zooms((*image.header.get_zooms()[:3], tr * 1000))
        return image
    kept = space.nifti()
    kind = nib.Nifti2Image if kept.pop("version", 1) == 2 or len(data) > MOST_FRAMES else nib.Nifti1Image
    image = kind(values, affine)
    for name, value in kept.items():
        image.header[name] = value
    units = int(image.header["xyzt_units"])
    in_space, in_time = unit_codes.label.get(units & 0b111, "unknown"), _unit_of_time(image.header)
    in_time = in_time if in_time in SECONDS else "sec"
    image.header.set_xyzt_units(in_space if kept else "mm", in_time)
    image.header["pixdim"][4], image.header["toffset"] = tr / SECONDS[in_time], start / SECONDS[in_time]
    # Its affine is as the header says, and isn't written over it.
    return kind(values, image.header.get_best_affine(), image.header) if kept else image


def _time_axis(path: Path, image: Any) -> int:
    beyond = [axis for axis in range(3, image.ndim) if image.shape[axis] > 1]
    if image.ndim < 4 or len(beyond) > 1:
        remedy = "join a run's volumes" if image.ndim < 4 else "split it"
        raise InputError(
            f"{path.name}: {image.ndim}-D; expected a 4-D image, three axes of space, one of time; {remedy}"
        )
    return beyond[0] if beyond else 3


def _time_unit(path: Path, header: Any) -> float:
    """Seconds in a header's unit of time."""
    if isinstance(header, nib.freesurfer.mghformat.MGHHeader):
        return 1e-3
    if isinstance(header, AFNIHeader):
        return AFNI_SECONDS.get(header.info.get("TAXIS_NUMS", [0, 0, 77002])[2], np.nan)
    if not isinstance(header, Nifti1Header):
        return 1.0
    unit = _unit_of_time(header)
    if unit not in (*SECONDS, "unknown"):
        raise InputError(
            f"{path.name}: its fourth axis is in {unit}, not in seconds; expected frames along time: correct "
            "the header (xyzt_units), or pass --bold-tr"
        )
    return SECONDS.get(unit, 1.0)


def _unit_of_time(header: Nifti1Header) -> str:
    # nibabel raises KeyError at units that NIfTI doesn't define.
    return str(unit_codes.label.get(int(header["xyzt_units"]) & 0b111000, "unknown"))


def _brain(
    path: Path, shape: tuple[int, ...], affine: NDArray[np.float64], mask: Path | None, inside: Mask
) -> Mask:
    """Voxels of the brain (X, Y, Z), as `mask` or the one beside the image says; `inside` without either."""
    asked, mask = mask, brain_mask_of(path) if mask is None else mask
    if mask is None:
        if inside.mean() > NEARLY_ALL:
            logger.warning(
                "%s: %.0f %% of its voxels are values, air too if it isn't skull-stripped; complete, "
                "resample and view take a brain mask as --mask (nilearn.masking.compute_epi_mask makes one)",
                path.name,
                100 * inside.mean(),
            )
        return inside
    check_there(mask)
    with reading(mask, "no mask that can be read", "expected a 3-D image, 0 outside: make it again"):
        image: Any = nib.load(mask)
        if not isinstance(image, SpatialImage):
            raise TypeError(type(image).__name__)
        check_values(mask, image)
        brain = np.asarray(image.dataobj) > 0
    brain = brain[..., 0] if brain.shape == (*shape, 1) else brain
    if brain.shape == shape and np.allclose(image.affine, affine, atol=SAME_GRID):
        n_used = np.count_nonzero(brain & inside)
        if not n_used:
            raise InputError(f"{mask.name}: {path.name} has no value inside this mask; replace or remove it")
        if asked is None:
            logger.info("%s: values are the %d voxels of %s beside it", path.name, n_used, mask.name)
        return brain
    if asked is not None:
        raise InputError(
            f"{mask.name}: a mask of {brain.shape} voxels for an image of {shape}, in the same place; "
            "resample it first: nilearn.image.resample_to_img(mask, image, interpolation='nearest')"
        )
    logger.warning("%s isn't used: it has another grid than %s", mask.name, path.name)
    return inside


def _stated_mask(path: Path, sidecar: Mapping[str, Any], shape: tuple[int, ...]) -> Mask | None:
    """Which voxels are values, (X, Y, Z), as a result's sidecar says; None where it doesn't."""
    stated = sidecar.get("NeuroframesSpace")
    if stated is None:
        return None
    try:
        space = CorticalSpace.from_json(stated)
        if space.grid()[0] != shape:
            raise InputError(f"a grid of {space.grid()[0]} for an image of {shape}")
    except UNREADABLE as error:
        raise InputError(
            f"{sidecar_path(path)}: NeuroframesSpace isn't that of {path.name} ({error}); copy the sidecar "
            "that was written with the image, or remove that entry"
        ) from error
    mask = np.zeros(shape, bool)
    mask.flat[space.vertex] = True
    return mask
