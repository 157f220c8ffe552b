"""Runs that are objects: images of nibabel, nilearn's SurfaceImage, arrays.

They are written into a temporary folder, and results read from there: nothing is known of an object that
isn't known of its file, and everything is checked in one place.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.cifti2 import Cifti2Image, ParcelsAxis
from nibabel.dataobj_images import DataobjImage
from nibabel.filebasedimages import FileBasedImage
from nibabel.gifti import GiftiImage
from nibabel.spatialimages import SpatialImage
from nilearn.surface import SurfaceImage
from numpy.typing import NDArray

from neuroframes.commands.run import BESIDE
from neuroframes.cortex.space import HEMISPHERES, PRIMARY, CorticalSpace
from neuroframes.errors import InputError, counted
from neuroframes.recording.bold import Bold, read_bold, write_bold
from neuroframes.recording.gifti import hemisphere_paths
from neuroframes.recording.sidecar import companion, read_sidecar, sidecar_path, split_suffix
from neuroframes.recording.stated_time import MOST_PAUSED, NoTRError, check_tr
from neuroframes.recording.timeline import MAX_JITTER, acquired_at, at_volumes, trs_between, usual_interval
from neuroframes.recording.volumes import brain_mask_beside, brain_mask_of

PARTS = {"left": "L", "right": "R"}  # of a SurfaceImage


def through_files(command: Callable[..., Any], bold: Any, options: dict[str, Any]) -> Any:
    """Call `complete` or `resample` with objects in the place of files.

    Parameters
    ----------
    command : callable, of a path and options
    bold : image of nibabel, two GiftiImages, SurfaceImage, array, shape (K, V), or path
    options : dict
        Those of the command. `confounds` may be a DataFrame, `censor` an array of booleans, `mask` an image,
        `times` those of an array's frames. With `times`, confounds and `censor` have a row for each frame,
        those that were taken out included.

    Returns
    -------
    tuple
        With `out` the paths that were written, else the images as objects of the kind that `bold` is: frames,
        their standard deviation if there is one, then draws; confounds as a DataFrame.
    """
    with TemporaryDirectory() as name, TemporaryDirectory() as tables:
        beside = {each: _write_beside(options[each], each, Path(tables)) for each in BESIDE & options.keys()}
        if isinstance(bold, str | os.PathLike):
            return command(bold, **options | beside)
        out, times, folder = options.pop("out", None), options.pop("times", None), Path(name)
        if times is not None:
            bold, options["bold_tr"] = on_grid(array_of(bold), times, options.get("bold_tr"))
        path = write(bold, folder, options.get("bold_tr"))
        target = folder / "result" / path.name if out is None else out
        try:
            written = command(path, out=target, **options | beside)
        except NoTRError as error:
            raise InputError(f"{type(bold).__name__}: it states no TR; pass bold_tr, in seconds") from error
        return written if out is not None else _read(written, bold)


def on_grid(
    frames: NDArray[Any], times: Sequence[float] | NDArray[Any], tr: float | None
) -> tuple[NDArray[Any], float]:
    """Frames (K, V) at some multiples of a TR as all that there are, the others NaN, and the TR in seconds.

    Parameters
    ----------
    frames : array, shape (K, V)
    times : array, shape (K,), seconds, increasing
    tr : float, seconds
        By default the usual time between two frames.

    Raises
    ------
    InputError
        If times don't increase, are not as many as frames, or two that follow each other not a whole number
        of TRs apart, within 5 % of it; if the TR isn't from 0.01 to 60 s, or ten times as many frames are
        missing as there are.
    """
    at = np.asarray(times, np.float64)
    apart = np.diff(at)
    if at.shape != (len(frames),) or len(at) < 2 or not (np.isfinite(apart) & (apart > 0)).all():
        raise InputError(
            f"times of shape {at.shape} for {len(frames)} frames; expected as many, in seconds, increasing"
        )
    step = check_tr(usual_interval(at) if tr is None else tr, "times: a TR of")
    steps = trs_between(at, step)
    if not steps.all():
        frame = int(np.abs(apart / step - np.maximum(np.rint(apart / step), 1)).argmax())
        raise InputError(
            f"times: frames {frame} and {frame + 1} are {apart[frame]:g} s apart, no multiple of a TR of "
            f"{step:g} s within {MAX_JITTER:.0%}; pass the TR, or interpolate the frames to regular times"
        )
    if steps.sum() >= MOST_PAUSED * len(at):
        raise InputError(
            f"times: {counted(len(at), 'frame')} in {at[-1] - at[0]:g} s, at a TR of {step:g} s; expected "
            f"less than {MOST_PAUSED} TRs a frame: pass the parts of the run, each by itself"
        )
    return at_volumes(frames.astype(np.result_type(frames, np.float32)), acquired_at(at, step), np.nan), step


def array_of(bold: Any) -> NDArray[Any]:
    """Frames (K, V) that are an array; InputError where they are no such object."""
    values = np.asarray(bold)
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        raise InputError(
            f"{type(bold).__name__} of shape {values.shape} and {values.dtype}; expected a path, an image of "
            "nibabel, a SurfaceImage of nilearn, or an array of real numbers, frames x values"
        )
    return values


def write(bold: Any, folder: Path, tr: float | None, stem: str | None = None, volume: str = ".nii") -> Path:
    """The object as a file of its kind in `folder`, of a GIFTI pair one of the two.

    Its stem is by default that of the file it was read from. `tr` (s) is needed by a SurfaceImage alone.
    """
    stem = stem or _stem(bold)
    if isinstance(bold, SurfaceImage):
        if tr is None:
            raise InputError("a SurfaceImage states no TR; pass bold_tr, in seconds, or a Recording with tr")
        halves = {PARTS[name]: np.atleast_2d(np.asarray(half).T) for name, half in bold.data.parts.items()}
        space = CorticalSpace.from_counts({side: half.shape[1] for side, half in halves.items()})
        data = np.hstack([halves[side] for side in HEMISPHERES if side in halves])
        return write_bold(folder / f"{stem}.func.gii", data, space, tr=tr)[0]
    if images := giftis(bold):
        target = folder / f"{stem}.func.gii"
        return [_write_image(half, hemisphere_paths(target)[_side(half)]) for half in images][-1]
    if isinstance(bold, Cifti2Image):
        series = "ptseries" if isinstance(bold.header.get_axis(bold.ndim - 1), ParcelsAxis) else "dtseries"
        single: Any = Cifti2Image(_values(bold), bold.header, bold.nifti_header)
        return _write_image(single, folder / f"{stem}.{series}.nii", bold)
    if isinstance(bold, SpatialImage):
        # As float32, in which it is read: integers would be scaled anew, and rounded.
        single = type(bold)(_values(bold), bold.affine, bold.header)
        suffix = ".mgz" if isinstance(bold, nib.MGHImage) else volume
        return _write_image(single, folder / f"{stem}{suffix}", bold)
    path = folder / f"{stem}.npz"
    np.savez(path, bold=array_of(bold))
    return path


def giftis(bold: Any) -> list[GiftiImage]:
    """The hemispheres that a GIFTI, or a pair, has; none if it is anything else."""
    images = [*bold] if isinstance(bold, tuple | list) else [bold]
    return images if all(isinstance(image, GiftiImage) for image in images) else []


def source_of(bold: Any) -> Path | None:
    """The file that an image was read from, of a pair one of them: names say which files belong together."""
    first = next(iter(giftis(bold)), bold)
    source = first.get_filename() if isinstance(first, FileBasedImage) else None
    return Path(source) if source else None


def _stem(bold: Any) -> str:
    source = source_of(bold)
    return split_suffix(source)[0] if source else "bold"


def _values(image: Any) -> NDArray[np.float32]:
    values = np.asanyarray(image.dataobj)
    if np.iscomplexobj(values):
        raise InputError("an image of complex numbers; pass their magnitude, np.abs(image.dataobj)")
    return values.astype(np.float32)


def _side(image: GiftiImage) -> str:
    stated = {meta.get("AnatomicalStructurePrimary") for meta in (image.meta, image.darrays[0].meta)}
    for side, structure in PRIMARY.items():
        if structure in stated:
            return side
    raise InputError(
        "a GiftiImage that doesn't say which hemisphere it is; set meta['AnatomicalStructurePrimary'] to "
        f"{' or '.join(PRIMARY.values())}"
    )


def _write_image(image: Any, path: Path, origin: Any = None) -> Path:
    """Save an image, and beside it what stands beside the file that it, or `origin`, was read from."""
    if not isinstance(image, GiftiImage):
        image.set_data_dtype(np.float32)
    nib.save(image, path)
    source = source_of(image if origin is None else origin)
    if source and (content := read_sidecar(source)):
        shutil.copy(sidecar_path(source), sidecar_path(path))
        name = content.get("NeuroframesStandardDeviation")
        if name is not None and (stated := companion(source, name)) is not None:
            for file in filter(Path.exists, (stated, sidecar_path(stated))):
                shutil.copy(file, path.with_name(file.name))
    if source and (mask := brain_mask_of(source)):
        shutil.copy(mask, brain_mask_beside(path, split_suffix(mask)[1]))
    return path


def _write_beside(given: Any, name: str, folder: Path) -> Any:
    """A table or a mask as a file; a path stays as it is."""
    if given is None or isinstance(given, str | os.PathLike):
        return given
    return WRITERS[name](given, folder)


def _write_confounds(table: Any, folder: Path) -> Path:
    return write_confounds(table, folder / "confounds.tsv")


def write_confounds(table: Any, path: Path) -> Path:
    """Write a DataFrame as fMRIPrep would."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"confounds: {type(table).__name__}; expected a DataFrame of pandas, or a path")
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def _write_censor(missing: Any, folder: Path) -> Path:
    flags = np.asarray(missing)
    if flags.dtype != bool:
        raise InputError(f"censor: an array of {flags.dtype}; expected booleans, True = missing, or a path")
    lines = ["censored", *flags.astype(int).astype(str)]
    (folder / "censor.tsv").write_text("\n".join(lines) + "\n")
    return folder / "censor.tsv"


def _write_mask(mask: Any, folder: Path) -> Path:
    if not isinstance(mask, SpatialImage):
        raise InputError(f"mask: {type(mask).__name__}; expected an image of nibabel, or a path")
    nib.save(mask, folder / "mask.nii")
    return folder / "mask.nii"


WRITERS: dict[str, Callable[[Any, Path], Path]] = {
    "confounds": _write_confounds,
    "censor": _write_censor,
    "mask": _write_mask,
}


def _load(path: Path) -> Any:
    image: Any = nib.load(path)
    return type(image).from_bytes(image.to_bytes())


def _read(written: tuple[Path, ...], like: Any) -> tuple[Any, ...]:
    """Images as objects of the kind of `like`, which hold nothing of the files; a table as a DataFrame."""
    if written[-1].suffix == ".tsv":
        return *_read(written[:-1], like), pd.read_csv(written[-1], sep="\t")
    if isinstance(like, SurfaceImage):
        return tuple(_surface(like, read_bold(path)) for path in written[:: len(like.data.parts)])
    if isinstance(like, DataobjImage) or giftis(like):
        return tuple(map(_load, written))
    frames, *others = (np.ascontiguousarray(read_bold(path).data) for path in written)
    return as_given(frames, np.asarray(like)), *others


def as_given(frames: NDArray[Any], given: NDArray[Any]) -> NDArray[Any]:
    """Frames (K, V) with the numbers that were given where float32 has but rounded them."""
    if frames.shape != given.shape:
        return frames
    return np.where(frames == given.astype(np.float32), given, frames)


def _surface(like: SurfaceImage, run: Bold) -> SurfaceImage:
    rows = {name: run.space.hemisphere == HEMISPHERES[PARTS[name]] for name in like.data.parts}
    return SurfaceImage(like.mesh, {name: run.data[:, there].T for name, there in rows.items()})
