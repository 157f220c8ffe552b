"""EEG that can't tell anything: what a method scores with it has another source than the EEG.

Beside these stands `neuroframes.baselines.shuffled`. Samples and band power are changed alike, since
methods differ in which they read.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.recording.band_power import SILENCE, BandPower
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

Float32 = NDArray[np.float32]


def zeroed(segment: Segment) -> Segment:
    """The segment with silent EEG, and the band power that silence has."""
    return _changed(segment, np.zeros_like, lambda values: np.full_like(values, np.log(SILENCE)))


def backwards(segment: Segment) -> Segment:
    """The segment with its run's EEG reversed in time: spectrum and smoothness stay."""
    return _changed(segment, lambda data: data[:, ::-1].copy(), lambda values: values[::-1].copy())


def of_other(segment: Segment, eeg: Signal, power: BandPower) -> Segment:
    """The segment with another subject's EEG (C, N) and its band power, repeated where they are shorter."""
    length = 0 if segment.eeg is None else segment.eeg.data.shape[1]
    n_rows = 0 if segment.power is None else len(segment.power.times)
    samples, rows = np.arange(length) % eeg.data.shape[1], np.arange(n_rows) % len(power.times)
    return _changed(segment, lambda _: eeg.data[:, samples], lambda _: power.values[rows])


def _changed(
    segment: Segment, data: Callable[[Float32], Float32], power: Callable[[Float32], Float32]
) -> Segment:
    if segment.eeg is not None:
        segment = replace(segment, eeg=replace(segment.eeg, data=data(segment.eeg.data)))
    if segment.power is not None:
        segment = replace(segment, power=BandPower(power(segment.power.values), segment.power.times))
    return segment
