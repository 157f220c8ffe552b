"""EEG files: what MNE reads, brought to one rate, reference and unit, with volume triggers and positions.

A recording of 20 minutes at 5 kHz from 64 channels is 3 GB as float64, so it is never held whole: blocks are
low-pass filtered and resampled as they are read (`recording.resampling`); high-pass filter and reference come
after, at the lower rate.
"""

import glob
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_number, listed, said
from neuroframes.recording.eeg_file import Gap, continuous_part, gaps, only, open_eeg
from neuroframes.recording.gradient import WithoutGradient
from neuroframes.recording.montage import (
    ELSEWHERE,
    Electrodes,
    fewest_by_name,
    positions_by_name,
    spelled_as,
    standard_montage,
)
from neuroframes.recording.quality import volts, warn_of_samples
from neuroframes.recording.resampling import resampled
from neuroframes.recording.signal import Signal
from neuroframes.recording.timeline import check_covers, frame_times
from neuroframes.recording.triggers import volume_triggers
from neuroframes.recording.tsv import numbers, read_tsv

if TYPE_CHECKING:
    from mne.io import BaseRaw

    from neuroframes.recording.bold import Bold

logger = logging.getLogger(__name__)

# Channels that are recorded with EEG but aren't: by name, since most formats carry no types.
NOT_EEG = re.compile(
    r"EOG|ECG|EKG|EMG|^EXG|^GSR|^EDA|^SCR|^RESP|^PULS|^PPG|^HEART|^CWL|^STI|^STATUS|^TRIG|^MARK|^PHOTO"
    r"|^MISC|^AUX|^BIP|ANNOTATIONS",
    re.I,
)
ECG = re.compile("ECG|EKG", re.I)
TABLES = ("channels", "electrodes", "events")  # of BIDS, that are read
METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}


@dataclass(frozen=True, eq=False)
class Eeg(Signal):
    """An EEG recording.

    Attributes
    ----------
    data, rate, channels : see `Signal`
    positions : array, shape (C, 3), metres
        From the file, BIDS electrodes.tsv or the standard 10-05 montage; NaN where unknown.
    triggers : array, shape (n,), seconds
        Volume triggers on the clock whose zero is the first sample; empty where there are none.
    ecg : array, shape (N,), volts, or None
        The electrocardiogram, where it was recorded with the EEG; not filtered.
    """

    positions: NDArray[np.float64]
    triggers: NDArray[np.float64]
    ecg: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording whose samples aren't read yet.

    Attributes
    ----------
    name : str
        Of the file.
    raw : mne.io.BaseRaw
    picks : list of int, length C
        Numbers of its EEG channels.
    channels : tuple of str, length C
    units : mapping from a channel's name to the unit that channels.tsv states
    bad : set of str
        Channels marked as bad.
    gaps : list of Gap
        Where samples don't follow each other in time.
    positions : see `Eeg`
    events : Path or None
        BIDS events.tsv.
    ecg : list of int
        Number of the ECG channel, if there is one.
    """

    name: str
    raw: Any
    picks: list[int]
    channels: tuple[str, ...]
    units: dict[str, str]
    bad: set[str]
    gaps: list[Gap]
    positions: NDArray[np.float64]
    events: Path | None
    ecg: list[int]

    def triggers(
        self, trigger: str | None, tr: float | None, acquired: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Volume triggers, as of `Eeg`, found as `read_eeg` finds them; InputError as there."""
        if trigger is None:
            return np.empty(0)
        note = f" (the EEG isn't continuous: {listed(self.gaps, 5)})" if self.gaps else ""
        beside: dict[str, Any] = {"acquired": acquired, "table": self.events, "note": note}
        return volume_triggers(self.raw, trigger, tr, self.name, **beside)


def read_eeg(
    path: "str | Path | BaseRaw",
    *,
    trigger: str | None = "auto",
    rate: float = 200.0,
    l_freq: float | None = 0.5,
    reference: str | None = "average",
    gradient: bool = False,
    tr: float | None = None,
    acquired: NDArray[np.bool_] | None = None,
) -> Eeg:
    """Read EEG of any format that MNE reads (BrainVision, EDF, BDF, EEGLAB, FIF, ...).

    Parameters
    ----------
    path : path or mne.io.BaseRaw
        For BrainVision the .vhdr. BIDS files beside it (channels.tsv, electrodes.tsv, events.tsv) are read
        too; of MNE's objects nothing else is.
    trigger : str, "auto" or None
        Description of the volume triggers among the annotations, "CHANNEL/VALUE" of a trigger channel, or an
        entry of events.tsv; "auto" finds the usual names (R128, T  1, Volume, ...) or else the only regular
        train; None: there are none to be used. Of triggers of slices those count that begin a volume.
    rate : float, Hz
        Rate to resample to. A recording at a lower rate keeps its own, and where the ratio to the file's rate
        isn't one of small whole numbers, the next rate above is taken that divides it: see `Eeg.rate`.
    l_freq : float, Hz, optional
        High-pass cut-off (zero-phase FIR).
    reference : "average", the name of a channel, or None
        What is subtracted from each channel. The average leaves out channels that the file marks as bad.
    gradient : bool
        Remove the scanner's gradient artefact first: see `recording.gradient`.
    tr : float, seconds, optional
        Helps "auto": of several usual names, and of trains with other names, those with this interval count.
        Triggers that nearly have it are refused.
    acquired : array, shape (K,), optional
        False at frames where the BOLD pauses, as of `volume_triggers`.

    Raises
    ------
    InputError
        If the file can't be read, has no EEG channels or a channel with NaN, its unit is wrong, it isn't
        continuous while the volumes were acquired, the triggers are ambiguous or incomplete, or a number is
        out of range; about the gradient artefact as `WithoutGradient`.
    """
    import mne

    rate = check_number(rate, "--rate", above=0)
    tr = None if tr is None else check_number(tr, "TR (s)", above=0)
    opened = open_recording(path)
    raw, names, name = opened.raw, opened.channels, opened.name
    # A slow recording keeps its rate, and then its own Nyquist frequency limits the filter.
    nyquist = min(rate, raw.info["sfreq"]) / 2
    l_freq = None if l_freq is None else check_number(l_freq, "--l-freq", above=0, below=nyquist)
    triggers = opened.triggers(trigger, tr, acquired)
    part = continuous_part(opened.gaps, triggers, name) if opened.gaps else None
    source = WithoutGradient(raw, triggers, name) if gradient else raw
    data, rate, clipped = read_samples(source, opened, rate)
    if part is not None:
        data = only(data, rate, part)
    data, ecg = data[: len(names)], [row.astype(np.float32) for row in data[len(names) :]]
    if l_freq is not None:
        data = mne.filter.filter_data(data, rate, l_freq, None, copy=False, verbose="ERROR")
    data = volts(data, rate, names, opened.units, name)
    warn_of_samples(data, rate, names, clipped, name)
    _rereference(data, names, opened.bad, reference, name)
    cardiac = next(iter(ecg), None)
    return Eeg(data.astype(np.float32), rate, names, opened.positions, triggers, cardiac)


def open_recording(path: "str | Path | BaseRaw") -> Recording:
    """A recording as `read_eeg` would read it, but for its samples; InputError as there."""
    file = eeg_path(path)
    beside = file if isinstance(path, str | Path) else None
    raw: Any = path if beside is None else open_eeg(beside)
    found = _bids_table(beside, "channels")
    table = {row["name"]: row for row in read_tsv(found, ["name"]).to_dict("records")} if found else {}
    picks = _eeg_channels(raw, table, file.name)
    names = tuple(raw.ch_names[pick].strip() for pick in picks)
    units = {name: row.get("units", "") for name, row in table.items()}
    stated_bad = {name for name, row in table.items() if row.get("status", "").strip().lower() == "bad"}
    return Recording(
        *(file.name, raw, picks, names, units, {*raw.info["bads"], *stated_bad}, gaps(raw, beside)),
        *(_positions(raw, names, beside), _bids_table(beside, "events"), _ecg_channel(raw, table, picks)),
    )


def eeg_path(eeg: "str | Path | BaseRaw") -> Path:
    """Where EEG lies, or for messages what an object of MNE's came from."""
    if isinstance(eeg, str | Path):
        return Path(eeg)
    source = eeg.filenames[0]
    return Path(type(eeg).__name__ if source is None else source)


def eeg_files(path: Path) -> list[Path]:
    """Every file that `read_eeg` of `path` depends on.

    What the recording consists of (those of the same stem, as .vmrk, .eeg and .fdt, those that a BrainVision
    header names, further parts of a FIF file, and what is in a folder), and the BIDS tables of it.
    """
    stem = glob.escape(path.stem)
    files = {path, *path.rglob("*"), *path.parent.glob(f"{stem}.*"), *path.parent.glob(f"{stem}-[0-9]*.fif")}
    if path.suffix == ".vhdr":
        named = re.findall(r"^(?:Data|Marker)File=(.*)", path.read_text(errors="replace"), re.M)
        files |= {path.parent / name.strip() for name in named}
    files |= {table for kind in TABLES if (table := _bids_table(path, kind))}
    return sorted(file for file in files if file.is_file())


def read_simultaneous_eeg(
    path: "str | Path | BaseRaw", *, trigger: str | None, onset: float | None, **settings: Any
) -> Eeg:
    """As `read_eeg`, where frames are to be placed on the EEG's clock.

    Without an onset (seconds), volume triggers that are there can't be ignored: frames counted from the
    EEG's start would all be late or early by the same unknown time, and nothing after this would notice.

    Raises
    ------
    InputError
        As `read_eeg`, and if `trigger` and `onset` are None but there are volume triggers.
    """
    name = eeg_path(path).name
    onset = None if onset is None else check_number(onset, "--onset")
    unsaid = trigger is None and onset is None
    eeg = read_eeg(path, trigger="auto" if unsaid else trigger, **settings)
    check_onset(eeg.triggers, trigger, onset, name)
    return eeg


def check_onset(triggers: NDArray[np.float64], trigger: str | None, onset: float | None, name: str) -> None:
    """Raise InputError where triggers that are there aren't to be used and no onset is given instead.

    Warns where there are both, and the onset isn't used.
    """
    if triggers.size and trigger is None and onset is None:
        raise InputError(
            f"{name}: {triggers.size} volume triggers, the first at {triggers[0]:.3f} s, "
            "aren't to be used; say when the first volume begins (--onset SECONDS), or drop --trigger none"
        )
    if triggers.size and onset is not None:
        logger.warning("%s: frames are at the volume triggers; the onset isn't used", name)


def read_eeg_of_bold(
    path: "str | Path | BaseRaw", bold: "Bold", *, onset: float | None, skip_volumes: int, **settings: Any
) -> tuple[Eeg, NDArray[np.float64]]:
    """The EEG of a run, and the time on its clock that each frame stands for, shape (K,), seconds.

    Parameters
    ----------
    path : path or mne.io.BaseRaw
    bold : Bold
    onset, skip_volumes : see `frame_times`
    **settings : trigger, and those of `read_eeg`

    Raises
    ------
    InputError
        As `read_simultaneous_eeg`, `frame_times` and `check_covers`.
    """
    name, acquired = eeg_path(path).name, bold.acquired
    eeg = read_simultaneous_eeg(path, onset=onset, tr=bold.tr, acquired=acquired, **settings)
    given: dict[str, Any] = {"onset": onset, "skip": skip_volumes, "within": bold.slice_reference}
    times = frame_times(eeg.triggers, bold.tr, len(bold.data), **given, acquired=acquired, name=name)
    check_covers(times, bold.tr, eeg.duration, name)
    return eeg, times


def check_channels(eeg: Eeg, expected: Sequence[str], what: str) -> Eeg:
    """The recording with exactly the channels `expected`, in that order; others are dropped.

    Raises
    ------
    InputError
        If channels are missing; the message names them and those here that look renamed.
    """
    eeg = _spelled_as(eeg, expected)
    check_names(eeg.channels, expected, what)
    return _picked(eeg, expected)


def check_names(channels: Sequence[str], expected: Sequence[str], what: str) -> None:
    """Raise InputError as `check_channels` where some of the channels `expected` are missing."""
    if missing := [name for name in expected if name not in channels]:
        raise _missing(channels, missing, expected, what, "rename the channels or use EEG of the same cap")


def channels_there(eeg: Eeg, expected: Sequence[str], file: str) -> Eeg:
    """The recording with those of a model's channels that it has, in the model's order.

    Warns of those that are missing, by name.

    Raises
    ------
    InputError
        If some look renamed, or fewer than 4 or a quarter are there.
    """
    eeg = _spelled_as(eeg, expected)
    missing = [name for name in expected if name not in eeg.channels]
    fewest = fewest_by_name(len(expected))
    if _renamed(eeg.channels, missing) or len(expected) - len(missing) < fewest:
        remedy = f"rename the channels or use EEG that has at least {fewest} of them"
        raise _missing(eeg.channels, missing, expected, "the model", remedy)
    if missing:
        lacking = "%s: %d of the %d channels of the model are missing and are filled from the others: %s"
        logger.warning(lacking, file, len(missing), len(expected), ", ".join(missing))
    return _picked(eeg, [name for name in expected if name in eeg.channels])


def brought_to(eeg: Eeg, electrodes: Electrodes, file: str, *, average: bool) -> Eeg:
    """As `channels_there`, or where too few channels are there by name, interpolated at a model's electrodes.

    With the average reference (`average`), the channels are referred to their own.

    Raises
    ------
    InputError
        If some look renamed, or positions aren't known: see `Electrodes.interpolation`.
    """
    names = electrodes.channels
    eeg = _spelled_as(eeg, names)
    missing = [name for name in names if name not in eeg.channels]
    if electrodes.asked_of(eeg.channels) is electrodes and not _renamed(eeg.channels, missing):
        lacking = "%s: %d of the %d channels of the model are interpolated at their positions"
        logger.warning(lacking, file, len(missing), len(names))
        weights = electrodes.interpolation(Electrodes(eeg.channels, eeg.positions), file).astype(np.float32)
        found = replace(eeg, data=weights @ eeg.data, channels=names, positions=electrodes.positions)
    else:
        found = channels_there(eeg, names, file)
    if average and found.channels != eeg.channels:
        found = replace(found, data=found.data - found.data.mean(axis=0))
    return found


def _spelled_as(eeg: Eeg, names: Sequence[str]) -> Eeg:
    spelled = spelled_as(eeg.channels, names)
    return eeg if spelled == eeg.channels else replace(eeg, channels=spelled)


def _picked(eeg: Eeg, names: Sequence[str]) -> Eeg:
    order = [eeg.channels.index(name) for name in names]
    if order == list(range(len(eeg.channels))):
        return eeg
    return replace(eeg, data=eeg.data[order], channels=tuple(names), positions=eeg.positions[order])


def _missing(
    channels: Sequence[str], missing: list[str], expected: Sequence[str], what: str, remedy: str
) -> InputError:
    renamed = _renamed(channels, missing)
    hint = f"; renamed here, it seems: {', '.join(renamed)}" if renamed else ""
    if any(name.endswith(ELSEWHERE) for name in channels):
        hint += "; BioSemi's labels (A1, B5, C3) aren't those of the 10-20 system"
    return InputError(
        f"{len(missing)} of the {len(expected)} channels of {what} are missing from the EEG: "
        f"{', '.join(missing)}{hint}; {remedy}"
    )


def _renamed(channels: Sequence[str], missing: Sequence[str]) -> list[str]:
    """Of the missing channels those that seem to be here by another name: "Fz for EEG FZ-Ref"."""
    plain = {_plain_name(name): name for name in channels}
    return [f"{plain[_plain_name(name)]} for {name}" for name in missing if _plain_name(name) in plain]


def _plain_name(name: str) -> str:
    """A name without what programs add or change: case, spaces, "EEG " before, "-Ref" behind."""
    return re.sub(r"^EEG[\s_-]*|[\s_-]*REF$|[\s._-]", "", name.upper())


def read_samples(
    raw: Any, opened: Recording, rate: float
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """What `resampled` gives of EEG and ECG; InputError if any sample of the EEG isn't finite."""
    with readable(opened.name):
        data, rate, clipped = resampled(raw, [*opened.picks, *opened.ecg], rate)
    n_channels = len(opened.picks)
    check_finite(opened, data[:n_channels])
    return data, rate, clipped[:n_channels]


@contextmanager
def readable(file: str) -> Iterator[None]:
    """Raise InputError where samples can't be read in the body; what MNE prints goes to stderr."""
    try:
        with redirect_stdout(sys.stderr):  # see `open_eeg`
            yield
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{file}: its samples cannot be read ({said(error)}); the file is truncated: copy it again"
        ) from error


def check_finite(opened: Recording, data: NDArray[np.float64]) -> None:
    """Raise InputError where samples (C, N) of a recording's EEG channels aren't all finite."""
    rows = zip(opened.channels, data, strict=True)
    broken = [name for name, row in rows if not np.isfinite(row).all()]
    if broken:
        raise InputError(
            f"{opened.name}: NaN in {len(broken)} of {len(data)} channels ({listed(broken, 8)}); interpolate "
            "them first, or leave them out by another type than EEG in the file's channels.tsv"
        )


def _ecg_channel(raw: Any, table: Mapping[str, Mapping[str, str]], eeg: list[int]) -> list[int]:
    """Number of the first channel that is the ECG by channels.tsv, by MNE or by name, if there is one."""
    for pick, (name, kind) in enumerate(zip(raw.ch_names, raw.get_channel_types(), strict=True)):
        stated = table.get(name, {}).get("type", kind).lower() == "ecg"
        if pick not in eeg and (stated or ECG.search(name)):
            return [pick]
    return []


def _eeg_channels(raw: Any, table: Mapping[str, Mapping[str, str]], file: str) -> list[int]:
    """Numbers of the EEG channels; which others are left out is logged, InputError where there are none."""
    picks = []
    for pick, (name, kind) in enumerate(zip(raw.ch_names, raw.get_channel_types(), strict=True)):
        # channels.tsv knows best, then MNE, then the name
        stated = table.get(name, {}).get("type")
        by_name = "EEG" if kind == "eeg" and not NOT_EEG.search(name) else ""
        if (by_name if stated is None else stated.upper()) == "EEG":
            picks.append(pick)
    if not picks:
        raise InputError(
            f"{file}: no EEG channels among {listed(raw.ch_names)}; pass EEG, or correct their types in "
            "channels.tsv, or the units in the file"
        )
    if others := [name for pick, name in enumerate(raw.ch_names) if pick not in picks]:
        logger.info("%s: channels that are no EEG are left out: %s", file, listed(others))
    return picks


def _rereference(
    data: NDArray[np.float64], names: tuple[str, ...], bad: set[str], reference: str | None, file: str
) -> None:
    """Subtract the reference from `data`, shape (C, N), in place."""
    if reference is None:
        return
    if reference != "average" and reference not in names:
        raise InputError(
            f"{file}: no channel {reference!r} to refer to; pass 'average' or one of {', '.join(names)}"
        )
    rows = [i for i, name in enumerate(names) if name not in bad] if reference == "average" else []
    rows = rows or ([names.index(reference)] if reference in names else list(range(len(names))))
    data -= data[rows].mean(axis=0)


def _bids_table(path: Path | None, kind: str) -> Path | None:
    """Where the BIDS table of this kind, one of `TABLES`, of an EEG file is.

    It carries a subset of the file's entities, apart from `space`, and the most specific one counts. MNE-BIDS
    would also take the table of another run or acquisition where the EEG's name states none.
    """
    if path is None:
        return None
    entities, found = {*path.stem.split("_")[:-1]}, []
    for table in path.parent.glob(f"*_{kind}.tsv"):
        own = {part for part in table.stem.split("_")[:-1] if not part.startswith("space-")}
        if own <= entities:
            found.append((len(own), table))
    return max(found)[1] if found else None


def _positions(raw: Any, names: tuple[str, ...], path: Path | None) -> NDArray[np.float64]:
    """Electrode positions (C, 3) in metres from the first source that knows half of the channels."""
    montage = raw.get_montage()
    own = montage.get_positions()["ch_pos"] if montage is not None else {}
    # One source for all: each has its own coordinate frame.
    for known in (own, _bids_electrodes(path), standard_montage()):
        positions = positions_by_name(names, known)
        if 2 * np.isfinite(positions[:, 0]).sum() >= len(names):
            return positions
    return np.full((len(names), 3), np.nan)


def _bids_electrodes(path: Path | None) -> dict[str, NDArray[np.float64]]:
    file = _bids_table(path, "electrodes")
    if file is None:
        return {}
    table = read_tsv(file, ["name", *"xyz"])
    xyz = np.stack([numbers(file, table, axis) for axis in "xyz"], axis=1)
    # The unit stands in coordsystem.json, which many data sets lack; a head's radius is 0.1 m, 10 cm, 100 mm.
    size = float(np.nanmedian(np.linalg.norm(xyz, axis=1)))
    unit = min(METRES.values(), key=lambda metre: abs(np.log(size * metre / 0.1))) if size > 0 else 1.0
    return dict(zip(table["name"], xyz * unit, strict=True))
