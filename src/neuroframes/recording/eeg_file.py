"""EEG files as MNE opens them: what it warns of, and where samples don't follow each other in time.

A gap lies at a time on the samples' own clock, on which triggers are too, and is a stretch of samples that
were made up (`BAD_ACQ_SKIP`), or of no length where samples were left out: sample n + 1 then isn't the next
after sample n. EDF+D is refused where it has one, for its events have another clock than its samples.
"""

import logging
import re
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_there, said
from neuroframes.recording.signal import window_samples

logger = logging.getLogger(__name__)

GAP = re.compile(r"boundary|-99|(bad|edge)[ _]boundary|new ?segment/?|bad_acq_skip", re.I)
SMALLEST_GAP = 0.1  # seconds; the clock of the computer, which dates segments, is no better
# Of filters that the header states, people, dates, and positions, which aren't used or are missed elsewhere.
HARMLESS = re.compile(
    r"filter|pass cutoff|patient|measurement date|birth|outside the data range|montage|position"
    r"|coordinate|'boundary' events",
    re.I,
)
PARTS = {".vhdr": (".vmrk", ".eeg"), ".set": (".fdt",)}  # as they are usually called
PACKAGE = re.compile(r"pip install (\S+)|No module named '?(\w+)|(\w+) is required to")


@dataclass(frozen=True)
class Gap:
    """A place where a recording isn't continuous.

    Attributes
    ----------
    start, stop : float, seconds
        On the samples' clock; equal where samples were left out.
    missing : float, seconds
        How much time is missing, NaN where nothing says so.
    """

    start: float
    stop: float
    missing: float

    def __str__(self) -> str:
        length = f"{self.missing:.3f} s" if self.missing > 0 else "an unknown time"
        return f"{length} missing at {self.start:.3f} s"


def open_eeg(path: Path) -> Any:
    """The recording as MNE opens it (mne.io.BaseRaw), its samples still in the file.

    Not through MNE-BIDS, which puts events.tsv in the place of the file's own triggers. What MNE warns of is
    logged.

    Raises
    ------
    InputError
        If there is no such file, or MNE can't read it: it is damaged, a package is missing, it holds epochs,
        or records that aren't continuous.
    """
    import mne

    if path.suffix in (".eeg", ".vmrk") and path.with_suffix(".vhdr").exists():
        path = path.with_suffix(".vhdr")
    for part in (path, *map(path.with_suffix, PARTS.get(path.suffix, ()))):
        if part == path or part.is_symlink() or part.exists():
            check_there(part)
    if path.suffix == ".vhdr":
        _check_markers(path)
    try:
        # mffpy prints remarks, where results are printed.
        with (
            warnings.catch_warnings(record=True) as said,
            mne.utils.catch_logging(),
            redirect_stdout(sys.stderr),
        ):
            warnings.simplefilter("always")
            raw = mne.io.read_raw(path, preload=False, verbose="WARNING")
    except MemoryError:
        raise
    # MNE's readers raise whatever their parsers meet.
    except Exception as error:
        raise _unreadable(path, error) from error
    if raw.n_times == 0:
        raise InputError(f"{path.name}: it holds no samples; the file is truncated: copy it again")
    _check_records(path)
    messages = [" ".join(str(each.message).split()) for each in said]
    # MNE reads a truncated file as a shorter recording; the markers beyond its end give it away.
    if cut := next((text for text in messages if re.match(r"Omitted \d+ annotation", text)), None):
        raise InputError(
            f"{path.name}: {raw.times[-1]:.1f} s of samples, but markers lie beyond ({cut}); "
            "the file is truncated: copy it again"
        )
    for text in messages:
        if not HARMLESS.search(text):
            logger.warning("%s: MNE: %s", path.name, text)
    return raw


def gaps(raw: Any, path: Path | None) -> list[Gap]:
    """Where a recording isn't continuous, in order; of a BrainVision file by the dates of its segments."""
    dates = {} if path is None else _segment_dates(path.with_suffix(".vhdr"))
    rate, found = raw.info["sfreq"], set()
    marks = raw.annotations
    for onset, length, name in zip(annotation_times(raw), marks.duration, marks.description, strict=True):
        if not GAP.fullmatch(name):
            continue
        filled = length if name.upper() == "BAD_ACQ_SKIP" else 0.0
        missing = length if name in ("boundary", "-99") else filled or np.nan
        sample = round(onset * rate)
        if sample in dates:
            before = max(each for each in (0, *dates) if each < sample) if sample else 0
            if before in dates:
                missing = (dates[sample] - dates[before]).total_seconds() - (sample - before) / rate
        # Segments may follow each other at once, and EEGLAB marks what was cut off at the ends too.
        inside = onset + filled > 1.5 / rate and onset < raw.n_times / rate - 1.5 / rate
        if inside and not (sample in dates and abs(missing) < SMALLEST_GAP):
            found.add((float(onset), float(onset + filled), float(missing)))
    return [Gap(*each) for each in sorted(found)]


def continuous_part(found: list[Gap], triggers: NDArray[np.float64], file: str) -> tuple[float, float]:
    """The part of a recording between two gaps in which all volume triggers lie, seconds.

    Raises
    ------
    InputError
        If there are no triggers, or they lie in several parts: frames would be explained by the wrong EEG.
    """
    where = "; ".join(map(str, found[:5]))
    remedy = "cut the recording there, in the program that wrote it, and pass the part with these frames"
    if not triggers.size:
        raise InputError(
            f"{file}: the EEG isn't continuous: {where}; without volume triggers (--trigger) it isn't known "
            f"in which part the frames lie; {remedy}"
        )
    start = max((gap.stop for gap in found if gap.start <= triggers[0]), default=0.0)
    stop = min((gap.start for gap in found if gap.start > triggers[0]), default=np.inf)
    if triggers[0] < start or triggers[-1] >= stop:
        raise InputError(
            f"{file}: the EEG isn't continuous: {where}; volume triggers go from {triggers[0]:.3f} to "
            f"{triggers[-1]:.3f} s, across it; {remedy}, and with the BOLD likewise"
        )
    until = f"to {stop:.3f} s" if np.isfinite(stop) else "to the end"
    logger.warning(
        "%s: the EEG isn't continuous: %s; all volume triggers lie in the part from %.3f s %s, and no other "
        "is used",
        *(file, where, start, until),
    )
    return start, float(stop)


def only(data: NDArray[Any], rate: float, part: tuple[float, float]) -> NDArray[Any]:
    """EEG (C, N) to the end of a part, shape (C, n): what lies before it is its mirror image."""
    start, stop = (round(min(each, data.shape[1] / rate) * rate) for each in part)
    inner = data[:, start:stop]
    return inner[:, window_samples(inner.shape[1], rate, [0.0], stop, -start)[0]]


def annotation_times(raw: Any) -> NDArray[np.float64]:
    """Onsets of a recording's annotations, seconds from the first sample."""
    # MNE counts from where the recording began before it was cropped.
    return np.asarray(raw.annotations.onset - raw.first_time, np.float64)


def _unreadable(path: Path, error: Exception) -> InputError:
    """What to do where MNE raises an error."""
    text = " ".join(str(error).split())
    if re.search(r"number of trials|epochs", text) or re.search(r"[-_]epo\.fif(\.gz)?$", path.name):
        return InputError(f"{path.name} holds epochs, cut out of a recording; pass the continuous recording")
    if package := PACKAGE.search(text):
        name = next(filter(None, package.groups()))
        return InputError(f"{path.name}: MNE reads it with the package {name}: pip install {name}")
    if path.is_dir() and path.suffix != ".mff":
        return InputError(f"{path} is a folder that MNE cannot read as EEG; pass a file")
    return InputError(
        f"{path.name}: MNE cannot read it as EEG ({said(error)}); it or a file that belongs to it is "
        "truncated, missing or renamed: copy or export it again"
    )


def _check_records(path: Path) -> None:
    """Raise InputError where EDF or BDF has fewer records than its header states, or a gap between two.

    Of EDF+D and BDF+D each begins with its time, as +30.5 and two bytes 0x14:
    https://www.edfplus.info/specs/edfplus.html, 2.2.4
    """
    if path.suffix.lower() not in (".edf", ".bdf"):
        return
    with path.open("rb") as file:
        header = file.read(256)
        n_signals, seconds = int(_number(header[252:256])), _number(header[244:252])
        signals = file.read(256 * n_signals)
    width = 3 if path.suffix.lower() == ".bdf" else 2
    labels = [signals[16 * i : 16 * i + 16].strip().decode("latin-1") for i in range(n_signals)]
    sizes = [width * int(_number(signals[216 * n_signals + 8 * i :][:8])) for i in range(n_signals)]
    if seconds <= 0:  # MNE takes 1 s, and so some rate of sampling
        raise InputError(f"{path.name}: records of {seconds:g} s in its header; export it again")
    content = np.memmap(path, np.uint8, "r", offset=256 * (n_signals + 1))
    n_stated, n_records = int(_number(header[236:244])), len(content) // sum(sizes)
    if n_records < n_stated:  # -1 where the recording program was broken off
        raise InputError(
            f"{path.name}: {n_records} records of {seconds:g} s, but its header states {n_stated}; the "
            "file is truncated: copy it again"
        )
    if header[192:197] not in (b"EDF+D", b"BDF+D"):
        return
    first = next((i for i, label in enumerate(labels) if label.endswith("Annotations")), None)
    if first is None:
        return
    records = content[: n_records * sum(sizes)].reshape(-1, sum(sizes))
    texts = records[:, sum(sizes[:first]) : sum(sizes[: first + 1])]
    stated = [re.match(rb"([+-]\d+(?:\.\d+)?)\x14\x14", text.tobytes()) for text in texts]
    starts = np.array([np.nan if each is None else float(each[1]) for each in stated])
    missing = np.diff(starts) - seconds
    if (at := np.flatnonzero(np.abs(missing) > SMALLEST_GAP)).size:
        where = "; ".join(str(Gap((k + 1) * seconds, (k + 1) * seconds, missing[k])) for k in at[:5])
        raise InputError(
            f"{path.name}: the EEG isn't continuous ({header[192:197].decode()}): {where}; cut the recording "
            "there, in the program that wrote it, and pass the part with these frames"
        )


def _number(field: bytes) -> float:
    # Some programs fill up with zeros in place of blanks.
    return float(field.partition(b"\0")[0])


def _marker_file(header: Path) -> Path | None:
    """The file of markers that a BrainVision header names, or that has its own name, as MNE takes it."""
    text = header.read_text(errors="replace") if header.is_file() else ""
    named = re.search(r"^MarkerFile=(.*\S)", text, re.M)
    if named is None:
        return None
    markers = header.parent / named[1].replace("$b", header.stem)
    return markers if markers.is_file() else header.with_suffix(".vmrk")


def _check_markers(header: Path) -> None:
    """Raise InputError where MNE would read BrainVision without its markers, and so without triggers."""
    markers = _marker_file(header)
    if markers is None:
        return
    text = markers.read_text(errors="replace") if markers.is_file() else ""
    if "[marker infos]" not in text.lower():
        raise InputError(
            f"{markers.name}: no markers of BrainVision, but {header.name} names such a file; copy or export "
            "it again, or remove the line MarkerFile there if there are none"
        )


def _segment_dates(header: Path) -> dict[int, Any]:
    """When each segment of a BrainVision recording began, or NaT, by the number of its first sample."""
    import pandas as pd

    markers = _marker_file(header)
    if markers is None or not markers.is_file():  # of EEG in another format, beside a header
        return {}
    pattern = r"^Mk\d+=New Segment,[^,]*,(\d+),\d+,\d+,(\d{20})"
    found = re.findall(pattern, markers.read_text(errors="replace"), re.M)
    written = {"format": "%Y%m%d%H%M%S%f", "errors": "coerce"}
    return {int(at) - 1: pd.to_datetime(date, **written) for at, date in found}
