"""Prepared recordings: one zarr (v3) store per subject, from which training reads.

    OUT/sub-01.zarr/                 attributes: space, channels, positions, rate, settings
      runs/task-movie_run-1/         attributes: tr, rate, sources, hashes
        bold (K, V)  eeg (C, N)  frame_times (K,)  censored (K,)  motion (K, 6)

A run is written under a temporary name and renamed when it is complete, so a run that is there is whole, and
`prepare` goes on where it was interrupted.
"""

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import written_whole
from neuroframes.recording.bids import RunFiles, find_runs
from neuroframes.recording.bold import Bold, read_bold
from neuroframes.recording.eeg import Eeg, check_channels, read_simultaneous_eeg
from neuroframes.recording.sidecar import slice_reference
from neuroframes.recording.timeline import censored, check_covers, frame_times, motion

logger = logging.getLogger(__name__)

FORMAT = "neuroframes-store-1"
# Whole time series in each chunk: what is read is a block of vertices over the run, 11 MB at K = 1350.
CHUNK_VERTICES = 2048
CHUNK_SAMPLES = 16_384


@dataclass(frozen=True)
class StoredRun:
    """A prepared run; frames and EEG are read when asked for.

    Attributes
    ----------
    name : str
        "ses-01_task-movie_run-1"
    tr : float, seconds
    frame_times : array, shape (K,), float64, seconds on the EEG clock
        The centre of each frame's acquisition.
    censored : array, shape (K,), bool
    motion : array, shape (K, 6), mm and rad, or None where it isn't known
    eeg_rate : float, Hz
    sources : dict
        "bold", "eeg", "confounds": the files it was made from.
    """

    name: str
    tr: float
    frame_times: np.ndarray
    censored: np.ndarray
    motion: np.ndarray | None
    eeg_rate: float
    sources: dict[str, Any]
    group: zarr.Group

    def bold(self) -> np.ndarray:
        """All frames, shape (K, V), float32, in the file's units."""
        return self.bold_columns(slice(None))

    def bold_columns(self, columns: slice) -> np.ndarray:
        """Time series of a block of vertices, shape (K, n), float32; cheapest in multiples of 2,048."""
        return np.asarray(self.group["bold"][:, columns])  # type: ignore[index]

    def eeg(self) -> np.ndarray:
        """Filtered, referenced EEG, shape (C, N), float32, volts; sample n is at n / eeg_rate seconds."""
        return np.asarray(self.group["eeg"][:])  # type: ignore[index]


@dataclass(frozen=True)
class Store:
    """A subject's prepared recordings.

    Attributes
    ----------
    path : Path
    subject : str
    space : CorticalSpace
    channels : tuple of str, length C
    positions : array, shape (C, 3), metres
    rate : float, Hz
        Of the first run's EEG; see also `StoredRun.eeg_rate`.
    settings : dict
        What `prepare` was called with.
    runs : tuple of StoredRun
    """

    path: Path
    subject: str
    space: CorticalSpace
    channels: tuple[str, ...]
    positions: np.ndarray
    rate: float
    settings: dict[str, Any]
    runs: tuple[StoredRun, ...]


def open_store(path: str | Path) -> Store:
    """Open what `prepare` wrote.

    Raises
    ------
    InputError
        If there is no store at `path`, or no run of it is complete.
    """
    path = Path(path)
    attributes = _attributes(path)
    if attributes is None:
        raise InputError(
            f"{path}: not a store of neuroframes; make one with: neuroframes prepare BIDS_ROOT --out STORE"
        )
    runs = tuple(_open_run(folder) for folder in _finished(path))
    if not runs:
        raise InputError(f"{path}: no run is complete; run neuroframes prepare again")
    return Store(
        path,
        attributes["subject"],
        CorticalSpace.from_json(attributes["space"]),
        tuple(attributes["channels"]),
        _floats(attributes["positions"]),
        attributes["rate"],
        attributes["settings"],
        runs,
    )


def prepare(
    bids_root: str | Path,
    out: str | Path,
    *,
    subject: str | None = None,
    rate: float = 200.0,
    l_freq: float | None = 0.5,
    reference: str | None = "average",
    trigger: str | None = "auto",
    onset: float | None = None,
    skip_volumes: int = 0,
    fd_threshold: float = 0.5,
    space: str | None = None,
    eeg_root: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Path, ...]:
    """Read every run of a BIDS data set into one store per subject, `OUT/sub-XX.zarr`.

    Runs that are there already, from the same files with the same settings, are kept.

    Parameters
    ----------
    bids_root, subject, space, eeg_root
        See `neuroframes.recording.bids.find_runs`.
    out : path
    rate, l_freq, reference, trigger
        See `neuroframes.recording.eeg.read_eeg`.
    onset : float, seconds
        Start of the first volume on the EEG clock where the EEG has no volume triggers, by default its own
        start, or where `trigger` is None.
    skip_volumes : int
        Dummy scans that have triggers but are not in the BOLD file.
    fd_threshold : float, mm
        Frames with more displacement are censored, where the run has confounds.
    overwrite : bool
        Replace stores that were made with other settings.
    progress : bool
        Show a progress bar.

    Returns
    -------
    tuple of Path
        The stores.

    Raises
    ------
    InputError
        If a file cannot be used, EEG and BOLD do not fit each other, a run differs from its subject's others
        in channels or space, or two runs, of whatever subjects, are copies of each other.
    """
    settings: dict[str, Any] = {
        "rate": rate,
        "l_freq": l_freq,
        "reference": reference,
        "trigger": trigger,
        "onset": onset,
        "skip_volumes": skip_volumes,
        "fd_threshold": fd_threshold,
    }
    out = Path(out)
    runs = find_runs(bids_root, subject=subject, space=space, eeg_root=eeg_root)
    stores = {run.subject: out / f"sub-{run.subject}.zarr" for run in runs}
    for store in stores.values():
        _clear(store, settings, overwrite)
    try:
        with _progress(progress) as show:
            for run in show(runs):
                store = stores[run.subject]
                target = store / "runs" / run.name
                stamp = _stamp(run)
                if target.exists() and _open_run(target).group.attrs["stamp"] == stamp:
                    continue
                bold, eeg, times, left_out, moved = _read(run, settings)
                hashes = {"bold": _hash(bold.data.T), "eeg": _hash(eeg.data)}
                _refuse_copies(out, target, hashes)
                eeg = _fit_to_store(store, run, bold, eeg, settings)
                attributes: dict[str, Any] = {"tr": bold.tr, "rate": eeg.rate, "hashes": hashes}
                attributes["stamp"] = stamp
                attributes["sources"] = {
                    "bold": [str(path) for path in bold.sources],
                    "eeg": str(run.eeg),
                    "confounds": str(run.confounds) if run.confounds else None,
                }
                with written_whole(target, overwrite=True) as temporary:
                    group = zarr.create_group(temporary, attributes=attributes, zarr_format=3)
                    _write_blocks(group, "bold", bold.data, (len(bold.data), CHUNK_VERTICES))
                    _write_blocks(group, "eeg", eeg.data, (len(eeg.data), CHUNK_SAMPLES))
                    group.create_array("frame_times", data=times)
                    group.create_array("censored", data=left_out)
                    if moved is not None:
                        group.create_array("motion", data=moved)
    except BaseException:
        # A store without a run says nothing; one with some is where the next call goes on.
        for store in stores.values():
            if store.exists() and not _finished(store):
                shutil.rmtree(store)
        raise
    return tuple(stores.values())


def _read(
    run: RunFiles, settings: dict[str, Any]
) -> tuple[Bold, Eeg, np.ndarray, np.ndarray, np.ndarray | None]:
    bold = read_bold(run.bold[0])
    n_frames = len(bold.data)
    left_out = ~np.isfinite(bold.data).any(axis=1)
    moved = None
    if run.confounds:
        left_out |= censored(run.confounds, settings["fd_threshold"], n_frames)
        moved = motion(run.confounds, n_frames)
    eeg = read_simultaneous_eeg(
        run.eeg,
        tr=bold.tr,
        **{name: settings[name] for name in ("rate", "l_freq", "reference", "trigger", "onset")},
    )
    times = frame_times(
        eeg.triggers,
        bold.tr,
        n_frames,
        onset=settings["onset"],
        skip=settings["skip_volumes"],
        within=slice_reference(run.bold[0]),
        name=run.eeg.name,
    )
    check_covers(times, bold.tr, eeg.duration, run.eeg.name)
    return bold, eeg, times, left_out, moved


def _fit_to_store(store: Path, run: RunFiles, bold: Bold, eeg: Eeg, settings: dict[str, Any]) -> Eeg:
    """Check a run against its subject's others, or begin the store with it; returns EEG in their order."""
    attributes = _attributes(store)
    if attributes is not None:
        CorticalSpace.from_json(attributes["space"]).check_same(bold.space, bold.sources[0].name)
        return check_channels(eeg, attributes["channels"], f"sub-{run.subject}'s other runs")
    begun: dict[str, Any] = {
        "format": FORMAT,
        "subject": run.subject,
        "space": bold.space.to_json(),
        "channels": list(eeg.channels),
        # JSON has no NaN
        "positions": [[x if np.isfinite(x) else None for x in row] for row in eeg.positions.tolist()],
        "rate": eeg.rate,
        "settings": settings,
    }
    zarr.create_group(store, attributes=begun, zarr_format=3)
    return eeg


def _write_blocks(group: zarr.Group, name: str, data: np.ndarray, chunks: tuple[int, int]) -> None:
    """Write an array one chunk at a time along its second axis."""
    length = data.shape[1]
    width = min(chunks[1], length)
    # Float noise barely compresses: uncompressed chunks read at the speed of the disk.
    array = group.create_array(
        name, shape=data.shape, dtype=data.dtype, chunks=(chunks[0], width), compressors=None
    )
    for start in range(0, length, width):
        array[:, start : start + width] = data[:, start : start + width]


def _clear(store: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Refuse a store of other settings, or remove it; remove what an interrupted run left."""
    attributes = _attributes(store)
    if attributes is None:
        if store.exists():
            raise InputError(f"{store} exists and is not a store of neuroframes; pass another --out")
        return
    if attributes["settings"] != settings:
        if not overwrite:
            before = attributes["settings"]
            differ = [f"{name}={before.get(name)}" for name in settings if before.get(name) != settings[name]]
            raise InputError(
                f"{store} was prepared with {', '.join(differ)}; pass the same, or --overwrite to replace it"
            )
        shutil.rmtree(store)
        return
    for unfinished in (store / "runs").glob(".*"):
        shutil.rmtree(unfinished)


def _refuse_copies(out: Path, target: Path, hashes: dict[str, str]) -> None:
    """A published data set holds one subject twice, bit by bit: a copy across a split is a leak."""
    for store in sorted(out.glob("*.zarr")):
        for folder in _finished(store):
            other = _open_run(folder).group.attrs["hashes"]
            for kind in hashes:
                if folder != target and other[kind] == hashes[kind]:  # type: ignore[index,call-overload]
                    raise InputError(
                        f"{kind.upper()} of {target.parts[-3]}/{target.name} is bit-identical to that of "
                        f"{store.name}/{folder.name}; remove the copy from the data set"
                    )


def _attributes(store: Path) -> dict[str, Any] | None:
    """Attributes of a store, None where there is none."""
    if not (store / "zarr.json").exists():
        return None
    attributes = dict(zarr.open_group(store, mode="r").attrs)
    return attributes if attributes.get("format") == FORMAT else None


def _finished(store: Path) -> list[Path]:
    folders = [path for path in (store / "runs").glob("*") if not path.name.startswith(".")]
    # run-2 before run-10: a split in time needs the recording's order.
    return sorted(folders, key=lambda path: [part.zfill(9) for part in re.split(r"(\d+)", path.name)])


def _open_run(folder: Path) -> StoredRun:
    group = zarr.open_group(folder, mode="r")
    attributes: dict[str, Any] = dict(group.attrs)
    return StoredRun(
        folder.name,
        attributes["tr"],
        np.asarray(group["frame_times"]),
        np.asarray(group["censored"]),
        np.asarray(group["motion"]) if "motion" in group else None,
        attributes["rate"],
        attributes["sources"],
        group,
    )


def _stamp(run: RunFiles) -> list[list[Any]]:
    """Name, size and time of change of a run's files: what tells that it must be read again."""
    files = [*run.bold, run.eeg, *([run.confounds] if run.confounds else [])]
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _hash(rows: np.ndarray) -> str:
    digest = hashlib.blake2b(str(rows.shape).encode(), digest_size=16)
    for start in range(0, len(rows), CHUNK_VERTICES):
        digest.update(np.ascontiguousarray(rows[start : start + CHUNK_VERTICES]).data)
    return digest.hexdigest()


def _floats(rows: list[list[float | None]]) -> np.ndarray:
    return np.array([[np.nan if x is None else x for x in row] for row in rows], float)


@contextmanager
def _progress(visible: bool) -> Iterator[Any]:
    """A function that passes a list of runs on while a bar names the one at hand."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not visible) as bar:

        def show(runs: list[RunFiles]) -> Iterator[RunFiles]:
            task = bar.add_task("prepare", total=len(runs))
            for run in runs:
                bar.update(task, description=f"sub-{run.subject} {run.name}")
                yield run
                bar.advance(task)

        yield show
