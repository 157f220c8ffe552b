"""The control: the same method on EEG that doesn't belong to the frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment


def shuffled(
    segment: Segment,
    generator: np.random.Generator,
    *,
    others: Sequence[BandPower] = (),
    block: float = 20.0,
) -> Segment:
    """The segment with band power cut into blocks that change places in time.

    Within a block the EEG keeps its statistics, spectrum and smoothness; only its relation to the
    frames is lost. Blocks come from other runs where there are some, so that r is 0 in expectation. From the
    segment's own run no block stays where it was, which leaves about -r_true / (number of blocks - 1).

    Parameters
    ----------
    segment : Segment with EEG
    generator : numpy Generator
    others : sequence of BandPower
        Of other runs.
    block : float, seconds
        Least length of a block; 20 s is as long as the lags of the linear part.

    Raises
    ------
    InputError
        If there is no EEG, or too little for two blocks.
    """
    power = segment.power
    duration = 0.0 if power is None else len(power.times) * float(power.times[1] - power.times[0])
    n_blocks = int(duration // block)
    if power is None or n_blocks < 2:
        raise InputError(
            f"{segment.run}: {duration:.0f} s of EEG can't be shuffled in blocks of {block:g} s; "
            f"two blocks are needed, pass a longer run"
        )
    length = len(power.values)
    elsewhere = [part for other in others for part in _blocks(other.values, length // n_blocks)]
    if len(elsewhere) > n_blocks:
        values = np.concatenate([elsewhere[i] for i in generator.permutation(len(elsewhere))[: n_blocks + 1]])
        return replace(segment, power=BandPower(values[:length], power.times))
    # One cycle through all the blocks in random order: a uniform permutation would fix about one.
    order = generator.permutation(n_blocks)
    source = np.empty(n_blocks, int)
    source[order] = np.roll(order, 1)
    blocks = np.array_split(power.values, n_blocks)
    values = np.concatenate([blocks[index] for index in source])
    return replace(segment, power=BandPower(values, power.times))


def _blocks(values: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Blocks of at least `size` rows."""
    return np.array_split(values, max(1, len(values) // size))
