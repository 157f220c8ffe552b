"""Results as a table to read and a file to keep.

`results[task][method]` is what `neuroframes.evaluation.metrics.score` returns: region -> metric -> number.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from neuroframes.evaluation.metrics import WHOLE
from neuroframes.files import written_whole

Results = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]


def cells(results: Results, metric: str, region: str = WHOLE) -> tuple[list[str], list[list[str]]]:
    """Header and rows of text: one row per method, one column per task, "" where there is no score."""
    methods = list(dict.fromkeys(method for by_method in results.values() for method in by_method))
    rows = [[method] for method in methods]  # not every method has every task, nor every task every region
    for row in rows:
        values = [by.get(row[0], {}).get(region, {}).get(metric) for by in results.values()]
        row += ["" if value is None else f"{value:.3f}" for value in values]
    return [metric if region == WHOLE else f"{metric}, {region}", *results], rows


def table(results: Results, metric: str = "temporal_r", region: str = WHOLE) -> Table:
    """One metric of one region, methods by tasks, for `rich.print`."""
    header, rows = cells(results, metric, region)
    out = Table(header[0])
    for task in header[1:]:
        out.add_column(task, justify="right")
    for row in rows:
        out.add_row(*row)
    return out


def markdown(results: Results, metric: str = "temporal_r", region: str = WHOLE) -> str:
    """The same table as Markdown text."""
    return markdown_table(*cells(results, metric, region))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as Markdown, all columns but the first to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, rule, *rows])


def write_json(results: Results, path: Path, *, overwrite: bool = False) -> Path:
    """Write all results; numbers that aren't finite become null, which JSON has a word for."""
    with written_whole(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(_finite(results), indent=2, allow_nan=False) + "\n")
    return path


def _finite(value: object) -> object:
    """`value` with NaN and infinities as None, at any depth."""
    # Most readers refuse the NaN that Python would write.
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
