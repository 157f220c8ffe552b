"""What samples of EEG say of themselves: unit, flat and clipped channels, line noise.

unit        scalp EEG varies by 1 to 1000 microvolts; outside of 10 nV to 50 mV its unit is wrong
clipped     a share of the samples that is at the largest or the smallest value of the channel
line noise  power within 1 Hz of 50 or 60 Hz, of all from 1 Hz up
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from neuroframes.errors import InputError, counted, listed

logger = logging.getLogger(__name__)

PLAUSIBLE = (1e-8, 1e-2)  # V; amplifiers' noise is above it, and what gradients leave below 80 Hz is below
MOST_CLIPPED = 0.01
LINES = (50.0, 60.0)  # Hz
DOMINANT = 0.5
UNITS = {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "nv": 1e-9}


def volts(
    data: NDArray[np.float64], rate: float, names: Sequence[str], stated: Mapping[str, str], file: str
) -> NDArray[np.float64]:
    """EEG in volts: as it is, or where that can't be in the units that channels.tsv states, in place.

    Parameters
    ----------
    data : array, shape (C, N)
    rate : float, Hz
    names : sequence of str, length C
    stated : mapping from a channel's name to its unit
    file : str
        The file's name, for messages.

    Raises
    ------
    InputError
        If all channels are flat, or half of the others or more vary as EEG can't.
    """
    lag = min(max(1, round(0.1 * rate)), data.shape[1] - 1)
    changes = np.array([np.std(row[lag:] - row[:-lag]) for row in data])
    flat = changes <= 1e-9 * np.abs(data).max(axis=1)
    if flat.all():
        raise InputError(f"{file}: each of the {len(names)} EEG channels is constant; export it again")
    low, high = PLAUSIBLE
    middle = np.median(changes[~flat])
    if low <= middle <= high:
        for odd, what in ((flat, "constant"), (changes > high, f"changing by more than {high:g} V")):
            if odd.any():
                named = listed([name for name, each in zip(names, odd, strict=True) if each])
                remedy = "give them the status bad, or another type, in channels.tsv"
                logger.warning("%s: EEG channels that are %s: %s; %s", file, what, named, remedy)
        return data
    units = [stated.get(name, "").replace("µ", "u").replace("μ", "u").lower() for name in names]
    scale = np.array([UNITS.get(unit, 1.0) for unit in units])
    if low <= np.median((changes * scale)[~flat]) <= high:
        logger.warning(
            "%s: as volts the EEG would change by %.3g V; its unit is that of channels.tsv, %s",
            *(file, middle, stated[names[int(scale.argmin())]]),
        )
        data *= scale[:, None]
        return data
    also = ", or state it for each channel in channels.tsv (name, units) if the file has none"
    raise InputError(
        f"{file}: the EEG changes by {middle:.3g} V in a tenth of a second (median of {len(names)} channels)"
        ", but scalp EEG by microvolts; its unit is missing or wrong: export it again with the right one"
        f"{also if middle > high else ''}"
    )


def warn_of_samples(
    data: NDArray[np.float64], rate: float, names: Sequence[str], clipped: NDArray[np.float64], file: str
) -> None:
    """Log which channels are clipped, and whether line noise dominates.

    Parameters
    ----------
    data : array, shape (C, N), volts
    rate : float, Hz
    names : sequence of str, length C
    clipped : array, shape (C,)
        Share of the file's samples that is at the channel's largest or smallest value.
    file : str
    """
    if cut := [name for name, share in zip(names, clipped, strict=True) if MOST_CLIPPED < share < 1]:
        logger.warning(
            "%s: %s clipped, more than %.0f %% of the samples at the largest or smallest value: %s",
            *(file, counted(len(cut), "channel is", "channels are"), 100 * MOST_CLIPPED, listed(cut)),
        )
    # A minute from the middle is enough.
    half, middle = min(round(30 * rate), data.shape[1] // 2), data.shape[1] // 2
    part = data[:, middle - half : middle + half]
    frequency, power = welch(part, rate, nperseg=min(part.shape[1], round(2 * rate)))
    every = power[:, frequency >= 1].sum(axis=1)
    for line in LINES:
        near = power[:, np.abs(frequency - line) <= 1].sum(axis=1)
        noisy = [name for name, share in zip(names, near > DOMINANT * every, strict=True) if share]
        if noisy:
            logger.warning(
                "%s: most of the power is line noise at %g Hz in %s: %s; remove it (mne: notch_filter)",
                *(file, line, counted(len(noisy), "channel"), listed(noisy)),
            )
