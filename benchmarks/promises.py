"""Promises about a trained model that `neuroframes evaluate` doesn't look at, on simulated recordings.

    neuroframes simulate rec-1 --minutes 90 --runs 6 --space fsaverage5 --seed 1 --linear
    neuroframes prepare rec-1 --out stores-1
    neuroframes train stores-1/sub-01.zarr --out model-1
    python benchmarks/promises.py stores-1/sub-01.zarr model-1

On the held-out end: coverage of 90 % intervals and CRPS of draws beside the closed form's; the error from
EEG alone of sequences of any length; r from EEG alone with channels missing, relative to all of them.
Temporal r of all tasks, beside ridge and kriging, with intervals: `neuroframes evaluate`.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from neuroframes.evaluation.assessment import Assessment, Fold
from neuroframes.evaluation.metrics import crps, ensemble_coverage, ensemble_crps
from neuroframes.evaluation.recordings import held_out
from neuroframes.evaluation.tasks import ALONE, given_and_scored
from neuroframes.models.model import TrainedModel
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal
from neuroframes.recording.store import open_store
from neuroframes.registry import load_model
from neuroframes.training.part import read_training_part

DRAWS = 64
LENGTHS = (3, 10, 30, 300)  # frames
DRAWN_TASKS = (ALONE, "gap-1", "gap-4", "gap-16", "ends-only")
SPAN = 400  # frames of the test part that are drawn: each draw asks the networks once a step
SAMPLE = 256  # vertices on which draws are scored
CHANNEL_DRAWS = 5


def part_of(segment: Segment, rows: slice) -> Segment:
    arrays = {name: getattr(segment, name)[rows] for name in ("frames", "times", "time_in_run", "measured")}
    return replace(segment, **arrays)


def intervals(model: TrainedModel, test: list[Segment]) -> dict[str, dict[str, float]]:
    """Coverage of 90 % intervals and CRPS, from draws and in closed form."""
    table = {}
    segment = part_of(test[0], slice(0, SPAN))
    for task in DRAWN_TASKS:
        mask, scored = given_and_scored(task, segment)
        given = segment.given(mask)
        rows = scored[~given.measured]
        block = slice(0, None, max(1, segment.frames.shape[1] // SAMPLE))
        truth = segment.frames[scored, block]
        alive = truth.std(axis=0) > 0
        closed = model.fill(given)
        drawn = model.fill(given, draws=DRAWS, generator=np.random.default_rng(0))
        draws = np.stack([draw[rows, block][:, alive] for draw in drawn.draws])
        mean, std = (array[rows, block][:, alive] for array in (closed.mean, closed.std))
        truth = truth[:, alive]
        table[task] = {
            "coverage of draws": ensemble_coverage(truth, draws).mean(),
            "CRPS of draws": ensemble_crps(truth, draws).mean(),
            "coverage, closed form": float(np.mean(np.abs(truth - mean) <= ndtri(0.95) * std)),
            "CRPS, closed form": crps(truth, mean, std).mean(),
        }
    return table


def lengths(model: TrainedModel, test: list[Segment]) -> dict[str, float]:
    """Mean squared error from EEG alone of sequences of so many frames, over the same frames."""
    found = {}
    for length in LENGTHS:
        errors = []
        for segment in test:
            whole = len(segment.times) // max(LENGTHS) * max(LENGTHS)
            for start in range(0, whole, length):
                piece = part_of(segment, slice(start, min(start + length, whole)))
                estimate = model.fill(piece.given(np.zeros(len(piece.times), bool)))
                errors.append(np.square(piece.frames - estimate.mean).mean(axis=1))
        found[str(length)] = float(np.concatenate(errors).mean())
    return found


def channels(model: TrainedModel, fold: Fold) -> dict[str, float]:
    """r from EEG alone with a tenth of the channels dropped, and with every second one, relative to all."""
    generator, names = np.random.default_rng(0), model.origin.channels
    subsets = [np.sort(generator.permutation(len(names))[len(names) // 10 :]) for _ in range(CHANNEL_DRAWS)]
    whole, scores = Assessment(model, fold), []
    for kept in [*subsets, np.arange(0, len(names), 2)]:
        segments = []
        for segment in fold.test:
            data = segment.eeg.data[kept]
            eeg = Signal(data - data.mean(axis=0), segment.eeg.rate, tuple(names[i] for i in kept))
            segments.append(replace(segment, eeg=eeg))
        scores.append(whole.outcome(ALONE, segments).r / whole.outcome(ALONE).r)
    return {"10 % dropped": float(np.mean(scores[:-1])), "worst": min(scores[:-1]), "half": scores[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("model", type=Path, help="trained on it")
    options = parser.parse_args()
    model, store = load_model(options.model), open_store(options.store)
    part = read_training_part(store, model.origin.split, model.origin.bands)
    test = held_out(store, part)
    fold = Fold(part, test, (ALONE,))
    found = {"intervals": intervals(model, test), "mse by length": lengths(model, test)}
    print(json.dumps({**found, "channels": channels(model, fold)}, indent=1))


if __name__ == "__main__":
    main()
