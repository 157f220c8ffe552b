"""EEG that can't tell anything: what a method scores with it has another source than the EEG.

Samples and band power are changed alike, since methods differ in which they read; where EEG comes as features
of each frame, they stand for band power. Backwards EEG is the
weakest control: slow fluctuations are nearly symmetric in time, so a little of their relation to the frames
survives.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.recording.band_power import SILENCE, BandPower
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal, eeg_windows

Float32 = NDArray[np.float32]


def zeroed(segment: Segment) -> Segment:
    """The segment with silent EEG, and the band power that silence has; of features, their means."""
    if segment.eeg is None:
        return _changed(segment, np.zeros_like, lambda x: np.broadcast_to(x.mean(axis=0), x.shape))
    return _changed(segment, np.zeros_like, lambda values: np.full_like(values, np.log(SILENCE)))


def backwards(segment: Segment) -> Segment:
    """The segment with its run's EEG reversed in time: spectrum and smoothness stay."""
    return _changed(segment, lambda data: data[:, ::-1].copy(), lambda values: values[::-1].copy())


def of_other(segment: Segment, eeg: Signal | None, power: BandPower) -> Segment:
    """The segment with another subject's EEG (C, N) and its band power, repeated where they are shorter."""

    def samples(of: Float32) -> Float32:
        assert eeg is not None  # one of both has channels only where the other has
        return eeg.data[:, np.arange(of.shape[1]) % eeg.data.shape[1]]

    return _changed(segment, samples, lambda of: power.values[np.arange(len(of)) % len(power.times)])


def _changed(
    segment: Segment, data: Callable[[Float32], Float32], power: Callable[[Float32], Float32]
) -> Segment:
    if segment.eeg is not None:
        segment = replace(segment, eeg=replace(segment.eeg, data=data(segment.eeg.data)))
    if segment.power is not None:
        segment = replace(segment, power=replace(segment.power, values=power(segment.power.values)))
    return segment


def shuffled_segments(
    test: Sequence[Segment], elsewhere: Sequence[Segment], generator: np.random.Generator
) -> list[Segment]:
    """The segments with EEG of blocks of all other runs among `elsewhere`."""
    by_run = {segment.run: segment for segment in elsewhere}
    return [
        shuffled(segment, generator, others=[other for run, other in by_run.items() if run != segment.run])
        for segment in test
    ]


def shuffled(
    segment: Segment, generator: np.random.Generator, *, others: Sequence[Segment] = (), block: float = 20.0
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
    length = 0 if power is None else len(power.times)
    step = float(power.times[1] - power.times[0]) if power is not None and length > 1 else 0.0
    n_blocks = int(length * step // block)
    if power is None or n_blocks < 2:
        raise InputError(
            f"{segment.run}: {length * step:.0f} s of EEG can't be shuffled in blocks of {block:g} s; "
            f"two blocks are needed, pass a longer run"
        )
    size = length // n_blocks
    n_needed = -(-length // size)
    pieces = [piece for other in others for piece in _blocks(other, size)]
    if len(pieces) >= n_needed:
        chosen = [pieces[i] for i in generator.permutation(len(pieces))[:n_needed]]
    else:
        # One cycle through all the blocks in random order: a uniform permutation would fix about one.
        pieces = _blocks(segment, size)
        order = generator.permutation(len(pieces))
        follows = dict(zip(order, np.roll(order, 1), strict=True))
        chosen = [pieces[follows[place]] for place in range(len(pieces))]
    values = np.concatenate([of.power.values[rows] for of, rows in chosen if of.power is not None])[:length]

    def moved(data: Float32) -> Float32:
        # A run's last block may be cut short.
        blocks = []
        for of, rows in chosen:
            eeg = of.eeg_for("a shuffle")
            hop = round(step * eeg.rate)
            blocks.append(eeg_windows(eeg.data, eeg.rate, [rows[0] * hop / eeg.rate], len(rows) * hop)[0])
        return np.concatenate(blocks, axis=1)[:, : data.shape[1]]

    return _changed(segment, moved, lambda _: values)


def _blocks(segment: Segment, size: int) -> list[tuple[Segment, NDArray[np.intp]]]:
    """Blocks of at least `size` rows of the band power's grid."""
    length = 0 if segment.power is None else len(segment.power.times)
    n_blocks = length // size
    return [(segment, rows) for rows in np.array_split(np.arange(length), n_blocks)] if n_blocks else []
