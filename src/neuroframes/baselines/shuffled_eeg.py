"""The control: the same method on EEG that doesn't belong to the frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neuroframes.errors import InputError
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.eeg_windows import eeg_windows
from neuroframes.recording.segments import Segment


def shuffled(
    segment: Segment,
    generator: np.random.Generator,
    *,
    others: Sequence[Segment] = (),
    block: float = 20.0,
) -> Segment:
    """The segment with its EEG, and its band power alike, cut into blocks that change places in time.

    Within a block the EEG keeps its statistics, spectrum and smoothness; only its relation to the
    frames is lost. Blocks come from other runs where there are some, so that r is 0 in expectation. From the
    segment's own run no block stays where it was, which leaves about -r_true / (number of blocks - 1).

    Parameters
    ----------
    segment : Segment with EEG
    generator : numpy Generator
    others : sequence of Segment
        Of other runs.
    block : float, seconds
        Least length of a block; 20 s is as long as the lags of the linear part.

    Raises
    ------
    InputError
        If there is no EEG, or too little for two blocks.
    """
    power = segment.power
    step = float(power.times[1] - power.times[0]) if power is not None and len(power.times) > 1 else 0.0
    n_blocks = 0 if power is None else int(len(power.times) * step // block)
    if power is None or n_blocks < 2:
        duration = 0.0 if power is None else len(power.times) * step
        raise InputError(
            f"{segment.run}: {duration:.0f} s of EEG can't be shuffled in blocks of {block:g} s; "
            f"two blocks are needed, pass a longer run"
        )
    length = len(power.values)
    size = length // n_blocks
    n_needed = -(-length // size)
    pieces = [piece for other in others for piece in _blocks(other, size)]
    if len(pieces) >= n_needed:
        chosen = [pieces[i] for i in generator.permutation(len(pieces))[:n_needed]]
    else:
        # One cycle through all the blocks in random order: a uniform permutation would fix about one.
        pieces = _blocks(segment, size)
        order = generator.permutation(len(pieces))
        source = np.empty(len(pieces), int)
        source[order] = np.roll(order, 1)
        chosen = [pieces[index] for index in source]
    values = np.concatenate([of.power.values[rows] for of, rows in chosen if of.power is not None])[:length]
    eeg = segment.eeg
    if eeg is not None:
        hop = round(step * eeg.rate)
        # A run's last block may be cut short.
        blocks = [
            eeg_windows(of.eeg.data, of.eeg.rate, [rows[0] * hop / of.eeg.rate], len(rows) * hop)[0]
            for of, rows in chosen
            if of.eeg
        ]
        data = np.concatenate(blocks, axis=1)
        eeg = replace(eeg, data=data[:, : eeg.data.shape[1]])
    return replace(segment, power=BandPower(values, power.times), eeg=eeg)


def _blocks(segment: Segment, size: int) -> list[tuple[Segment, np.ndarray]]:
    """Blocks of at least `size` rows of the band power's grid."""
    length = 0 if segment.power is None else len(segment.power.times)
    n_blocks = length // size
    return [(segment, rows) for rows in np.array_split(np.arange(length), n_blocks)] if n_blocks else []
