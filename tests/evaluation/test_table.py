import json
from io import StringIO

import pytest
from rich.console import Console

from neuroframes.errors import InputError
from neuroframes.evaluation.table import markdown, table, write_json

RESULTS = {
    "eeg": {"ridge": {"whole": {"temporal_r": 0.12345, "mse": 1.0}, "visual": {"temporal_r": 0.2}}},
    "gap-1": {"ridge": {"whole": {"temporal_r": 0.5}}, "linear": {"whole": {"temporal_r": float("nan")}}},
}


def test_markdown_has_methods_by_tasks():
    assert markdown(RESULTS) == (
        "| temporal_r | eeg | gap-1 |\n| --- | ---: | ---: |\n"
        "| ridge | 0.123 | 0.500 |\n| linear |  | nan |\n"
    )
    assert markdown(RESULTS, region="visual").startswith("| temporal_r, visual | eeg | gap-1 |")


def test_rich_table_holds_the_same_text():
    text = StringIO()
    Console(width=80, file=text).print(table(RESULTS, "mse"))
    assert all(word in text.getvalue() for word in ("mse", "1.000", "gap-1", "linear"))


def test_json_is_read_back_and_not_overwritten(tmp_path):
    path = write_json(RESULTS, tmp_path / "results.json")
    read = json.loads(path.read_text())
    assert read["eeg"] == RESULTS["eeg"]
    assert read["gap-1"]["linear"]["whole"]["temporal_r"] is None
    with pytest.raises(InputError, match="--overwrite"):
        write_json(RESULTS, path)
