"""Recordings in memory as files: a BIDS data set, from which everything else follows."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mne
import numpy as np
import pandas as pd
from nibabel.cifti2 import Cifti2Image
from nibabel.filebasedimages import FileBasedImage
from nilearn.surface import SurfaceImage

from neuroframes.commands.in_memory import array_of, giftis, on_grid, source_of, write, write_confounds
from neuroframes.cortex.space import MESHES
from neuroframes.errors import InputError, listed
from neuroframes.files import written_whole
from neuroframes.recording.bids import confounds_beside, confounds_of, person_of
from neuroframes.recording.bold import images_at, read_bold, read_tr, write_bold
from neuroframes.recording.features import Features, write_features
from neuroframes.recording.sidecar import read_sidecar, write_sidecar

BOLD_FOLDER = "derivatives/preprocessed"


@dataclass(frozen=True)
class Recording:
    """A run of somebody in memory.

    Attributes
    ----------
    subject : str or int
        Its label, with or without `sub-`.
    bold : image of nibabel, two GiftiImages, SurfaceImage, or array, shape (K, V)
        What stands beside the file that an image was read from (sidecar, brain mask, confounds) counts.
    eeg : mne.io.Raw, or DataFrame, optional
        Volume triggers are the annotations or the stim channel of Raw. A table has features of each frame.
    confounds : DataFrame, optional
        With fMRIPrep's names. It and features have a row for each frame, those that were taken out included.
    session, task, run : str or int, optional
        Labels that tell a person's recordings apart.
    space : str, optional
        "MNI152NLin2009cAsym" and so on, of volumes whose file's name doesn't say it.
    tr : float, seconds, optional
        Where BOLD states none or a wrong one.
    times : array, shape (K,), seconds, optional
        Of the frames of an array, where some between them were taken out: those are missing.
    """

    subject: str | int
    bold: Any
    eeg: Any = None
    confounds: pd.DataFrame | None = None
    session: str | int | None = None
    task: str | int | None = None
    run: str | int | None = None
    space: str | None = None
    tr: float | None = None
    times: Any = None

    @property
    def person(self) -> str:
        return f"sub-{str(self.subject).removeprefix('sub-')}"

    @property
    def name(self) -> str:
        """As the names of its files begin."""
        labels = {"sub": self.person[4:], "ses": self.session, "task": self.task, "run": self.run}
        for entity, label in {**labels, "space": self.space}.items():
            if label is not None and not re.fullmatch(r"[0-9A-Za-z+]+", str(label)):
                raise InputError(f"a recording whose {entity} is {label!r}; expected letters and digits")
        return "_".join(f"{entity}-{label}" for entity, label in labels.items() if label is not None)


def write_bids(recordings: Sequence[Recording], out: str | Path) -> Path:
    """Write recordings in memory as a BIDS data set, which `check`, `prepare` and `prior` read.

    Parameters
    ----------
    recordings : sequence of Recording
    out : path
        Folder of the data set; it must not be there.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If two recordings have one name, one holds what is no such object, a space isn't known, or `out` is
        there.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already; choose another folder, or remove it")
    names = [recording.name for recording in recordings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"several recordings are {listed(twice)}; tell them apart by run, task or session")
    with written_whole(out) as temporary:
        for kind, root in {"raw": temporary, "derivative": temporary / BOLD_FOLDER}.items():
            root.mkdir(parents=True)
            about = {"Name": out.name, "BIDSVersion": "1.10.0", "DatasetType": kind}
            (root / "dataset_description.json").write_text(json.dumps(about, indent=2) + "\n")
        for recording, name in zip(recordings, names, strict=True):
            person = Path(
                recording.person, *([] if recording.session is None else [f"ses-{recording.session}"])
            )
            if recording.tr is None and recording.times is None and not _states_tr(recording.bold):
                raise InputError(f"{name}: {type(recording.bold).__name__} states no TR; pass tr, in seconds")
            space = _space(recording)
            stem = "_".join([name, *([f"space-{space}"] if space else []), "bold"])
            bold = _write_bold(recording, temporary / BOLD_FOLDER / person / "func", stem, ".nii.gz")
            if bold.suffix == ".mgz":
                remedy = "pass nib.Nifti1Image(image.dataobj, image.affine), and tr"
                raise InputError(f"{name}: an MGHImage, but volumes of BIDS are NIfTI: {remedy}")
            if recording.eeg is not None:
                _write_eeg(recording, bold, temporary / person / "eeg", name)
    return out


@contextmanager
def as_files(runs: Sequence[Any], person: str | None, tr: float | None) -> Iterator[list[Path]]:
    """Paths of runs of which some are objects: those lie in a temporary folder as long as this lasts.

    The folder of each has the name of its person: that of a Recording, or of the file that an image was read
    from; otherwise none if `person` says who it is, and a person of its own if not.
    """
    with TemporaryDirectory() as temporary:
        paths = []
        for number, run in enumerate(runs, 1):
            if isinstance(run, str | os.PathLike):
                paths.append(Path(run))
                continue
            folder, source = Path(temporary, str(number)), source_of(run)
            if isinstance(run, Recording):
                stated = replace(run, tr=tr or run.tr)
                paths.append(_write_bold(stated, folder / run.person, f"{run.name}_bold"))
                continue
            named = person_of(source, "") if source else ""
            owner = named or ("" if person else f"sub-unnamed{number}")
            stem = source.name.partition(".")[0] if source else f"run-{number}_bold"
            paths.append(_write_bold(Recording(owner, run, tr=tr), folder / owner, stem))
        yield paths


def _write_bold(recording: Recording, folder: Path, stem: str, volume: str = ".nii") -> Path:
    """BOLD and what stands beside it."""
    bold, tr = recording.bold, recording.tr
    if isinstance(bold, str | os.PathLike):
        raise InputError(f"{recording.name}: bold is a path; pass what nibabel.load makes of it")
    if recording.times is not None:
        bold, tr = on_grid(array_of(bold), recording.times, tr)
    folder.mkdir(parents=True, exist_ok=True)
    path = write(bold, folder, tr, stem, volume)
    if tr is not None:  # nibabel gives a volume a TR of 1 s that nobody stated
        run = read_bold(path, tr=tr)
        write_bold(path, run.data, run.space, tr=tr, start=run.times[0], overwrite=True)
        for image in images_at(path):
            write_sidecar(image, read_sidecar(image) | {"RepetitionTime": tr}, overwrite=True)
    source = source_of(bold)
    beside = confounds_of(source) if source else None
    if recording.confounds is not None:
        write_confounds(recording.confounds, confounds_beside(path))
    elif beside is not None:
        shutil.copy(beside, confounds_beside(path))
    return path


def _write_eeg(recording: Recording, bold: Path, folder: Path, name: str) -> None:
    eeg = recording.eeg
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(eeg, mne.io.BaseRaw):
        eeg.save(folder / f"{name}_eeg.fif", verbose="ERROR")
    elif isinstance(eeg, pd.DataFrame) and eeg.select_dtypes(["number", "bool"]).shape == eeg.shape:
        features = Features(eeg.to_numpy(np.float32), tuple(map(str, eeg.columns)), read_tr(bold))
        write_features(folder / f"{name}_features.npz", features)
    else:
        raise InputError(
            f"{name}: eeg is {type(eeg).__name__}; expected an mne.io.Raw (mne.io.read_raw(PATH) makes one), "
            "or a DataFrame of numbers, features in columns and a row for each frame"
        )


def _states_tr(bold: Any) -> bool:
    return isinstance(bold, FileBasedImage) or bool(giftis(bold))


def _space(recording: Recording) -> str | None:
    """The space entity of the BOLD; None of parcels."""
    bold, source = recording.bold, source_of(recording.bold)
    stated = re.search(r"_space-([0-9A-Za-z+]+)", source.name) if source else None
    if space := recording.space or (stated and stated[1]):
        return space
    if isinstance(bold, Cifti2Image):
        return "fsLR"
    n_vertices = None
    if isinstance(bold, SurfaceImage):
        n_vertices = next(iter(bold.data.parts.values())).shape[0]
    elif halves := giftis(bold):
        n_vertices = halves[0].darrays[0].data.shape[0]
    elif not _states_tr(bold):
        return None
    if n_vertices in MESHES:
        return MESHES[n_vertices].removesuffix("-32k")
    raise InputError(
        f"{recording.name}: nothing says in which space its BOLD is; pass space, as 'MNI152NLin2009cAsym'"
    )
