"""Reading a data set into stores (see `recording.store`), one per subject: resumable, whole runs or none.

A run that is there is whole, and `prepare` goes on where it was interrupted. Where a store must be made anew
it stays until the new one, the draft OUT/.sub-01.zarr, is complete.
"""

import hashlib
import logging
import shutil
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroframes.checksums import check_files, write_checksums
from neuroframes.cortex.labels import ATLASES, check_atlas
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError, check_number, check_there, counted, listed
from neuroframes.files import alone, put_in_place, written_whole
from neuroframes.recording.averaging import of_parcels, on_mesh
from neuroframes.recording.bids import RunFiles, find_runs
from neuroframes.recording.bold import Bold, bold_files, read_bold
from neuroframes.recording.datasets import cinebrain, natview
from neuroframes.recording.eeg import Eeg, check_channels, eeg_files, read_eeg_of_bold
from neuroframes.recording.features import (
    Features,
    check_frames,
    is_table,
    read_features,
    refuse_options,
    tables_of,
    without_categories,
)
from neuroframes.recording.montage import positions_to_json
from neuroframes.recording.nuisance import read_confounds, without_nuisance
from neuroframes.recording.projection import VOLUMES, check_surface, projected
from neuroframes.recording.scanner import log_traces, scanner_traces
from neuroframes.recording.stimulus import StimulusFiles, find_stimulus, read_stimulus
from neuroframes.recording.store import (
    EXPECTED,
    FORMAT,
    OF_EEG,
    finished_runs,
    lacking_runs,
    run_attributes,
    store_attributes,
)
from neuroframes.recording.timeline import Censoring, at_volumes, motion
from neuroframes.threads import few_threads

logger = logging.getLogger(__name__)

# Whole time series in each chunk: what is read is a block of vertices over the run, 11 MB at K = 1350.
CHUNK_VERTICES = 2048
CHUNK_SAMPLES = 16_384
ADAPTERS = {"cinebrain": cinebrain.to_bids, "natview": natview.to_bids}


@few_threads
def prepare(
    bids_root: str | Path,
    out: str | Path,
    *,
    dataset: Literal["bids", "cinebrain", "natview"] = "bids",
    subject: str | None = None,
    rate: float = 200.0,
    l_freq: float | None = 0.5,
    reference: str | None = "average",
    gradient: bool = False,
    trigger: str | None = "auto",
    onset: float | None = None,
    skip_volumes: int = 0,
    fd_threshold: float = 0.5,
    dvars_threshold: float | None = None,
    censor_before: int = 0,
    censor_after: int = 0,
    censor_between: int = 0,
    regress: str | None = None,
    high_pass: float | None = None,
    space: str | None = None,
    atlas: str | None = None,
    surface: str | None = None,
    sphere: Sequence[str | Path] = (),
    to_sphere: Sequence[str | Path] = (),
    parcels: Sequence[str | Path] = (),
    bold_tr: float | None = None,
    eeg_root: str | Path | None = None,
    stimulus: str | Path | None = None,
    category: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Path, ...]:
    """Read a BIDS data set into one store per subject, `OUT/sub-XX.zarr`.

    Runs that are there already, from the same files with the same settings, are kept. If the first one, which
    gives the store its space, channels and positions, must be read again, so must the others.

    Parameters
    ----------
    bids_root : path
        EEG, raw or as tables of features per frame, with derivatives/fmriprep, or the folder of derivatives.
    out : path
        Folder of the stores.
    dataset : str
        Layout of the data: BIDS, or that of a public data set, which is brought to BIDS in a folder of its
        name below `out`.
    subject : str
        Subject to prepare, with or without `sub-`; all by default.
    rate : float, Hz
        Sampling rate to which EEG is resampled; a slower recording keeps its own.
    l_freq : float, Hz
        Edge of the EEG's high-pass filter; none to leave it out.
    reference : str
        What is subtracted from each EEG channel: average, the name of a channel, or none.
    gradient : bool
        Remove the scanner's gradient artefact from EEG as it was recorded, by MNE's average artefact
        subtraction.
    trigger : str
        Description of the volume triggers in the EEG, auto, or none.
    onset : float, seconds
        Time from the EEG's start to the first volume's, where triggers are missing or not used.
    skip_volumes : int
        Number of dummy scans that have triggers but are not in the BOLD file.
    fd_threshold : float, mm
        Framewise displacement above which frames are censored, where the run has confounds.
    dvars_threshold : float
        Standardised DVARS above which frames are censored, where it has; by default none are.
    censor_before : int
        Number of frames before each censored one that are censored too.
    censor_after : int
        Number of frames after each censored one that are censored too.
    censor_between : int
        Stretches of at most so many good frames, between censored ones or the run's ends, are censored too.
    regress : str
        Confounds to regress out of BOLD, with a fit to frames that aren't censored: columns of fMRIPrep's
        table, or parts of a strategy of nilearn's load_confounds, with commas between (motion,wm_csf).
        Censored frames are NaN then.
    high_pass : float, Hz
        Edge of the high-pass filter of BOLD, a cosine basis in the same fit; by default none.
    space : str
        The BOLD's space entity, where there are several; by default fsLR before fsaverage before parcels.
    atlas : str
        Atlas of parcels, which are then taken rather than vertices.
    surface : {"fsaverage5"}
        Surface to which volumes in MNI space are projected, by default fMRIPrep's MNI152NLin2009cAsym.
    sphere : sequence of path
        Registration sphere of the BOLD's mesh, GIFTI, the left hemisphere's first, by which BOLD is moved to
        the mesh of `to_sphere`.
    to_sphere : sequence of path
        Sphere of the mesh to move to, registered to `sphere`.
    parcels : sequence of path
        Labels by which vertices are averaged to parcels: mmp, yeo7, yeo17 or cole-anticevic on fsLR-32k, a
        .dlabel.nii, or a .label.gii or .annot, the left hemisphere's first.
    bold_tr : float, seconds
        TR of all runs, where files state none or a wrong one.
    eeg_root : path
        BIDS root of the EEG, where it is another.
    stimulus : path
        Folder of what was shown: the films that events.tsv names as `stim_file`, of which low-level features
        are computed, or tables with a row of features for each frame, named as their run.
    category : str
        Column of events.tsv whose values are categories of what is shown, such as trial_type.
    overwrite : bool
        Replace what was made with other settings or from other files, once all of the new is complete.
    progress : bool
        Show a progress bar.

    Returns
    -------
    tuple of Path
        The stores.

    Raises
    ------
    InputError
        If a number is out of range, a file cannot be used, EEG and BOLD do not fit each other, a run differs
        from its subject's others in channels or space, or two runs, of whatever subjects, are copies.
    """
    from rich.console import Console
    from rich.progress import Progress

    if subject is not None and {",", " "} & {*subject}:
        raise InputError(f"--subject {subject}; expected one label: leave it out for all, or call for each")
    settings: dict[str, Any] = {
        "rate": check_number(rate, "--rate", above=0),
        "l_freq": None if l_freq is None else check_number(l_freq, "--l-freq", above=0),
        "reference": reference,
        "bold_tr": bold_tr,
        "surface": None if surface is None else check_surface(surface),
        "gradient": gradient,
        "trigger": trigger,
        "onset": None if onset is None else check_number(onset, "--onset"),
        "skip_volumes": int(check_number(skip_volumes, "--skip-volumes", at_least=0, whole=True)),
        **asdict(Censoring(fd_threshold, dvars_threshold, censor_before, censor_after, censor_between)),
        "regress": regress,
        "high_pass": None if high_pass is None else check_number(high_pass, "--high-pass", above=0),
        "sphere": _spheres(sphere),
        "to_sphere": _spheres(to_sphere),
        "parcels": check_atlas(parcels) or None,
        "stimulus": None if stimulus is None else str(Path(stimulus).absolute()),
        "category": category,
    }
    if stimulus is not None:
        check_there(Path(stimulus))
        if not Path(stimulus).is_dir():
            raise InputError(f"--stimulus {stimulus} is no folder; pass the one that holds it")
    if len(sphere) != len(to_sphere):
        raise InputError(
            f"{len(sphere)} --sphere and {len(to_sphere)} --to-sphere; expected as many: pass both for each "
            "hemisphere, or leave both out"
        )
    if dataset not in ("bids", *ADAPTERS):
        raise InputError(f"--dataset {dataset}; expected bids, {listed([*ADAPTERS])}")
    if dataset != "bids":
        bids = Path(out) / dataset
        ADAPTERS[dataset](Path(bids_root), bids, subject)
        bids_root = bids
    space = space or (VOLUMES if surface else None)
    runs = find_runs(bids_root, subject=subject, space=space, atlas=atlas, eeg_root=eeg_root)
    by_subject = {name: list(group) for name, group in groupby(runs, attrgetter("subject"))}
    for of_subject in by_subject.values():
        _check_tables(of_subject, settings)
    stores = {name: Path(out) / f"sub-{name}.zarr" for name in by_subject}
    with ExitStack() as held:
        for store in stores.values():
            held.enter_context(alone(store))
        for name, store in stores.items():
            _refuse_others(store, by_subject[name], settings, overwrite)
        places = {name: _place(store, by_subject[name], settings) for name, store in stores.items()}
        drafts = {places[name]: store for name, store in stores.items() if places[name] != store}
        # Only whole runs have a stamp, so one that was interrupted is read again.
        kept = [run for run in runs if _stamp_of(places[run.subject], run) == _stamp(run, settings)]
        try:
            with Progress(console=Console(stderr=True), disable=not progress) as bar:
                task = bar.add_task("prepare", total=len(runs))
                for run in runs:
                    bar.update(task, description=f"sub-{run.subject} {run.name}")
                    if run not in kept:
                        names = [other.name for other in by_subject[run.subject]]
                        _add(run, places[run.subject], settings, names, replaced=drafts.values())
                    bar.advance(task)
        finally:
            # A place with some runs is where the next call goes on; none is left without.
            for place in places.values():
                if place.exists() and not finished_runs(place):
                    shutil.rmtree(place)
                elif not lacking_runs(place):
                    (place / EXPECTED).unlink(missing_ok=True)
        for draft, store in drafts.items():
            put_in_place({draft: store})
    logger.info("%s: %d kept, %d read", counted(len(runs), "run"), len(kept), len(runs) - len(kept))
    return tuple(stores.values())


def _check_tables(runs: list[RunFiles], settings: dict[str, Any]) -> None:
    """Raise InputError where a subject has raw EEG beside tables, or there are options that these ignore."""
    for table in tables_of([run.eeg for run in runs], f"sub-{runs[0].subject}"):
        refuse_options(table, prepare, {name: settings[name] for name in OF_EEG})


def _refuse_others(store: Path, runs: list[RunFiles], settings: dict[str, Any], overwrite: bool) -> None:
    """Refuse what is no store and, but for `overwrite`, one with other settings or from other files."""
    attributes = store_attributes(store)
    if store.exists() and attributes.get("format") != FORMAT:
        raise InputError(f"{store} exists and is not a store of neuroframes; pass another --out")
    if overwrite or not attributes:
        return
    before = attributes["settings"]
    if differ := [f"{name}={before.get(name)}" for name in settings if before.get(name) != settings[name]]:
        raise InputError(
            f"{store} was prepared with {', '.join(differ)}; pass the same, or --overwrite to replace it"
        )
    for run in runs:
        read = {name for name, *_ in _stamp_of(store, run)}
        for file in (run.bold[0], run.eeg):
            if read and _named(file) not in read:
                raise InputError(
                    f"{store}: {run.name} was prepared from other files than {file}; pass --overwrite to "
                    "replace it, or another --out"
                )


def _place(store: Path, runs: list[RunFiles], settings: dict[str, Any]) -> Path:
    """Where a subject's runs go: its store, or a draft beside it where that must be made anew."""
    first, draft = runs[0], store.with_name(f".{store.name}")
    usable = [
        place
        for place in (store, draft)
        if store_attributes(place).get("settings") == settings
        and _stamp_of(place, first) == _stamp(first, settings)
    ]
    place = usable[0] if usable else draft if store.exists() else store
    if draft not in usable or place == store:
        shutil.rmtree(draft, ignore_errors=True)
    for unfinished in (place / "runs").glob(".*"):
        shutil.rmtree(unfinished)
    if place.exists():
        with written_whole(place / EXPECTED, overwrite=True) as temporary:
            _write_expected(temporary, [run.name for run in runs])
    for run in finished_runs(place):
        try:
            check_files(run, "this run is read again")
        except InputError as error:
            logger.warning("%s", error)
            shutil.rmtree(run)
    return place


def _add(
    run: RunFiles, store: Path, settings: dict[str, Any], names: list[str], replaced: Collection[Path]
) -> None:
    """Read a run and write it into its store, of runs of these `names`.

    Stores that are to be `replaced` may hold the same data.
    """
    stamp = _stamp(run, settings)  # before reading: what changes meanwhile is read again
    bold, eeg, times, left_out, moved = _read(run, settings)
    files = _stimulus_files(run, settings)
    shown = read_stimulus(files, times, bold.tr, settings["category"]) if files else None
    if files and shown is not None:
        _check_stimulus(store, run, shown)
        logger.info("%s: what was shown is of %s", run.name, listed([path.name for path in files.paths]))
    elif files:
        expected = "no table %s.tsv (.npz, .parquet, .mat), nor film or category in its events"
        logger.warning("%s: nothing that was shown: " + expected, run.name, run.name)
    # Transposed, BOLD is contiguous (see `recording.bold`): hashing copies nothing.
    hashes = {"bold": _hash(bold.data.T), "eeg": _hash(_array(eeg))}
    target = store / "runs" / run.name
    _refuse_copies(target, hashes, replaced)
    eeg = _fit_to_store(store, run, bold, eeg, settings, names)
    sources = {
        "bold": [str(path) for path in bold.sources],
        "eeg": str(run.eeg),
        "confounds": str(run.confounds) if run.confounds else None,
        "stimulus": [str(path) for path in files.paths] if files else [],
    }
    attributes = {"tr": bold.tr, "rate": eeg.rate, "hashes": hashes, "stamp": stamp, "sources": sources}
    attributes["stimulus_features"] = [] if shown is None else list(shown.names)
    if isinstance(eeg, Eeg):
        traces = scanner_traces(eeg.data, eeg.rate, eeg.triggers, bold.tr, ecg=eeg.ecg)
        log_traces(traces, run.eeg.name)
        attributes["scanner"] = asdict(traces)
    with written_whole(target, overwrite=True) as temporary:
        group = zarr.create_group(temporary, attributes=attributes, zarr_format=3)
        _write_blocks(group, "bold", bold.data, CHUNK_VERTICES)
        _write_blocks(group, "features" if is_table(run.eeg) else "eeg", _array(eeg), CHUNK_SAMPLES)
        group.create_array("frame_times", data=times)
        group.create_array("censored", data=left_out)
        if moved is not None:
            group.create_array("motion", data=moved)
        if shown is not None:
            group.create_array("stimulus", data=shown.values)
        write_checksums(temporary)


def _read(
    run: RunFiles, settings: dict[str, Any]
) -> tuple[Bold, Eeg | Features, NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64] | None]:
    bold = read_bold(run.bold[0], tr=settings["bold_tr"])
    if settings["surface"]:
        bold = projected(bold, settings["surface"])
    rules = Censoring(**{name: settings[name] for name in Censoring.__annotations__})
    left_out = rules.left_out(bold, run.confounds)
    moved = motion(run.confounds, bold.n_volumes) if run.confounds else None
    moved = None if moved is None else at_volumes(moved, bold.acquired)
    if settings["sphere"]:
        bold = on_mesh(bold, ~left_out, settings["sphere"], settings["to_sphere"])
    if settings["parcels"]:
        bold = of_parcels(bold, ~left_out, settings["parcels"])
    if settings["regress"] or settings["high_pass"]:
        bold = _cleaned(run, bold, ~left_out, settings)
    if is_table(run.eeg):
        features = read_features(run.eeg, tr=bold.tr)
        check_frames(run.eeg, features, len(bold.data), bold.tr)
        return bold, features, features.times, left_out, moved
    eeg, times = read_eeg_of_bold(run.eeg, bold, **{name: settings[name] for name in OF_EEG})
    return bold, eeg, times, left_out, moved


def _stimulus_files(run: RunFiles, settings: dict[str, Any]) -> StimulusFiles | None:
    if settings["stimulus"] is None and settings["category"] is None:
        return None
    place = settings["stimulus"]
    return find_stimulus(None if place is None else Path(place), run)


def _check_stimulus(store: Path, run: RunFiles, shown: Features) -> None:
    """Raise InputError where a run's features are others than those of its subject's other runs."""
    here = without_categories(shown.names)
    for folder in finished_runs(store):
        names = run_attributes(folder)["stimulus_features"]
        there = without_categories(names)
        if names and here != there and folder.name != run.name:
            raise InputError(
                f"{run.name}: the stimulus has the features {listed(here) or 'none'}, {folder.name} has "
                f"{listed(there) or 'none'}; give all runs the same columns, and all films sound or none"
            )


def _cleaned(run: RunFiles, bold: Bold, measured: NDArray[np.bool_], settings: dict[str, Any]) -> Bold:
    """The run without what confounds and drifts explain of its measured frames."""
    confounds = None
    if settings["regress"]:
        if run.confounds is None:
            raise InputError(
                f"{run.bold[0].name}: --regress {settings['regress']}, but no table of confounds is there; "
                "put fMRIPrep's desc-confounds_timeseries.tsv there, or leave the option out"
            )
        table = read_confounds(run.confounds, settings["regress"])
        confounds = table.set_axis(np.flatnonzero(bold.acquired)).reindex(range(len(bold.data)), fill_value=0)
    name, high_pass = run.bold[0].name, settings["high_pass"]
    return replace(bold, data=without_nuisance(bold.data, measured, confounds, high_pass, bold.tr, name))


def _fit_to_store(
    store: Path, run: RunFiles, bold: Bold, eeg: Eeg | Features, settings: dict[str, Any], names: list[str]
) -> Eeg | Features:
    """Check a run against its subject's others, or begin the store with it; returns EEG in their order."""
    attributes = store_attributes(store)
    if attributes:
        CorticalSpace.from_json(attributes["space"]).check_same(bold.space, bold.sources[0].name)
        others = f"sub-{run.subject}'s other runs"
        if isinstance(eeg, Features):
            return eeg.picked(attributes["features"], others)
        return check_channels(eeg, attributes["channels"], others)
    raw = None if isinstance(eeg, Features) else eeg
    begun: dict[str, Any] = {
        "format": FORMAT,
        "subject": run.subject,
        "space": bold.space.to_json(),
        "channels": list(raw.channels) if raw else [],
        "positions": positions_to_json(raw.positions) if raw else [],
        "features": list(eeg.names) if isinstance(eeg, Features) else [],
        "rate": eeg.rate,
        "settings": settings,
    }
    with written_whole(store) as temporary:
        zarr.create_group(temporary, attributes=begun, zarr_format=3)
        write_checksums(temporary)
        _write_expected(temporary / EXPECTED, names)
    return eeg


def _array(eeg: Eeg | Features) -> NDArray[np.float32]:
    return eeg.values if isinstance(eeg, Features) else eeg.data


def _write_blocks(group: zarr.Group, name: str, data: NDArray[np.float32], width: int) -> None:
    """Write an array in chunks of `width` along its second axis."""
    chunks = (len(data), min(width, data.shape[1]))
    # Float noise barely compresses: uncompressed chunks read at the speed of the disk.
    group.create_array(name, data=data, chunks=chunks, compressors=None)


def _refuse_copies(target: Path, hashes: dict[str, str], replaced: Collection[Path]) -> None:
    """A published data set holds one subject twice, bit by bit: a copy across a split is a leak."""
    others = sorted({*target.parents[2].glob("*.zarr")} - {*replaced})
    for folder in (run for other in others for run in finished_runs(other) if run != target):
        known = run_attributes(folder)["hashes"]
        for kind in hashes:
            if known[kind] == hashes[kind]:
                here, there = (f"{run.parents[1].name.lstrip('.')}/{run.name}" for run in (target, folder))
                raise InputError(
                    f"{kind.upper()} of {here} is bit-identical to that of {there}; "
                    "remove the copy from the data set"
                )


def _write_expected(path: Path, names: list[str]) -> None:
    path.write_text("".join(f"{name}\n" for name in names), "utf-8")


def _spheres(files: Sequence[str | Path]) -> list[str] | None:
    for file in files:
        check_there(Path(file))
    return [str(Path(file).absolute()) for file in files] or None


def _stamp(run: RunFiles, settings: dict[str, Any]) -> list[list[Any]]:
    """Name, size and time of change of every file that reading a run depends on."""
    files = [*bold_files(run.bold[0]), *eeg_files(run.eeg), *filter(None, [run.confounds])]
    if of_stimulus := _stimulus_files(run, settings):
        files += of_stimulus.paths
    for name in ("sphere", "to_sphere", "parcels"):
        files += [Path(of) for of in settings[name] or () if of not in ATLASES]
    return [[_named(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _stamp_of(store: Path, run: RunFiles) -> list[list[Any]]:
    """What `_stamp` was when the run was read, [] where it wasn't yet or is damaged."""
    with suppress(InputError):
        return list(run_attributes(store / "runs" / run.name)["stamp"])
    return []


def _named(file: Path) -> str:
    # Not what a link of git-annex leads to: it has another name whenever the content changes.
    return str(file.parent.resolve() / file.name)


def _hash(rows: NDArray[np.float32]) -> str:
    digest = hashlib.blake2b(str(rows.shape).encode(), digest_size=16)
    for start in range(0, len(rows), CHUNK_VERTICES):
        digest.update(np.ascontiguousarray(rows[start : start + CHUNK_VERTICES]).data)
    return digest.hexdigest()
