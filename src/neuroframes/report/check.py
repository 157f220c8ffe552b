"""What `check` found as text of 100 columns: a table of runs, what is wrong, what could be done."""

from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from neuroframes.errors import counted, listed

if TYPE_CHECKING:
    from neuroframes.commands.check import Check
    from neuroframes.commands.check_run import RunCheck

WIDTH = 100


def as_text(check: "Check") -> str:
    """The tables of a check."""
    console = Console(width=WIDTH, file=StringIO(), highlight=False, markup=False)
    console.print(_runs(check))
    if problems := _problems(check):
        console.print(problems)
    console.print(_uses(check))
    n_errors = len(check.errors) + sum(len(run.errors) for run in check.runs)
    n_warnings = len(check.warnings) + sum(len(run.warnings) for run in check.runs)
    console.print(f"{counted(n_errors, 'error')}, {counted(n_warnings, 'warning')}")
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


COLUMNS: dict[str, Callable[["RunCheck"], str]] = {
    "frames": lambda run: _number(run.frames),
    "TR s": lambda run: _number(run.tr),
    "FD mm": lambda run: _number(run.mean_fd, ".2f"),
    "censored": lambda run: _share(run),
    "gap": lambda run: _number(run.longest_gap),
    "worth": lambda run: _number(run.effective_frames, ".0f"),
    "EEG": lambda run: _number(run.channels),
    "Hz": lambda run: _number(run.eeg_rate),
    "µV": lambda run: _number(None if run.amplitude is None else 1e6 * run.amplitude, ".3g"),
    "triggers": lambda run: _number(run.triggers),
    "at s": lambda run: _number(run.onset, ".1f"),
    "ppm": lambda run: _number(None if run.drift is None else round(run.drift), "+d"),
}


def _runs(check: "Check") -> Table:
    table = _table()
    table.add_column("run", overflow="fold")
    for name in COLUMNS:
        table.add_column(name, justify="right", overflow="fold")
    for run in check.runs:
        table.add_row(f"{run.person} {run.name}", *(show(run) for show in COLUMNS.values()))
    spaces = sorted({run.space for run in check.runs if run.space})
    table.caption, table.caption_justify = f"space: {'; '.join(spaces) or 'not known'}", "left"
    return table


def _problems(check: "Check") -> Table | None:
    table = _table()
    for name in ("problem", "of", ""):
        table.add_column(name, overflow="fold")
    named = [(f"{run.person} {run.name}", run.errors, run.warnings) for run in check.runs]
    found: dict[tuple[str, str], list[str]] = {}
    for who, errors, warnings in (("data set", check.errors, check.warnings), *named):
        for kind, messages in (("error", errors), ("warning", warnings)):
            for message in messages:
                found.setdefault((kind, message), []).append(who)
    for (kind, message), those in sorted(found.items(), key=lambda item: item[0][0]):
        table.add_row(kind, listed(those, 2), message)
    return table if table.row_count else None


def _uses(check: "Check") -> Table:
    table = _table()
    for name in ("command", "can", "with"):
        table.add_column(name, overflow="fold")
    for use in check.uses:
        table.add_row(use.command, "yes" if use.possible else "no", use.what)
    return table


def _table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)


def _number(value: Any, how: str = ".6g") -> str:
    return "-" if value is None else format(value, how)


def _share(run: "RunCheck") -> str:
    return "-" if run.measured is None or not run.frames else f"{1 - run.measured / run.frames:.0%}"
