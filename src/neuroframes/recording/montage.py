"""Where electrodes are: by their names in a table of positions, the standard 10-05 montage being one.

EEG of one montage is brought to another by W (C, c): a channel of the same name as it is, others by
spherical splines through all that have a position (Perrin et al. 1989, doi:10.1016/0013-4694(89)90180-6).
Each montage has a coordinate frame of its own: directions are those from the centre of the sphere through its
electrodes, and channels that both have say how one is turned against the other.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from neuroframes.errors import InputError

Float = NDArray[np.float64]

FEWEST_CHANNELS, FEWEST_SHARE = 4, 0.25  # of a model's channels: from fewer by name the others aren't filled
FEWEST_LOCATED = 8  # channels with a position, through which splines go
FEWEST_TO_TURN = 3  # channels in common, by which one coordinate frame is turned to the other
RADIUS = 0.095  # metres, of MNE's head
SMOOTHING = 1e-7  # of the splines: more blurs electrodes that lie where others do
# Labels of BioSemi's caps, and those of them that the 10-20 system or EGI's nets have too.
BIOSEMI, OTHER_SCHEMES = (re.compile(form, re.I) for form in (r"[A-H]\d\d?", r"A[12]|C[1-6]|F[1-9]|F10|E\d+"))
ELSEWHERE = " of another scheme"


def standard_montage() -> dict[str, Float]:
    """Position (3,), metres, of each electrode of the 10-05 system."""
    import mne

    # MNE 1.13 renamed the standard montage.
    name = next(n for n in ("colin27_1005", "standard_1005") if n in mne.channels.get_builtin_montages())
    return mne.channels.make_standard_montage(name).get_positions()["ch_pos"]


def positions_by_name(names: Sequence[str], montage: Mapping[str, Float]) -> Float:
    """Positions (C, 3) of channels, whatever the case of their names; NaN where the montage has none."""
    # EEGLAB and others write a zero or nothing for an electrode without a position.
    known = {name.strip().upper(): p for name, p in montage.items() if np.isfinite(p).all() and np.any(p)}
    return np.array([known.get(name.upper(), np.full(3, np.nan)) for name in names], float).reshape(-1, 3)


def standard_positions(names: Sequence[str]) -> Float:
    """Positions (C, 3), metres, of channels in the standard montage.

    Raises
    ------
    InputError
        If there are no names, or some aren't those of the 10-05 system.
    """
    positions = positions_by_name(names, standard_montage())
    unknown = [name for name, known in zip(names, np.isfinite(positions[:, 0]), strict=True) if not known]
    if unknown or not names:
        raise InputError(
            f"{len(unknown)} of {len(names)} channels have no standard position ({', '.join(unknown)}); "
            "expected names of the 10-05 system, such as Fz, Cz, Oz: rename them, or pass their positions"
        )
    return positions


def spelled_as(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Channels by the names that `others` have: those that differ in case alone have theirs.

    BioSemi's C3 isn't where that of the 10-20 system is: where only one of the two has BioSemi's labels, such
    names get an addition by which they match no other.
    """
    if _of_biosemi(names) != _of_biosemi(others):
        return tuple(name + ELSEWHERE if BIOSEMI.fullmatch(name) else name for name in names)
    here, there = ([name.upper() for name in each] for each in (names, others))
    return tuple(
        others[there.index(upper)]
        if name not in others and here.count(upper) == there.count(upper) == 1
        else name
        for name, upper in zip(names, here, strict=True)
    )


def _of_biosemi(names: Sequence[str]) -> bool:
    labels = [name for name in names if BIOSEMI.fullmatch(name)]
    return len(labels) > 0.9 * len(names) and not all(map(OTHER_SCHEMES.fullmatch, labels))


@dataclass(frozen=True, eq=False)
class Electrodes:
    """Channels of EEG and where they are.

    Attributes
    ----------
    channels : tuple of str, length C
    positions : array, shape (C, 3), metres, x to the right and y to the front; NaN where unknown
    """

    channels: tuple[str, ...]
    positions: Float

    @property
    def located(self) -> NDArray[np.bool_]:
        """Whether the position of each is known, shape (C,)."""
        return np.isfinite(self.positions[:, 0])

    def picked(self, names: Sequence[str]) -> "Electrodes":
        return Electrodes(tuple(names), self.positions[[self.channels.index(name) for name in names]])

    def within(self, other: "Electrodes") -> "Electrodes":
        """Those that EEG of another montage has by name, or can be interpolated at."""
        found = np.isin(self.channels, spelled_as(other.channels, self.channels))
        if min(self.located.sum(), other.located.sum()) >= FEWEST_LOCATED:
            found |= self.located
        return self.picked([name for name, there in zip(self.channels, found, strict=True) if there])

    def asked_of(self, channels: Sequence[str]) -> "Electrodes":
        """Those that are asked of EEG with such channels: some by name, from which others are filled, or all.

        At least 4 and a quarter must be there by name.
        """
        known = spelled_as(channels, self.channels)
        named = [name for name in self.channels if name in known]
        return self.picked(named) if len(named) >= fewest_by_name(len(self.channels)) else self

    def interpolation(self, other: "Electrodes", file: str) -> Float:
        """W, shape (C, c), by which EEG of another montage is brought to this one.

        Raises
        ------
        InputError
            If a channel isn't there by name and its position, or those of `file`, the EEG, aren't known.
        """
        there_by_name = spelled_as(other.channels, self.channels)
        weights = np.array([[name == of for of in there_by_name] for name in self.channels], float)
        lacking, known = ~weights.any(axis=1), other.located
        if not lacking.any():
            return weights
        if lost := sorted({*self.channels} - {*self.within(other).channels}):
            raise InputError(
                f"{file}: {lacking.sum()} of the {len(self.channels)} channels are missing by name, and "
                f"{', '.join(lost)} can't be interpolated: positions are known of {known.sum()} of the "
                f"{len(known)} electrodes here and of {self.located.sum()} of those channels, at least "
                f"{FEWEST_LOCATED} of each are needed; add electrodes.tsv, or rename the channels"
            )
        here, there = _directions(self.positions), _directions(other.positions[known])
        common = np.flatnonzero(self.located & weights[:, known].any(axis=1))
        if len(common) >= FEWEST_TO_TURN:
            turn, _ = Rotation.align_vectors(here[common], weights[np.ix_(common, known)] @ there)
            there = turn.apply(there)
        weights[np.ix_(lacking, known)] = _splines(there, here[lacking])
        return weights


def fewest_by_name(n_channels: int) -> int:
    """Of a model's channels, how many must be there by name for the others to be filled from them."""
    return min(n_channels, max(FEWEST_CHANNELS, math.ceil(FEWEST_SHARE * n_channels)))


def positions_to_json(positions: Float) -> list[list[float | None]]:
    # JSON has no NaN
    return [[x if np.isfinite(x) else None for x in row] for row in positions.tolist()]


def positions_from_json(stored: Sequence[Sequence[float | None]]) -> Float:
    return np.array(stored, float).reshape(-1, 3)


def _directions(positions: Float) -> Float:
    """Unit vectors (C, 3) from the centre of the sphere through electrodes, by least squares."""
    known = positions[np.isfinite(positions[:, 0])]
    arm = known - known.mean(axis=0)
    square = np.square(arm).sum(axis=1)
    # Electrodes in a plane leave the centre in that plane.
    centre = np.linalg.lstsq(2 * arm, square - square.mean(), rcond=0.1)[0]
    found = positions - known.mean(axis=0) - centre
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def _splines(there: Float, here: Float) -> Float:
    """Weights (m, n) of spherical splines through n unit vectors (n, 3), at others (m, 3)."""
    import mne

    def placed(directions: Float) -> Any:
        at = {str(number): RADIUS * direction for number, direction in enumerate(directions)}
        return mne.channels.make_dig_montage(at, coord_frame="head")

    info = mne.create_info([*map(str, range(len(there)))], 1.0, "eeg").set_montage(placed(there))
    each = mne.EvokedArray(np.identity(len(there)), info, verbose="ERROR")
    origin = (0.0, 0.0, 0.0)
    return np.asarray(each.interpolate_to(placed(here), origin, method="spline", reg=SMOOTHING).data)
