"""From the cells of a benchmark to tables and figures.

Recordings of one group are averaged, simulated and real ones never together. A difference to the
reference is that of temporal r at the vertices that cells keep, paired over time, with its block-bootstrap
interval; over n recordings the mean's interval reaches sqrt(sum of squared reaches) / n to either side. A
rank is the mean over recordings, and over the tasks that have measured frames, of a method's place by r.
Where people are left out, the model across people is compared with all other rows over people, its own with
EEG that can't tell among them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from neuroframes.evaluation.assessment import KEPT_VERTICES, SHUFFLES
from neuroframes.evaluation.bootstrap import TooFewBlocksError, compare_r, mean_interval
from neuroframes.evaluation.cells import kept, read_cell
from neuroframes.evaluation.metrics import WHOLE, standardised
from neuroframes.evaluation.recordings import ACROSS_PEOPLE, GROUPS, OF_REGIONS, OWN, SIMULATED, TEST_FRACTION
from neuroframes.evaluation.tasks import ALONE, TASKS
from neuroframes.files import written_whole
from neuroframes.registry import ACROSS, ORACLE, OTHER_EEG, SHUFFLED, in_order

Cell = Mapping[str, Any]  # as `read_cells` gives it

OTHER_CONTROLS = {"shuffled": SHUFFLED, "other subject": OTHER_EEG}  # EEG that isn't the person's, in place
FROM_EEG, IN_TIME = ("ridge FIR",), ("kriging + EEG", "kriging")  # references: the first that is there
SHOWN = {
    "mse": "mean squared error",
    "coverage": "share within the 90 % interval",
    "crps": "CRPS",
    "spatial_r_test_mean": "spatial r, each vertex's mean removed",
    "cosine": "cosine",
    "ssim": "SSIM on the flattened cortex (a mean image does well by it: see docs/metrics.md)",
    "fc_similarity": "similarity of functional connectivity",
    "network_r": "r of mean courses (of 7 networks on fsLR-32k, elsewhere of parcels)",
    "event_r": "r of averages around events",
    "rsa_conditions": "representational similarity of types of events",
    "rsa_stretches": "representational similarity of stretches of 10 s",
    "spectral_error": "spectral error, dB",
    "difference_r": "r of temporal differences",
}
DECODED = "decoded r"
DECODING = {  # metrics of decoding by the start of their names
    f"{DECODED}, ": "Decoded r",
    "2-way identification, 10 s": "2-way identification of stretches of 10 s, given frames too (chance .5)",
    "top-5, 10 s": "Share of stretches of 10 s among the five most alike, given frames too",
    "balanced accuracy, ": "Balanced accuracy",
}
CEILING = ", ceiling"  # ends the name of what measured frames reach
MOST_FEATURES = 8  # of a stimulus, each with a table of its own
COST = "cost"  # stands where a task does
NUMBERS = ["group", "recording", "person", "seed", "method", "task", "region", "metric", "value"]
DIFFERENCES = ["group", "recording", "method", "task", "reference", "difference", "low", "high"]
DIFFERENCES += ["n_blocks", "n_people"]
EVERYBODY = "all people"  # stands where a recording does
HELD_OUT = "Held out is the end of each, or what a model was told to; methods were fitted to the rest."
SPLITS = {
    **dict.fromkeys(
        GROUPS, "Methods were fitted to the frames that a task leaves, and scored on those that it hides."
    ),
    SIMULATED: HELD_OUT,
    OWN: HELD_OUT,
    **dict.fromkeys(ACROSS_PEOPLE, "Methods were fitted to all other people."),
}


def read_cells(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Cells, in the order of their groups, recordings and methods."""
    cells = [read_cell(folder) for folder in folders]
    order = {name: number for number, name in enumerate(in_order(cell["method"] for cell in cells))}
    return sorted(cells, key=lambda c: (GROUPS.index(c["group"]), c["recording"], order[c["method"]]))


def write_tables(out: Path, cells: Sequence[Cell], preface: str) -> tuple[pd.DataFrame, pd.DataFrame]:
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
    results = pd.DataFrame(_rows(scored), columns=NUMBERS)
    found = [*_differences(scored), *_over_everybody(results)]
    differences = pd.DataFrame(found, columns=DIFFERENCES)
    for name, table in (("results", results), ("differences", differences)):
        with written_whole(out.with_name(f"{name}.csv"), overwrite=True) as path:
            table.to_csv(path, index=False)
    text = preface
    for group, of in results.groupby("group", sort=False):
        here = [cell for cell in scored if cell["group"] == group]
        text += f"\n## {group}\n\n" + _group(of, differences[differences["group"] == group], here)
    if audits:
        text += "\n" + _audit(audits, results)
    with written_whole(out, overwrite=True) as path:
        path.write_text(text)
    return results, differences


def summarise(out: Path, folders: Sequence[Path]) -> Path:
    """Tables, figures and results.parquet of a benchmark's cells, in its folder `out`; the report's path."""
    from neuroframes.evaluation.figures import draw_figures

    report, cells = out / "benchmark.md", read_cells(folders)
    results, differences = write_tables(report, cells, "# Benchmark\n\n" + _about(out))
    with written_whole(out / "results.parquet", overwrite=True) as path:
        results.to_parquet(path, index=False)
    in_time = differences[differences["recording"] != EVERYBODY]
    figures = draw_figures(out, results, in_time, [cell for cell in cells if not cell["audit"]])
    with written_whole(report, overwrite=True) as path:
        shown = "".join(f"![{figure.stem}]({figure.name})\n\n" for figure in figures)
        path.write_text(f"{report.read_text()}\n## Figures\n\n{shown}".rstrip() + "\n")
    return report


def means(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric of the whole cortex, methods by tasks."""
    return _mean(results[(results["region"] == WHOLE) & (results["metric"] == metric)])


def r_by_task(results: pd.DataFrame) -> pd.DataFrame:
    """Temporal r over the whole cortex, methods by tasks, shuffled EEG beside what it belongs to."""
    return _mean(_r_of(results, {"shuffled": SHUFFLED}))


def r_text(results: pd.DataFrame, width: int | None = None) -> str:
    """`r_by_task` for a terminal, at most `width` characters wide, of the results of `evaluate`.

    Beneath it the r of what is decoded, where there is a stimulus.
    """
    decoded = _decoded(results, DECODED)
    tables = {"temporal r": r_by_task(results), **({"decoded r": _mean(decoded)} if len(decoded) else {})}
    shown = {"float_format": "{:.3f}".format, "na_rep": "", "line_width": width}
    return "\n\n".join(
        str(table.rename_axis(index=None, columns=title).to_string(**shown))
        for title, table in tables.items()
    )


def _r_of(results: pd.DataFrame, controls: Mapping[str, str], metric: str = "temporal_r") -> pd.DataFrame:
    """Rows of a metric over the whole cortex, and of controls, whose methods have more to their names."""
    whole = results[results["region"] == WHOLE]
    names = {metric: "", **{f"control, {control}": suffix for control, suffix in controls.items()}}
    of = {name: whole[whole["metric"] == name] for name in names}
    return pd.concat([of[name].assign(method=of[name]["method"] + names[name]) for name in names])


def _rows(cells: Sequence[Cell]) -> Iterator[tuple[Any, ...]]:
    """Every number, tidy."""
    for cell in cells:
        found = [
            (task, region, metric, value)
            for task, regions in cell["scores"].items()
            for region, metrics in regions.items()
            for metric, value in metrics.items()
        ]
        for task, controls in cell["controls"].items():
            found += [(task, WHOLE, f"control, {name}", value) for name, value in controls.items()]
        found += [(ALONE, WHOLE, "p", cell["p"]), *((COST, WHOLE, *cost) for cost in cell["cost"].items())]
        for *where, value in found:
            if isinstance(value, int | float):  # neither a device nor what isn't known
                yield *(cell[name] for name in NUMBERS[:5]), *where, value


def _differences(cells: Sequence[Cell]) -> Iterator[tuple[Any, ...]]:
    """Each method's r less the reference's, by recording and task."""
    for _, of in groupby(cells, itemgetter("recording")):
        methods = {cell["method"]: cell for cell in of}
        for task in TASKS:
            having = {
                name: cell
                for name, cell in methods.items()
                if "temporal_r" in cell["scores"].get(task, {}).get(WHOLE, {})
            }
            references = [name for name in (FROM_EEG if task == ALONE else IN_TIME) if name in having]
            if not references:
                continue
            truth, against, scored = kept(having.pop(references[0]), task)
            series = np.concatenate([x[rows] for x, rows in zip(truth, scored, strict=True)])
            signal = np.flatnonzero(standardised(series).any(axis=0))
            for cell in having.values():
                _, frames, _ = kept(cell, task)
                generator = np.random.default_rng(0)
                with suppress(TooFewBlocksError):
                    found = compare_r(truth, frames, against, scored, cell["tr"], generator, vertices=signal)
                    yield *(cell[name] for name in DIFFERENCES[:3]), task, references[0], *astuple(found), 1


def _over_everybody(results: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """r of the model across people less that of each other row, over left-out people."""
    of_people = results[results["group"].isin(ACROSS_PEOPLE)]
    if not len(of_people):
        return
    r = _r_of(of_people, OTHER_CONTROLS)
    for (group, task), rows in r.groupby(["group", "task"], sort=False):
        persons = rows.pivot_table("value", "person", "method")
        if ACROSS in persons and len(persons) > 1:
            for row in in_order(persons.columns.drop(ACROSS)):
                less = (persons[ACROSS] - persons[row]).dropna()
                interval = less.mean(), *students(less)
                yield group, EVERYBODY, ACROSS, task, row, *interval, None, len(less)


def _about(out: Path) -> str:
    about = json.loads((out / "benchmark.json").read_text())
    text = (
        f"neuroframes {about['version']}. Settings: `benchmark.json`; every number: `results.csv`. Of "
        f"recordings with EEG the last {100 * TEST_FRACTION:g} % are held out, or whole people.\n"
    )
    if smaller := {name: of for name, of in about["options"].items() if name in about["methods"]}:
        options = (
            f"{name} ({', '.join(f'{option} {value}' for option, value in of.items())})"
            for name, of in smaller.items()
        )
        text += f"\nSizes and budgets that differ from the methods' own: {'; '.join(options)}.\n"
    if about["people"] != "all":
        text += f"\nReal BOLD is that of the {about['people']} people; all others are beside them.\n"
    if about["band"]:
        text += "\nReal BOLD is filtered to {:g} to {:g} Hz before frames are hidden.\n".format(
            *about["band"]
        )
    return text


def _group(results: pd.DataFrame, differences: pd.DataFrame, cells: Sequence[Cell]) -> str:
    """Tables of the recordings of one group."""
    names = results["recording"].unique()
    whole = results[results["region"] == WHOLE]
    r = whole[whole["metric"] == "temporal_r"]
    text = f"{len(names)} recording{'s' * (len(names) > 1)}: {', '.join(names)}. "
    text += f"{SPLITS[cells[0]['group']]}\n"
    text += _section("Temporal r", pd.concat([r_by_task(results), _ranks(r)], axis=1))
    over_people = differences["recording"] == EVERYBODY
    across, differences = differences[over_people], differences[~over_people]
    if cells[0]["group"] in (*OF_REGIONS, *ACROSS_PEOPLE) and r["person"].nunique() > 1:
        r = _r_of(results, OTHER_CONTROLS)
        text += _section(
            f"Temporal r over {r['person'].nunique()} people, with its 95 % interval",
            _over_people(r),
            "The mean over each person's runs first, then over people, whose scatter the interval is of.",
        )
        for task, of in r.groupby("task", sort=False):
            persons = of.pivot_table("value", "person", "method")[in_order(of["method"])]
            text += _section(f"Temporal r by person, {task}", persons)
        if len(across):
            title = f"Temporal r of {ACROSS} less that of other rows, with its 95 % interval over people"
            text += _section(title, _intervals(across.assign(method=across["reference"])))
    if len(differences):
        text += _section(
            "Difference of r to the reference, with its 95 % interval",
            _intervals(differences),
            "The reference is ridge FIR from EEG alone, elsewhere kriging, with EEG where there is some. Of "
            f"at most {KEPT_VERTICES} vertices, evenly spread. Intervals are about other stretches of time "
            "of these recordings, not about other subjects.",
        )
    controls = whole[whole["metric"].str.startswith("control") & (whole["task"] == ALONE)]
    of_decoding = controls["metric"].str.startswith("control, shuffled, ")
    controls = controls[~of_decoding | (controls["metric"] == f"control, shuffled, {DECODED}")]
    if len(controls):
        columns = _mean(controls.assign(task=controls["metric"].str.removeprefix("control, ")))
        p = whole[whole["metric"] == "p"].groupby("method")["value"].max().rename("largest p of r")
        text += _section(
            "Controls: r from EEG alone with EEG that can't tell",
            pd.concat([r_by_task(results)[ALONE].rename("r"), columns, p], axis=1).loc[columns.index],
            "Expected is 0, but for backwards EEG: slow fluctuations are nearly symmetric in time, so "
            "reversing them leaves a little of their relation to the frames. Shuffled EEG is the mean of "
            f"{SHUFFLES} shuffles, each of which scatters by about .02.",
        )
    for metric, title in _shown(whole["metric"].unique()):
        table, ceiling = means(results, metric), means(results, metric + CEILING).mean()
        if len(ceiling):
            table.loc["ceiling: other measured frames"] = ceiling
        text += _section(title, table)
    text += _decoding(results)
    for region in (name for name in results["region"].unique() if name != WHOLE):
        of = results[(results["region"] == region) & (results["metric"] == "temporal_r")]
        text += _section(f"Temporal r, {region}", _mean(of))
    cost = results[results["task"] == COST]
    devices = ", ".join(dict.fromkeys(cell["cost"]["device"] for cell in cells))
    return text + _section(f"Cost ({devices})", _mean(cost.assign(task=cost["metric"])), form="{:,.4g}")


def _decoding(results: pd.DataFrame) -> str:
    """Tables of what is decoded from frames; "" where recordings have no stimulus."""
    whole = results[results["region"] == WHOLE]
    r = _decoded(results, DECODED)
    if not len(r):
        return ""
    several = r["person"].nunique() > 1 and results["group"].isin(OF_REGIONS).all()
    text = _section(
        "Decoded r with its 95 % interval, mean over the stimulus' features",
        _over_people(r) if several else _with_limits(results),
        "Decoders were fitted to measured frames; scored are the moments that hidden frames tell of. "
        + ("Intervals are over people." if several else "Intervals are of blocks of time."),
    )
    for reference in ("linear", "kriging") if several else ():
        less = _less(r, reference)
        text += _section(f"Decoded r less that of {reference}, with its 95 % interval over people", less)
    for start, title in DECODING.items():
        metrics = whole["metric"][whole["metric"].str.startswith(start)].unique()
        if start == f"{DECODED}, " and len(metrics) > MOST_FEATURES:
            text += f"\nDecoded r of each of {len(metrics)} features: `results.csv`.\n"
            continue
        for metric in metrics:
            of = whole[whole["metric"] == metric]
            text += _section(f"{title}, {metric.removeprefix(start)}".removesuffix(", "), _mean(of))
    for region in (name for name in results["region"].unique() if name != WHOLE):
        of = results[(results["region"] == region) & (results["metric"] == DECODED)]
        text += _section(f"Decoded r, from {region} alone", _mean(of)) if len(of) else ""
    return text


def _decoded(results: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of a metric of decoding over the whole cortex, with shuffled EEG too."""
    return _r_of(results, {f"shuffled, {metric}": SHUFFLED}, metric)


def _with_limits(results: pd.DataFrame) -> pd.DataFrame:
    """Text of the decoded r and its interval, the mean over recordings."""
    names = [DECODED, f"{DECODED} low", f"{DECODED} high"]
    rows = pd.concat([_decoded(results, name).assign(metric=name) for name in names])
    wide = rows.pivot_table("value", ["method", "task", "recording"], "metric", sort=False)

    def text(of: pd.DataFrame) -> str:
        known = of.reindex(columns=names).dropna()
        if len(known) < len(of):
            return f"{of[DECODED].mean():.3f}"
        mean, low, high = mean_interval(*(known[name].to_numpy() for name in names))
        return f"{mean:.3f} ({low:.3f} to {high:.3f})"

    found = {key: text(of) for key, of in wide.groupby(["method", "task"], sort=False)}
    return _ordered(pd.Series(found).unstack(sort=False))


def _less(r: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Text of the mean difference to a row over people, and its interval."""
    persons = r.pivot_table("value", ["task", "person"], "method", sort=False)
    if reference not in persons:
        return pd.DataFrame()
    less = persons.drop(columns=reference).sub(persons[reference], axis=0)
    rows = less.melt(ignore_index=False, value_name="value").dropna().reset_index()
    return _over_people(rows, "{:+.3f}")


def _shown(metrics: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Metrics that have a section, and their titles; of events one for each type."""
    for name, title in SHOWN.items():
        for metric in metrics:
            of = metric.removeprefix(name)
            if of != metric and (not of or of.startswith(", ")) and not of.endswith(CEILING):
                yield metric, (title if title.startswith("r ") else title[0].upper() + title[1:]) + of


def _section(title: str, table: pd.DataFrame, text: str = "", form: str = "{:.3f}") -> str:
    """A heading, what is to be known, and a table."""
    return f"\n### {title}\n\n" + f"{text}\n\n" * bool(text) + _table(table, form)


def _mean(rows: pd.DataFrame) -> pd.DataFrame:
    """Methods by tasks, mean over recordings, both in their order."""
    return _ordered(rows.pivot_table("value", "method", "task", sort=False))


def _ordered(wide: pd.DataFrame) -> pd.DataFrame:
    tasks = [task for task in TASKS if task in wide]
    return wide.loc[in_order(wide.index), tasks or list(wide)]


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
    return _ordered(pd.Series(found).unstack(sort=False))


def _over_people(rows: pd.DataFrame, form: str = "{:.3f}") -> pd.DataFrame:
    """Text of the mean over people and its interval, by Student's t."""

    def text(values: pd.Series) -> str:
        return f"{form} ({form} to {form})".format(values.mean(), *students(values))

    persons = rows.groupby(["method", "task", "person"], sort=False)["value"].mean()
    return _ordered(persons.groupby(["method", "task"], sort=False).agg(text).unstack(sort=False))


def students(values: pd.Series) -> tuple[float, float]:
    """Ends of the 95 % interval of a mean over people."""
    reach = t.ppf(0.975, len(values) - 1) * values.sem()
    return values.mean() - reach, values.mean() + reach


def _audit(audits: Sequence[Cell], results: pd.DataFrame) -> str:
    """r under the split that leaks, beside that with a gap."""
    r = results.query("metric == 'temporal_r' and region == @WHOLE and task == @ALONE")
    honest = r.set_index(["recording", "method"])["value"]
    rows = [
        (cell["method"], cell["leaking r"], honest.get((cell["recording"], cell["method"]), np.nan))
        for cell in audits
    ]
    wide = (
        pd.DataFrame(rows, columns=["method", "random windows", "gap"]).groupby("method", sort=False).mean()
    )
    wide["leak"] = wide["random windows"] - wide["gap"]
    return (
        "## Leak audit\n\nTemporal r from EEG alone of the same method under the split that is usual, "
        "overlapping windows dealt at random (80/20), and under the one with a gap.\n\n" + _table(wide)
    )


def _table(values: pd.DataFrame, form: str = "{:.3f}") -> str:
    """Markdown: methods by columns, nothing where there is no number."""
    lines = values.to_csv(
        sep="|", float_format=form.format, index_label=values.index.name or "method"
    ).splitlines()
    lines.insert(1, "|".join(["---", *["---:"] * values.shape[1]]))
    return "".join(f"| {line.replace('|', ' | ')} |\n" for line in lines)
