"""Tables to read: on a terminal, and as Markdown."""

import pandas as pd
from rich.table import Table

from neuroframes.evaluation.summary import r_by_task


def r_table(results: pd.DataFrame) -> Table:
    """Temporal r, methods by tasks, for `rich.print`; of the tidy results that `evaluate` returns."""
    wide = r_by_task(results)
    out = Table("temporal r")
    for task in wide.columns:
        out.add_column(str(task), justify="right")
    for name, row in wide.iterrows():
        out.add_row(str(name), *("" if pd.isna(value) else f"{value:.3f}" for value in row))
    return out
