"""Volume triggers: which of a recording's events mark the start of a volume."""

import re
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.recording.timeline import MAX_JITTER

# What scanners and amplifiers write, without blanks, case and BrainVision's type before the slash.
USUAL = {"r128", "r1", "t1", "v1", "tr", "vol", "volume", "volumestart", "scanstart", "scanner", "fmri"}
# Regular by nature, and no volumes.
OTHERS = re.compile(r"sync|new ?segment|boundary|^bad|^edge|epoch|start|end", re.I)
SHORTEST_TRAIN = 10


def volume_triggers(raw: Any, trigger: str, tr: float | None, file: str) -> NDArray[np.float64]:
    """Times of the volume triggers, seconds from the first sample, shape (n,); empty where there are none.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    trigger : str
        A description, or "auto": the usual names first, then the only regular train of ten or more events.
    tr : float, seconds, optional
        With "auto", decides between several names, and trains without a usual name must have this interval.
    file : str
        The file's name, for messages.

    Raises
    ------
    InputError
        If no event has the description, or "auto" finds more than one candidate.
    """
    events = _events(raw)
    if trigger != "auto":
        chosen = [name for name in events if trigger in (name, name.partition("/")[2])]
        chosen = chosen or [name for name in events if _plain(name) == _plain(trigger)]
        if len(chosen) == 1:
            return events[chosen[0]]
        raise InputError(
            f"{file}: {'no' if not chosen else 'more than one kind of'} event is called {trigger!r}; "
            f"events here: {_listed(events)}; pass --trigger with one of them"
        )
    candidates = {name: times for name, times in events.items() if _plain(name) in USUAL}
    # A single usual name is the volume trigger even with gaps: `frame_times` then says what is wrong.
    if len(candidates) > 1 and tr is not None:
        fitting = {name: times for name, times in candidates.items() if _interval_is(times, tr)}
        candidates = fitting or candidates
    if not candidates:
        candidates = {
            name: times
            for name, times in events.items()
            if len(times) >= SHORTEST_TRAIN
            and not OTHERS.search(name)
            and _regular(times)
            and (tr is None or _interval_is(times, tr))
        }
    if len(candidates) > 1:
        raise InputError(
            f"{file}: more than one kind of event could be the volume trigger: {_listed(candidates)}; "
            "pass --trigger with one of them"
        )
    return next(iter(candidates.values()), np.empty(0))


def _events(raw: Any) -> dict[str, NDArray[np.float64]]:
    """Times of every kind of event, from annotations and trigger channels, seconds from the first sample."""
    import mne

    times = defaultdict(list)
    # With a measurement date MNE counts annotations from it, otherwise from the first sample.
    shift = raw.first_time if raw.annotations.orig_time is not None else 0.0
    for onset, description in zip(raw.annotations.onset, raw.annotations.description, strict=True):
        times[str(description)].append(onset - shift)
    for channel in np.array(raw.ch_names)[np.array(raw.get_channel_types()) == "stim"]:
        found = mne.find_events(raw, channel, shortest_event=1, initial_event=True, verbose="ERROR")
        for sample, _, value in found:
            times[f"{channel}/{value}"].append((sample - raw.first_samp) / raw.info["sfreq"])
    return {name: np.sort(np.array(found, float)) for name, found in times.items()}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.rpartition("/")[2]).lower()


def _regular(times: NDArray[np.float64]) -> bool:
    intervals = np.diff(times)
    middle = np.median(intervals)
    return bool(middle > 0 and (np.abs(intervals - middle) <= MAX_JITTER * middle).all())


def _interval_is(times: NDArray[np.float64], tr: float) -> bool:
    return len(times) > 1 and abs(float(np.median(np.diff(times))) - tr) <= MAX_JITTER * tr


def _listed(events: dict[str, NDArray[np.float64]]) -> str:
    return ", ".join(f"{name!r} ({len(times)} times)" for name, times in events.items()) or "none"
