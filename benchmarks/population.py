"""What other people's runs are worth, on real BOLD.

    python benchmarks/population.py --bold-data FOLDER --what gaps [--people even] [--out FOLDER]

| --what | runs | hidden frames |
|---|---|---|
| gaps | NeuroBOLT | gaps in the second half; 18 of 20; the ends of runs |
| motion | NeuroBOLT | those in which somebody else's head moved by more than .5 mm |
| band | NeuroBOLT, .01 to .08 Hz | as gaps, of 8 and 16 frames |
| third | NeuroBOLT, .01 to .08 Hz | two of three |
| hcp | HCP | gaps |
| short | NeuroBOLT, 200 frames | 18 of 20; the ends of runs |
| artefacts | NeuroBOLT | as gaps; a tenth of the others get noise of 5 standard deviations |
| fc | NeuroBOLT, HCP | as motion: functional connectivity against that of the whole run |
| halves | brainspace's second half; the first stands for another person | gaps |

FOLDER is that of `neuroframes benchmark`. Printed are means over scans and, for each person, by how much r is
higher with the population's prior than with the run's own, with a 95 % interval. `--out` keeps these tables,
and draws r by gap.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from neuroframes.evaluation.assessment import Assessment, Fold, Outcome
from neuroframes.evaluation.bootstrap import compare_r
from neuroframes.evaluation.metrics import WHOLE, score
from neuroframes.evaluation.recordings import (
    BRAINSPACE,
    HCP,
    NEUROBOLT,
    Recording,
    folds_of_bold,
    read_real_bold,
    real_bold,
)
from neuroframes.evaluation.tasks import ENDS, LATE, MOTION, TASKS
from neuroframes.recording.bold import Bold
from neuroframes.registry import NO_EEG, fit
from neuroframes.threads import few_threads

OWN, POPULATION = NO_EEG, "neuroframes population"
METHODS = ("linear", "cubic spline", "kriging", OWN, POPULATION)
FC_METHODS = ("linear", "cubic spline", "Lomb-Scargle", "kriging", "Hankel completion", OWN, POPULATION)
GAPS = ("gap-1", "gap-4", "gap-8", "gap-16")
BAND = (0.01, 0.08)  # Hz
DRAWS = 8
METRICS = {"r": "temporal_r", "squared error": "mse", "the mean frame's": "mean frame", "covers": "coverage"}
HALF = 326  # frames of half of brainspace's run
NOISE = 5.0  # standard deviations, of artefacts


@dataclass(frozen=True)
class Case:
    """Runs of a group, altered, and what is hidden of them."""

    group: str
    tasks: tuple[str, ...]
    band: tuple[float, float] | None = None
    start: int = 0
    stop: int | None = None
    spoiled: float = 0.0  # share of the frames that are left


CASES = {
    "gaps": Case(NEUROBOLT, (*LATE, "ends-only", ENDS)),
    "motion": Case(NEUROBOLT, (MOTION,)),
    "band": Case(NEUROBOLT, (*LATE[2:], "ends-only", ENDS), BAND),
    "third": Case(NEUROBOLT, ("every-third",), BAND),
    "hcp": Case(HCP, GAPS),
    "short": Case(NEUROBOLT, ("ends-only", ENDS), stop=200),
    "artefacts": Case(NEUROBOLT, LATE, spoiled=0.1),
    "halves": Case(BRAINSPACE, GAPS, start=HALF),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bold-data", type=Path, required=True)
    parser.add_argument("--what", choices=[*CASES, "fc"], required=True)
    parser.add_argument("--people", choices=["all", "odd", "even"], default="all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.what == "fc":
        recordings = [of for of in real_bold(options.bold_data, options.people) if of.displacement]
        tables = {"fc": pd.DataFrame(row for recording in recordings for row in connectivity(recording))}
        by = ["group", "method"]
    else:
        case = CASES[options.what]
        recordings = real_bold(options.bold_data, options.people, case.band)
        scores, differences = compared([of for of in recordings if of.group == case.group], case)
        tables = {"scores": scores, "differences": differences}
        by = ["task", "method"]
        print(differences.to_string(index=False, float_format="%.3f"))
    first = next(iter(tables.values()))
    means = first.groupby(by, sort=False).mean(numeric_only=True)
    print(means.to_string(float_format="%.4f"))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(options.out / f"{options.what}-{name}.csv", index=False)
        if options.what == "gaps":
            draw(means["r"].unstack("task")[[*LATE]], options.out / "prior-gaps.png")


@few_threads
def outcomes(fold: Fold, methods: tuple[str, ...]) -> dict[str, Outcome]:
    """What comes of a fold's one task, by method."""
    return {
        method: Assessment(fit(method, fold.part, {}, state=Path("unused")), fold).outcome(fold.tasks[0])
        for method in methods
    }


def altered(bold: Bold, case: Case, task: str, number: int) -> Bold:
    """The run as a case has it."""
    part = slice(case.start, case.stop)
    data = np.array(bold.data[part], order="F")
    if case.spoiled:
        generator = np.random.default_rng(number)
        left = np.flatnonzero(TASKS[task](len(data)))
        bad = generator.choice(left, round(case.spoiled * len(left)), replace=False)
        data[bad] += NOISE * data.std(axis=0) * generator.standard_normal((len(bad), data.shape[1]))
    return replace(bold, data=data, times=bold.times[part], measured=bold.measured[part])


def fold_of(recording: Recording, case: Case, task: str) -> Fold:
    """A run as a task leaves it, beside the other people's."""
    bold = read_real_bold(recording)
    (fold,) = folds_of_bold(altered(bold, case, task, recording.number), recording, (task,))
    if case.group == BRAINSPACE:  # of one person
        (first,) = folds_of_bold(
            altered(bold, replace(case, start=0, stop=HALF), task, 0), recording, (MOTION,)
        )
        fold = replace(fold, part=replace(fold.part, others=[replace(first.test[0], person="first half")]))
    return fold


def compared(recordings: list[Recording], case: Case) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of each scan, and the differences of each person."""
    scores, differences = [], []
    for person, scans in groupby(recordings, lambda of: of.person):
        runs = [*scans]
        for task in case.tasks:
            folds = [fold_of(recording, case, task) for recording in runs]
            found = [outcomes(fold, METHODS) for fold in folds]
            for recording, of in zip(runs, found, strict=True):
                for method, outcome in of.items():
                    metrics = score(outcome.truth, outcome.frames, outcome.scored, std=outcome.std)[WHOLE]
                    metrics["mean frame"] = np.square(outcome.truth[0][outcome.scored[0]]).mean()
                    row = {name: metrics.get(key) for name, key in METRICS.items()}
                    scores.append({"scan": recording.name, "task": task, "method": method, **row})
            first, second = ([of[method].frames[0] for of in found] for method in (POPULATION, OWN))
            truth, scored = ([getattr(of[OWN], what)[0] for of in found] for what in ("truth", "scored"))
            tr = folds[0].part.origin.tr
            gain = compare_r(truth, first, second, scored, tr, np.random.default_rng(0))
            differences.append({"person": person, "task": task, **vars(gain)})
    return pd.DataFrame(scores), pd.DataFrame(differences)


def connectivity(recording: Recording) -> Iterator[dict[str, object]]:
    """How far FC of a run with hidden frames is from that of the whole run, by method."""
    (fold,) = folds_of_bold(read_real_bold(recording), recording, (MOTION,))
    (run,), given = fold.test, fold.part.segments[0]
    frames = {method: of.frames[0] for method, of in outcomes(fold, FC_METHODS).items()}
    for method in (OWN, POPULATION):
        model = fit(method, fold.part, {}, state=Path("unused"))
        drawn = model.fill(given, draws=DRAWS, generator=np.random.default_rng(0)).draws
        frames[f"{method}, draws"] = np.concatenate([given.completed(draw) for draw in drawn])
    whole = fc(run.frames)
    for method, completed in {"frames dropped": run.frames[given.measured], **frames}.items():
        error = fc(completed) - whole
        found = {"error": np.abs(error).mean(), "r": np.corrcoef(whole, whole + error)[0, 1]}
        found["size"] = np.abs(whole + error).mean() / np.abs(whole).mean()
        yield {"group": recording.group, "scan": recording.name, "method": method, **found}


def fc(frames: np.ndarray) -> np.ndarray:
    """Fisher's z of the correlation of each pair of regions."""
    return np.arctanh(np.corrcoef(frames.T)[np.triu_indices(frames.shape[1], 1)])


def draw(r: pd.DataFrame, path: Path) -> None:
    """r against the gap."""
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    styles = {"linear": ("0.55", ":"), OWN: ("#2b6f77", "--"), POPULATION: ("#c0392b", "-")}
    names = {
        "linear": "linear interpolation",
        OWN: "the run's own prior",
        POPULATION: "other people's, adapted",
    }
    gaps = [int(task.rpartition("-")[2]) for task in r]
    for method, (colour, line) in styles.items():
        axes.plot(gaps, r.loc[method], line, color=colour, marker="o", label=names[method])
        above = method == POPULATION
        for gap, value in zip(gaps, r.loc[method], strict=True):
            axes.annotate(
                f"{value:.2f}".lstrip("0"),
                (gap, value),
                (0, 7 if above else -14),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontsize=8,
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(gaps, [str(gap) for gap in gaps])
    axes.set(xlabel="frames missing in a row", ylabel="temporal r at hidden frames", ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
