"""A model on segments that it wasn't fitted to: frames are hidden, filled and scored, and EEG is controlled for.

    segment --hide--> given frames --fill--> estimate --put beside the given--> sequence --score--> numbers

It is the one way from a model to its numbers, whoever asks: `evaluate`, a cell of the benchmark, the leak audit.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.flat import flat_index
from neuroframes.cortex.regions import parcels, regions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.evaluation.bootstrap import TooFewBlocksError
from neuroframes.evaluation.controls import backwards, of_other, shuffled_segments, zeroed
from neuroframes.evaluation.metrics import WHOLE, score
from neuroframes.evaluation.similarity import similarity_scores
from neuroframes.evaluation.surrogates import permutation_p
from neuroframes.evaluation.tasks import ALONE, given_and_scored
from neuroframes.models.model import Model
from neuroframes.recording.band_power import log_band_power
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal
from neuroframes.training.part import TrainingPart

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SHUFFLES = 5  # from EEG alone; one shuffle's r scatters by about .02 around 0
KEPT_VERTICES = 256  # evenly spread, whose frames are kept for intervals and figures


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
class Fold:
    """What methods are fitted to, and what they are scored on.

    Attributes
    ----------
    part : TrainingPart
    test : list of Segment
    tasks : tuple of str
    atlas : Atlas
    other : Signal or None, another person's EEG
    """

    part: TrainingPart
    test: list[Segment]
    tasks: tuple[str, ...]
    atlas: Atlas
    other: Signal | None = None


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


def _unknown(segment: Segment) -> Segment:
    """The segment with no frame given."""
    return segment.given(np.zeros(len(segment.times), bool))


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
        self._alone = None if model.reads_frames else [self._filled(_unknown(s))[0] for s in fold.test]

    def _filled(self, given: Segment) -> tuple[Float32, Float32 | None]:
        """Mean and standard deviation (M, V) of the frames that aren't given."""
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
                mean, std = self._filled(given)
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
        in_time_only = self.model.reads_frames and not self.model.reads_eeg
        for task in self.fold.tasks:
            counted = any(given_and_scored(task, segment)[1].any() for segment in self.fold.test)
            if counted and not (task == ALONE and in_time_only):
                yield task

    def ms_per_frame(self) -> float:
        """Milliseconds a frame of filling every second one of the first segment."""
        segment = self.fold.test[0]
        began = time.perf_counter()
        self._filled(segment.given(np.arange(len(segment.times)) % 2 == 0))
        return 1000 * (time.perf_counter() - began) / len(segment.times)

    def controls(self, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
        """r of each task with shuffled EEG, and of EEG alone with other EEG that can't tell.

        With measured frames a single shuffle will do: r scatters less.
        """
        fold, generator = self.fold, np.random.default_rng(self.seed)
        everywhere = [*fold.part.segments, *fold.test]
        shuffles = [shuffled_segments(fold.test, everywhere, generator) for _ in range(SHUFFLES)]
        found = {}
        for task in tasks:
            used = shuffles if task == ALONE else shuffles[:1]
            found[task] = {"shuffled": float(np.mean([self._r(task, segments) for segments in used]))}
        if ALONE in found:
            found[ALONE]["zeroed"] = self._r(ALONE, [zeroed(segment) for segment in fold.test])
            found[ALONE]["backwards"] = self._r(ALONE, [backwards(segment) for segment in fold.test])
        if ALONE in found and fold.other is not None:
            power = log_band_power(fold.other.data, fold.other.rate, fold.part.origin.bands)
            others = [of_other(segment, fold.other, power) for segment in fold.test]
            found[ALONE]["other subject"] = self._r(ALONE, others)
        return found

    def _r(self, task: str, segments: Sequence[Segment]) -> float:
        return r_of(self.outcome(task, segments))

    def p(self, outcome: Outcome) -> float | None:
        """Probability by chance of the outcome's r; None where it has too few blocks."""
        truth, frames = outcome.thinned()
        generator = np.random.default_rng(self.seed)
        try:
            return permutation_p(truth, frames, outcome.scored, self.fold.part.origin.tr, generator).p
        except TooFewBlocksError:
            return None


def r_of(outcome: Outcome) -> float:
    """Temporal r over the whole cortex."""
    return score(outcome.truth, outcome.frames, outcome.scored)[WHOLE]["temporal_r"]


def scores_of(outcome: Outcome, atlas: Atlas, tr: float, *, similarity: bool) -> dict[str, dict[str, float]]:
    """Every metric by region; `similarity` adds those of whole sequences, which take longest."""
    found = score(
        outcome.truth,
        outcome.frames,
        outcome.scored,
        std=outcome.std,
        regions=atlas.regions,
        censored=outcome.censored,
    )
    if similarity:
        found[WHOLE] |= similarity_scores(
            outcome.truth, outcome.frames, outcome.scored, tr=tr, index=atlas.raster, parcels=atlas.parcels
        )
    return found


def assess(
    model: Model,
    fold: Fold,
    *,
    seed: int = 0,
    draws: int = 0,
    similarity: bool = True,
    controlled: Sequence[str] | None = None,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """All that is said of a fitted model on a fold.

    Parameters
    ----------
    model : Model
    fold : Fold
    seed, draws : as in `Assessment`
    similarity : bool
        Whether metrics of whole sequences are among the scores.
    controlled : sequence of str
        Tasks whose EEG is shuffled too; by default EEG alone.

    Returns
    -------
    about : dict of scores (task, region, metric), controls (task, control), p, tr, lengths, cost
    arrays : dict of what intervals and figures need, in half precision: three digits of a z-score are plenty
    """
    of, tr, scores = Assessment(model, fold, seed=seed, draws=draws), fold.part.origin.tr, {}
    arrays: dict[str, NDArray[Any]] = {}
    p = None
    for task in of.possible():
        outcome = of.outcome(task)
        scores[task] = scores_of(outcome, fold.atlas, tr, similarity=similarity)
        for name, frames in zip(("truth", "frames"), outcome.thinned(), strict=True):
            counted = [x[mask] for x, mask in zip(frames, outcome.scored, strict=True)]
            arrays[f"{task} {name}"] = np.concatenate(counted).astype(np.float16)
        arrays[f"{task} scored"] = np.concatenate(outcome.scored)
        if task == ALONE and model.reads_eeg:
            p = of.p(outcome)
    # Where given frames make no difference, no task but EEG alone says anything new.
    of_interest = (controlled or (ALONE,)) if model.reads_frames else (ALONE,)
    tasks = [task for task in of_interest if task in scores and model.reads_eeg]
    about = {
        "scores": scores,
        "controls": of.controls(tasks) if tasks else {},
        "p": p,
        "tr": tr,
        "lengths": [len(segment.times) for segment in fold.test],
        "cost": {"parameters": model.n_parameters, "ms per frame": of.ms_per_frame()},
    }
    return about, arrays
