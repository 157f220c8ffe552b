"""BIDS data sets: which EEG, confounds and preprocessed BOLD belong to each other.

EEG lies at ROOT/sub-XX[/ses-YY]/eeg, BOLD at ROOT/derivatives/fmriprep/sub-XX[/ses-YY]/func. In place of EEG
there may be features of each frame, and in place of vertices parcels, as XCP-D writes them.

    BOLD, confounds    all entities are the same but those of how BOLD was processed (`RENDERING`)
    EEG, BOLD          subject, session, task and run are the same, and no other (acq, rec, dir ...) that
                       both state differs; of several the one whose entities differ least

MNE-BIDS would find the EEG, but no file whose name has `hemi`, `den`, `dir` or entities out of order.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuroframes.errors import InputError, listed
from neuroframes.recording.features import FORMATS
from neuroframes.recording.sidecar import split_suffix

logger = logging.getLogger(__name__)

EEG_SUFFIXES = (*(f"_eeg{s}" for s in (".vhdr", ".edf", ".bdf", ".set", ".fif", ".mff", *FORMATS)),)
EEG_SUFFIXES += (*(f"_features{s}" for s in FORMATS),)
PARCEL_FORMATS = (".ptseries.nii", ".tsv", ".npz", ".mat")
PARCEL_SUFFIXES = tuple(f"_{kind}{suffix}" for kind in ("timeseries", "bold") for suffix in PARCEL_FORMATS)
BOLD_SUFFIXES = ("_bold.dtseries.nii", "_bold.func.gii", "_bold.nii.gz", *PARCEL_SUFFIXES)
# fMRIPrep's since 20.2, then before; XCP-D's.
CONFOUNDS = (
    *("*_desc-confounds_timeseries.tsv", "*_desc-confounds_regressors.tsv", "*_bold_confounds.tsv"),
    "*_motion.tsv",
)
SPACES = ("fsLR", "fsaverage5", "fsaverage6", "fsaverage")  # of the surface, in the order of preference
# `desc` of what neuroframes writes: its estimates would be taken for data.
OWN_OUTPUTS = {"reconstructed", "completed", "resampled"}

ENTITIES = ("sub", "ses", "task", "run")  # the others a modality may have to itself
LABELS = ("sub", "ses", "task", "acq", "run")  # by which runs are ordered
INDICES = {"run", "echo", "split"}  # whose labels are numbers: run-1 is run-01
# In which files of one run differ.
RENDERING = {"hemi", "space", "res", "den", "cohort", "atlas", "seg", "stat", "desc"}
Entities = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class RunFiles:
    """The files of one run of one subject.

    Attributes
    ----------
    subject : str
        Its BIDS label, without `sub-`.
    name : str
        Of the run within its subject, as `run_name` of the EEG, such as "ses-01_task-movie_run-2".
    eeg : Path
        Raw, or features of each frame.
    bold : tuple of Path
        One file, or the left and the right hemisphere's.
    confounds : Path or None
    """

    subject: str
    name: str
    eeg: Path
    bold: tuple[Path, ...]
    confounds: Path | None


def find_runs(
    root: str | Path,
    *,
    subject: str | None = None,
    space: str | None = None,
    atlas: str | None = None,
    eeg_root: str | Path | None = None,
) -> list[RunFiles]:
    """Every run that has both EEG and preprocessed BOLD, sorted by subject and name.

    Parameters
    ----------
    root : path
        A BIDS data set with derivatives/fmriprep (or another folder of derivatives), or the folder of
        derivatives itself.
    subject : str, optional
        Only this one, with or without `sub-`.
    space : str, optional
        The BOLD's space entity. Where not given: fsLR (91k before 32k) before fsaverage5, 6, 7, and parcels
        of whatever space last.
    atlas : str, optional
        Of parcels (their entity atlas or seg), which are then taken rather than vertices.
    eeg_root : path, optional
        Where sub-XX/eeg is, when cleaned EEG lies among the derivatives.

    Raises
    ------
    InputError
        If the folder, the EEG, the BOLD or a common run is missing, or two files claim the same run.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; pass the root of a BIDS data set")
    subjects = "sub-*" if subject is None else "sub-" + subject.removeprefix("sub-")
    eeg = _eeg_files(root, subjects, eeg_root)
    bold = _bold_files(root, subjects, space, atlas)
    tables = [file for folder in _derivatives(root) for file in _files([folder], subjects, "func", CONFOUNDS)]
    pairs = _pairs(eeg, bold)
    for has, lacks, left in (
        ("EEG", "BOLD", eeg.keys() - pairs.keys()),
        ("BOLD", "EEG", bold.keys() - {*pairs.values()}),
    ):
        for run in sorted(left, key=_ordered):
            logger.warning("%s has %s but no %s: left out", _described(run), has, lacks)
    if not pairs:
        raise InputError(
            f"{root}: no run has both: EEG of {'; '.join(sorted(map(_described, eeg)))}, BOLD of "
            f"{'; '.join(sorted(map(_described, bold)))}; name both with the same sub, ses, task and run, "
            "and no acq that differs"
        )
    runs = []
    for of_eeg, of_bold in sorted(pairs.items(), key=lambda pair: _ordered(pair[0])):
        for kind, files in (("EEG", eeg[of_eeg]), ("BOLD", bold[of_bold])):
            _check_one(_described(of_eeg), kind, files)
        images = tuple(sorted(bold[of_bold]))
        subject, name = dict(of_eeg).get("sub", ""), run_name(eeg[of_eeg][0]) or "run-1"
        table = confounds_of(images[0]) or next((file for file in tables if run_of(file) == of_bold), None)
        runs.append(RunFiles(subject, name, eeg[of_eeg][0], images, table))
    if lacking := [run.bold[0].name for run in runs if run.confounds is None]:
        logger.warning("%s: no confounds of the same run by name, nothing is censored there", listed(lacking))
    return runs


def find_bold(root: str | Path, *, space: str | None = None, task: str | None = None) -> list[Path]:
    """Preprocessed BOLD of every run of a data set, whether it has EEG or not: of GIFTI one hemisphere.

    Parameters
    ----------
    root : path
        As in `find_runs`.
    space, task : str, optional
        Space and task entities; by default the space as in `find_runs`, and every task.

    Raises
    ------
    InputError
        If there is none, or two files claim the same run.
    """
    root = Path(root)
    found = _bold_files(root, "sub-*", space)
    runs = [files for run, files in found.items() if task in (None, dict(run).get("task", ""))]
    if not runs:
        raise InputError(f"{root}: no BOLD of task-{task}; choose another --task, or leave it out")
    for files in runs:
        _check_one(files[0].name, "BOLD", files)
    return sorted(min(files) for files in runs)


def eeg_by_run(root: Path, eeg_root: str | Path | None = None) -> list[list[Path]]:
    """The files that claim to be the EEG of each run; InputError where there are none."""
    return [*_eeg_files(root, "sub-*", eeg_root).values()]


def bold_by_run(root: Path, space: str | None = None, atlas: str | None = None) -> list[list[Path]]:
    """The files that claim to be the BOLD of each run; InputError where there are none."""
    return [*_bold_files(root, "sub-*", space, atlas).values()]


def run_of(path: Path) -> Entities:
    """All entities that a run has, whatever derivative of it the file is; run-01 is run-1."""
    entities = {name: label for name, label in _entities(path).items() if name not in RENDERING}
    numbers = {name: str(int(entities[name])) for name in INDICES if entities.get(name, "").isdecimal()}
    return frozenset((entities | numbers).items())


def run_name(path: Path) -> str:
    """The entities of a file's run but its subject, such as "ses-01_task-movie_run-2"; "" without any."""
    return _described(frozenset(part for part in run_of(path) if part[0] != "sub"))


def confounds_of(bold: Path) -> Path | None:
    """fMRIPrep's confounds beside a BOLD file, of the same run by name; None where there are none."""
    run = run_of(bold)
    beside = (file for pattern in CONFOUNDS for file in sorted(bold.parent.glob(pattern)))
    return next((file for file in beside if run and run_of(file) == run), None)


def confounds_beside(bold: Path) -> Path:
    """Where confounds of a BOLD file go, so that `confounds_of` and nilearn's `load_confounds` find them."""
    run = [f"{name}-{label}" for name, label in _entities(bold).items() if name not in RENDERING]
    return bold.with_name("_".join([*(run or [split_suffix(bold)[0]]), "desc-confounds_timeseries.tsv"]))


def person_of(path: Path, unnamed: str | None = None) -> str:
    """Whose run a file is, as "sub-01": by its name, or else by that of the nearest folder above it.

    Where none of them has a subject it is `unnamed`, by default the file's name without its suffix, so that
    each run is of a person of its own.
    """
    subjects = (_entities(Path(part)).get("sub") for part in reversed(path.absolute().parts))
    otherwise = split_suffix(path)[0] if unnamed is None else unnamed
    return next((f"sub-{subject}" for subject in subjects if subject), otherwise)


def check_same_run(path: Path, bold: Path) -> None:
    """Raise InputError where EEG or a table and a BOLD file say by name that they are of different runs.

    Names count as far as both state an entity of the run.
    """
    # What a name leaves out contradicts nothing: files are often renamed to something short.
    for entity in _contradictions(run_of(path), run_of(bold)):
        here, there = (f"{entity}-{_entities(file)[entity]}" for file in (path, bold))
        raise InputError(
            f"{path.name} is of {here} but {bold.name} of {there}; "
            "pass the file of the same run, or rename the one whose name is wrong"
        )


def nearest_of_run(files: Iterable[Path], run: Entities, what: str) -> Path | None:
    """The file whose name says most of a run and contradicts nothing of it; None where none says anything.

    Raises
    ------
    InputError
        If several say as much.
    """
    apart = defaultdict(list)
    for file in files:
        its = run_of(file)
        if its & run and not _contradictions(its, run):
            apart[len(its ^ run)].append(file)
    nearest = apart[min(apart)] if apart else []
    if len(nearest) > 1:
        raise InputError(
            f"{_described(run)}: expected one {what}, got {len(nearest)} "
            f"({listed([file.name for file in nearest])}); remove all but one"
        )
    return nearest[0] if nearest else None


def fit(eeg: Entities, bold: Entities) -> bool:
    """Whether EEG and BOLD can be of the same run, by name."""
    alone = {name for name, _ in eeg ^ bold}
    return not (_contradictions(eeg, bold) or alone & {*ENTITIES})


def _eeg_files(root: Path, subjects: str, eeg_root: str | Path | None) -> dict[Entities, list[Path]]:
    # Of a folder of derivatives the raw data set is the one above.
    raw = [root, *(folder.parent for folder in (root, root.parent) if folder.name == "derivatives")]
    patterns = [f"*{suffix}" for suffix in EEG_SUFFIXES]
    found = _files([Path(eeg_root)] if eeg_root else raw, subjects, "eeg", patterns)
    if not found:
        raise InputError(
            f"{root}: no EEG of {subjects} in [ses-*/]eeg/*({'|'.join(EEG_SUFFIXES)}); "
            "pass the BIDS root, or --eeg-root for cleaned EEG elsewhere"
        )
    return _by_run(found)


def _bold_files(
    root: Path, subjects: str, space: str | None, atlas: str | None = None
) -> dict[Entities, list[Path]]:
    patterns = [f"*{suffix}" for suffix in BOLD_SUFFIXES]
    volumes = ""
    for folder in _derivatives(root):
        found = _by_run(_files([folder], subjects, "func", patterns))
        chosen = {key: best for key, files in found.items() if (best := _of_space(files, space, atlas))}
        if chosen:
            return chosen
        if any("_space-MNI" in file.name for files in found.values() for file in files):
            volumes = ", or prepare with --surface fsaverage5, which projects the volumes that are there"
    raise InputError(
        f"{root}: no parcels of atlas {atlas}; leave --atlas out, or correct it"
        if atlas
        else f"{root}: no preprocessed BOLD in space {space or ' or '.join(SPACES)} at "
        f"derivatives/fmriprep/{subjects}/[ses-*/]func/*_bold(.dtseries.nii|.func.gii), nor parcels as "
        f"*_timeseries.tsv; run fMRIPrep with --cifti-output or --output-spaces fsaverage5{volumes}"
    )


def _entities(path: Path) -> dict[str, str]:
    return dict(part.split("-", 1) for part in path.name.partition(".")[0].split("_") if "-" in part)


def _contradictions(first: Entities, second: Entities) -> list[str]:
    """Entities that both state, with different labels."""
    here, there = dict(first), dict(second)
    return [name for name in here if there.get(name, here[name]) != here[name]]


def _pairs(eeg: Iterable[Entities], bold: Iterable[Entities]) -> dict[Entities, Entities]:
    """The run of BOLD of each run of EEG that has one, the nearest first.

    Raises
    ------
    InputError
        If several are as near.
    """
    apart = [(len(one ^ other), one, other) for one in eeg for other in bold if fit(one, other)]
    pairs: dict[Entities, Entities] = {}
    for distance in sorted({distance for distance, *_ in apart}):
        found = [
            (one, other)
            for far, one, other in apart
            if far == distance and one not in pairs and other not in pairs.values()
        ]
        for kind, (one, other) in ((kind, pair) for pair in found for kind in ("BOLD", "EEG")):
            ways = (
                [b for e, b in found if e == one] if kind == "BOLD" else [e for e, b in found if b == other]
            )
            if len(ways) > 1:
                run, names = one if kind == "BOLD" else other, "; ".join(map(_described, ways))
                raise InputError(
                    f"{_described(run)}: expected one {kind} file, got {len(ways)} ({names}); remove all but "
                    "one, or say by run or acq in the names of both which EEG and which BOLD belong together"
                )
        pairs.update(found)
    return pairs


def _check_one(run: str, kind: str, files: Sequence[Path]) -> None:
    """Raise InputError where several files claim to be a run's."""
    # The two files of a GIFTI pair differ in nothing but the hemisphere.
    if len({re.sub(r"_hemi-[LR]", "", str(file)) for file in files}) > 1:
        names = listed([file.name for file in files])
        remedy = (
            ", or choose by --atlas" if any("_atlas-" in str(f) or "_seg-" in str(f) for f in files) else ""
        )
        raise InputError(
            f"{run}: expected one {kind} file, got {len(files)} ({names}); remove all but one{remedy}"
        )


def _ordered(run: Entities) -> list[tuple[int, str]]:
    labels = {name: dict(run).get(name, "") for name in LABELS}
    # Of numbers without zeros in front the longer is the larger.
    return [(len(label) if name in INDICES else 0, label) for name, label in labels.items()]


def _described(run: Entities) -> str:
    labels = dict(run)
    order = [*ENTITIES[:-1], *sorted(labels.keys() - {*ENTITIES}), "run"]
    return "_".join(f"{name}-{labels[name]}" for name in order if name in labels)


def _files(folders: Iterable[Path], subjects: str, kind: str, patterns: Sequence[str]) -> list[Path]:
    """Files of the first folder that has any, below sub-XX/kind or sub-XX/ses-YY/kind."""
    for folder in folders:
        found = [
            file
            for pattern in patterns
            for between in ("", "ses-*/")
            for file in sorted(folder.glob(f"{subjects}/{between}{kind}/{pattern}"))
        ]
        if found:
            return found
    return []


def _by_run(files: list[Path]) -> dict[Entities, list[Path]]:
    runs = defaultdict(list)
    for file in files:
        runs[run_of(file)].append(file)
    return runs


def _derivatives(root: Path) -> list[Path]:
    """Where preprocessed BOLD may be, the likeliest first."""
    folder = root if root.name == "derivatives" else root / "derivatives"
    others = sorted(path for path in folder.glob("*") if path.is_dir())
    return [folder / "fmriprep", *others, root]


def _of_space(files: list[Path], space: str | None, atlas: str | None) -> list[Path]:
    """The files of this space or atlas, or of the most preferred surface space, or else parcels."""
    spaces = (space,) if space else SPACES
    ranked = defaultdict(list)
    for file in files:
        entities = _entities(file)
        of_parcels = file.name.endswith(PARCEL_SUFFIXES)
        if entities.get("desc") in (*OWN_OUTPUTS, "confounds") or entities.get("stat", "mean") != "mean":
            continue
        if atlas and not (of_parcels and atlas in (entities.get("atlas"), entities.get("seg"))):
            continue
        its = entities.get("space")
        if its in spaces or (of_parcels and not (space and its)):
            # CIFTI before GIFTI before volumes before parcels, then the standard 91k grayordinates before the
            # cortex alone.
            kind = next(i for i, suffix in enumerate(BOLD_SUFFIXES) if file.name.endswith(suffix))
            place = len(spaces) if of_parcels else spaces.index(str(its))
            ranked[place, kind, entities.get("den") != "91k"].append(file)
    return ranked[min(ranked)] if ranked else []
