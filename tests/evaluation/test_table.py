from io import StringIO

import pandas as pd
from rich.console import Console

from neuroframes.evaluation.table import r_table


def test_a_terminal_shows_r_of_methods_by_tasks():
    known = {"recording": "a", "region": "whole", "metric": "temporal_r"}
    results = pd.DataFrame(
        [
            {**known, "method": "ridge FIR", "task": "eeg", "value": 0.12345},
            {**known, "method": "linear", "task": "gap-1", "value": 0.5},
            {**known, "method": "linear", "task": "gap-1", "metric": "mse", "value": 7.0},
        ]
    )
    text = StringIO()
    Console(width=80, file=text).print(r_table(results))
    lines = text.getvalue().splitlines()
    linear, ridge = (next(line for line in lines if name in line) for name in ("linear", "ridge FIR"))
    assert "0.500" in linear and "0.123" in ridge and "7.000" not in text.getvalue()
    assert lines.index(linear) < lines.index(ridge)  # as in the registry
