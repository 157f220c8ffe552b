"""Where electrodes are: by their names in a table of positions, the standard 10-05 montage being one."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError

Float = NDArray[np.float64]


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
