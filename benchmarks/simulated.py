"""What the learned correction adds, and every promise about it, on simulated recordings.

    neuroframes simulate rec-1 --minutes 90 --runs 6 --space fsaverage5 --seed 1
    neuroframes prepare rec-1 --out stores-1
    python benchmarks/simulated.py stores-1/sub-01.zarr ... --out results

A model is trained on each store (kept in --out), then scored on its held-out end beside ridge and kriging +
EEG: temporal r of all tasks; the difference to ridge with its block-bootstrap interval; coverage and CRPS of
draws beside the closed form's; the error from EEG alone of sequences of any length; r with channels missing.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from neuroframes.evaluation.evaluate import predict
from neuroframes.frames.completion import drawn_frames, fill_missing, fillings
from neuroframes.training.train import train
from scipy.special import ndtri

from neuroframes.baselines import Kriging, KrigingEeg, RidgeFIR
from neuroframes.evaluation.bootstrap import compare_r
from neuroframes.evaluation.metrics import crps, ensemble_coverage, ensemble_crps, score
from neuroframes.evaluation.tasks import TASKS, given_and_scored
from neuroframes.frames.autoencoder import columns_of
from neuroframes.models.draws import draw_latents, learned
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.segments import Segment, load_segments
from neuroframes.recording.signal import Signal
from neuroframes.recording.store import open_store

DRAWS = 64
LENGTHS = (3, 10, 30, 300)  # frames
DRAWN_TASKS = ("eeg", "gap-1", "gap-4", "gap-16", "ends-only")
SPAN = 400  # frames of the test part that are drawn: each draw asks the networks once a step
SAMPLE = 256  # vertices on which draws are scored
CHANNEL_DRAWS = 5


def temporal_r(truth: list, estimates: list, scored: list) -> float:
    return score(truth, estimates, scored)["whole"]["temporal_r"]


def tasks_table(
    model: GaussianModel, test: list[Segment], methods: dict[str, Any], tasks: list[str]
) -> dict[str, Any]:
    """Temporal r by task and method, and how far neuroframes is above ridge from EEG alone."""
    truth = [segment.frames for segment in test]
    table: dict[str, Any] = {}
    for task in tasks:
        masks = [given_and_scored(task, segment) for segment in test]
        scored = [mask for _, mask in masks]
        estimates = {
            name: [method(segment, given) for segment, (given, _) in zip(test, masks, strict=True)]
            for name, method in methods.items()
            if not (task == "eeg" and "kriging" in name)
        }
        table[task] = {name: temporal_r(truth, frames, scored) for name, frames in estimates.items()}
        if task == "eeg":
            pairs = {"ridge FIR": "ridge FIR", "Gaussian backbone": "neuroframes, Gaussian"}
            ours, generator = estimates["neuroframes"], np.random.default_rng(0)
            table["difference"] = {
                to: vars(compare_r(truth, ours, estimates[of], scored, model.tr, generator))
                for to, of in pairs.items()
            }
    return table


def first_frames(segment: Segment, n: int) -> Segment:
    parts = {name: getattr(segment, name)[:n] for name in ("frames", "times", "time_in_run", "measured")}
    return replace(segment, **parts)


def intervals(model: GaussianModel, test: list[Segment]) -> dict[str, Any]:
    """Coverage of 90 % intervals and CRPS, from draws and in closed form without the correction."""
    backbone, table = replace(model, correction=None), {}
    step = max(1, model.space.V // SAMPLE)
    for task in DRAWN_TASKS:
        sums = np.zeros(5)
        for segment in [first_frames(test[0], SPAN)]:
            given, scored = given_and_scored(task, segment)
            heard = model.hear(segment.eeg)
            times = model.tr * np.arange(len(segment.times))
            seen = model.prior.autoencoder.encode(columns_of(segment.frames))
            prior, mean = model.given_eeg(heard, segment.times, seen, given)
            generator = np.random.default_rng(0)
            mean_of = learned(model, heard, segment.times, seen, given)
            latents = draw_latents(prior.latents, mean_of, times, seen, given, DRAWS, generator)
            frames = np.array(segment.frames, order="F")
            plain_prior, plain_mean = backbone.given_eeg(heard, segment.times)
            plain = np.array(segment.frames, order="F")
            std = np.zeros_like(plain)
            std[~given] = fill_missing(plain_prior, plain, given, times, plain_mean)
            block = slice(0, model.space.V, step)
            windows = list(fillings(prior, frames, given, times, mean))
            draws = np.stack([drawn_frames(windows, frames, z, generator, block)[scored] for z in latents])
            truth, plain, std = (a[scored, block] for a in (segment.frames, plain, std))
            alive = truth.std(axis=0) > 0
            truth, plain, std, draws = truth[:, alive], plain[:, alive], std[:, alive], draws[:, :, alive]
            inside = np.abs(truth - plain) <= ndtri(0.95) * std
            sums += [
                truth.size,
                ensemble_coverage(truth, draws).sum(),
                ensemble_crps(truth, draws).sum(),
                inside.sum(),
                crps(truth, plain, std).sum(),
            ]
        names = ("coverage of draws", "CRPS of draws", "coverage, closed form", "CRPS, closed form")
        table[task] = dict(zip(names, sums[1:] / sums[0], strict=True))
    return table


def lengths(model: GaussianModel, test: list[Segment]) -> dict[str, float]:
    """Mean squared error from EEG alone of sequences of so many frames, over the same frames."""
    found = {}
    for length in LENGTHS:
        errors = []
        for segment in test:
            heard = model.hear(segment.eeg)
            whole = len(segment.times) // max(LENGTHS) * max(LENGTHS)
            for start in range(0, whole, length):
                rows = slice(start, min(start + length, whole))
                prior, mean = model.given_eeg(heard, segment.times[rows])
                truth = segment.frames[rows]
                errors.append(np.square(truth - prior.autoencoder.decode(mean)).mean(axis=1))
        found[str(length)] = float(np.concatenate(errors).mean())
    return found


def channels(model: GaussianModel, test: list[Segment], ridge: float) -> dict[str, float]:
    """r from EEG alone with a tenth of the channels dropped, and with every second one, relative to all."""
    generator = np.random.default_rng(0)
    names = model.channels
    subsets = [np.sort(generator.permutation(len(names))[len(names) // 10 :]) for _ in range(CHANNEL_DRAWS)]
    scores = []
    for kept in [*subsets, np.arange(0, len(names), 2)]:
        estimates, masks = [], []
        for segment in test:
            given, scored = given_and_scored("eeg", segment)
            data = segment.eeg.data[kept]
            eeg = Signal(data - data.mean(axis=0), segment.eeg.rate, tuple(names[i] for i in kept))
            estimates.append(predict(model, replace(segment, eeg=eeg), given)[0])
            masks.append(scored)
        scores.append(temporal_r([segment.frames for segment in test], estimates, masks) / ridge)
    return {"10 % dropped": float(np.mean(scores[:-1])), "worst": min(scores[:-1]), "half": scores[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder for models and results.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", default="default", help="gaussian: the backbone alone")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated")
    parser.add_argument("--only-r", action="store_true", help="no draws, lengths or channels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for path in options.stores:
        name = f"{path.parent.name}-{path.stem}"
        if name in results:
            continue
        began = time.perf_counter()
        folder = options.out / name
        if not folder.exists():
            train(path, out=folder, preset=options.preset, seed=options.seed)
        trained = time.perf_counter() - began
        model, store = GaussianModel.load(folder), open_store(path)
        fit_on, _ = load_segments(store, model.split.train, model.bands, model.scale)
        ridge = RidgeFIR().fit(fit_on)
        both, kriging = KrigingEeg(ridge).fit(fit_on), Kriging().fit(fit_on)
        test, _ = load_segments(store, model.split.test, model.bands, model.scale)
        del fit_on
        backbone = replace(model, correction=None)
        methods = {
            "ridge FIR": ridge.predict,
            "kriging": kriging.predict,
            "kriging + EEG": both.predict,
            "neuroframes, Gaussian": lambda segment, given, of=backbone: predict(of, segment, given)[0],
            "neuroframes": lambda segment, given, of=model: predict(of, segment, given)[0],
        }
        found = {"training s": trained, "gate": model.correction.gate.tolist() if model.correction else None}
        found["r"] = tasks_table(model, test, methods, options.tasks.split(","))
        print(name, json.dumps(found), flush=True)
        if not options.only_r:
            found["intervals"] = intervals(model, test)
            found["mse by length"] = lengths(model, test)
            found["channels"] = channels(model, test, found["r"]["eeg"]["neuroframes"])
        results[name] = found
        kept.write_text(json.dumps(results, indent=1) + "\n")
        json.dump(found, sys.stdout, indent=1)
        print(name, f"{time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
