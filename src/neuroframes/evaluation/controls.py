"""EEG that can't tell anything: what a method scores with it has another source than the EEG.

Beside these stands `neuroframes.baselines.shuffled`. Samples and band power are changed alike, since
methods differ in which they read. And one that tells too much: the frames' own mean over the cortex.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import training_mean
from neuroframes.errors import InputError
from neuroframes.recording.band_power import SILENCE, BandPower
from neuroframes.recording.segments import Segment

Float32 = NDArray[np.float32]


def zeroed(segment: Segment) -> Segment:
    """The segment with silent EEG, and the band power that silence has."""
    return _changed(segment, np.zeros_like, lambda values: np.full_like(values, np.log(SILENCE)))


def backwards(segment: Segment) -> Segment:
    """The segment with its run's EEG reversed in time: spectrum and smoothness stay."""
    return _changed(segment, lambda data: data[:, ::-1].copy(), lambda values: values[::-1].copy())


def of_other(segment: Segment, other: Segment) -> Segment:
    """The segment with another subject's EEG, repeated where it is shorter.

    Raises
    ------
    InputError
        If channels or rates differ.
    """
    ours, theirs = segment.eeg, other.eeg
    if ours is None or theirs is None or segment.power is None or other.power is None:
        raise InputError(f"{segment.run}: the other subject's EEG needs EEG in both recordings")
    if (ours.channels, ours.rate) != (theirs.channels, theirs.rate):
        raise InputError(
            f"the other subject's {other.run} has {len(theirs.channels)} channels at {theirs.rate:g} Hz, "
            f"{segment.run} {len(ours.channels)} at {ours.rate:g} Hz; prepare both with the same settings"
        )
    samples = np.arange(ours.data.shape[1]) % theirs.data.shape[1]
    rows = np.arange(len(segment.power.times)) % len(other.power.times)
    power = other.power.values[rows]
    return _changed(segment, lambda _: theirs.data[:, samples], lambda _: power)


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
