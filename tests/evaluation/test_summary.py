"""Tables of a benchmark, from numbers made by hand."""

import numpy as np
import pandas as pd
import pytest

from neuroframes.evaluation.bootstrap import compare_r
from neuroframes.evaluation.cells import write_cell
from neuroframes.evaluation.recordings import SIMULATED
from neuroframes.evaluation.summary import (
    _audit,
    _differences,
    _intervals,
    _mean,
    _over_people,
    _ranks,
    _shown,
    _table,
    r_by_task,
    r_text,
    read_cells,
    write_tables,
)
from neuroframes.registry import ORACLE, in_order


def rows(values: dict[tuple[str, str, str], float]) -> pd.DataFrame:
    """(recording, method, task) -> temporal r."""
    return pd.DataFrame(
        [
            {
                "group": SIMULATED,
                "recording": recording,
                "method": method,
                "task": task,
                "region": "whole",
                "metric": "temporal_r",
                "value": value,
            }
            for (recording, method, task), value in values.items()
        ]
    )


def test_means_are_over_recordings_in_the_order_of_the_methods():
    table = _mean(
        rows(
            {
                ("a", "linear", "gap-1"): 0.5,
                ("b", "linear", "gap-1"): 0.7,
                ("a", "mean frame", "eeg"): 0.0,
                ("b", "mean frame", "eeg"): 0.0,
            }
        )
    )
    assert list(table.index) == ["mean frame", "linear"]
    assert table.loc["linear", "gap-1"] == pytest.approx(0.6)
    assert np.isnan(table.loc["linear", "eeg"])
    assert "| linear |  | 0.600 |" in _table(table[["eeg", "gap-1"]])


def test_tasks_stand_in_their_order_whatever_the_first_method_does():
    r = rows({("a", "linear", "gap-4"): 0.5, ("a", "linear", "gap-1"): 0.6, ("a", "ridge FIR", "eeg"): 0.2})
    assert list(_mean(r).columns) == ["eeg", "gap-1", "gap-4"]
    assert list(_mean(r.assign(task=["b", "a", "c"])).columns) == ["b", "a", "c"]  # no tasks


def test_ranks_compare_like_with_like_and_an_oracle_has_none():
    r = {
        "linear": {"gap-1": 0.5},
        "ridge FIR": {"gap-1": 0.1, "eeg": 0.2},
        ORACLE: {"gap-1": 0.9, "eeg": 0.9},
    }
    r["mean frame"] = {"gap-1": 0.0, "eeg": 0.0}
    ranks = _ranks(rows({("a", name, task): value for name, of in r.items() for task, value in of.items()}))
    assert ranks["rank, completion"].to_dict() == {"linear": 1, "ridge FIR": 2, "mean frame": 3}
    assert ranks["rank, EEG alone"].dropna().to_dict() == {"ridge FIR": 1, "mean frame": 2}


def test_the_interval_of_a_mean_is_that_of_independent_recordings():
    of = {"method": "CNN-TC", "task": "eeg"}
    differences = pd.DataFrame(
        [
            {**of, "difference": -0.10, "low": -0.13, "high": -0.08},
            {**of, "difference": -0.20, "low": -0.24, "high": -0.18},
        ]
    )
    # Reaches of .03 and .04 below, .02 and .02 above: sqrt(.0025) / 2 and sqrt(.0008) / 2.
    assert _intervals(differences).loc["CNN-TC", "eeg"] == "-0.150 (-0.175 to -0.136)"


def test_vertices_without_signal_are_no_part_of_a_difference(tmp_path):
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((100, 4)).astype(np.float16)
    truth[:, 3] = 3.0  # constant where it is scored
    scored = np.arange(120) < 100
    cells, frames = [], {}
    for name in ("linear", "kriging"):
        frames[name] = (truth + generator.standard_normal((100, 4))).astype(np.float16)
        arrays = {"gap-1 scored": scored, "gap-1 truth": truth, "gap-1 frames": frames[name]}
        about = {"group": SIMULATED, "recording": "a", "method": name, "tr": 1.0, "lengths": [120]}
        write_cell(tmp_path / name, about, arrays)
        cells.append(
            {**about, "scores": {"gap-1": {"whole": {"temporal_r": 0.5}}}, "folder": tmp_path / name}
        )
    ((*_, reference, difference, _, _, _, _),) = _differences(cells)
    assert reference == "kriging"

    def padded(x: np.ndarray) -> list[np.ndarray]:
        return [np.concatenate([x[:, :3], np.zeros((20, 3))]).astype(np.float32)]

    given = (padded(x) for x in (truth, frames["linear"], frames["kriging"]))
    expected = compare_r(*given, [scored], 1.0, np.random.default_rng(0))
    assert difference == pytest.approx(expected.difference)


def test_the_leak_is_the_difference_of_the_two_splits():
    audits = [
        {"recording": name, "method": "ridge FIR", "leaking r": r} for name, r in (("a", 0.5), ("b", 0.7))
    ]
    results = rows({("a", "ridge FIR", "eeg"): 0.1, ("b", "ridge FIR", "eeg"): 0.2})
    assert "| ridge FIR | 0.600 | 0.150 | 0.450 |" in _audit(audits, results)


def test_shuffled_eeg_stands_behind_what_it_belongs_to():
    r = rows({("a", "ridge FIR", "eeg"): 0.2, ("a", "linear", "gap-1"): 0.5})
    control = rows({("a", "ridge FIR", "eeg"): 0.01}).assign(metric="control, shuffled")
    table = r_by_task(pd.concat([r, control]))
    assert list(table.index) == ["linear", "ridge FIR", "ridge FIR, shuffled EEG"]
    assert table.loc["ridge FIR, shuffled EEG", "eeg"] == 0.01


def test_rows_have_the_order_of_the_methods_and_others_come_last():
    names = ["my model", "CNN-TC, reduced", "CNN-TC, reduced, shuffled EEG", "neuroframes", "linear"]
    ordered = ["linear", "CNN-TC, reduced", "CNN-TC, reduced, shuffled EEG", "neuroframes", "my model"]
    assert in_order(names[::-1]) == in_order(names) == ordered


def test_a_terminal_shows_r_of_methods_by_tasks():
    known = {"recording": "a", "region": "whole", "metric": "temporal_r"}
    results = pd.DataFrame(
        [
            {**known, "method": "ridge FIR", "task": "eeg", "value": 0.12345},
            {**known, "method": "linear", "task": "gap-1", "value": 0.5},
            {**known, "method": "linear", "task": "gap-1", "metric": "mse", "value": 7.0},
        ]
    )
    text = r_text(results)
    lines = text.splitlines()
    linear, ridge = (next(line for line in lines if name in line) for name in ("linear", "ridge FIR"))
    assert "0.500" in linear and "0.123" in ridge and "7.000" not in text
    assert lines.index(linear) < lines.index(ridge)  # as in the registry
    assert lines[0].split() == ["temporal", "r", "eeg", "gap-1"] and "NaN" not in text
    assert max(map(len, r_text(results, 20).splitlines())) <= 20  # folded where the terminal is narrow


def test_a_terminal_shows_what_is_decoded_beside_shuffled_eeg():
    known = {"recording": "a", "region": "whole", "task": "eeg", "method": "ridge FIR"}
    values = {"temporal_r": 0.2, "decoded r": 0.4, "control, shuffled, decoded r": 0.01}
    results = pd.DataFrame([{**known, "metric": metric, "value": of} for metric, of in values.items()])
    _, decoded = r_text(results).split("\n\n")
    assert [line.split() for line in decoded.splitlines()] == [
        ["decoded", "r", "eeg"],
        ["ridge", "FIR", "0.400"],
        ["ridge", "FIR,", "shuffled", "EEG", "0.010"],
    ]


def test_a_mean_over_people_counts_everybody_once():
    values = {("a1", "p"): 0.2, ("a2", "p"): 0.4, ("b", "q"): 0.5, ("c", "r"): 0.7}
    table = rows({(name, "linear", "gap-1"): r for (name, _), r in values.items()})
    table["person"] = [person for _, person in values]
    text = _over_people(table).loc["linear", "gap-1"]
    reach = 4.3027 * np.std([0.3, 0.5, 0.7], ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom
    assert text == f"0.500 ({0.5 - reach:.3f} to {0.5 + reach:.3f})"


def test_many_features_of_a_stimulus_have_no_tables_of_their_own(tmp_path):
    about = {"group": SIMULATED, "recording": "a", "person": "a", "seed": 0, "tr": 1.0, "lengths": [9]}
    about |= {"audit": False, "p": None, "cost": {"device": "x86_64", "parameters": 3}, "method": "drift"}
    for number in (8, 9):
        r = {"decoded r": 0.3, "decoded r low": 0.1, "decoded r high": 0.5}
        r |= {f"decoded r, f{k}": 0.25 for k in range(number)}
        scores = {"eeg": {"whole": {"temporal_r": 0.3, **r}}}
        controls = {"eeg": {"shuffled": 0.0, **{f"shuffled, {name}": 0.0 for name in r}}}
        write_cell(tmp_path / str(number), {**about, "scores": scores, "controls": controls}, {})
        write_tables(tmp_path / "t.md", read_cells([tmp_path / str(number)]), "")
        text = (tmp_path / "t.md").read_text()
        assert text.count("### Decoded r, f") == (8 if number == 8 else 0)
        assert ("Decoded r of each of 9 features: `results.csv`" in text) == (number == 9)
        assert "| method | r | shuffled | shuffled, decoded r | largest p of r |" in text


def test_every_metric_and_type_of_event_has_a_section_and_its_ceiling_a_row(tmp_path):
    scores = {"temporal_r": 0.3, "fc_similarity": 0.6, "fc_similarity, ceiling": 0.9}
    scores |= {"event_r, kind=a": 0.5, "event_r, kind=a, ceiling": 0.75, "event_r, kind=b": 0.25}
    found = [title for _, title in _shown([*scores])]
    first, *events = (
        "Similarity of functional connectivity",
        *(f"r of averages around events, kind={x}" for x in "ab"),
    )
    assert found == [first, *events]
    about = {"group": SIMULATED, "recording": "a", "person": "a", "seed": 0, "tr": 1.0, "lengths": [9]}
    about |= {"audit": False, "controls": {}, "p": None, "cost": {"device": "x86_64", "parameters": 3}}
    for method in ("linear", "cubic spline"):
        write_cell(tmp_path / method, {**about, "method": method, "scores": {"gap-1": {"whole": scores}}}, {})
    write_tables(tmp_path / "t.md", read_cells([tmp_path / "linear", tmp_path / "cubic spline"]), "")
    sections = dict(part.split("\n\n", 1) for part in (tmp_path / "t.md").read_text().split("### ")[1:])
    assert "| ceiling: other measured frames | 0.900 |" in sections[first]
    assert "| ceiling: other measured frames | 0.750 |" in sections[events[0]]
    assert "| linear | 0.250 |" in sections[events[1]] and "ceiling" not in sections[events[1]]
