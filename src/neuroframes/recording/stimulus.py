"""Features of the stimulus at each frame: of a table that somebody made, or of the film that was shown.

    table    FOLDER/[sub-01_]task-movie_run-1[_desc-clip].tsv|.npz|.parquet|.mat, a row a frame
    film     a row of events.tsv names it as its `stim_file`, a path in FOLDER

A table counts before films. It is read as tables of EEG features are, but for what it may have besides: gaps,
where nothing was shown, and columns of text. Those, and a column of events.tsv, are categories: each of their
values has an indicator, "kind=circle". What the features say of a frame is what was shown while it was
acquired; the delay to BOLD is left to who decodes it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, listed
from neuroframes.recording.bids import RunFiles, nearest_of_run, run_of
from neuroframes.recording.features import FORMATS, Features, check_frames, indicators, read_features
from neuroframes.recording.tsv import UNKNOWN, numbers, read_tsv

if TYPE_CHECKING:
    from pandas import DataFrame, Series

logger = logging.getLogger(__name__)

MOST_CATEGORIES = 30  # of which nobody warns


@dataclass(frozen=True)
class StimulusFiles:
    """What a run's stimulus is read from.

    Attributes
    ----------
    table : Path or None, of features
    events : Path or None
    films : dict from what events call them to where they are
    to_eeg : bool, whether the events' clock is that of the EEG, or else starts with the first volume
    """

    table: Path | None
    events: Path | None
    films: Mapping[str, Path]
    to_eeg: bool

    @property
    def paths(self) -> list[Path]:
        return [of for of in (self.table, self.events, *self.films.values()) if of is not None]


def find_stimulus(place: Path | None, run: RunFiles) -> StimulusFiles:
    """What there is of a run in a folder; its events alone without any.

    Raises
    ------
    InputError
        If several tables fit the run equally well, or events name a film that isn't there.
    """
    table = None
    if place is not None:
        files = [of for of in sorted(place.rglob("*")) if of.suffix in FORMATS and "_events" not in of.name]
        table = nearest_of_run(files, run_of(run.bold[0]), "table of features")
    beside = [(run.eeg.parent, True), (run.eeg.parent.parent / "func", False)]
    found = [
        (file, to_eeg)
        for folder, to_eeg in beside
        for file in sorted(folder.glob("*_events.tsv"))
        if run_of(file) in (run_of(run.eeg), run_of(run.bold[0]))
    ]
    events, to_eeg = found[0] if found else (None, True)
    films: dict[str, Path] = {}
    if place and table is None and events is not None and "stim_file" in (rows := read_tsv(events)):
        for name in dict.fromkeys(rows["stim_file"].str.strip()):
            if name.lower() not in UNKNOWN:
                films[name] = place / name
                # Events that came with data may not lead elsewhere.
                inside = films[name].resolve().is_relative_to(place.resolve())
                if not (inside and films[name].is_file()):
                    raise InputError(
                        f"{events.name}: stim_file {name} isn't in {place}; pass --stimulus with the folder "
                        f"that holds it, or put a table there, as {run.name}.tsv (or {listed(FORMATS[1:])})"
                    )
    return StimulusFiles(table, events, films, to_eeg)


def read_stimulus(
    files: StimulusFiles, times: NDArray[np.float64], tr: float, category: str | None = None
) -> Features | None:
    """Features of each frame of a run, NaN where nothing was shown; None where there are none.

    Parameters
    ----------
    files : StimulusFiles
    times : array, shape (K,), seconds on the EEG clock, the frames' centres
    tr : float, seconds
    category : str, a column of events.tsv

    Raises
    ------
    InputError
        If a file can't be read, a table isn't of so many frames, or events lack the column.
    """
    parts: list[tuple[NDArray[np.floating], tuple[str, ...]]] = []
    if files.table is not None:
        table = read_features(files.table, tr=tr, stimulus=True)
        check_frames(files.table, table, len(times), tr, "give a row of n/a (NaN) where nothing was shown")
        parts.append((table.values, table.names))
    if files.events is not None and (files.films or category):
        events = read_tsv(files.events, ["onset", "duration"])
        if category and category not in events:
            raise InputError(
                f"{files.events.name}: no column {category}; pass --category with one of {listed([*events])}"
            )
        since = times if files.to_eeg else times - times[0] + tr / 2
        onset, duration = (numbers(files.events, events, name) for name in ("onset", "duration"))
        if files.films:
            parts.append(_of_films(files, events, onset, since, tr))
        if category:
            parts.append(indicators(category, _active(events[category], onset, duration, since, tr)))
            if (number := len(parts[-1][1])) > MOST_CATEGORIES:
                many = "%s: %d values in the column %s, each a category; --category is of few values"
                logger.warning(many, files.events.name, number, category)
    if not parts:
        return None
    values = np.concatenate([values for values, _ in parts], axis=1).astype(np.float32)
    return Features(values, tuple(name for _, names in parts for name in names), tr)


def films_at(
    sources: Mapping[str, Any], times: NDArray[np.float64], first: float, tr: float
) -> list[tuple[Path, float]] | None:
    """Which film a prepared run showed at each time, and how many seconds from its start.

    Parameters
    ----------
    sources : mapping, of the run
    times : array, shape (n,), seconds on the EEG clock
    first, tr : float, seconds, the centre of the run's first frame and its TR

    Returns
    -------
    list of (path, seconds), or None where there is no film at one of them, or it has gone since
    """
    files = [Path(of) for of in sources["stimulus"]]
    films = [of for of in files if of.suffix not in FORMATS]
    events = next((of for of in files if of.name.endswith("_events.tsv")), None)
    if not films or events is None or not all(of.is_file() for of in (events, *films)):
        return None
    rows = read_tsv(events, ["onset", "stim_file"])
    begins = sorted(
        (onset, film)
        for onset, name in zip(numbers(events, rows, "onset"), rows["stim_file"].str.strip(), strict=True)
        for film in films
        if np.isfinite(onset) and film.as_posix().endswith(f"/{name}")
    )
    to_eeg = events.parent == Path(sources["eeg"]).parent
    found = []
    for time in times if to_eeg else times - first + tr / 2:
        begun = [(film, float(time - onset)) for onset, film in begins if onset <= time]
        if not begun:
            return None
        found.append(begun[-1])
    return found


def _of_films(
    files: StimulusFiles,
    events: "DataFrame",
    onset: NDArray[np.float64],
    times: NDArray[np.float64],
    tr: float,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Features of all films of a run, each where it runs."""
    from neuroframes.recording.video import film_features, per_frame

    values, names = None, None
    for name, path in files.films.items():
        course = film_features(path)
        if names not in (None, course.names):
            raise InputError(
                f"{path.name} has {listed(course.names)}, other films of the run {listed(names)}"
            )
        names = course.names
        for at in onset[(events["stim_file"].str.strip() == name).to_numpy()]:
            shown = per_frame(course, times, tr, at)
            values = shown if values is None else np.where(np.isfinite(shown), shown, values)
    assert values is not None and names is not None  # a film is of a row
    return values, names


def _active(
    column: "Series",
    onset: NDArray[np.float64],
    duration: NDArray[np.float64],
    times: NDArray[np.float64],
    tr: float,
) -> Sequence[str]:
    """What is the case at each time: the last event with a value that has begun and not ended; "" of none.

    One that lies between two times is of the frame in which it begins.
    """
    found = [""] * len(times)
    for value, begin, lasting in zip(column.str.strip(), onset, duration, strict=True):
        if value.lower() not in UNKNOWN and np.isfinite(begin):
            end = begin + lasting if np.isfinite(lasting) else np.inf
            during = (times >= begin) & (times < end)
            if not during.any():
                during = (begin >= times - tr / 2) & (begin < times + tr / 2)
            for k in np.flatnonzero(during):
                found[k] = value
    return found
