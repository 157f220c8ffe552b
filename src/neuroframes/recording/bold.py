"""BOLD files: CIFTI series, GIFTI per hemisphere, 4-D volumes, and tables of parcels.

A run is X in R^(K x V): K frames of V values, frame k acquired from `times[k]` to `times[k] + tr`.
Where a run pauses, by the onsets of VolumeTiming, a frame k has no volume: it is NaN, and not measured.
CIFTI stores each value's time series contiguously, so X is kept in Fortran order: reading and writing
are then one pass without a transposed copy.
"""

import logging
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ParcelsAxis, SeriesAxis
from nibabel.gifti import GiftiImage
from nibabel.imageclasses import all_image_classes
from numpy.typing import NDArray

from neuroframes.cortex.space import HEMISPHERES, CorticalSpace
from neuroframes.cortex.unreadable import reading
from neuroframes.errors import InputError, check_number, check_there
from neuroframes.files import written_together
from neuroframes.recording.gifti import gifti_image, gifti_step, hemisphere_paths, hemispheres, read_gifti
from neuroframes.recording.parcels import TABLES, check_names, read_parcels, stated_tr, write_parcels
from neuroframes.recording.sidecar import companion, read_sidecar, seconds, sidecar_path, split_suffix
from neuroframes.recording.stated_time import acquired_by, agreed_tr, check_tr
from neuroframes.recording.timeline import at_volumes
from neuroframes.recording.volumes import (
    brain_mask_of,
    check_values,
    read_volume,
    volume_image,
    volume_start,
    volume_step,
)

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

logger = logging.getLogger(__name__)

EVERY: Any = np.True_  # frames of files that say nothing else were measured
SUFFIXES = {
    "cifti": (".dtseries.nii",),
    "gifti": (".func.gii", ".gii"),
    "volume": (".nii.gz", ".nii", ".mgz"),
    "parcels": TABLES,
    "ptseries": (".ptseries.nii",),
}
INTENTS = {"cifti": "ConnDenseSeries", "ptseries": "ConnParcelSries"}


@dataclass(frozen=True)
class Bold:
    """A run of fMRI frames.

    Attributes
    ----------
    data : array, shape (K, V), float32
        In the units of the file. NaN and constant vertices are kept as they are.
    tr : float, seconds
    times : array, shape (K,), seconds from the run's start
        When the acquisition of each frame begins.
    space : CorticalSpace
    sources : tuple of Path
        The image files that were read.
    measured : array, shape (K,), bool
        False where a frame is an estimate, as the sidecar of a completed run says, or the run pauses.
    acquired : array, shape (K,), bool
        False where the run pauses. Tables beside the file have a line for each of the other frames.
    deviation : Path or None
        The image that holds the standard deviation of the frames, where the sidecar names one.
    sidecar : mapping
        What the JSON file beside the image says; of a pair the first that there is.
    """

    data: Float32 = field(repr=False)
    tr: float
    times: NDArray[np.float64] = field(repr=False)
    space: CorticalSpace
    sources: tuple[Path, ...]
    measured: NDArray[np.bool_] = field(default=EVERY, repr=False)
    deviation: Path | None = None
    sidecar: Mapping[str, Any] = field(default_factory=dict, repr=False)
    acquired: NDArray[np.bool_] = field(default=EVERY, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "measured", np.full(len(self.data), self.measured))
        object.__setattr__(self, "acquired", np.full(len(self.data), self.acquired))

    @property
    def n_volumes(self) -> int:
        return int(self.acquired.sum())

    @property
    def slice_reference(self) -> float | None:
        """Seconds from a volume's start to the time that slices were corrected to; None if they weren't."""
        corrected = self.sidecar.get("SliceTimingCorrected")
        return seconds(self.sources[0], self.sidecar, "StartTime") if corrected else None


def read_bold(path: str | Path, *, tr: float | None = None, mask: str | Path | None = None) -> Bold:
    """Read a CIFTI series, a GIFTI functional file, a 4-D volume or a table of parcels.

    Parameters
    ----------
    path : path
        `*.dtseries.nii`, `*.ptseries.nii`; a `*.tsv`, `*.csv`, `*.npz` or `*.mat` of frames x parcels, as
        `recording.parcels` describes them; `*.func.gii` of one hemisphere, whose sibling (hemi-L/hemi-R,
        lh/rh) is read with it into one space; or any 4-D image that nibabel reads, of which the voxels that
        its sidecar states (NeuroframesSpace), otherwise those that are not zero throughout, are kept.
    tr : float, seconds, optional
        Overrides what the header and the JSON sidecar say.
    mask : path, optional
        Image of a volume's grid, 0 at the voxels that aren't brain; by default fMRIPrep's `desc-brain_mask`
        beside it, if it is there.

    Raises
    ------
    InputError
        If the file is missing, truncated, of another format, or holds no finite value; if headers and
        sidecars contradict each other about the TR, none states one, or it isn't from 0.01 to 60 s; if the
        onsets of VolumeTiming aren't whole numbers of TRs apart; if the sidecar says of another number of
        frames which were measured.
    """
    path = Path(path)
    _check_is_file(path)
    pair = hemispheres(path) if path.name.endswith(".gii") else {}
    sources = tuple(pair.values()) or (path,)
    sidecars = {source: read_sidecar(source) for source in sources}
    images = {source: _open(source) for source in sources}
    image, start = images[sources[0]], 0.0
    with _reading(path):
        if pair:
            data, space = read_gifti({side: (file, images[file]) for side, file in pair.items()})
        elif image is None:
            data, names = read_parcels(path)
            space = CorticalSpace.from_parcels(data.shape[1], names)
        elif isinstance(image, Cifti2Image):
            data, space, start = _read_cifti(path, image)
        else:
            data, space = read_volume(path, image, sidecars[path], None if mask is None else Path(mask))
            start = volume_start(image)
    if mask is not None and space.kind != "volume":
        raise InputError(f"--mask {mask}: {path.name} is no volume but {space.kind}; leave it out")
    # Frame by frame: the first nearly always decides.
    if not any(np.isfinite(frame).any() for frame in data):
        raise InputError(
            f"{path.name}: 0 or NaN throughout; expected fMRI frames, but none of {data.size:,} values is "
            "a finite number; export it again"
        )
    tr = _tr(images, sidecars, tr, len(data))
    measured, acquired = _measured(sidecars, len(data)), acquired_by(path, sidecars, tr, len(data))
    data, measured = at_volumes(data, acquired, np.nan), at_volumes(measured, acquired)
    sidecar = next((content for content in sidecars.values() if content), {})
    own = seconds(sources[0], sidecar, "NeuroframesStart")  # which GIFTI, MGH and tables have no place for
    times = (start if own is None else own) + tr * np.arange(len(data), dtype=np.float64)
    named = ((file, content.get("NeuroframesStandardDeviation")) for file, content in sidecars.items())
    deviation = next((companion(file, name) for file, name in named if name is not None), None)
    return Bold(data, tr, times, space, sources, measured, deviation, sidecar, acquired)


def is_bold(path: Path) -> bool:
    """Whether a file of this name is one that `read_bold` can read, such as `x.nii.gz` or `x+tlrc.HEAD`."""
    images = [suffix for kind in all_image_classes for suffix in kind.valid_exts]
    name = re.sub(r"\.(gz|bz2|zst|z)$", "", path.name.lower())
    return name.endswith((*images, *TABLES))


def read_tr(path: Path, *, tr: float | None = None) -> float:
    """The TR of a run in seconds, as `read_bold` has it; of all formats but GIFTI the header alone is read.

    Raises
    ------
    InputError
        As `read_bold` about files and the TR.
    """
    _check_is_file(path)
    sources = images_at(path)
    images = {source: _open(source) if tr is None else None for source in sources}
    return _tr(images, {source: read_sidecar(source) for source in sources}, tr)


def _check_is_file(path: Path) -> None:
    check_there(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; pass the image of one run, such as its .dtseries.nii")


def read_deviation(bold: Bold) -> Float32 | None:
    """The standard deviation of a run's frames, shape (K, V); None where its sidecar names none.

    Raises
    ------
    InputError
        As `read_bold`, or if it has another space or number of frames.
    """
    if bold.deviation is None:
        return None
    stated = read_bold(bold.deviation, tr=bold.tr)
    bold.space.check_same(stated.space, bold.deviation.name)
    if len(stated.data) != len(bold.data):
        raise InputError(
            f"{bold.deviation.name} has {len(stated.data)} frames but {bold.sources[0].name} has "
            f"{len(bold.data)}; keep a result together with the standard deviation that was written with it"
        )
    return stated.data


def write_bold(
    path: str | Path,
    data: NDArray[np.floating[Any]],
    space: CorticalSpace,
    *,
    tr: float,
    start: float = 0.0,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write frames in the format of their space: CIFTI, GIFTI per hemisphere, NIfTI/MGZ, or a table.

    Parameters
    ----------
    path : path
        Ends in `.dtseries.nii`, `.func.gii`, `.nii.gz`/`.nii`/`.mgz`, `.tsv`/`.csv`/`.npz`, or
        `.ptseries.nii`. GIFTI writes one file a hemisphere: see `hemisphere_paths`.
    data : array, shape (K, V)
        Written as float32. Fortran order is fastest for CIFTI.
    tr, start : float, seconds
        Only CIFTI and NIfTI have a place for `start`, and tables of text have none for `tr`.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    InputError
        If the suffix does not fit the space, a file exists and `overwrite` is False, or `tr` isn't positive.
    """
    path = Path(path)
    tr, start = check_number(tr, "TR (s)", above=0), check_number(start, "start (s)")
    check_suffix(path, space)
    if data.ndim != 2 or data.shape[1] != space.V:
        raise ValueError(f"data of shape {data.shape} for a space of {space.V:,} values; expected (K, V)")
    targets = images_of(path, space)
    # A full disk leaves no half of a pair.
    with written_together(targets, overwrite=overwrite) as folder:
        if space.kind in INTENTS:
            axes = (SeriesAxis(start, tr, len(data)), space.axis())
            cifti = Cifti2Image(data, axes, dtype=np.float32)
            cifti.nifti_header.set_intent(INTENTS[space.kind])
            cifti.to_filename(folder / path.name)
        elif space.kind == "gifti":
            for target, side in zip(targets, _sides(space), strict=True):
                nib.save(gifti_image(data[:, _rows(space, side)], side, tr), folder / target.name)
        elif space.kind == "parcels":
            write_parcels(folder / path.name, data, space.names, tr)
        else:
            mgh = path.suffix == ".mgz"
            nib.save(volume_image(data, space, tr, start, mgh=mgh), folder / path.name)
    return targets


def check_suffix(path: Path, space: CorticalSpace) -> None:
    """Raise InputError where frames of a space aren't written in files of this name."""
    # By its whole suffix: a volume would also fit the end of ".dtseries.nii".
    if split_suffix(path)[1] not in SUFFIXES[space.kind]:
        raise InputError(
            f"{path.name}: frames of a {space.kind} space are written as "
            f"{' or '.join(SUFFIXES[space.kind])}; change the output's suffix"
        )
    check_names(path, space.names)


def images_of(path: Path, space: CorticalSpace) -> tuple[Path, ...]:
    """The images that hold frames written to `path`: of GIFTI one a hemisphere, left first."""
    if space.kind != "gifti":
        return (path,)
    return tuple(hemisphere_paths(path)[side] for side in _sides(space))


def images_at(path: Path) -> list[Path]:
    """The images that are read as the BOLD at `path`: of a GIFTI pair both that are there, left first."""
    pair = [file for file in hemisphere_paths(path).values() if os.path.lexists(file)]
    return pair if path.name.endswith(".gii") and path in pair else [path]


def bold_files(path: Path) -> list[Path]:
    """Every file that reading the BOLD at `path` depends on: images of both hemispheres, sidecars, a mask."""
    images = images_at(path)
    files = sorted({*images, *map(sidecar_path, images), *filter(None, [brain_mask_of(path)])})
    return [file for file in files if file.exists()]


def _reading(path: Path) -> AbstractContextManager[None]:
    remedy = (
        "expected CIFTI .dtseries.nii or .ptseries.nii, GIFTI .func.gii, a 4-D NIfTI, AFNI or MGZ, or "
        f"parcels as {' or '.join(TABLES)}: copy or export the file again"
    )
    return reading(path, "cannot be read, truncated or of an unknown format", remedy)


def _open(path: Path) -> Any:
    """What nibabel makes of a file: its header, and of GIFTI all of it; None of a table."""
    _check_is_file(path)
    with _reading(path):
        if path.suffix in TABLES:
            return None
        # What is read is read at once: no map.
        return GiftiImage.from_filename(path) if path.suffix == ".gii" else nib.load(path, mmap=False)


def _read_cifti(path: Path, image: Any) -> tuple[Float32, CorticalSpace, float]:
    axes = _series_axes(path, image)
    if image.shape != (expected := tuple(map(len, axes))):
        raise InputError(
            f"{path.name}: values of shape {image.shape}, but by its axes {expected}; copy or export it again"
        )
    check_values(path, image)
    # No copy where the file holds unscaled float32, as it nearly always does.
    data = np.asfortranarray(np.asarray(image.dataobj), dtype=np.float32)
    return data, CorticalSpace.from_axis(axes[1]), float(axes[0].start)


def _series_axes(path: Path, image: Any) -> list[Any]:
    axes = [image.header.get_axis(i) for i in range(image.ndim)]
    places = BrainModelAxis | ParcelsAxis
    if not (len(axes) == 2 and isinstance(axes[0], SeriesAxis) and isinstance(axes[1], places)):
        kinds = " x ".join(type(axis).__name__.removesuffix("Axis") for axis in axes)
        raise InputError(
            f"{path.name}: a CIFTI of {kinds}, not a time series (Series x BrainModel or Parcels); "
            "pass the .dtseries.nii or .ptseries.nii"
        )
    if axes[0].unit != "SECOND":
        raise InputError(f"{path.name}: its series axis is in {axes[0].unit.lower()}s; expected seconds")
    return axes


def _sides(space: CorticalSpace) -> list[str]:
    return [side for side in HEMISPHERES if _rows(space, side).any()]


def _rows(space: CorticalSpace, side: str) -> NDArray[np.bool_]:
    return space.hemisphere == HEMISPHERES[side]


def _tr(
    images: Mapping[Path, Any],
    sidecars: Mapping[Path, Mapping[str, Any]],
    given: float | None,
    n_frames: int | None = None,
) -> float:
    """The TR in seconds: as given, else as `agreed_tr`."""
    if given is not None:
        return check_tr(given, "--bold-tr")
    return agreed_tr({path: _header_tr(path, image) for path, image in images.items()}, sidecars, n_frames)


def _header_tr(path: Path, image: Any) -> float:
    """The TR in seconds that a file itself states, 0 if none."""
    with _reading(path):
        if image is None:
            return stated_tr(path)
        if isinstance(image, GiftiImage):
            return gifti_step(path, image)
        if isinstance(image, Cifti2Image):
            return float(_series_axes(path, image)[0].step)
        return volume_step(path, image)


def _measured(sidecars: Mapping[Path, Mapping[str, Any]], n_frames: int) -> NDArray[np.bool_]:
    """Which frames are data, as the sidecars say; all where none does."""
    measured: NDArray[np.bool_] = np.full(n_frames, EVERY)
    for path, content in sidecars.items():
        file = sidecar_path(path).name
        stated = content.get("NeuroframesMeasured", measured.tolist())
        if not isinstance(stated, list) or {type(entry) for entry in stated} - {bool}:
            raise InputError(
                f"{file}: NeuroframesMeasured is {stated!r:.40}; expected true or false for "
                "each frame; restore the sidecar that was written with the image"
            )
        if len(stated) != n_frames:
            raise InputError(
                f"{file} says for {len(stated)} frames whether they were measured "
                f"(NeuroframesMeasured) but {path.name} has {n_frames}; use the image that it was written for"
            )
        # Of a pair's sidecars one may be lost; what either calls an estimate is one.
        measured &= np.array(stated, bool)
    return measured
