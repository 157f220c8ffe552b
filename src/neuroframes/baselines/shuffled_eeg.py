"""The control: the same method on EEG that doesn't belong to the frames."""

from dataclasses import replace

import numpy as np

from neuroframes.errors import InputError
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment


def shuffled(segment: Segment, generator: np.random.Generator, *, block: float = 20.0) -> Segment:
    """The segment with its run's band power cut into blocks that change places in time.

    Within a block the EEG keeps its statistics, spectrum and smoothness; only its relation to the
    frames is lost. No block stays where it was.

    Parameters
    ----------
    segment : Segment with EEG
    generator : numpy Generator
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
    # One cycle through all the blocks in random order: a uniform permutation would fix about one.
    order = generator.permutation(n_blocks)
    source = np.empty(n_blocks, int)
    source[order] = np.roll(order, 1)
    blocks = np.array_split(power.values, n_blocks)
    values = np.concatenate([blocks[index] for index in source])
    return replace(segment, power=BandPower(values, power.times))
