"""EEG that can't tell anything: what a method scores with it has another source than the EEG.

Beside these stands `neuroframes.baselines.shuffled`. Samples and band power are changed alike, since
methods differ in which they read. And one that tells too much: the frames' own mean over the cortex.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import training_mean
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


class GlobalSignal:
    """Every vertex from the mean over vertices of the *same* frames: an oracle, no method.

    x_v(t) = m_v + b_v g(t), with b_v fitted to the training part. It sees what it is scored on; what it
    reaches is how far one pattern that waxes and wanes would go, were its course known.
    """

    name = "global signal (oracle)"

    def fit(self, train: Sequence[Segment]) -> "GlobalSignal":
        self.mean_ = training_mean(train)
        frames = np.concatenate([segment.frames[segment.measured] for segment in train])
        course = frames.mean(axis=1) - self.mean_.mean()
        self.slope_ = course @ (frames - self.mean_) / (course @ course)
        return self

    @property
    def n_parameters(self) -> int:
        return self.mean_.size + self.slope_.size

    def predict(self, segment: Segment, measured: NDArray[np.bool_]) -> Float32:
        """Every frame, shape (K, V), whatever is measured."""
        course = segment.frames.mean(axis=1) - self.mean_.mean()
        return self.mean_ + np.outer(course, self.slope_)
