"""Images in memory: `complete` and `resample` of what nibabel and nilearn hold, through temporary files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from neuroframes.commands.complete import complete
from neuroframes.commands.resample import resample
from neuroframes.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDES = ("left", "right")  # as nilearn calls them


@dataclass(frozen=True)
class FilledImage:
    """A run whose frames were filled.

    Attributes
    ----------
    frames : image of the kind that was given, K frames
    deviation : the same, the standard deviation of each value, 0 where measured; None where none is stated
    measured : array, shape (K,), bool
        False where a frame is an estimate.
    """

    frames: Any
    deviation: Any
    measured: "NDArray[np.bool_]"


def complete_image(image: Any, *, bold_tr: float | None = None, **options: Any) -> FilledImage:
    """As `complete`, of an image in memory.

    Parameters
    ----------
    image : nibabel Nifti1Image, Nifti2Image or Cifti2Image, or nilearn SurfaceImage
        A surface has both hemispheres, of shape (V, K) each.
    bold_tr : float, seconds
        TR of the run, where the image states none (as surfaces) or a wrong one.
    **options
        As in `complete`, but for `out`, `overwrite` and `save_draws`.

    Raises
    ------
    InputError
        As `complete`, or if the image is of another kind.
    """
    return _through_files(complete, image, bold_tr=bold_tr, **options)


def resample_image(image: Any, *, tr: float, bold_tr: float | None = None, **options: Any) -> FilledImage:
    """As `resample`, of an image in memory; parameters as in `complete_image`, and `tr` in seconds."""
    return _through_files(resample, image, tr=tr, bold_tr=bold_tr, **options)


def _through_files(command: Callable[..., tuple[Path, ...]], image: Any, **options: Any) -> FilledImage:
    from neuroframes.recording.bold import read_bold

    with TemporaryDirectory() as name:
        source, suffix = _written(image, Path(name), options["bold_tr"])
        paths = command(source, out=Path(name) / f"filled{suffix}", **options)
        measured = read_bold(paths[0]).measured
        n_files = 2 if suffix == ".func.gii" else 1
        parts = [_read(paths[first : first + n_files], image) for first in range(0, len(paths), n_files)]
        return FilledImage(parts[0], parts[1] if len(parts) > 1 else None, measured)


def _written(image: Any, folder: Path, tr: float | None) -> tuple[Path, str]:
    """The file of an image, and the suffix of its kind."""
    import nibabel as nib
    import numpy as np
    from nibabel.cifti2 import ParcelsAxis
    from nilearn.surface import SurfaceImage

    from neuroframes.cortex.space import CorticalSpace
    from neuroframes.recording.bold import write_bold

    if isinstance(image, SurfaceImage):
        halves = [np.asarray(image.data.parts[side]) for side in SIDES if side in image.data.parts]
        if len(halves) != 2 or any(half.ndim != 2 for half in halves):
            raise InputError("SurfaceImage: expected two hemispheres of vertices x frames; pass both")
        if tr is None:
            raise InputError("SurfaceImage: states no TR; pass bold_tr, in seconds")
        space = CorticalSpace.from_counts({"L": len(halves[0]), "R": len(halves[1])})
        files = write_bold(folder / "image.func.gii", np.concatenate(halves).T, space, tr=tr)
        return files[0], ".func.gii"
    kinds = {nib.Cifti2Image: ".dtseries.nii", nib.Nifti1Image: ".nii", nib.Nifti2Image: ".nii"}
    suffix = kinds.get(type(image))
    if suffix is None:
        raise InputError(
            f"image: {type(image).__name__}; expected a NIfTI or CIFTI image of nibabel, or a SurfaceImage "
            "of nilearn: save it, and give the file to complete or resample"
        )
    if isinstance(image, nib.Cifti2Image) and isinstance(image.header.get_axis(1), ParcelsAxis):
        suffix = ".ptseries.nii"
    path = folder / f"image{suffix}"
    path.write_bytes(image.to_bytes())
    return path, suffix


def _read(files: tuple[Path, ...], like: Any) -> Any:
    """The image of files, of the kind of `like`, in memory."""
    from nilearn.surface import SurfaceImage

    if isinstance(like, SurfaceImage):
        return SurfaceImage(like.mesh, dict(zip(SIDES, files, strict=True)))
    return type(like).from_bytes(files[0].read_bytes())
