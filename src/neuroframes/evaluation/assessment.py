"""A model on segments that it hasn't seen: frames are hidden, filled and scored, and controls say what EEG had to do with it.

    segment --hide--> given frames --fill--> estimate --put beside the given--> sequence --score--> numbers

It is the one way from a model to its numbers, whoever asks: `evaluate`, a cell of the benchmark, the leak audit.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.flat import flat_index
from neuroframes.cortex.regions import parcels, regions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.evaluation.tasks import given_and_scored
from neuroframes.models.model import Model
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal
from neuroframes.training.part import TrainingPart

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SHUFFLES = 5  # from EEG alone; one shuffle's r scatters by about .02 around 0
KEPT_VERTICES = 256  # evenly spread, whose frames are kept for intervals and figures


@dataclass(frozen=True)
class Fold:
    """What methods are fitted to, and what they are scored on.

    Attributes
    ----------
    part : TrainingPart
    test : list of Segment
    tasks : tuple of str
    other : Signal or None, another person's EEG
    """

    part: TrainingPart
    test: list[Segment]
    tasks: tuple[str, ...]
    other: Signal | None = None


@dataclass(frozen=True)
class Atlas:
    """What of a space the scores need.

    Attributes
    ----------
    regions : dict from name to indices of its vertices
    raster : array, shape (H, W), or None, of `cortex.flat.flat_index`
    parcels : array, shape (V,), or None, of `cortex.regions.parcels`
    """

    regions: Mapping[str, NDArray[np.intp]]
    raster: NDArray[np.intp] | None
    parcels: NDArray[np.intp] | None

    @classmethod
    def of(cls, space: CorticalSpace) -> "Atlas":
        return cls(regions(space), flat_index(space), parcels(space))


@dataclass(frozen=True)
class Outcome:
    """What was measured and what a model says of it, one array (K, V) or (K,) a segment.

    Attributes
    ----------
    truth, frames : list of array; given frames are in both
    std : list of array, 0 where given, or None where none is stated
    scored, censored : list of array of bool
    """

    truth: list[Float32]
    frames: list[Float32]
    std: list[Float32] | None
    scored: list[Mask]
    censored: list[Mask]

    def thinned(self) -> tuple[list[Float32], list[Float32]]:
        """Truth and frames (K, v) at the vertices that are kept."""
        every = -(-self.truth[0].shape[1] // KEPT_VERTICES)
        truth, frames = ([x[:, ::every] for x in of] for of in (self.truth, self.frames))
        return truth, frames


class Assessment:
    """A fitted model on a fold.

    Parameters
    ----------
    model : Model
    fold : Fold
    seed : int
        Of the controls and of draws.
    draws : int
        Of models that can draw; 0 for the closed form, or the model's own number.
    """

    def __init__(self, model: Model, fold: Fold, *, seed: int = 0, draws: int = 0) -> None:
        self.model, self.fold, self.seed = model, fold, seed
        self.draws = draws if model.draws else 0
        # Where given frames make no difference to a model, it is asked once.
        self._alone = None if model.reads_frames else [self._filled(s, nothing(s))[0] for s in fold.test]

    def _filled(self, segment: Segment, given: Segment) -> tuple[Float32, Float32 | None]:
        """Mean and standard deviation (M, V) of a segment's frames that aren't given."""
        estimate = self.model.fill(given, draws=self.draws, generator=np.random.default_rng(self.seed))
        return estimate.mean, estimate.std

    def outcome(self, task: str, segments: Sequence[Segment] | None = None) -> Outcome:
        """What comes of a task; on the fold's test segments, or on these."""
        alone = self._alone if segments is None else None
        segments = self.fold.test if segments is None else segments
        frames, stds, scored = [], [], []
        for number, segment in enumerate(segments):
            mask, counted = given_and_scored(task, segment)
            given = segment.given(mask)
            if alone is not None:
                mean, std = alone[number][~given.measured], None
            else:
                mean, std = self._filled(segment, given)
            frames.append(given.completed(mean))
            scored.append(counted)
            if std is not None:
                stds.append(np.zeros_like(frames[-1]))
                stds[-1][~given.measured] = std
        return Outcome(
            [segment.frames for segment in segments],
            frames,
            stds or None,
            scored,
            [~segment.measured for segment in segments],
        )

    def possible(self) -> Iterator[str]:
        """The fold's tasks that say something of this model, on a test part that is long enough for them."""
        for task in self.fold.tasks:
            if task == "eeg" and not (self.model.needs_eeg or reads_eeg(self.model) or not self.model.reads_frames):
                continue
            if any(given_and_scored(task, segment)[1].any() for segment in self.fold.test):
                yield task

    def ms_per_frame(self) -> float:
        """Milliseconds a frame of filling every second one of the first segment."""
        segment = self.fold.test[0]
        began = time.perf_counter()
        self._filled(segment, segment.given(np.arange(len(segment.times)) % 2 == 0))
        return 1000 * (time.perf_counter() - began) / len(segment.times)
