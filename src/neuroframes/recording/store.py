"""Prepared recordings: one zarr (v3) store per subject, from which training reads.

    OUT/sub-01.zarr/                 attributes: space, channels, positions, rate, settings
      runs/task-movie_run-1/         attributes: tr, rate, sources, hashes, scanner
        bold (K, V)  eeg (C, N)  frame_times (K,)  censored (K,)  motion (K, 6)  stimulus (K, F)

Where EEG comes as features of each frame the store has their names, and each run `features` (K, F) in the
place of `eeg`.

Store and runs have their `checksums.txt`: what is read is checked first, and `prepare` mends damaged runs.
A run that is there is whole. Until `prepare` is done the store has a list of the runs that it is to have,
`expected.txt`, and isn't opened where it lacks some.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroframes.checksums import CHECKSUMS, check_files
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError, listed
from neuroframes.recording.band_power import BandPower, log_band_power
from neuroframes.recording.features import Features
from neuroframes.recording.montage import Electrodes, positions_from_json
from neuroframes.recording.signal import Signal

FORMAT = "neuroframes-store-1"
EXPECTED = "expected.txt"
READ_AGAIN = "run neuroframes prepare again, which reads this run anew"
# Settings of raw EEG alone.
OF_EEG = ("rate", "l_freq", "reference", "gradient", "trigger", "onset", "skip_volumes")


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
        Of features: rows a second.
    sources : dict
        "bold", "eeg", "confounds", "stimulus": the files it was made from.
    stimulus_features : tuple of str, F of them, whose values `stimulus` has
    """

    name: str
    tr: float
    frame_times: NDArray[np.float64]
    censored: NDArray[np.bool_]
    motion: NDArray[np.float64] | None
    eeg_rate: float
    sources: dict[str, Any]
    group: Mapping[str, Any]
    stimulus_features: tuple[str, ...] = ()

    def bold(self) -> NDArray[np.float32]:
        """All frames, shape (K, V), float32, in the file's units."""
        return np.asarray(self.group["bold"][:])

    def eeg(self) -> NDArray[np.float32]:
        """Filtered, referenced EEG, shape (C, N), float32, volts; sample n is at n / eeg_rate seconds.

        Or features of each frame, shape (K, F).
        """
        return np.asarray(self.group["eeg" if "eeg" in self.group else "features"][:])


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
    features : tuple of str, length F
        In place of channels, where EEG comes as features of each frame.
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
    positions: NDArray[np.float64]
    features: tuple[str, ...]
    rate: float
    settings: dict[str, Any]
    runs: tuple[StoredRun, ...]

    @property
    def electrodes(self) -> Electrodes:
        return Electrodes(self.channels, self.positions)

    @property
    def stimulus_features(self) -> tuple[str, ...]:
        """Names of the features of the stimulus that runs have, of all categories that occur; () without."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run.stimulus_features))

    def shown(self, run: StoredRun) -> NDArray[np.float32] | None:
        """Features of the stimulus at each frame of a run, shape (K, F), in the order of all; None without.

        NaN where nothing was shown; 0 for categories that don't occur in the run.
        """
        if not (names := self.stimulus_features):
            return None
        shown = np.full((len(run.frame_times), len(names)), np.nan, np.float32)
        if run.stimulus_features:
            shown[:] = 0
            shown[:, [names.index(name) for name in run.stimulus_features]] = run.group["stimulus"][:]
        return shown

    def eeg_of(
        self, run: StoredRun, bands: Mapping[str, tuple[float, float]], electrodes: Electrodes | None = None
    ) -> tuple[Signal | None, BandPower]:
        """The EEG of a run, None where it comes as features, and its band power, or the features.

        `electrodes` are by default all of its own. Others are interpolated where it lacks them by name, and
        with the average reference they are referred to their own average.

        Raises
        ------
        InputError
            As `Electrodes.interpolation`.
        """
        if self.features:
            return None, Features(run.eeg(), self.features, run.tr).power
        data, names = run.eeg(), self.channels if electrodes is None else electrodes.channels
        if electrodes is not None and names != self.channels:
            data = electrodes.interpolation(self.electrodes, self.path.name).astype(np.float32) @ data
            if self.settings["reference"] == "average":
                data -= data.mean(axis=0)
        signal = Signal(data, run.eeg_rate, names)
        return signal, log_band_power(signal.data, signal.rate, bands)


def open_store(path: str | Path) -> Store:
    """Open what `prepare` wrote.

    Raises
    ------
    InputError
        If there is no store at `path`, it lacks runs since `prepare` was interrupted, an earlier version made
        it, or a file isn't as it was written; so do frames and EEG when they are asked for.
    """
    path = Path(path)
    attributes = store_attributes(path)
    if attributes.get("format") != FORMAT:
        if within := sorted(of.name for of in path.glob("*.zarr")):
            raise InputError(f"{path}: not a store of neuroframes, but holds some; pass {path / within[0]}")
        raise InputError(
            f"{path}: not a store of neuroframes; make one with: neuroframes prepare BIDS_ROOT --out STORE"
        )
    if lacking := {*OF_EEG} - {*attributes["settings"]}:
        raise InputError(
            f"{path}: an earlier neuroframes prepared it, which knew no {listed(sorted(lacking))}; run "
            "neuroframes prepare with --overwrite"
        )
    if absent := lacking_runs(path):
        raise InputError(
            f"{path} lacks {listed(absent)}: neuroframes prepare is at it, was interrupted or failed; "
            "run it again"
        )
    runs = tuple(_open_run(folder) for folder in finished_runs(path))
    if not runs:
        raise InputError(f"{path}: no run is complete; run neuroframes prepare again")
    return Store(
        path,
        attributes["subject"],
        CorticalSpace.from_json(attributes["space"]),
        tuple(attributes["channels"]),
        positions_from_json(attributes["positions"]),
        tuple(attributes.get("features", ())),
        attributes["rate"],
        attributes["settings"],
        runs,
    )


def store_attributes(store: Path) -> dict[str, Any]:
    """What stands at the head of a store, {} where there is none; InputError where it is damaged."""
    if not (store / CHECKSUMS).exists():
        return {}
    check_files(store, f"remove {store}, and run neuroframes prepare again", ["zarr.json"])
    if not (store / "zarr.json").exists():  # a model has checksums too
        return {}
    return dict(zarr.open_group(store, mode="r").attrs)


def run_attributes(folder: Path) -> dict[str, Any]:
    check_files(folder, READ_AGAIN, ["zarr.json"])
    return dict(zarr.open_group(folder, mode="r").attrs)


class _Arrays(Mapping[str, Any]):
    """Arrays of a run by name, each checked before it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> zarr.Array[Any]:
        check_files(self.folder, READ_AGAIN, ["zarr.json", name])
        return cast("zarr.Array[Any]", zarr.open_group(self.folder, mode="r")[name])

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self.folder.iterdir() if path.is_dir())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def finished_runs(store: Path) -> list[Path]:
    folders = [path for path in (store / "runs").glob("*") if not path.name.startswith(".")]
    # run-2 before run-10: a split in time needs the recording's order.
    return sorted(folders, key=lambda path: [part.zfill(9) for part in re.split(r"(\d+)", path.name)])


def lacking_runs(store: Path) -> list[str]:
    """Runs that a store is to have and hasn't yet."""
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = (store / EXPECTED).read_text("utf-8").splitlines()
    return [name for name in names if not (store / "runs" / name).exists()]


def _open_run(folder: Path) -> StoredRun:
    attributes, group = run_attributes(folder), _Arrays(folder)
    arrays = {
        name: np.asarray(group[name]) for name in ("frame_times", "censored", "motion") if name in group
    }
    stated = {"tr": attributes["tr"], "eeg_rate": attributes["rate"], "sources": attributes["sources"]}
    stated["stimulus_features"] = tuple(attributes["stimulus_features"])
    return StoredRun(folder.name, **{"motion": None, **arrays, **stated}, group=group)
