"""What networks add to a model across people, on left-out people of simulated worlds.

    python benchmarks/correction_across.py STORES --state FOLDER [--folds 3]

STORES is the folder that `prepare` wrote of `neuroframes simulate OUT --subjects 12 --minutes 30 --runs 2
--parcels 100 --tr 2 --space fsaverage5 --channels 32`, with `--without vigilance,saturation` or not. In each
fold a model with networks of reduced size is trained on the people of the other folds, and asked with and
without them, from EEG alone and in gaps of 16 frames. A run's own prior isn't weighed. Printed are r by
person, from EEG alone also of networks whose gates are open, and of the first run from EEG alone CRPS and how
far from flat rank histograms are: of the Gaussian in closed form, of draws of the backbone and of draws with
networks. Differences have 95 % intervals (Student's t over people).
"""

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from neuroframes.evaluation.metrics import WHOLE, crps, ensemble_crps, score
from neuroframes.evaluation.ranks import gaussian_histogram, rank_histogram, reliability_index
from neuroframes.evaluation.tasks import ALONE, given_and_scored
from neuroframes.frames.adaptation import prior_of
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.segments import Segment
from neuroframes.recording.store import open_store
from neuroframes.registry import ACROSS_NETWORKS, fit
from neuroframes.threads import few_threads
from neuroframes.training.part import read_people

TASKS = (ALONE, "gap-16")
SETTINGS = {"latents": 24, "width": 32, "depth": 1, "heads": 2, "virtual_channels": 16, "filters": 4}
SETTINGS |= {"epochs": 30}
DRAWS = 19


def r_of(model: GaussianModel, segments: list[Segment], task: str) -> float:
    masks = [given_and_scored(task, segment) for segment in segments]
    given = [segment.given(mask) for segment, (mask, _) in zip(segments, masks, strict=True)]
    frames = [segment.completed(model.fill(segment).mean) for segment in given]
    found = score([segment.frames for segment in segments], frames, [scored for _, scored in masks])
    return found[WHOLE]["temporal_r"]


def of_draws(networks: GaussianModel, backbone: GaussianModel, segment: Segment) -> dict[str, float]:
    """CRPS and flatness of ranks over the measured frames of a run, from EEG alone."""
    given, rows = segment.given(np.zeros(len(segment.times), bool)), segment.measured
    truth, found = segment.frames[rows].astype(float), {}
    # Draws follow networks beside a Gaussian without lead and lag; from EEG alone it has the same deviation.
    covariance = replace(backbone.eeg.covariance, coupling=None)
    for name, of in (("backbone", backbone), ("networks", networks)):
        model = replace(of, eeg=of.eeg.about(covariance))
        draws = np.stack([draw[rows] for draw in model.fill(given, draws=DRAWS).draws]).astype(float)
        found[f"CRPS, draws, {name}"] = ensemble_crps(truth, draws).mean()
        found[f"ranks, draws, {name}"] = reliability_index(rank_histogram(truth, draws))
    closed = backbone.fill(given)
    mean, std = closed.mean[rows].astype(float), closed.std[rows].astype(float)
    found["CRPS, closed form"] = crps(truth, mean, std).mean()
    found["ranks, closed form"] = reliability_index(gaussian_histogram(truth, mean, std, DRAWS + 1))
    return found


def fold(stores: list[Path], left_out: list[Path], state: Path) -> Iterator[dict[str, object]]:
    """A row of each left-out person."""
    began = time.perf_counter()
    part = read_people([open_store(path) for path in stores], BANDS)
    model = fit(ACROSS_NETWORKS, part, SETTINGS, state=state, accelerator="cpu")
    gate = model.eeg.correction.gate.numpy()[:, -1]
    print(f"{time.perf_counter() - began:.0f} s; gates without measured frames, and with: {gate.round(2)}")
    pathway = model.eeg.pathway(model.origin.bands)
    prior = prior_of(model.population, model.origin.tr)
    networks = GaussianModel(model.origin, prior, replace(pathway, least_gap=0.0))
    backbone = replace(networks, eeg=replace(networks.eeg, correction=None))
    everything = copy.deepcopy(pathway.correction)
    everything.gate.fill_(1.0)
    ungated = replace(networks, eeg=replace(networks.eeg, correction=everything))
    for path in left_out:
        segments = list(read_people([open_store(path)], BANDS, part.origin.electrodes).segments)
        row = {"person": path.stem}
        for task in TASKS:
            row[f"r, {task}, backbone"], after = (r_of(each, segments, task) for each in (backbone, networks))
            row[f"r, {task}, networks"] = after
        row[f"r, {ALONE}, open gates"] = r_of(ungated, segments, ALONE)
        yield row | of_draws(networks, backbone, segments[0])


@few_threads
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stores", type=Path)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    options = parser.parse_args()
    stores, rows = sorted(options.stores.glob("*.zarr")), []
    for number in range(options.folds):
        left_out = stores[number :: options.folds]
        others = [store for store in stores if store not in left_out]
        for row in fold(others, left_out, options.state / f"fold-{number}"):
            print(row, flush=True)
            rows.append(row)
    table = pd.DataFrame(rows).set_index("person")
    print(table.mean().to_string(float_format="%.4f"))
    for what in (*(f"r, {task}" for task in TASKS), "CRPS, draws", "ranks, draws"):
        gain = table[f"{what}, networks"] - table[f"{what}, backbone"]
        margin = t.ppf(0.975, len(gain) - 1) * gain.std() / np.sqrt(len(gain))
        print(f"{what}: networks less backbone {gain.mean():+.4f} +- {margin:.4f}")


if __name__ == "__main__":
    main()
