"""Every method on the same recordings, under the same split, with the controls that reviewers ask for.

    OUT/
      benchmark.json                     what is run; the same call goes on where it was interrupted
      recordings/                        simulated ones, prepared
      cells/RECORDING/METHOD/            finished cells; see `neuroframes.evaluation.cells`
      results.csv, results.parquet       one number a row
      benchmark.md, *.png                tables and figures

Cells run in processes of their own, here or on a cluster. The order in which they end changes nothing.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from neuroframes import __version__
from neuroframes.cortex.mesh import MESH_SIZES
from neuroframes.errors import InputError
from neuroframes.evaluation.cells import Cell, run_cell
from neuroframes.evaluation.methods import METHODS
from neuroframes.evaluation.recordings import (
    SIMULATED,
    Recording,
    make_simulated,
    own,
    real_bold,
    to_simulate,
)
from neuroframes.evaluation.suites import SUITES, Suite
from neuroframes.evaluation.summary import summarise
from neuroframes.evaluation.tasks import TASKS
from neuroframes.files import refuse_existing, written_whole
from neuroframes.recording.store import open_store

logger = logging.getLogger(__name__)

Job = TypeVar("Job")

ABOUT = "benchmark.json"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def benchmark(
    stores: Sequence[str | Path] = (),
    *,
    out: str | Path,
    suite: str = "quick",
    methods: str | None = None,
    tasks: str | None = None,
    bold_data: str | Path | None = None,
    workers: int = 2,
    cluster: str | None = None,
    cluster_parameters: Mapping[str, Any] | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> Path:
    """Run what isn't there yet, and write tables and figures of all that is.

    Parameters
    ----------
    stores : sequence of paths
        Subjects that `prepare` wrote, each one a recording; simulated ones are made where there are none.
    out : path
        Folder; one that the same call left when it was interrupted is gone on with.
    suite : {"quick", "standard", "paper"}
        See `neuroframes.evaluation.suites`.
    methods, tasks : str
        Comma-separated; those of the suite by default.
    bold_data : path
        Folder with real BOLD; see `neuroframes.evaluation.recordings`.
    workers : int
        Processes on this machine, which share its cores.
    cluster : {"slurm", "local"}
        Submit the cells through submitit, which must be installed, instead.
    cluster_parameters : mapping
        Of submitit, as {"timeout_min": 600, "slurm_partition": "gpu", "gpus_per_node": 1}.
    progress : bool
    overwrite : bool
        Start anew.

    Returns
    -------
    Path of `benchmark.md`

    Raises
    ------
    InputError
        If a name is unknown, `out` holds another benchmark, or cells failed: tables then lack them.
    """
    out, paths = Path(out), [Path(store) for store in stores]
    if workers < 1:
        raise InputError(f"--workers {workers}; expected at least 1")
    chosen = _chosen(suite, methods, tasks)
    found = own(paths) if paths else to_simulate(chosen, out / "recordings")
    if chosen.real_bold or bold_data is not None:
        found += real_bold(None if bold_data is None else Path(bold_data))
    if overwrite and (out / ABOUT).exists():
        refuse_existing(out, overwrite, folder=True, inputs=paths)
        shutil.rmtree(out)
    _claim(out, chosen, found)
    here = partial(_run_here, workers=workers, progress=progress)
    unmade = {store for of in found for store in (of.source, of.other) if store and not store.exists()}
    if failed := here(partial(make_simulated, suite=chosen), sorted(unmade)):
        raise InputError(f"recordings couldn't be simulated: {'; '.join(failed)}")
    left_out = {of.name: inapplicable(of) for of in found}
    cells = list(_cells(found, left_out, chosen, out / "cells"))
    missing = [cell for cell in cells if not cell.folder.exists()]
    logger.info("%d of %d cells to run", len(missing), len(cells))
    if cluster:
        failed = _submit(missing, out / "submitted", cluster, cluster_parameters or {})
    else:
        failed = here(run_cell, missing)
    done = [cell.folder for cell in cells if cell.folder.exists()]
    if not done:
        raise InputError(f"no cell of {len(cells)} could be run: {'; '.join(failed)}")
    report = summarise(out, done)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(cells)} cells failed, and {report} lacks them; the same call runs them "
            f"again: {'; '.join(failed)}"
        )
    return report


def _chosen(name: str, methods: str | None, tasks: str | None) -> Suite:
    """The suite, with the methods and tasks that were asked for instead of its own."""
    if name not in SUITES:
        raise InputError(f"--suite {name}; choose from {', '.join(SUITES)}")
    suite = SUITES[name]
    for what, text, known in (("methods", methods, tuple(METHODS)), ("tasks", tasks, tuple(TASKS))):
        if text is None:
            continue
        names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
        if unknown := [part for part in names if part not in known]:
            raise InputError(f"unknown {what} {', '.join(unknown)}; choose from {', '.join(known)}")
        suite = replace(suite, **{what: names})  # type: ignore[arg-type]
    return suite


def _claim(out: Path, suite: Suite, found: Sequence[Recording]) -> None:
    """Write down what `out` is for, or check that it is for the same."""
    asked = json.loads(json.dumps(asdict(suite), default=dict))
    sources = {of.name: str(of.source.resolve()) for of in found if of.group != SIMULATED}
    asked |= {"version": __version__, "recordings": [of.name for of in found], "sources": sources}
    about = out / ABOUT
    if about.exists():
        there = json.loads(about.read_text())
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
    if not recording.has_eeg:
        reason = "needs EEG, or knows nothing of the moment"
        fit_for = {name for name, method in METHODS.items() if method.frames and not method.eeg}
        return dict.fromkeys(METHODS.keys() - fit_for - {"mean frame"}, reason)
    store, reasons = open_store(recording.source), {}
    if any(run.motion is None for run in store.runs):
        reasons["motion alone"] = "the confounds have no motion parameters"
    if store.space.name not in MESH_SIZES:
        reasons["surface model"] = "frames are on no mesh that is known here"
    return reasons


def _cells(
    found: Sequence[Recording], left_out: Mapping[str, Mapping[str, str]], suite: Suite, folder: Path
) -> Iterator[Cell]:
    """Every cell, those that take longest first: networks stand last among the methods."""
    for name in reversed(suite.methods):
        options = suite.options.get(name, {})
        for of in found:
            if name in left_out[of.name]:
                if of.has_eeg:
                    logger.warning("%s: no %s: %s", of.name, name, left_out[of.name][name])
                continue
            for audit in [False, True] if of.has_eeg and name in suite.audited else [False]:
                place = folder / of.name / (_slug(name) + "-leak-audit" * audit)
                yield Cell(of, name, suite.tasks, options, audit, place)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _run_here(
    function: Callable[[Job], None], jobs: Sequence[Job], *, workers: int, progress: bool
) -> list[str]:
    """Run jobs in processes of their own; what failed, and why."""
    from rich.console import Console
    from rich.progress import Progress

    failed = []
    with (
        _threads(max(1, (os.cpu_count() or 1) // workers)),
        Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar,
    ):
        shown = bar.add_task("", total=len(jobs))
        broken = []
        for job, error in _in_pool(function, jobs, workers):
            bar.update(shown, advance=1, description=str(job))
            if isinstance(error, BrokenProcessPool):
                broken.append(job)
            elif error:
                failed.append(f"{job}: {error}")
        # One process that died, of too little memory perhaps, took the others with it.
        for job in broken:
            failed += [f"{job}: {error}" for _, error in _in_pool(function, [job], 1) if error]
    return failed


def _in_pool(
    function: Callable[[Job], None], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, BaseException | None]]:
    """Each job as it ends, and what went wrong with it."""
    # A process each: its peak of memory is that of its job alone.
    with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(function, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.exception()
        except KeyboardInterrupt:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Processes that start meanwhile compute with so many threads."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(number)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _submit(cells: Sequence[Cell], folder: Path, cluster: str, parameters: Mapping[str, Any]) -> list[str]:
    """Run cells as jobs of a cluster, and wait for them; what failed, and why."""
    try:
        import submitit
    except ImportError as error:
        raise InputError("--cluster takes submitit; pip install 'neuroframes[benchmark]'") from error
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**{"name": "neuroframes", "timeout_min": 24 * 60, **parameters})
    jobs = executor.map_array(run_cell, cells) if cells else []
    errors = [(cell, job.exception()) for cell, job in zip(cells, jobs, strict=True)]
    return [f"{cell}: {error}" for cell, error in errors if error]
