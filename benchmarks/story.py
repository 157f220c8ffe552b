"""Decoding of a story across gaps of 8 and 16 frames, wherever the gaps lie.

    python benchmarks/story.py DATA OUT [--phases 0 4 8 12]

`benchmark --suite people` hides the same moments of the story in everybody, so its intervals over people are
about people, not about moments. Here gaps begin later by each of these phases, in frames, and a person's r is
the mean over phases. DATA holds alice_regions.npz; OUT is the folder of that benchmark, whose decoders are
used.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from neuroframes.evaluation.assessment import assess, assess_bound
from neuroframes.evaluation.decoding import MEASURED
from neuroframes.evaluation.recordings import STORY, folds_of, real_bold, with_decoders
from neuroframes.evaluation.summary import students
from neuroframes.evaluation.tasks import TASKS, late_gaps
from neuroframes.registry import NO_EEG, fit

METHODS = ("linear", "kriging", NO_EEG, "neuroframes population")


def later(n_frames, gap, phase):
    """`late_gaps`, whose gaps begin `phase` frames later."""
    mask = late_gaps(n_frames - phase, gap=gap)
    return np.concatenate([np.ones(phase, bool), mask])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phases", type=int, nargs="+", default=[0, 4, 8, 12])
    options = parser.parse_args()
    people = [of for of in real_bold(options.data) if of.group == STORY]
    for gap in (8, 16):
        r = {row: [] for row in (*METHODS, MEASURED)}
        for of in people:
            of_person = {row: [] for row in r}
            for phase in options.phases:
                task = f"late-gap-{gap}"
                TASKS[task] = partial(later, gap=gap, phase=phase)  # of this process alone
                (fold,) = folds_of(with_decoders(of, options.out / "decoders"), (task,))
                for row in r:
                    found = (
                        assess_bound(row, fold)[0]
                        if row == MEASURED
                        else assess(fit(row, fold.part, {}, state=Path("unused")), fold, similarity=False)[0]
                    )
                    of_person[row].append(found["scores"][task]["whole"]["decoded r"])
            for row, values in of_person.items():
                r[row].append(np.mean(values))
        for row in r:
            text = f"gap {gap:2d}  {row:26s} r {np.mean(r[row]):.4f}"
            for of in ("linear", "kriging"):
                less = pd.Series(np.subtract(r[row], r[of]))
                low, high = students(less)
                text += f", less {of} {less.mean():+.4f} ({low:+.4f} to {high:+.4f})"
            print(text, flush=True)


if __name__ == "__main__":
    main()
