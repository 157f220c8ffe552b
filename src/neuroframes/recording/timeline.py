"""Time: when each frame was acquired on the EEG clock, and which frames are to be left out.

Frame k is acquired from trigger t_k to t_k + TR and stands for its centre, t_k + TR/2. Without triggers
t_k = onset + k TR. fMRIPrep's slice-timing correction refers slices to `StartTime` after t_k instead, by
default TR/2 as well.

A run may pause for a whole number of TRs: frames k at which no volume was acquired are missing, and tables,
which have a line for each volume, say nothing of them.

A frame is left out where head motion or DVARS mark it as an outlier, or where the user does. What lies just
before, just after or in short stretches between such frames may be left out too (`Censoring`), as XCP-D does.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_number, counted, listed
from neuroframes.recording.tsv import numbers, read_tsv

if TYPE_CHECKING:
    from neuroframes.recording.bold import Bold

logger = logging.getLogger(__name__)

# Largest deviation of an interval between triggers from the TR, as a fraction of it.
MAX_JITTER = 0.05
# Column names of fMRIPrep since 1.2, then before.
DISPLACEMENT = ("framewise_displacement", "FramewiseDisplacement")
DVARS = ("std_dvars", "stdDVARS")
OUTLIERS = re.compile(r"(motion_outlier|non_steady_state_outlier|NonSteadyStateOutlier)_?\d+")
# Translations in mm, rotations in rad; fMRIPrep since 1.2, then before.
MOTION = (
    ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"),
    ("X", "Y", "Z", "RotX", "RotY", "RotZ"),
)
FEWEST_ALIKE = 4  # values of a frame: of fewer it is no wonder that all are the same


def trs_between(times: NDArray[np.float64], tr: float) -> NDArray[np.int64]:
    """How many TRs lie between each of these times and the next, shape (n - 1,).

    0 where it isn't a whole number of them, within 5 % of the TR, or time doesn't increase.
    """
    apart = np.diff(times) / tr
    steps = np.rint(apart)
    return np.where((np.abs(apart - steps) <= MAX_JITTER) & (steps > 0), steps, 0).astype(np.int64)


def usual_interval(times: NDArray[np.float64]) -> float:
    """The mean of the intervals between increasing times that are no pauses: times jitter, or are rounded."""
    apart = np.diff(times)
    return float(apart[apart < 1.5 * apart.min()].mean())


def acquired_at(times: NDArray[np.float64], tr: float) -> NDArray[np.bool_]:
    """At which frames (K,) of a run volumes begin at these times (n,): elsewhere it pauses.

    A time that isn't a whole number of TRs after the one before counts as the next frame's.
    """
    places = np.append(0, np.maximum(trs_between(times, tr), 1).cumsum())
    return np.isin(np.arange(places[-1] + 1), places)


def at_volumes(values: NDArray[Any], acquired: NDArray[np.bool_], fill: float = 0) -> NDArray[Any]:
    """Values (n, ...) of each volume at the frames (K, ...) of a run; `fill` where none was acquired."""
    if acquired.all():
        return values
    result = np.full((len(acquired), *values.shape[1:]), fill, values.dtype, order="F")
    result[acquired] = values
    return result


def frame_times(
    triggers: NDArray[np.float64] | None,
    tr: float,
    n_frames: int,
    *,
    onset: float | None = None,
    skip: int = 0,
    within: float | None = None,
    acquired: NDArray[np.bool_] | None = None,
    name: str = "EEG",
) -> NDArray[np.float64]:
    """Time that each frame stands for, on the EEG clock.

    Parameters
    ----------
    triggers : array, shape (n + skip,), seconds, or None
        Volume triggers of n acquired frames, one at the start of each volume, or the first alone. None or
        none at all: `onset` counts.
    tr : float, seconds
    n_frames : int
        Frames of the BOLD, pauses included.
    onset : float, seconds
        Start of the first volume where there are no triggers; if None the EEG's own start, with a warning.
    skip : int
        Volumes at the start that were acquired but are not in the BOLD file (dummy scans).
    within : float, seconds, optional
        Offset from a volume's start to the time that it stands for; TR/2 where not given.
    acquired : array, shape (n_frames,), optional
        False where the run pauses; by default it doesn't.
    name : str
        The EEG file's, for messages.

    Returns
    -------
    array, shape (n_frames,), float64, seconds

    Raises
    ------
    InputError
        If the number of triggers is not `n + skip`, or an interval differs from `tr`, or the whole number of
        TRs of a pause, by more than 5 % of `tr`; if a number is not finite, the TR not positive or `skip`
        negative.
    """
    tr = check_number(tr, "TR (s)", above=0)
    skip = int(check_number(skip, "--skip-volumes", at_least=0, whole=True))
    offset = tr / 2 if within is None else check_number(within, "StartTime (s)")
    onset = None if onset is None else check_number(onset, "--onset")
    if triggers is None or len(triggers) == 0:
        if onset is None:
            logger.warning("%s: no volume triggers; frames are counted from the EEG's start", name)
            onset = 0.0
        return onset + offset + tr * (skip + np.arange(n_frames, dtype=np.float64))
    if len(triggers) == 1 < n_frames + skip:
        logger.warning("%s: one volume trigger, at %.3f s; frames are counted from it", name, triggers[0])
        return triggers[0] + offset + tr * (skip + np.arange(n_frames, dtype=np.float64))
    # Triggers are the scanner's own clock: an onset beside them counts for nothing.
    acquired = np.ones(n_frames, bool) if acquired is None else acquired
    _check_triggers(triggers, tr, acquired, skip, name)
    return np.interp(np.arange(n_frames), np.flatnonzero(acquired), triggers[skip:]) + offset


def _check_triggers(
    triggers: NDArray[np.float64], tr: float, acquired: NDArray[np.bool_], skip: int, name: str
) -> None:
    """Raise InputError unless there is a trigger for every volume, and a TR or a pause between two."""
    n_frames = int(acquired.sum())
    if len(triggers) != n_frames + skip:
        surplus = len(triggers) - n_frames
        remedy = (
            f"pass --skip-volumes {surplus} if the first {surplus} were dummy scans that the BOLD file lacks"
            f", or --trigger none --onset {triggers[0]:.3f} if it lacks the last"
            if surplus > 0
            else "the EEG lacks volumes: cut the BOLD to the frames that were recorded with it, or pass "
            f"--trigger none --onset SECONDS to count from the first frame's ({triggers[0]:.3f}, if the last "
            "ones are missing)"
        )
        skipped = f" after {skip} skipped volumes" if skip else ""
        raise InputError(f"{name}: {len(triggers)} volume triggers but {n_frames} frames{skipped}; {remedy}")
    steps = np.append(np.ones(skip, int), np.diff(np.flatnonzero(acquired)))
    jitter = np.abs(np.diff(triggers) - tr * steps)
    if jitter.size and jitter.max() > MAX_JITTER * tr:
        worst = int(jitter.argmax())
        pause = f" times {steps[worst]}, since VolumeTiming pauses there," if steps[worst] > 1 else ""
        raise InputError(
            f"{name}: volume triggers {worst} and {worst + 1} are {np.diff(triggers)[worst]:.4f} s apart, "
            f"expected the TR of {tr:g} s{pause} within {MAX_JITTER:.0%}; check that these are the volume "
            "triggers (--trigger) and that the TR is right"
        )


def check_covers(times: NDArray[np.float64], tr: float, duration: float, name: str = "EEG") -> None:
    """Raise InputError unless EEG of `duration` seconds spans every frame, `times` (K,) on its clock.

    The last half frame may be missing: recordings are often stopped by the last volume's trigger.
    """
    missing = int(((times < 0) | (times > duration)).sum())
    if missing:
        raise InputError(
            f"{name}: the EEG lasts {duration:.1f} s but the frames go from {times[0] - tr / 2:.1f} to "
            f"{times[-1] + tr / 2:.1f} s on its clock: {missing} of {len(times)} frames have no EEG; "
            "pass the EEG of this run, or correct --onset"
        )


@dataclass(frozen=True)
class Censoring:
    """Rules by which frames are left out; those before, after and between outliers are XCP-D's.

    Attributes
    ----------
    fd_threshold : float, mm
        Framewise displacement above which a frame is an outlier.
    dvars_threshold : float, or None where DVARS says nothing
        Standardised DVARS (1 is usual) above which a frame is an outlier.
    censor_before, censor_after : int
        Frames left out before and after each one that is.
    censor_between : int
        Length of the longest stretch of good frames that is left out, 0 for none.

    Raises
    ------
    InputError
        If a threshold is no finite number of at least 0, or a count no whole one.
    """

    fd_threshold: float = 0.5
    dvars_threshold: float | None = None
    censor_before: int = 0
    censor_after: int = 0
    censor_between: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None:
                whole = name.startswith("censor")
                checked = check_number(value, f"--{name.replace('_', '-')}", at_least=0, whole=whole)
                object.__setattr__(self, name, checked)

    def outliers(self, confounds: str | Path, n_frames: int) -> NDArray[np.bool_]:
        """Outliers of an fMRIPrep confounds table.

        A frame is one where displacement or DVARS exceeds its threshold or where fMRIPrep marked it in a
        `motion_outlierNN` or `non_steady_state_outlierNN` column. The first frame's displacement and DVARS
        are unknown (n/a) and don't count. Column names of fMRIPrep 1.0 (`FramewiseDisplacement`, `stdDVARS`)
        are understood too.

        Parameters
        ----------
        confounds : path
            `*_desc-confounds_timeseries.tsv`, one line a frame.
        n_frames : int

        Returns
        -------
        array, shape (n_frames,), bool

        Raises
        ------
        InputError
            If the number of lines is not `n_frames`, no column says anything about motion, or there is a
            threshold of DVARS but no column of it.
        """
        path = Path(confounds)
        table = read_tsv(path)
        _check_length(path, len(table), n_frames)
        limits = {name: self.fd_threshold for name in DISPLACEMENT if name in table}
        limits |= {name: 0 for name in table if OUTLIERS.fullmatch(name)}
        if self.dvars_threshold is not None:
            of_dvars = {name: self.dvars_threshold for name in DVARS if name in table}
            if not of_dvars:
                raise InputError(
                    f"{path.name}: no {DVARS[0]} among its {table.shape[1]} columns, which --dvars-threshold "
                    "needs; pass fMRIPrep's desc-confounds_timeseries.tsv, or leave the option out"
                )
            limits |= of_dvars
        if not limits:
            raise InputError(
                f"{path.name}: no {DISPLACEMENT[0]} and no motion_outlier columns among its "
                f"{table.shape[1]}; pass fMRIPrep's desc-confounds_timeseries.tsv, or --censor with a table "
                "of 0 and 1"
            )
        # NaN compares False
        return np.any([numbers(path, table, name) > limit for name, limit in limits.items()], axis=0)

    def left_out(self, bold: "Bold", confounds: str | Path | None) -> NDArray[np.bool_]:
        """Frames that are no data: left out by these rules, without values, or estimates of an earlier call.

        Parameters
        ----------
        bold : Bold, of K frames
        confounds : path, or None
            As in `outliers`, one line a volume.

        Returns
        -------
        array, shape (K,), bool
        """
        return self.missing(bold, confounds) | ~bold.measured

    def missing(
        self, bold: "Bold", confounds: str | Path | None, named: Sequence[NDArray[np.bool_]] = ()
    ) -> NDArray[np.bool_]:
        """The same without estimates of an earlier call, and with volumes that are `named`, each (n,).

        Pauses are missing, and bound a stretch, but frames beside them are as good as others.
        """
        missing = without_values(bold.data, bold.measured, bold.sources[0].name) & bold.acquired
        if confounds is not None:
            missing[bold.acquired] |= self.outliers(confounds, bold.n_volumes)
        for each in named:
            missing[bold.acquired] |= each
        return self.widened(missing, bold.measured) | ~bold.acquired

    def widened(self, missing: NDArray[np.bool_], measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Missing frames and what the rules leave out around them.

        First the frames before and after each missing one, then stretches of at most `censor_between` good
        frames: between two others, or between one and an end of the run, which counts as if it were missing.

        Parameters
        ----------
        missing : array, shape (K,), bool
            Outliers, whatever marked them.
        measured : array, shape (K,), bool
            Others that are False (estimates of an earlier call) are not good, and bound a stretch.

        Returns
        -------
        array, shape (K,), bool
        """
        n_frames = len(missing)
        before, after = (min(n, n_frames) for n in (self.censor_before, self.censor_after))
        near = np.convolve(missing, np.ones(before + 1 + after, int))[before : before + n_frames]
        result = near > 0
        bounds = np.flatnonzero(result | ~measured)
        for last, following in pairwise([-1, *bounds, n_frames]):
            if following - last - 1 <= self.censor_between:
                result[last + 1 : following] = True
        return result


def without_values(frames: NDArray[np.float32], measured: NDArray[np.bool_], name: str) -> NDArray[np.bool_]:
    """Frames that hold nothing: no finite value or, where they pass for measured, the same one throughout.

    Other tools leave zeros at frames that they censored, such as AFNI's `-cenmode ZERO`.

    Parameters
    ----------
    frames : array, shape (K, V)
    measured : array, shape (K,)
    name : str
        The file's, for the warning that names frames of one value.

    Returns
    -------
    array, shape (K,), bool
    """
    n_finite = np.isfinite(frames).sum(axis=1)
    alike = np.fmin.reduce(frames, axis=1) == np.fmax.reduce(frames, axis=1)
    alike &= measured & (n_finite >= max(FEWEST_ALIKE, frames.shape[1] / 2))
    if alike.any():
        logger.warning(
            "%s: %s without a signal, the same value throughout (%s): not measured",
            name,
            counted(int(alike.sum()), "frame"),
            listed(np.flatnonzero(alike).tolist()),
        )
    return np.asarray(alike | (n_finite == 0))


def motion(confounds: str | Path, n_frames: int) -> NDArray[np.float64] | None:
    """Head motion of each frame, from an fMRIPrep confounds table.

    Returns
    -------
    array, shape (n_frames, 6), float64, or None where the table has no such columns
        Three translations (mm), three rotations (rad), 0 where it says n/a.

    Raises
    ------
    InputError
        If the number of lines is not `n_frames`, or an entry is no number.
    """
    path = Path(confounds)
    table = read_tsv(path)
    _check_length(path, len(table), n_frames)
    for names in MOTION:
        if set(names) <= set(table):
            return np.nan_to_num(np.stack([numbers(path, table, name) for name in names], axis=1))
    return None


def parse_frames(text: str, n_frames: int) -> NDArray[np.bool_]:
    """Frames named as in `10:14,40`: counted from 0, the end of a range included (10, 11, 12, 13, 14, 40).

    Returns
    -------
    array, shape (n_frames,), bool
        True at the frames named.

    Raises
    ------
    InputError
        If a part is no number or range, or a frame does not exist.
    """
    result = np.zeros(n_frames, bool)
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?::\s*(\d+)\s*)?", part)
        if match is None:
            raise InputError(f"frames {text!r}: {part!r} is no frame or range; expected the form 10:14,40")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= n_frames:
            raise InputError(
                f"frames {text!r}: {part.strip()} is out of range; the {n_frames} frames are numbered "
                f"0 to {n_frames - 1}, and a range goes upwards"
            )
        result[first : last + 1] = True
    return result


def _check_length(path: Path, n_lines: int, n_frames: int) -> None:
    if n_lines != n_frames:
        raise InputError(
            f"{path.name}: {n_lines} lines but the BOLD has {n_frames} frames; pass the table of this run"
        )
