"""What a benchmark runs: a suite, on recordings, cut into cells, under a claim on its folder."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from neuroframes import __version__
from neuroframes.errors import InputError
from neuroframes.evaluation.cells import Cell
from neuroframes.evaluation.decoding import BOUNDS
from neuroframes.evaluation.recordings import OF_REGIONS, SIMULATED, SIMULATED_PEOPLE, Recording
from neuroframes.evaluation.suites import OF_OTHERS, PEOPLE, SUITES, Suite
from neuroframes.evaluation.tasks import ALONE, TASKS, parse_names
from neuroframes.files import written_whole
from neuroframes.recording.band_pass import parse_band
from neuroframes.recording.store import open_store
from neuroframes.registry import METHODS, check_fits, check_needs

logger = logging.getLogger(__name__)

ABOUT = "benchmark.json"
NEEDED = ("matplotlib", "pyarrow", "skimage")  # for figures, results.parquet and SSIM


def chosen(
    name: str,
    methods: str | None,
    tasks: str | None,
    cluster: str | None = None,
    people: str = "all",
    band: str | None = None,
) -> Suite:
    """The suite, with the methods, tasks, people and band that were asked for instead of its own.

    Raises
    ------
    InputError
        If a name is unknown, or a package that something needs isn't installed.
    """
    if name not in SUITES:
        raise InputError(f"--suite {name}; choose from {', '.join(SUITES)}")
    if people not in PEOPLE:
        raise InputError(f"--people {people}; choose from {', '.join(PEOPLE)}")
    suite = replace(SUITES[name], people=people, band=None if band is None else parse_band(band, "--band"))
    if tasks is not None:
        suite = replace(suite, tasks=parse_names(tasks, TASKS, "tasks"))
    if methods is not None:
        suite = replace(suite, methods=parse_names(methods, METHODS, "methods"))
    needed = (*NEEDED, *("submitit",) * bool(cluster), *("av", "himalaya") * suite.film)
    if missing := [package for package in needed if find_spec(package) is None]:
        raise InputError(f"benchmark needs {', '.join(missing)}; pip install 'neuroframes[benchmark]'")
    for method in suite.methods:
        check_needs(method)
    return suite


def claim(out: Path, suite: Suite, found: Sequence[Recording]) -> None:
    """Write down what `out` is for, or check that it is for the same."""
    asked, made = json.loads(json.dumps(asdict(suite), default=dict)), (SIMULATED, SIMULATED_PEOPLE)
    sources = {of.name: str(of.source.resolve()) for of in found if of.group not in made}
    asked |= {"version": __version__, "recordings": [of.name for of in found], "sources": sources}
    about = out / ABOUT
    if about.exists():
        try:
            there = dict(json.loads(about.read_text()))
        except (TypeError, ValueError) as error:
            raise InputError(f"{about} is damaged; choose another --out, or remove that folder") from error
        if differing := [name for name in asked if there.get(name) != asked[name]]:
            raise InputError(
                f"{out} holds a benchmark with other {', '.join(differing)}; "
                "choose another --out, or remove that folder"
            )
    elif out.exists():
        raise InputError(f"{out} exists and holds no benchmark; choose another --out")
    else:
        with written_whole(out, overwrite=False) as folder:
            folder.mkdir(parents=True)
            (folder / ABOUT).write_text(json.dumps(asked, indent=2) + "\n")


def inapplicable(recording: Recording) -> dict[str, str]:
    """Methods that can't be fitted to a recording, and why."""
    space, motion, reasons = None, False, {}
    others = {"people": bool(recording.others), "regions": recording.group in OF_REGIONS}
    if recording.has_eeg:
        store = open_store(recording.source)
        space, motion = store.space, all(run.motion is not None for run in store.runs)
        others |= {"raw": not store.features, "several": recording.across}
    for name in METHODS:
        try:
            check_fits(name, space, motion, **others)
        except InputError as error:
            reasons[name] = str(error)
    return reasons


def cells_of(recordings: Sequence[Recording], suite: Suite, folder: Path) -> Iterator[Cell]:
    """Every cell, those that take longest first: networks stand last among the methods."""
    left_out = {recording.name: inapplicable(recording) for recording in recordings}
    for name, recording in product(reversed(suite.methods), recordings):
        if recording.across and name not in OF_OTHERS:
            continue
        if reason := left_out[recording.name].get(name):
            if recording.has_eeg:
                logger.warning("%s: %s", recording.name, reason)
            continue
        if not recording.has_eeg and set(suite.tasks) == {ALONE}:  # nothing to score
            continue
        audited = recording.has_eeg and not recording.across and name in suite.audited
        for audit in [False, True] if audited else [False]:
            place = folder / recording.name / (slug(name) + "-leak-audit" * audit)
            yield Cell(recording, name, suite.tasks, suite.options.get(name, {}), audit, place)
    for recording in (of for of in recordings if of.decoders):
        for name in BOUNDS if recording.has_eeg else BOUNDS[:1]:
            yield Cell(recording, name, suite.tasks, {}, False, folder / recording.name / slug(name))


def slug(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
