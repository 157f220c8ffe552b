"""Real figures beside those of simulated people.

    python benchmarks/simulated.py --bold-data FOLDER [--seed 0] [--without vigilance,...] [--out FILE]

FOLDER holds neurobolt_regions.npz and camcan_displacement.npz, as for `neuroframes benchmark`. Of EEG with
BOLD there is no file: its real figures are published ones. Simulated are 29 people of 20 min (TR 2.1 s, 64
parcels), and 13 people of 28 min (TR 2 s, 112 parcels, 25 features, band-passed), in both worlds: linear and
lifelike. Ridge is the only method that is scored.
"""

import argparse
import itertools
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal
import scipy.stats

from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.evaluation.recordings import N_REGIONS, NEUROBOLT, read_real_bold, real_bold
from neuroframes.recording.band_power import BANDS, BandPower
from neuroframes.recording.bold import read_bold
from neuroframes.recording.features import read_features
from neuroframes.recording.segments import Segment
from neuroframes.recording.simulate import simulate
from neuroframes.threads import few_threads

TR, MINUTES, PEOPLE = 2.1, 20.2, 29  # as many scans as there are real ones
EDGES = (0.01, 0.03, 0.06, 0.1)  # Hz
GAPS, BETWEEN = (8, 16), 8  # frames hidden, and measured between them
LAGS, CONTEXT, COMPONENTS, NUGGET = 34, 18, 40, 0.1
WINDOW = 180.0  # seconds, of correlations in windows
LAG = 4.0  # seconds from EEG to BOLD
CENSORED = 0.5  # mm


@dataclass(frozen=True)
class Run:
    """A run: z-scored frames (K, P), and in place of EEG features (K, F), of a person."""

    person: str
    frames: np.ndarray
    tr: float
    features: np.ndarray | None = None
    displacement: np.ndarray | None = None


def scaled(frames: np.ndarray) -> np.ndarray:
    """Less a quadratic trend, over the standard deviation."""
    ramp = np.linspace(-1, 1, len(frames))
    trend = np.stack([ramp**0, ramp, ramp**2], axis=1)
    left = frames - trend @ np.linalg.lstsq(trend, frames, rcond=None)[0]
    return left / left.std(axis=0)


def real_runs(folder: Path) -> list[Run]:
    found = [of for of in real_bold(folder) if of.group == NEUROBOLT]
    return [Run(of.person, scaled(read_real_bold(of).data[:, :N_REGIONS].astype(float)), TR) for of in found]


def simulated_runs(**settings) -> list[Run]:
    """Runs of people that are simulated with parcels and features."""
    with tempfile.TemporaryDirectory() as folder:
        root = simulate(
            Path(folder) / "people",
            runs=1,
            space="fsaverage5",
            channels=32,
            features=True,
            progress=False,
            **settings,
        )
        runs = []
        for path in sorted(root.glob("derivatives/fmriprep/sub-*/func/*_bold.tsv")):
            person = path.name.partition("_")[0]
            bold = read_bold(path)
            (table,) = root.glob(f"{person}/eeg/*_desc-features_eeg.tsv")
            features = scaled(read_features(table).values.astype(float))
            (confounds,) = path.parent.glob("*_desc-confounds_timeseries.tsv")
            moved = pd.read_csv(confounds, sep="\t")["framewise_displacement"].to_numpy()
            runs.append(Run(person, scaled(bold.data.astype(float)), bold.tr, features, moved))
    return runs


def spectrum(runs: list[Run]) -> dict[str, float]:
    shares = []
    for run in runs:
        frequency, power = scipy.signal.welch(run.frames, 1 / run.tr, nperseg=256, axis=0)
        part = np.searchsorted(EDGES, frequency, side="right")
        total = power.sum(axis=0)
        shares.append([(power[part == band].sum(axis=0) / total).mean() for band in range(len(EDGES) + 1)])
    names = [
        f"below {EDGES[0]:g} Hz",
        *(f"{a:g} to {b:g} Hz" for a, b in itertools.pairwise(EDGES)),
        f"above {EDGES[-1]:g} Hz",
    ]
    found = {f"power {name}": share for name, share in zip(names, np.mean(shares, axis=0), strict=True)}
    for lag in (1, 3, 8):
        found[f"correlation with {lag} frames before"] = float(
            np.mean([(run.frames[lag:] * run.frames[:-lag]).mean() for run in runs])
        )
    found["kurtosis"] = float(np.mean([scipy.stats.kurtosis(run.frames, axis=0).mean() for run in runs]))
    return found


def fc(frames: np.ndarray) -> np.ndarray:
    return np.corrcoef(frames.T)[np.triu_indices(frames.shape[1], 1)]


def connectivity(runs: list[Run]) -> dict[str, float]:
    r = np.array([fc(run.frames) for run in runs])
    alike = np.corrcoef(np.arctanh(r))
    others = np.array([[a.person != b.person for a in runs] for b in runs])
    halves = [np.array_split(run.frames, 2) for run in runs]
    within = [np.corrcoef(np.arctanh(fc(a)), np.arctanh(fc(b)))[0, 1] for a, b in halves]
    values = np.mean([np.linalg.eigvalsh(np.corrcoef(run.frames.T))[::-1] for run in runs], axis=0)
    size = [run.frames.mean(axis=1).std() for run in runs]
    return {
        "FC, mean r": r.mean(),
        "FC, mean of abs r": np.abs(r).mean(),
        "FC, deviation over pairs": r.std(axis=1).mean(),
        "FC, alike between people": alike[others].mean(),
        "FC, alike between halves of a run": float(np.mean(within)),
        "variance in 1 component": values[0] / values.sum(),
        "variance in 10 components": values[:10].sum() / values.sum(),
        "deviation of the mean region": float(np.mean(size)),
        "the same, least": float(min(size)),
        "the same, most": float(max(size)),
    }


def lag_products(frames: np.ndarray, lags: int) -> np.ndarray:
    """Mean of frame t of one region times frame t + l of another, shape (lags + 1, P, P)."""
    n = len(frames)
    return np.stack([frames[: n - lag].T @ frames[lag:] / n for lag in range(lags + 1)])


def lead_and_lag(runs: list[Run]) -> dict[str, float]:
    """Of covariances at a lag the part that changes sign with the lag."""
    products = np.array([lag_products(run.frames, 2)[1:] for run in runs])
    odd = (products - products.swapaxes(2, 3)) / 2
    pairs = np.triu_indices(odd.shape[2], 1)
    alike = np.corrcoef(odd[:, 1][:, pairs[0], pairs[1]])
    others = np.array([[a.person != b.person for a in runs] for b in runs])
    return {
        "lead and lag at 1 frame": float(np.sqrt(np.square(odd[:, 0]).mean())),
        "lead and lag at 2 frames": float(np.sqrt(np.square(odd[:, 1]).mean())),
        "the same, alike between people": alike[others].mean(),
    }


def covariances(products: np.ndarray, cross: bool) -> tuple[np.ndarray, np.ndarray]:
    """Of components at every lag, tapered, (lags + 1, d, d), and the components, (d, P)."""
    values, vectors = np.linalg.eigh(products[0])
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]
    to = vectors / np.sqrt(values)
    taper = np.cos(np.pi / 2 * np.arange(len(products)) / len(products)) ** 2
    held = np.einsum("lij,ia,jb->lab", products, to, to) * taper[:, None, None]
    return held if cross else held * np.eye(COMPONENTS), to.T


def between(covariance: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Covariance of the components at frames `first` with those at `second`."""
    lag = second[None] - first[:, None]
    near = np.abs(lag) < len(covariance)
    blocks = covariance[np.where(near, np.abs(lag), 0)]
    blocks = np.where((lag < 0)[..., None, None], blocks.swapaxes(2, 3), blocks) * near[..., None, None]
    n = covariance.shape[1]
    return blocks.swapaxes(1, 2).reshape(len(first) * n, len(second) * n)


@few_threads
def across_gaps(runs: list[Run]) -> dict[str, float]:
    """r of a Gaussian with other people's covariances in gaps of the second half, by kind of covariance."""
    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(1))
    count: dict[str, int] = defaultdict(int)
    for run in runs:
        total[run.person] = total[run.person] + lag_products(run.frames, LAGS)
        count[run.person] += 1
    everyone, found = sum(total.values()), defaultdict(list)
    for run in runs:
        others = (everyone - total[run.person]) / (len(runs) - count[run.person])
        for cross in (False, True):
            covariance, to = covariances(others, cross)
            latents, back = run.frames @ to.T, np.linalg.pinv(to).T
            for gap in GAPS:
                hidden = np.arange(gap)
                near = np.concatenate([np.arange(-CONTEXT, 0), np.arange(gap, gap + CONTEXT)])
                near = near[(near % (gap + BETWEEN)) >= gap]
                own = between(covariance, near, near)
                own += NUGGET * np.eye(len(own))
                gain = np.linalg.solve(own, between(covariance, near, hidden)).T
                truth, guess = [], []
                half = len(latents) // 2 + 10
                for start in range(half, len(latents) - gap - CONTEXT, gap + BETWEEN):
                    given = latents[near + start].ravel()
                    guess.append((gain @ given).reshape(gap, -1) @ back)
                    truth.append(run.frames[start : start + gap])
                found[gap, cross].append(temporal_r(np.concatenate(truth), np.concatenate(guess)).mean())
    r = {key: float(np.mean(values)) for key, values in found.items()}
    table = {}
    for gap in GAPS:
        table[f"r in gaps of {gap}, a spectrum per component"] = r[gap, False]
        table[f"the same, with cross terms: {gap}"] = r[gap, True]
    return table


def temporal_r(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Correlation along time of each column."""
    truth, guess = truth - truth.mean(axis=0), guess - guess.mean(axis=0)
    scale = np.sqrt(np.square(truth).sum(axis=0) * np.square(guess).sum(axis=0))
    return (truth * guess).sum(axis=0) / np.maximum(scale, 1e-12)


def motion(displacement: list[np.ndarray], tr: float) -> dict[str, float]:
    """Of framewise displacement (K,) of each person."""
    steps = np.array([moved[1:] for moved in displacement])
    out = steps > CENSORED
    course = np.log(steps + 1e-3)
    course -= course.mean(axis=1, keepdims=True)
    return {
        "displacement, median (mm)": float(np.median(steps)),
        "displacement, 99 % (mm)": float(np.quantile(steps, 0.99)),
        "frames above .5 mm": out.mean(),
        "people who lose over a tenth": (out.mean(axis=1) > 0.1).mean(),
        "a frame above .5 mm follows another": (out[:, 1:] & out[:, :-1]).sum() / max(out[:, :-1].sum(), 1),
        "log displacement and the frame before": (course[:, 1:] * course[:, :-1]).mean() / course.var(),
    }


def eeg_and_bold(runs: list[Run]) -> dict[str, float]:
    """r of posterior band power with BOLD of the occipital poles some seconds later."""
    lag = round(LAG / runs[0].tr)
    poles = [run.frames[:, [0, (run.frames.shape[1] + 1) // 2]].mean(axis=1) for run in runs]
    found = {}
    for number, band in enumerate(BANDS):
        at = len(BANDS) * 4 + number
        r = [
            np.corrcoef(run.features[:-lag, at], pole[lag:])[0, 1]
            for run, pole in zip(runs, poles, strict=True)
        ]
        found[f"{band} and occipital BOLD {LAG:g} s later"] = float(np.mean(r))
    at, width = len(BANDS) * 4 + list(BANDS).index("alpha"), round(WINDOW / runs[0].tr)
    least, most = [], []
    for run, pole in zip(runs, poles, strict=True):
        alpha, bold = run.features[:-lag, at], pole[lag:]
        starts = range(0, len(alpha) - width + 1, width)
        r = [np.corrcoef(alpha[s : s + width], bold[s : s + width])[0, 1] for s in starts]
        least.append(min(r))
        most.append(max(r))
    found["alpha in windows of 3 min, least (mean over people)"] = float(np.mean(least))
    found["alpha in windows of 3 min, most (mean over people)"] = float(np.mean(most))
    found["alpha in windows, least of all"], found["alpha in windows, most of all"] = min(least), max(most)
    return found


def segment(run: Run, rows: slice) -> Segment:
    times = run.tr * np.arange(len(run.frames))
    frames, measured = np.asfortranarray(run.frames, np.float32), np.ones(len(times), bool)
    power = BandPower(run.features.astype(np.float32), times)
    return Segment(
        frames[rows], times[rows], times[rows], measured[rows], power, run.person, person=run.person
    )


@few_threads
def ridge(runs: list[Run]) -> dict[str, float]:
    """r of ridge FIR from features alone: a quarter of a person's run left out, and a person left out."""
    within, across = [], []
    for run in runs:
        n, gap = len(run.frames), round(40 / run.tr)
        quarters = []
        for start in range(0, n - n // 4 + 1, n // 4):
            end = start + n // 4
            train = [slice(0, max(start - gap, 0)), slice(end + gap, n)]
            fitted = [segment(run, rows) for rows in train if rows.start < rows.stop]
            quarters.append(score(fitted, segment(run, slice(start, end))))
        within.append(np.mean(quarters))
        others = [segment(other, slice(None)) for other in runs if other.person != run.person]
        across.append(score(others, segment(run, slice(None))))
    return {
        "ridge FIR within a person": float(np.mean(within)),
        "the same, deviation over people": float(np.std(within)),
        "ridge FIR, a person left out": float(np.mean(across)),
        "people left out with r above 0": float((np.array(across) > 0).mean()),
    }


def score(train: list[Segment], test: Segment) -> float:
    """Temporal r of ridge FIR from features alone, mean over parcels."""
    given = test.given(np.zeros(len(test.times), bool))
    return float(temporal_r(test.frames, RidgeFIR().fit(train).estimate(given)).mean())


PUBLISHED = {  # of the project's own measurements and papers: see docs/simulated.md
    f"alpha and occipital BOLD {LAG:g} s later": "-.1 to -.2",
    "alpha in windows, least of all": "-.6",
    "alpha in windows, most of all": ".5",
    "ridge FIR within a person": ".18",
    "ridge FIR, a person left out": ".13",
}


def column(linear: bool, seed: int, without: str | None) -> dict[str, float]:
    """All figures of simulated people."""
    world = {"linear": linear, "seed": seed, "without": without}
    runs = simulated_runs(minutes=MINUTES, tr=TR, subjects=PEOPLE, parcels=N_REGIONS, **world)
    moved = motion([run.displacement for run in runs], TR)
    filtered = simulated_runs(minutes=28, tr=2.0, subjects=13, parcels=112, band_pass="0.01,0.1", **world)
    return {**of_bold(runs), **moved, **eeg_and_bold(runs), **ridge(filtered)}


def of_bold(runs: list[Run]) -> dict[str, float]:
    return {**spectrum(runs), **connectivity(runs), **lead_and_lag(runs), **across_gaps(runs)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bold-data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", help="ingredients to leave out of the lifelike world")
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    options = parser.parse_args()
    with np.load(options.bold_data / "camcan_displacement.npz") as arrays:
        moved = motion([*arrays["displacement"].astype(float)], 1.97)
    columns = {
        "real": {**of_bold(real_runs(options.bold_data)), **moved, **PUBLISHED},
        "linear": column(True, options.seed, None),
        "lifelike": column(False, options.seed, options.without),
    }
    lines = ["| figure | real | linear | lifelike |", "|---|---|---|---|"]
    for name in columns["lifelike"]:
        cells = [written(of.get(name, "")) for of in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3f}".replace("0.", ".", 1)


if __name__ == "__main__":
    main()
