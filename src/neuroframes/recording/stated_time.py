"""What files and their sidecars state of time: the TR, and at which frames a run pauses."""

import logging
import math
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_number, listed
from neuroframes.recording.sidecar import seconds, sidecar_path
from neuroframes.recording.timeline import MAX_JITTER, acquired_at, trs_between, usual_interval

Mask = NDArray[np.bool_]

logger = logging.getLogger(__name__)

# Relative difference beyond which two statements of the TR contradict each other (headers round).
TR_TOLERANCE = 1e-3
# Seconds; outside of these a TR was stated in other units, or not at all.
SHORTEST_TR, LONGEST_TR = 0.01, 60.0
LATEST = 1e6  # seconds: no volume of a run is later
MOST_PAUSED = 10  # times its volumes: the longest run, pauses included


class NoTRError(InputError):
    """Nothing states a run's TR."""


def check_tr(tr: Any, option: str) -> float:
    """A TR that the user gave, in seconds.

    Raises
    ------
    InputError
        If it isn't a number of 0.01 s or more, and less than a minute.
    """
    try:
        return check_number(tr, option, at_least=SHORTEST_TR, below=LONGEST_TR)
    except InputError as error:
        if isinstance(tr, Real) and LONGEST_TR < float(tr) < math.inf:
            raise InputError(f"{error}: {_in_seconds(float(tr))}") from None
        raise


def _in_seconds(tr: float) -> str:
    return f"{tr / 1000:g}, if milliseconds are meant"


def agreed_tr(
    headers: Mapping[Path, float], sidecars: Mapping[Path, Mapping[str, Any]], n_frames: int | None = None
) -> float:
    """The TR in seconds as headers (0 if unknown) and sidecars of images state it, which must agree.

    `n_frames`, where it is known, is how many onsets VolumeTiming must have.

    Raises
    ------
    InputError
        If they don't, it isn't from 0.01 to 60 s, or VolumeTiming has no such onsets; NoTRError if none does.
    """
    stated = [(path.name, tr) for path, tr in headers.items()]
    for path, content in sidecars.items():
        beside = sidecar_path(path).name
        stated.append((beside, seconds(path, content, "RepetitionTime") or 0.0))
        if "VolumeTiming" in content:
            stated.append((beside, _volume_timing(beside, content["VolumeTiming"], n_frames)[0]))
    stated = [(name, value) for name, value in stated if value != 0]  # headers say 0 for unknown
    path = next(iter(headers))
    for name, value in stated:
        if not SHORTEST_TR <= value < LONGEST_TR:
            meant = f" {_in_seconds(value)}" * (value > LONGEST_TR)
            raise InputError(
                f"{name}: a TR of {value:g} s is stated; expected {SHORTEST_TR:g} to {LONGEST_TR:g} s; "
                f"correct it or {sidecar_path(path).name}, or pass --bold-tr{meant}"
            )
    if not stated:
        raise NoTRError(
            f"{path.name}: neither it nor {sidecar_path(path).name} states a TR; "
            "write RepetitionTime there, or pass --bold-tr"
        )
    first, agreed = stated[0]
    for name, value in stated:
        if abs(value - agreed) > TR_TOLERANCE * agreed:
            raise InputError(
                f"{first} says a TR of {agreed:g} s but {name} says {value:g} s; correct the wrong one, or "
                "pass --bold-tr"
            )
    # JSON carries the TR in full; headers of volumes round it to float32.
    return stated[-1][1]


def _volume_timing(file: str, onsets: Any, n_volumes: int | None) -> tuple[float, Mask]:
    """The TR in seconds of a sidecar's VolumeTiming, and at which frames (K,) a volume was acquired."""
    kinds = isinstance(onsets, list) and not {type(onset) for onset in onsets} - {int, float}
    numbers = kinds and all(abs(onset) < LATEST for onset in onsets)
    if not numbers or len(onsets) < 2 or len(onsets) != (n_volumes or len(onsets)):
        got = f"{len(onsets)} entries" if numbers else f"{onsets!r:.40}"
        raise InputError(
            f"{file}: VolumeTiming has {got}; expected the onset of each "
            f"{f'of {n_volumes} frames' if n_volumes else 'frame'} in seconds: correct or remove it"
        )
    times = np.array(onsets, np.float64)
    apart = np.diff(times)
    if (shortest := float(apart.min())) <= 0:
        frame = int(apart.argmin())
        raise InputError(
            f"{file}: by VolumeTiming frames {frame} and {frame + 1} are {shortest:g} s apart; expected "
            "onsets in seconds, each later than the one before: correct or remove it"
        )
    tr = usual_interval(times)
    steps = trs_between(times, tr)
    if not steps.all():
        usual = float(np.median(apart))
        off = np.abs(apart / usual - np.maximum(np.rint(apart / usual), 1))
        frame = int((off > MAX_JITTER).argmax())
        raise InputError(
            f"{file}: by VolumeTiming frames {frame} and {frame + 1} are {apart[frame]:g} s apart, "
            f"{off[frame] * usual:.3g} s from a whole number of TRs of {usual:g} s; expected at most "
            f"{MAX_JITTER:.0%} of the TR: correct the onsets, or cut the run there and use its parts"
        )
    if steps.sum() >= MOST_PAUSED * len(times):
        longest = int(steps.argmax())
        raise InputError(
            f"{file}: by VolumeTiming {len(times)} frames take {times[-1] - times[0]:g} s, mostly pauses, "
            f"the longest after frame {longest}; expected less than {MOST_PAUSED} TRs a frame: correct the "
            "onsets, or cut the run there and use its parts"
        )
    return tr, acquired_at(times, tr)


def acquired_by(path: Path, sidecars: Mapping[Path, Mapping[str, Any]], tr: float, n_volumes: int) -> Mask:
    """At which frames one of the volumes in a file was acquired, (K,), as the sidecars say; else at all.

    `path` is for messages, `tr` in seconds.

    Raises
    ------
    InputError
        If VolumeTiming isn't that of so many volumes or of this TR, or hemispheres pause elsewhere.
    """
    acquired, timed = np.ones(n_volumes, bool), {s: c for s, c in sidecars.items() if "VolumeTiming" in c}
    for number, (source, content) in enumerate(timed.items()):
        file = sidecar_path(source).name
        step, stated = _volume_timing(file, content["VolumeTiming"], n_volumes)
        if not stated.all() and abs(step - tr) > MAX_JITTER * tr:
            raise InputError(
                f"{file}: by VolumeTiming, which has pauses, the TR is {step:g} s, but --bold-tr says "
                f"{tr:g} s; leave --bold-tr out, or correct or remove VolumeTiming"
            )
        if number and not np.array_equal(stated, acquired):
            raise InputError(
                f"{file}: by VolumeTiming it pauses elsewhere than the other hemisphere; correct one of them"
            )
        acquired = stated
    pauses = np.flatnonzero(np.diff(~acquired, prepend=False, append=False)).reshape(-1, 2)
    if len(pauses):
        where = listed([f"{first}:{stop - 1}" for first, stop in pauses.tolist()])
        paused = "%s: no volume at %d of %d frames (%s), where the run pauses by VolumeTiming: not measured"
        logger.warning(paused, path.name, np.sum(~acquired), len(acquired), where)
    return acquired
