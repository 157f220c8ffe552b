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
from neuroframes.evaluation.metrics import WHOLE
from neuroframes.evaluation.similarity import spectra
from neuroframes.evaluation.tasks import ALONE
from neuroframes.files import written_whole
from neuroframes.registry import BACKBONE, NO_EEG, OURS, REDUCED, in_order, method_of

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
    whole = results[results["region"] == WHOLE]
    for group in results["group"].unique():
        of = whole[whole["group"] == group]
        paired = differences[differences["group"] == group] if len(differences) else differences
        here = [cell for cell in cells if cell["group"] == group]
        plots: dict[str, Callable[[Axes], bool]] = {
            "eeg": partial(_bars, of=of, paired=paired),
            "gaps": partial(_gaps, of=of),
            "spectra": partial(_spectra, cells=here),
            "coverage": partial(_coverage, of=of),
        }
        for name, plot in plots.items():
            figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
            if plot(axes):
                axes.set_title(str(group), loc="left", fontsize=10)
                axes.spines[["top", "right"]].set_visible(False)
                slug = "".join(c if c.isalnum() else "-" for c in str(group).lower())
                with written_whole(out / f"{slug}-{name}.png", overwrite=True) as path:
                    figure.savefig(path, dpi=120, format="png")
                drawn.append(out / f"{slug}-{name}.png")
            plt.close(figure)
    return drawn


def _bars(axes: Axes, of: pd.DataFrame, paired: pd.DataFrame) -> bool:
    """r from EEG alone; whiskers are the interval of its difference to the reference."""
    r = of[(of["metric"] == "temporal_r") & (of["task"] == ALONE)].groupby("method")["value"].mean()
    names = in_order(r.index)[::-1]
    if not names:
        return False
    axes.barh(names, r[names], color=[_colour(name) for name in names], height=0.7)
    for row, name in enumerate(names):
        if not len(paired):  # a test part of fewer than two blocks
            break
        these = paired[(paired["method"] == name) & (paired["task"] == ALONE)]
        if len(these):
            mean, low, high = mean_interval(these["difference"], these["low"], these["high"])
            whiskers = [[mean - low], [high - mean]]
            axes.errorbar(r[name], row, xerr=whiskers, color="black", capsize=2, linewidth=1)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("temporal r from EEG alone; whiskers: 95 % interval of the difference to ridge FIR")
    return True


def _gaps(axes: Axes, of: pd.DataFrame) -> bool:
    r = of[of["metric"] == "temporal_r"].groupby(["method", "task"])["value"].mean()
    found = False
    for name in LINES:
        points = [(gap, r[name, f"gap-{gap}"]) for gap in GAPS if (name, f"gap-{gap}") in r.index]
        if points:
            found = True
            style: dict[str, Any] = {"linewidth": 1.2, "color": OTHERS[LINES.index(name) % len(OTHERS)]}
            if name.startswith(OURS):
                style = {"linewidth": 2, "color": COLOURS["neuroframes"], "linestyle": OURS_LINES[name]}
            axes.plot(*zip(*points, strict=True), marker="o", ms=4, label=name, **style)
    if found:
        axes.set_xscale("log", base=2)
        axes.set_xticks(GAPS, [str(gap) for gap in GAPS])
        axes.set_xlabel("frames missing in a row")
        axes.set_ylabel("temporal r")
        axes.legend(frameon=False, fontsize=8)
    return found


def _spectra(axes: Axes, cells: Sequence[Mapping[str, Any]]) -> bool:
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
    if shown:
        axes.set_xlabel("Hz")
        axes.set_ylabel("power of z-scored frames from EEG alone, 1 / Hz")
        axes.legend(frameon=False, fontsize=8)
    return bool(shown)


def _coverage(axes: Axes, of: pd.DataFrame) -> bool:
    share = of[of["metric"] == "coverage"].pivot_table("value", "method", "task", sort=False)
    if share.empty:
        return False
    for name, row in share.iterrows():
        axes.plot(row.index, row.to_numpy(), "o-", ms=4, label=name, linewidth=1)
    axes.axhline(0.9, color="black", linewidth=0.8)  # where a calibrated method lies
    axes.set_ylim(0, 1)
    axes.set_ylabel("share within the stated 90 % interval")
    axes.legend(frameon=False, fontsize=8)
    return True
