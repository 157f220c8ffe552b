"""Volume triggers: which of a recording's events mark the start of a volume.

Events are told apart by their spacing. Volumes begin once every TR; where n slices have a trigger each,
t_{k+n} - t_k is the TR, and every n-th event begins a volume. A kind of events that follows the TR but for
some that are missing or too many is refused by its name: a guess would shift all frames after it.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, listed
from neuroframes.recording.eeg_file import GAP, annotation_times
from neuroframes.recording.timeline import MAX_JITTER, trs_between
from neuroframes.recording.tsv import numbers, read_tsv

logger = logging.getLogger(__name__)

Times = NDArray[np.float64]
Events = dict[str, Times]
Steps = NDArray[np.int64]

# What scanners and amplifiers write, without blanks, case and BrainVision's type before the slash.
USUAL = {"r128", "r1", "t1", "v1", "tr", "vol", "volume", "volumestart", "scanstart", "scanner", "fmri"}
# Regular by nature, and no volumes.
OTHERS = re.compile(r"^bad|^edge|epoch|start|end", re.I)
SYNC = re.compile(r"sync", re.I)  # of BrainVision's SyncBox: every second, whether there are volumes or not
SHORTEST_TRAIN = 10
FULLEST = 0.8  # of the volumes between its first and last event: what a train has at least
MOST_SLICES = 200


def volume_triggers(
    raw: Any,
    trigger: str,
    tr: float | None,
    file: str,
    *,
    acquired: NDArray[np.bool_] | None = None,
    table: Path | None = None,
    note: str = "",
) -> Times:
    """Times of the volume triggers, seconds from the first sample, shape (n,); empty where there are none.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    trigger : str
        A description, or "auto": the usual names first, then the only kind of ten or more events that comes
        once every TR, or several times.
    tr : float, seconds, optional
        With "auto", decides between several names. Events that nearly follow it are refused; of one trigger a
        slice those are returned that begin a volume.
    file : str
        The file's name, for messages.
    acquired : array, shape (K,), optional
        False at frames where the BOLD pauses: there triggers do too; dummy scans may come before. Without it
        events that are any whole number of TRs apart will do.
    table : Path, optional
        BIDS events.tsv of the recording, which counts where the file itself has no volume triggers.
    note : str
        What else may be wrong with the recording, for messages.

    Raises
    ------
    InputError
        If no event has the description, "auto" finds more than one candidate, or events follow the TR but for
        some.
    """
    sources = {file: _events(raw), **({table.name: _events_of_table(table)} if table else {})}
    every = {name: times for events in sources.values() for name, times in events.items()}
    steps = np.empty(0, int) if acquired is None else np.diff(np.flatnonzero(acquired))
    if paused := int((steps - 1).sum()):
        note = f" (by VolumeTiming {paused} are to be missing){note}"
    refused = None
    for source, events in sources.items():
        try:
            kind = (
                _called(events, trigger, source)
                if trigger != "auto"
                else _only_train(events, tr, steps, source)
            )
            if kind is not None:
                times = events[kind]
                if acquired is not None or tr is None or not trs_between(times, tr).all():
                    times = _volumes(times, tr, steps, kind, source, note)
                if trigger == "auto" and (source != file or _plain(kind) not in USUAL):
                    logger.info("%s: the volume triggers are the events %r", source, kind)
                return times
        except InputError as error:
            # What markers lack events.tsv may have.
            refused = refused or error
    if refused is None and trigger != "auto":
        refused = InputError(
            f"{file}: no event is called {trigger!r}; events here: {_listed(every)}; "
            "pass --trigger with one of them"
        )
    if refused is not None:
        raise refused
    if every:
        logger.info("%s: no volume triggers among its events: %s", file, _listed(every))
    return np.empty(0)


def departures(times: Times, tr: float) -> tuple[int, int, list[str]]:
    """How events depart from one every TR.

    Parameters
    ----------
    times : array, shape (n,), seconds, ascending
    tr : float, seconds

    Returns
    -------
    on : int
        Events that lie a TR, or a whole number of them, after the one before.
    missing : int
        Events that would fill the gaps between those.
    said : list of str
        Where events are missing or too many; empty where there is one every TR, within 5 %.
    """
    near = MAX_JITTER * tr
    after = np.searchsorted(times, times + tr - near), np.searchsorted(times, times + tr + near, "right")
    followed = after[0] < after[1]
    if not followed.any():
        return 0, 0, []
    first = int(followed.argmax())
    on, missing, last = 1, 0, times[first]
    said = [f"one too many at {time:.3f} s" for time in times[:first]]
    for time, goes_on in zip(times[first + 1 :], followed[first + 1 :], strict=True):
        steps = round((time - last) / tr)
        if steps and abs(time - last - steps * tr) <= near:
            if steps > 1:
                said.append(f"{steps - 1} missing between {last:.3f} and {time:.3f} s")
            on, missing, last = on + 1, missing + steps - 1, time
        elif goes_on and time - last > tr:
            said.append(f"a pause of {time - last:.3f} s after {last:.3f} s")
            on, last = on + 1, time
        else:
            said.append(f"one too many at {time:.3f} s")
    return on, missing, said


def per_volume(times: Times, tr: float) -> tuple[int, NDArray[np.bool_]]:
    """How many events there are in each TR: the whole number n with t_{k+n} - t_k the TR for most k.

    Returns
    -------
    n : int
        0 where there is none.
    fits : array of bool, shape (len(times) - n,)
        For which k that is so.
    """
    best, share = (0, np.empty(0, bool)), FULLEST
    for n in range(1, min(MOST_SLICES, len(times) - 1) + 1):
        # Of many slices the next one lies within 5 % of a TR too.
        fits = np.abs(times[n:] - times[:-n] - tr) <= min(MAX_JITTER, 0.5 / n) * tr
        if fits.mean() > share:
            best, share = (n, fits), fits.mean()
    return best


def _only_train(events: Events, tr: float | None, steps: Steps, source: str) -> str | None:
    """The one kind of events that can be the volume triggers, None if there is none; or InputError."""
    events = _distinct({n: t for n, t in events.items() if _plain(n) in USUAL or not OTHERS.search(n)})
    usual = {name for name in events if _plain(name) in USUAL}
    if tr is None:
        regular = {n for n, t in events.items() if len(t) >= SHORTEST_TRAIN and _regular(t)}
        return _one(events, usual or {name for name in regular if not SYNC.search(name)}, source)
    counts = {n: per_volume(t, tr)[0] for n, t in events.items() if len(t) >= SHORTEST_TRAIN}
    once = {name for name in counts if _fits(events[name], tr, steps)}
    nearly = {name for name in counts if _nearly(events[name], tr, steps)}
    several = {name for name in counts if counts[name] > 1 and not SYNC.search(name)}
    # A single usual name is the trigger whatever its interval: `frame_times` says what is wrong.
    for candidates in (once & usual, (several | nearly) & usual, once, nearly, usual, several):
        if (name := _one(events, candidates, source)) is None:
            continue
        if name not in usual and (SYNC.search(name) or candidates is several):
            raise InputError(
                f"{source}: the {len(events[name])} events {name!r} follow the TR of {tr:g} s, which may be "
                f"by chance; if they mark volumes or slices pass --trigger {name!r}, else --trigger none "
                "--onset SECONDS"
            )
        return name
    for name, times in events.items():
        if len(events) == len(times) == 1 and times[0] > 0:
            raise InputError(
                f"{source}: its only event, {name!r} at {times[0]:.3f} s, may be that of the first volume; "
                f"if so pass --trigger {name!r}, else --trigger none --onset SECONDS"
            )
    return None


def _volumes(times: Times, tr: float | None, steps: Steps, name: str, source: str, note: str) -> Times:
    """Of the events of a kind those that begin a volume; InputError if they nearly follow the TR."""
    if tr is None or _fits(times, tr, steps):
        return times
    n, fits = per_volume(times, tr)
    said = departures(times, tr)[2] if _nearly(times, tr, steps) else []
    if n > 1:
        if len(times) % n:
            said = [f"of {n} a TR {len(times) % n} are left over"]
        if not fits.all():
            wrong = int(fits.argmin())
            said = [f"of {n} a TR some are missing or too many after {times[wrong]:.3f} s"]
        # Between the last slice of a volume and the first of the next there may be a pause.
        apart = np.diff(times[: n + 1])
        if apart.max() > 1.5 * np.median(apart) and (there := int(apart.argmax()) + 1) != n:
            said = [f"of {n} a TR there are {there} before the first pause"]
    if said:
        raise InputError(
            f"{source}: the {len(times)} events {name!r} look like volume triggers, but not all of them do: "
            f"with the TR of {tr:g} s, {listed(said, 5)}{note}; correct the file's markers, or state them "
            "all in its BIDS events.tsv, or count from the first volume, as by --trigger none --onset "
            f"{times[0] if n > 1 else _first(times, tr):.3f}"
        )
    if n > 1:
        logger.warning(
            "%s: the %d events %r come %d times every TR of %g s, as slices do; one in %d begins a volume",
            *(source, len(times), name, n, tr, n),
        )
    return times[:: max(n, 1)]


def _fits(times: Times, tr: float, steps: Steps) -> bool:
    """Whether events come once every TR and, the last ones, as many TRs apart as `steps` says."""
    apart = trs_between(times, tr)
    steps = steps[: len(apart)]
    expected = np.append(np.ones(len(apart) - len(steps), int), steps)
    return len(times) > 1 and np.array_equal(apart, expected)


def _first(times: Times, tr: float) -> float:
    """The first event that another follows after a TR."""
    near = MAX_JITTER * tr
    return float(next(t for t in times if (np.abs(times - t - tr) <= near).any()))


def _nearly(times: Times, tr: float, steps: Steps) -> bool:
    """Whether events look like volume triggers some of which are missing or too many."""
    on, missing, said = departures(times, tr)
    missing -= int((steps - 1).sum())  # where the run pauses
    return bool(said) and on >= max(SHORTEST_TRAIN, 0.6 * len(times), FULLEST * (on + missing))


def _one(events: Events, candidates: Collection[str], source: str) -> str | None:
    if len(candidates) > 1:
        listing = _listed({name: times for name, times in events.items() if name in candidates})
        raise InputError(
            f"{source}: more than one kind of event could be the volume trigger: {listing}; "
            "pass --trigger with one of them"
        )
    return next(iter(candidates), None)


def _called(events: Events, trigger: str, source: str) -> str | None:
    """The kind of events with this name, None if there is none."""
    chosen = [name for name in events if trigger in (name, name.partition("/")[2])]
    chosen = chosen or [name for name in events if _plain(name) == _plain(trigger)]
    if len(chosen) > 1:
        raise InputError(
            f"{source}: more than one kind of event is called {trigger!r}; events here: {_listed(events)}; "
            "pass --trigger with one of them"
        )
    return chosen[0] if chosen else None


def _events(raw: Any) -> Events:
    """Times of every kind of event, from annotations and trigger channels, seconds from the first sample."""
    import mne

    times = defaultdict(list)
    for onset, description in zip(annotation_times(raw), raw.annotations.description, strict=True):
        if not GAP.fullmatch(str(description)):
            times[str(description)].append(onset)
    for channel in np.array(raw.ch_names)[np.array(raw.get_channel_types()) == "stim"]:
        options = {"consecutive": True, "shortest_event": 1, "initial_event": True, "verbose": "ERROR"}
        found = mne.find_events(raw, channel, **options)
        at = (found[:, 0] - raw.first_samp) / raw.info["sfreq"]
        before, value = found[:, 1:].T
        for each in np.unique(value[value > before]):
            times[f"{channel}/{each}"] = [*at[(value == each) & (value > before)]]
            # A button that is held while the scanner sends its bit makes another value of it.
            rises = (value & each == each) & (before & each == 0)
            if each.bit_count() == 1 and (value[rises] != each).any():
                times[f"{channel}/bit {each}"] = [*at[rises]]
    return {name: np.sort(np.array(found, float)) for name, found in times.items()}


def _events_of_table(path: Path) -> Events:
    """Times of every kind of event that events.tsv names in `trial_type` or `value`."""
    table = read_tsv(path, ["onset"])
    onset = numbers(path, table, "onset")
    found: Events = {}
    for column in ("trial_type", "value"):
        for name, rows in table.groupby(column).indices.items() if column in table else ():
            if str(name) != "n/a" and not GAP.fullmatch(str(name)):
                times = onset[rows]
                found.setdefault(str(name), np.sort(times[np.isfinite(times)]))
    return found


def _distinct(events: Events) -> Events:
    """Kinds of events without those that repeat an earlier one's times under another name."""
    kept: Events = {}
    for name, times in sorted(events.items(), key=lambda item: _plain(item[0]) not in USUAL):
        if not any(len(times) == len(t) and np.allclose(times, t, atol=2e-3, rtol=0) for t in kept.values()):
            kept[name] = times
    return kept


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.rpartition("/")[2]).lower()


def _regular(times: Times) -> bool:
    intervals = np.diff(times)
    middle = np.median(intervals)
    return bool(middle > 0 and (np.abs(intervals - middle) <= MAX_JITTER * middle).all())


def _listed(events: Events) -> str:
    return listed([f"{name!r} ({len(times)} times)" for name, times in events.items()]) or "none"
