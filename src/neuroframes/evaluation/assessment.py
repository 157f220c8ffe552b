"""A model on segments that it wasn't fitted to: frames are hidden, filled and scored, EEG is controlled for.

    segment --hide--> given frames --fill--> estimate --put beside the given--> sequence --score--> numbers

It is the one way from a model to its numbers, for `evaluate`, a cell of the benchmark and the leak audit.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.flat import flat_index
from neuroframes.cortex.regions import networks, parcels, regions
from neuroframes.evaluation.bootstrap import TooFewBlocksError
from neuroframes.evaluation.controls import backwards, of_other, shuffled_segments, zeroed
from neuroframes.evaluation.decoding import MEASURED, STRAIGHT, Decoders, scores_of, shown_of, straight, whole
from neuroframes.evaluation.metrics import WHOLE, score
from neuroframes.evaluation.preservation import preservation_scores
from neuroframes.evaluation.similarity import similarity_scores
from neuroframes.evaluation.surrogates import permutation_p
from neuroframes.evaluation.tasks import ALONE, given_and_scored
from neuroframes.models.model import Estimate, Model
from neuroframes.recording.band_power import BandPower
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
    other : pair of Signal or None and BandPower, another person's EEG as segments have it; None without
    lent : list of Segment
        Of whose runs shuffled EEG consists, beside the test's; () for those of the training part.
    parcels : array, shape (V,), or None
        As of `cortex.regions.parcels`, where the space itself has none.
    decoders : Decoders or None, of the stimulus features that the test's segments have
    """

    part: TrainingPart
    test: list[Segment]
    tasks: tuple[str, ...]
    other: tuple[Signal | None, BandPower] | None = None
    lent: Sequence[Segment] = ()
    parcels: NDArray[np.intp] | None = None
    decoders: Decoders | None = None


@dataclass(frozen=True)
class Outcome:
    """What was measured and what a model says of it, one array (K, V) or (K,) a segment.

    Attributes
    ----------
    truth, frames : list of array; given frames are in both
    std : list of array, 0 where given, or None where none is stated
    scored : list of array of bool
    """

    truth: list[Float32]
    frames: list[Float32]
    std: list[Float32] | None
    scored: list[Mask]

    @property
    def r(self) -> float:
        """Temporal r over the whole cortex."""
        return score(self.truth, self.frames, self.scored)[WHOLE]["temporal_r"]

    def thinned(self) -> tuple[list[Float32], list[Float32]]:
        """Truth and frames (K, v) at the vertices that are kept."""
        every = -(-self.truth[0].shape[1] // KEPT_VERTICES)
        return [x[:, ::every] for x in self.truth], [x[:, ::every] for x in self.frames]


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
        self._seconds, self._n_frames = 0.0, 0  # that it took to fill, and how many
        # Where given frames make no difference to a model, it is asked once.
        self._alone: list[Float32] | None = None
        if not model.reads_frames:
            self._alone = [self._filled(s.given(np.zeros_like(s.measured))).mean for s in fold.test]

    def _filled(self, given: Segment) -> Estimate:
        began = time.perf_counter()
        found = self.model.fill(given, draws=self.draws, generator=np.random.default_rng(self.seed))
        self._seconds += time.perf_counter() - began
        self._n_frames += len(given.times)
        return found

    def outcome(self, task: str, segments: Sequence[Segment] | None = None) -> Outcome:
        """What comes of a task; on the fold's test segments, or on these."""
        alone = self._alone if segments is None else None
        segments = self.fold.test if segments is None else segments
        masks = [given_and_scored(task, segment) for segment in segments]
        frames, stds = [], []
        for number, (segment, (mask, _)) in enumerate(zip(segments, masks, strict=True)):
            given = segment.given(mask)
            hidden = ~given.measured
            estimate = Estimate(alone[number][hidden]) if alone is not None else self._filled(given)
            frames.append(given.completed(estimate.mean))
            if estimate.std is not None:
                stds.append(np.zeros_like(frames[-1]))
                stds[-1][hidden] = estimate.std
        truth, scored = [segment.frames for segment in segments], [scored for _, scored in masks]
        return Outcome(truth, frames, stds or None, scored)

    def possible(self) -> Iterator[str]:
        """The fold's tasks that say something of this model, on a test part that is long enough for them."""
        in_time_only = self.model.reads_frames and not self.model.reads_eeg
        for task in self.fold.tasks:
            counted = any(given_and_scored(task, segment)[1].any() for segment in self.fold.test)
            if counted and not (task == ALONE and in_time_only):
                yield task

    @property
    def ms_per_frame(self) -> float:
        """Milliseconds a frame of all runs that were filled so far; nan before any was."""
        return 1000 * self._seconds / self._n_frames if self._n_frames else float("nan")

    def controls(self, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
        """r of each task with shuffled EEG, and of EEG alone with other EEG that can't tell.

        With measured frames a single shuffle will do: r scatters less.
        """
        test, other, generator = self.fold.test, self.fold.other, np.random.default_rng(self.seed)
        everywhere = [*(self.fold.lent or self.fold.part.segments), *test]
        shuffles = [shuffled_segments(test, everywhere, generator) for _ in range(SHUFFLES)]

        found = {}
        for task in tasks:
            used = shuffles if task == ALONE else shuffles[:1]
            outcomes = [self.outcome(task, segments) for segments in used]
            found[task] = {"shuffled": float(np.mean([of.r for of in outcomes]))}
            if self.fold.decoders is not None:
                whole_alone = self.fold.decoders.of_whole()
                decoded = whole_alone.score(outcomes[0].frames, test, outcomes[0].scored)[0][WHOLE]
                shared = [name for name in decoded if name.startswith("decoded")]
                found[task] |= {f"shuffled, {name}": decoded[name] for name in shared}
        if ALONE in found:
            found[ALONE]["zeroed"] = self.outcome(ALONE, [*map(zeroed, test)]).r
            found[ALONE]["backwards"] = self.outcome(ALONE, [*map(backwards, test)]).r
        if ALONE in found and other is not None:
            found[ALONE]["other subject"] = self.outcome(ALONE, [of_other(s, *other) for s in test]).r
        return found


def assess(
    model: Model,
    fold: Fold,
    *,
    seed: int = 0,
    draws: int = 0,
    similarity: bool = True,
    controlled: Sequence[str] = (ALONE,),
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """All that is said of a fitted model on a fold.

    Parameters
    ----------
    model : Model
    fold : Fold
    seed, draws : as in `Assessment`
    similarity : bool
        Whether similarity of images and of spectra is among the scores.
    controlled : sequence of str
        Tasks whose EEG is shuffled too, if measured frames tell the model anything.

    Returns
    -------
    about : dict of scores (task, region, metric), controls (task, control), p, tr, lengths, cost
    arrays : dict of what intervals and figures need, in half precision: three digits of a z-score are plenty
    """
    of = Assessment(model, fold, seed=seed, draws=draws)
    space, tr = fold.part.origin.space, fold.part.origin.tr
    areas, raster = regions(space), flat_index(space)
    labels = parcels(space) if fold.parcels is None else fold.parcels
    measured = [segment.measured for segment in fold.test]
    censored = [~of for of in measured]
    of_runs: dict[str, Any] = {"networks": networks(space)}
    if fold.decoders is not None:
        of_runs |= {"shown": [*map(shown_of, fold.test)], "stimulus": fold.decoders.features}
    scores: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    p = None
    for task in of.possible():
        outcome = of.outcome(task)
        sequences = outcome.truth, outcome.frames, outcome.scored
        found = score(*sequences, std=outcome.std, regions=areas, censored=censored)
        if similarity:
            found[WHOLE] |= similarity_scores(*sequences, tr=tr, index=raster)
        if labels is not None:
            found[WHOLE] |= preservation_scores(*sequences, measured, tr=tr, parcels=labels, **of_runs)
        if fold.decoders is not None:
            decoded, series = fold.decoders.score(outcome.frames, fold.test, outcome.scored)
            found = {
                region: found.get(region, {}) | decoded.get(region, {}) for region in {**found, **decoded}
            }
            arrays |= {f"{task} {name}": of for name, of in series.items()}
        scores[task] = found
        truth, frames = outcome.thinned()
        arrays[f"{task} scored"] = scored = np.concatenate(outcome.scored)
        arrays[f"{task} truth"] = np.concatenate(truth)[scored].astype(np.float16)
        arrays[f"{task} frames"] = np.concatenate(frames)[scored].astype(np.float16)
        if task == ALONE and model.reads_eeg:
            with suppress(TooFewBlocksError):
                p = permutation_p(truth, frames, outcome.scored, tr, np.random.default_rng(seed)).p
    ms_per_frame = of.ms_per_frame  # controls may find some of it done
    # Where given frames make no difference, no task but EEG alone says anything new.
    of_interest = controlled if model.reads_frames else (ALONE,)
    tasks = [task for task in of_interest if task in scores and model.reads_eeg]
    about = {
        "scores": scores,
        "controls": of.controls(tasks) if tasks else {},
        "p": p,
        "tr": tr,
        "lengths": [len(segment.times) for segment in fold.test],
        "cost": {"parameters": model.n_parameters, "ms per frame": ms_per_frame},
    }
    return about, arrays


def assess_bound(row: str, fold: Fold) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What all methods' decoding is held against, of the same moments: as of `assess`, as far as it goes."""
    assert fold.decoders is not None
    decoders, test, tr = fold.decoders, fold.test, fold.part.origin.tr
    scores: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    frames = [whole(segment) for segment in test] if row == MEASURED else []
    features = straight(fold.part.segments, test) if row == STRAIGHT else []
    for task in fold.tasks:
        scored = [given_and_scored(task, segment)[1] for segment in test]
        if row == MEASURED:
            found, series = decoders.score(frames, test, scored)
        else:
            shown, moments = [*map(shown_of, test)], decoders.told_by(scored)
            told, series = scores_of(shown, features, moments, decoders.features, tr)
            found = {WHOLE: told}
        if not found[WHOLE]:  # nothing was shown, or nothing is hidden
            continue
        scores[task] = found
        arrays |= {f"{task} {name}": of for name, of in series.items()}
    lengths = [len(segment.times) for segment in test]
    return {"scores": scores, "controls": {}, "p": None, "tr": tr, "lengths": lengths, "cost": {}}, arrays
