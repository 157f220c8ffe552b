"""From the cells of a benchmark to tables and figures.

Recordings of one group are averaged, simulated and real ones never together. A difference to the
reference is that of temporal r at the vertices that cells keep, paired over time, with its block-bootstrap
interval; over n recordings the mean's interval reaches sqrt(sum of squared reaches) / n to either side. A
rank is the mean over recordings, and over the tasks that have measured frames, of a method's place by r.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neuroframes.evaluation.assessment import KEPT_VERTICES, SHUFFLES
from neuroframes.evaluation.bootstrap import TooFewBlocksError, compare_r, mean_interval
from neuroframes.evaluation.cells import kept
from neuroframes.evaluation.metrics import WHOLE
from neuroframes.evaluation.recordings import GROUPS, OWN, SIMULATED
from neuroframes.evaluation.tasks import ALONE, TASKS
from neuroframes.files import written_whole
from neuroframes.registry import ORACLE, SHUFFLED, in_order

FROM_EEG, IN_TIME = ("ridge FIR",), ("kriging + EEG", "kriging")  # references: the first that is there
SHOWN = {
    "mse": "mean squared error",
    "coverage": "share within the 90 % interval",
    "crps": "CRPS",
    "spatial_r_test_mean": "spatial r, each vertex's mean removed",
    "cosine": "cosine",
    "ssim": "SSIM on the flattened cortex (a mean image does well by it: see docs/metrics.md)",
    "fc_similarity": "similarity of functional connectivity",
    "spectral_error": "spectral error, dB",
    "difference_r": "r of temporal differences",
}
COST = "cost"  # stands where a task does
SPLITS = {
    True: "The last quarter is held out, at least 40 s after what methods were fitted to.",
    False: "Methods were fitted to the frames that a task leaves, and scored on those that it hides.",
}


def read_cells(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Cells, in the order of their groups, recordings and methods."""
    cells = [{**json.loads((folder / "cell.json").read_text()), "folder": folder} for folder in folders]
    order = {name: number for number, name in enumerate(in_order(cell["method"] for cell in cells))}
    return sorted(cells, key=lambda c: (GROUPS.index(c["group"]), c["recording"], order[c["method"]]))


def write_tables(
    out: Path, cells: Sequence[Mapping[str, Any]], preface: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the report of cells to `out`, results.csv and differences.csv beside it; returns these two, tidy.

    Parameters
    ----------
    out : Path
        Of the report, a Markdown file; tables go beside it.
    cells : sequence of what `read_cells` gives
    preface : str
        How the report begins.
    """
    scored = [cell for cell in cells if not cell["audit"]]
    audits = [cell for cell in cells if cell["audit"]]
    results, differences = pd.DataFrame(_rows(scored)), pd.DataFrame(_differences(scored))
    for name, table in (("results", results), ("differences", differences)):
        with written_whole(out.with_name(f"{name}.csv"), overwrite=True) as path:
            table.to_csv(path, index=False)
    text = preface
    for group, of in results.groupby("group", sort=False):
        here = [cell for cell in scored if cell["group"] == group]
        paired = differences[differences["group"] == group] if len(differences) else differences
        text += f"\n## {group}\n\n" + _group(of, paired, here)
    if audits:
        text += "\n" + _audit(audits, results)
    with written_whole(out, overwrite=True) as path:
        path.write_text(text)
    return results, differences


def summarise(out: Path, folders: Sequence[Path]) -> Path:
    """Tables, figures and results.parquet of a benchmark's cells, in its folder `out`; returns the report's path."""
    from neuroframes.evaluation.figures import draw_figures

    report, cells = out / "benchmark.md", read_cells(folders)
    results, differences = write_tables(report, cells, "# Benchmark\n\n" + _about(out))
    with written_whole(out / "results.parquet", overwrite=True) as path:
        results.to_parquet(path, index=False)
    figures = draw_figures(out, results, differences, [cell for cell in cells if not cell["audit"]])
    with written_whole(report, overwrite=True) as path:
        shown = "".join(f"![{figure.stem}]({figure.name})\n\n" for figure in figures)
        path.write_text(f"{report.read_text()}\n## Figures\n\n{shown}".rstrip() + "\n")
    return report


def r_by_task(results: pd.DataFrame) -> pd.DataFrame:
    """Temporal r over the whole cortex, methods by tasks, shuffled EEG beside what it belongs to."""
    whole = results[results["region"] == WHOLE]
    shuffled = whole[whole["metric"] == "control, shuffled"]
    shuffled = shuffled.assign(method=shuffled["method"] + SHUFFLED)
    return _mean(pd.concat([whole[whole["metric"] == "temporal_r"], shuffled]))


def _rows(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every number, tidy."""
    rows = []
    for cell in cells:
        known = {name: cell[name] for name in ("group", "recording", "seed", "method")}
        for task, regions in cell["scores"].items():
            for region, metrics in regions.items():
                for metric, value in metrics.items():
                    rows.append({**known, "task": task, "region": region, "metric": metric, "value": value})
        more = [
            (task, f"control, {name}", value)
            for task, controls in cell["controls"].items()
            for name, value in controls.items()
        ]
        if cell["p"] is not None:
            more.append((ALONE, "p", cell["p"]))
        for task, metric, value in more:
            rows.append({**known, "task": task, "region": WHOLE, "metric": metric, "value": value})
        for metric, value in cell["cost"].items():
            if isinstance(value, int | float):
                rows.append({**known, "task": COST, "region": WHOLE, "metric": metric, "value": value})
    return rows


def _differences(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each method's r less the reference's, by recording and task."""
    rows = []
    by_recording: dict[str, dict[str, Mapping[str, Any]]] = {}
    for cell in cells:
        by_recording.setdefault(cell["recording"], {})[cell["method"]] = cell
    for methods in by_recording.values():
        for task in TASKS:
            having = {name: cell for name, cell in methods.items() if task in cell["scores"]}
            reference = next(
                (name for name in (FROM_EEG if task == ALONE else IN_TIME) if name in having), None
            )
            if reference is None:
                continue
            truth, against, scored = kept(having[reference], task)
            signal = np.flatnonzero(np.ptp(np.concatenate(truth), axis=0))
            for name, cell in having.items():
                if name == reference:
                    continue
                _, frames, _ = kept(cell, task)
                generator = np.random.default_rng(0)
                try:
                    found = compare_r(truth, frames, against, scored, cell["tr"], generator, vertices=signal)
                except TooFewBlocksError:
                    continue
                known = {key: cell[key] for key in ("group", "recording", "method")}
                rows.append({**known, "task": task, "reference": reference, **vars(found)})
    return rows


def _about(out: Path) -> str:
    about = json.loads((out / "benchmark.json").read_text())
    lines = [f"neuroframes {about['version']}. Settings: `benchmark.json`; every number: `results.csv`.\n"]
    if smaller := {name: of for name, of in about["options"].items() if name in about["methods"]}:
        lines.append(
            "\nSizes and budgets that differ from the methods' own: "
            + "; ".join(
                f"{name} ({', '.join(f'{option} {value}' for option, value in of.items())})"
                for name, of in smaller.items()
            )
            + ".\n"
        )
    return "".join(lines)


def _group(results: pd.DataFrame, differences: pd.DataFrame, cells: Sequence[Mapping[str, Any]]) -> str:
    """Tables of the recordings of one group."""
    n = results["recording"].nunique()
    whole = results[results["region"] == WHOLE]
    r = whole[whole["metric"] == "temporal_r"]
    names = ", ".join(results["recording"].unique())
    text = f"{n} recording{'s' * (n > 1)}: {names}. {SPLITS[cells[0]['group'] in (SIMULATED, OWN)]}\n\n"
    text += "### Temporal r\n\n" + _table(pd.concat([r_by_task(results), _ranks(r)], axis=1))
    if len(differences):
        text += (
            "\n### Difference of r to the reference, with its 95 % interval\n\n"
            "The reference is ridge FIR from EEG alone, elsewhere kriging, with EEG where there is some. Of "
            f"at most {KEPT_VERTICES} vertices, evenly spread. Intervals are about other stretches of time "
            "of these recordings, not about other subjects.\n\n" + _table(_intervals(differences))
        )
    controls = whole[whole["metric"].str.startswith("control") & (whole["task"] == ALONE)]
    if len(controls):
        alone = _mean(r)[ALONE].rename("r")
        columns = _mean(controls.assign(task=controls["metric"].str.removeprefix("control, ")))
        p = whole[whole["metric"] == "p"].groupby("method")["value"].max().rename("largest p of r")
        text += (
            "\n### Controls: r from EEG alone with EEG that can't tell\n\n"
            "Expected is 0, but for backwards EEG: slow fluctuations are nearly symmetric in time, so reversing "
            f"them leaves a little of their relation to the frames. Shuffled EEG is the mean of {SHUFFLES} "
            "shuffles, each of which scatters by about .02.\n\n"
        )
        text += _table(pd.concat([alone, columns, p], axis=1).loc[columns.index])
    for metric, title in SHOWN.items():
        of = whole[whole["metric"] == metric]
        if len(of):
            text += f"\n### {title[0].upper() + title[1:]}\n\n" + _table(_mean(of))
    for region in (name for name in results["region"].unique() if name != WHOLE):
        of = results[(results["region"] == region) & (results["metric"] == "temporal_r")]
        text += f"\n### Temporal r, {region}\n\n" + _table(_mean(of))
    cost = results[results["task"] == COST]
    devices = ", ".join(dict.fromkeys(cell["cost"]["device"] for cell in cells))
    text += f"\n### Cost ({devices})\n\n" + _table(_mean(cost.assign(task=cost["metric"])), "{:,.4g}")
    return text


def _mean(rows: pd.DataFrame) -> pd.DataFrame:
    """Methods by tasks, mean over recordings, both in their order."""
    wide = rows.pivot_table("value", "method", "task", sort=False)
    return wide.loc[in_order(wide.index)]


def _ranks(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean place from EEG alone, and beside measured frames; an oracle has none."""
    ranked = rows[rows["method"] != ORACLE]
    places = ranked.groupby(["recording", "task"])["value"].rank(ascending=False)
    kind = np.where(ranked["task"] == ALONE, "rank, EEG alone", "rank, completion")
    return ranked.assign(place=places, kind=kind).pivot_table("place", "method", "kind").round(1)


def _intervals(rows: pd.DataFrame) -> pd.DataFrame:
    """Text of the mean difference and its interval."""

    def text(of: pd.DataFrame) -> str:
        mean, low, high = mean_interval(of["difference"], of["low"], of["high"])
        return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"

    found = {(method, task): text(of) for (method, task), of in rows.groupby(["method", "task"], sort=False)}
    wide = pd.Series(found).unstack(sort=False)
    wide = wide[[task for task in TASKS if task in wide]]
    return wide.loc[in_order(wide.index)]


def _audit(audits: Sequence[Mapping[str, Any]], results: pd.DataFrame) -> str:
    """r under the split that leaks, beside that with a gap."""
    r = results[(results["metric"] == "temporal_r") & (results["region"] == WHOLE)]
    honest = r[r["task"] == ALONE].set_index(["recording", "method"])["value"]
    rows = pd.DataFrame(
        [
            {
                "method": cell["method"],
                "random windows": cell["leaking r"],
                "gap": honest.get((cell["recording"], cell["method"]), np.nan),
            }
            for cell in audits
        ]
    )
    wide = rows.groupby("method", sort=False).mean()
    wide["leak"] = wide["random windows"] - wide["gap"]
    return (
        "## Leak audit\n\nTemporal r from EEG alone of the same method under the split that is usual, "
        "overlapping windows dealt at random (80/20), and under the one with a gap.\n\n" + _table(wide)
    )


def _table(values: pd.DataFrame, form: str = "{:.3f}") -> str:
    """Markdown: methods by columns, "" where there is nothing."""

    def cell(value: object) -> str:
        if isinstance(value, str):
            return value
        return "" if pd.isna(value) else form.format(value)

    header = ["method", *map(str, values.columns)]
    rows = [[str(name), *map(cell, row)] for name, row in zip(values.index, values.to_numpy(), strict=True)]
    rule = ["---", *["---:"] * len(values.columns)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, rule, *rows])
