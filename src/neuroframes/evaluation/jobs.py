"""Running a function on many jobs, in processes of their own, here or on a cluster.

The order in which they end changes nothing.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from neuroframes.errors import InputError, explained

Job = TypeVar("Job")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_here(
    function: Callable[[Job], None], jobs: Sequence[Job], *, workers: int, progress: bool
) -> list[str]:
    """Run jobs in processes of their own; what failed, and why."""
    from rich.console import Console
    from rich.progress import Progress

    failed, console = [], Console(stderr=True)
    with (
        _threads(max(1, (os.cpu_count() or 1) // workers)),
        _apart_from_script(),
        # Into a file or a pipe a bar writes blank lines.
        Progress(console=console, disable=not (progress and console.is_terminal), transient=True) as bar,
    ):
        shown = bar.add_task("", total=len(jobs))
        broken = []
        for job, error in _in_pool(function, jobs, workers):
            bar.update(shown, advance=1, description=str(job))
            if isinstance(error, BrokenProcessPool):
                broken.append(job)
            elif error:
                failed.append(f"{job}: {explained(error)}")
        # One process that died, of too little memory perhaps, took the others with it.
        for job in broken:
            failed += [f"{job}: {explained(error)}" for _, error in _in_pool(function, [job], 1) if error]
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
    before = {name: os.environ[name] for name in THREADS if name in os.environ}
    os.environ.update(dict.fromkeys(THREADS, str(number)))
    try:
        yield
    finally:
        for name in THREADS:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _apart_from_script() -> Iterator[None]:
    """Processes that start meanwhile don't run the caller's script, which would start them again.

    multiprocessing asks for `if __name__ == "__main__"` there. It isn't needed: no job is of the script.
    """
    script = vars(sys.modules["__main__"])
    before: dict[str, Any] = {name: script[name] for name in ("__file__", "__spec__") if name in script}
    script.update(dict.fromkeys(before))
    try:
        yield
    finally:
        script.update(before)


def submit(
    function: Callable[[Job], None],
    jobs: Sequence[Job],
    folder: Path,
    cluster: str,
    parameters: Mapping[str, Any],
) -> list[str]:
    """Run jobs on a cluster, and wait for them; what failed, and why."""
    if find_spec("submitit") is None:
        raise InputError("--cluster needs submitit; pip install 'neuroframes[benchmark]'")
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**{"name": "neuroframes", "timeout_min": 24 * 60, **parameters})
    running = executor.map_array(function, jobs) if jobs else []
    return [f"{job}: {error}" for job, of in zip(jobs, running, strict=True) if (error := of.exception())]
