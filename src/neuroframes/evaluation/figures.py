"""Figures of a benchmark: r with intervals, r by length of gap, spectra, coverage.

Bars have one colour a family of methods, ours apart.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("Agg")  # before pyplot chooses a display, which a server lacks
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from neuroframes.evaluation.bootstrap import mean_interval
from neuroframes.evaluation.cells import kept
from neuroframes.evaluation.plan import slug
from neuroframes.evaluation.similarity import spectra
from neuroframes.evaluation.summary import means
from neuroframes.evaluation.tasks import ALONE
from neuroframes.files import written_whole
from neuroframes.registry import BACKBONE, NO_EEG, OURS, REDUCED, method_of

# One a family of methods, ours in red.
COLOURS = {"neuroframes": "#c0392b", "network": "#2471a3", "regression": "#7d6608", "without EEG": "#808b96"}
LINES = ("linear", "cubic spline", "Lomb-Scargle", "kriging", "kriging + EEG", NO_EEG, BACKBONE, OURS)
SPECTRA = ("ridge FIR", "CNN-TC", "paper's recipe", BACKBONE, OURS)
OTHERS = ("C0", "C1", "C2", "C4", "C5")  # without the red, which is ours
OURS_LINES = {NO_EEG: ":", BACKBONE: "--", OURS: "-"}
GAPS = (1, 2, 4, 8, 16)


def _colour(row: str) -> str:
    method = method_of(row)
    return COLOURS["neuroframes" if method is None else method.family]


def draw_figures(
    out: Path, results: pd.DataFrame, differences: pd.DataFrame, cells: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """PNG files of each group of recordings; returns their paths."""
    drawn = []
    for group, of in results.groupby("group", sort=False):
        here = [cell for cell in cells if cell["group"] == group]
        plots: dict[str, Callable[[Axes], None]] = {
            "eeg": partial(_bars, of=of, paired=differences[differences["group"] == group]),
            "gaps": partial(_gaps, of=of),
            "spectra": partial(_spectra, cells=here),
            "coverage": partial(_coverage, of=of),
        }
        for name, plot in plots.items():
            figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
            plot(axes)
            if axes.has_data():
                axes.set_title(str(group), loc="left", fontsize=10)
                axes.spines[["top", "right"]].set_visible(False)
                if name != "eeg":  # whose bars have their names
                    axes.legend(frameon=False, fontsize=8)
                drawn.append(out / f"{slug(str(group))}-{name}.png")
                with written_whole(drawn[-1], overwrite=True) as path:
                    figure.savefig(path, dpi=120, format="png")
            plt.close(figure)
    return drawn


def _bars(axes: Axes, of: pd.DataFrame, paired: pd.DataFrame) -> None:
    """r from EEG alone; whiskers are the interval of its difference to the reference."""
    r = means(of, "temporal_r")
    if ALONE not in r:
        return
    r = r[ALONE].dropna()[::-1]
    axes.barh(r.index, r, color=[_colour(name) for name in r.index], height=0.7)
    for name, these in paired[paired["task"] == ALONE].groupby("method"):
        mean, low, high = mean_interval(these["difference"], these["low"], these["high"])
        axes.errorbar(
            r[name], name, xerr=[[mean - low], [high - mean]], color="black", capsize=2, linewidth=1
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("temporal r from EEG alone; whiskers: 95 % interval of the difference to ridge FIR")


def _gaps(axes: Axes, of: pd.DataFrame) -> None:
    r = means(of, "temporal_r").rename(columns={f"gap-{gap}": gap for gap in GAPS})
    r = r[[gap for gap in GAPS if gap in r]].dropna(how="all")
    for number, name in enumerate(LINES):
        style: dict[str, Any] = {"linewidth": 1.2, "color": OTHERS[number % len(OTHERS)]}
        if name.startswith(OURS):
            style = {"linewidth": 2, "color": COLOURS["neuroframes"], "linestyle": OURS_LINES[name]}
        if name in r.index:
            axes.plot(r.columns, r.loc[name], marker="o", ms=4, label=name, **style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(GAPS, [str(gap) for gap in GAPS])
    axes.set(xlabel="frames missing in a row", ylabel="temporal r")


def _spectra(axes: Axes, cells: Sequence[Mapping[str, Any]]) -> None:
    """Power of measured and reconstructed frames, from EEG alone, in the first recording."""
    first = [cell for cell in cells if cell["recording"] == cells[0]["recording"]]
    shown = [c for c in first if c["method"].removesuffix(REDUCED) in SPECTRA and ALONE in c["scores"]]
    for number, cell in enumerate(shown):
        truth, frames, _ = kept(cell, ALONE)
        if number == 0:
            axes.loglog(*spectra(truth, cell["tr"]), color="black", linewidth=2, label="measured")
        frequency, power = spectra(frames, cell["tr"])
        if power.max() > 0:  # a constant has no place on a logarithmic axis
            axes.loglog(frequency, power, label=cell["method"], linewidth=1.2)
    axes.set(xlabel="Hz", ylabel="power of z-scored frames from EEG alone, 1 / Hz")


def _coverage(axes: Axes, of: pd.DataFrame) -> None:
    share = means(of, "coverage")
    if share.empty:
        return
    axes.plot(share.columns, share.T, "o-", ms=4, label=list(share.index), linewidth=1)
    axes.axhline(0.9, color="black", linewidth=0.8)  # where a calibrated method lies
    axes.set(ylim=(0, 1), ylabel="share within the stated 90 % interval")
