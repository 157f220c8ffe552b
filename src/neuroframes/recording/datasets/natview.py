"""NATVIEW_EEGFMRI (Telesford et al. 2023, Scientific Data 10, 554) as released, brought to BIDS.

    sub-01/ses-01/eeg/sub-01_ses-01_task-rest_eeg.set    of raw_data as recorded, of preproc_data cleaned
    sub-01/ses-01/func/sub-01_ses-01_task-rest_bold/func_atlas/
        sub-01_ses-01_task-rest_*_atlas-Schaefer2018_dens-200parcels7networks_desc-sm0_bold.tsv
                                                         of preproc_data: parcels x frames, no header
    derivatives/fmriprep/                                of raw_data, where fMRIPrep was run on it

BOLD is what fMRIPrep wrote, or else the parcels. EEG are links to the .set files alone: raw_data has
BrainVision headers without samples beside them.
"""

import re
from pathlib import Path

import numpy as np

from neuroframes.errors import InputError
from neuroframes.files import written_whole
from neuroframes.recording.tsv import read_lines

TR = 2.1  # seconds, of all runs
TABLE = re.compile(r"(.*)_space-.*_atlas-(.*)_dens-(\d+)parcels(\d+)networks_desc-sm0_bold\.tsv")


def to_bids(root: Path, out: Path, subject: str | None = None) -> None:
    """Link EEG and fMRIPrep's output, or write parcels, below `out`; what is there is kept.

    Parameters
    ----------
    root : Path
        The release's raw_data or preproc_data.
    out : Path
    subject : str, optional
        Only this one, with or without `sub-`.

    Raises
    ------
    InputError
        If there is no EEG, no BOLD that can be used, or a table isn't one of parcels and frames.
    """
    person = "sub-*" if subject is None else f"sub-{subject.removeprefix('sub-')}"
    recordings = sorted(root.glob(f"{person}/ses-*/eeg/*_eeg.set"))
    prepared = root / "derivatives"
    tables = [] if prepared.is_dir() else sorted(root.glob(f"{person}/ses-*/func/*_bold/func_atlas/*.tsv"))
    named = {path: match for path in tables if (match := TABLE.fullmatch(path.name))}
    if not recordings or not (named or prepared.is_dir()):
        lacking = (
            "parcels (func_atlas), nor derivatives/fmriprep" if recordings else f"{person}/ses-*/eeg/*.set"
        )
        raise InputError(
            f"{root}: no {lacking}; pass the folder of preproc_data, or that of raw_data once fMRIPrep has "
            "written derivatives/fmriprep there"
        )
    frames = {path: _frames(path, int(match[3])) for path, match in named.items()}
    for recording in recordings:
        folder = out / recording.parent.relative_to(root)
        folder.mkdir(parents=True, exist_ok=True)
        stem = recording.stem.removesuffix("_eeg")
        beside = [*recording.parent.glob(f"{stem}_*.tsv"), *recording.parent.glob("*_electrodes.tsv")]
        for file in (recording, recording.with_suffix(".fdt"), *beside):
            if file.exists() and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file.resolve())
    if prepared.is_dir() and not (out / "derivatives").exists():
        (out / "derivatives").symlink_to(prepared.resolve())
    for path, match in named.items():
        folder = out / "derivatives/natview" / path.parents[2].relative_to(root)
        target = folder / f"{match[1]}_atlas-{match[2]}n{match[3]}x{match[4]}_bold.npz"
        if not target.exists():
            with written_whole(target) as temporary:
                np.savez(temporary, bold=frames[path], tr=TR)


def _frames(path: Path, n_parcels: int) -> np.ndarray:
    """Frames (K, P) of a table of P parcels in rows."""
    lines = read_lines(path)
    try:
        values = lines.to_numpy(np.float32)
    except ValueError as error:
        raise InputError(f"{path}: expected numbers alone ({error}); copy it again") from error
    if len(values) != n_parcels:
        raise InputError(f"{path}: {len(values)} rows; expected {n_parcels}, one a parcel; copy it again")
    return values.T
