"""Filling the missing frames of a run."""

import logging
from pathlib import Path
from typing import Any

from neuroframes.commands.run import read_run, with_run_options
from neuroframes.errors import InputError, counted
from neuroframes.threads import few_threads

logger = logging.getLogger(__name__)

TIMING = ("SliceTimingCorrected", "StartTime")  # of the input, which hold for the output too


@few_threads
@with_run_options
def complete(bold: str | Path | Any, *, fill_confounds: bool = False, **options: Any) -> tuple[Any, ...]:
    """Fill missing frames; measured ones are kept to the bit.

    Missing are the frames that `confounds`, `censor` or `frames` name, those that are NaN throughout, and
    in partial frames the values that aren't finite, of vertices that have enough in others. What an earlier
    call estimated stays an estimate: it informs nothing, and keeps its standard deviation. Without a model
    the prior is fitted to the frames of the run itself that are measured in full.

    Parameters
    ----------
    bold : path
        CIFTI series, GIFTI (both hemispheres are found by name), 4-D volume, or table of parcels.
    fill_confounds : bool
        Write the confounds beside the result too, completed at the filled frames.
    **options
        Where to write, and what is known beside the run, as in `read_run`.

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation (0 where measured) if there is one, then draws, and
        the confounds. Where `bold` is an image of nibabel (of GIFTI a pair, too), a SurfaceImage of nilearn,
        or an array, shape (K, V), they are the same kind of objects without `out`, and a DataFrame.

    Raises
    ------
    InputError
        If nothing is missing, nothing or too little is measured, inputs don't fit each other, or `out` is
        there.
    """
    import numpy as np

    from neuroframes.commands.confounds import filled_confounds
    from neuroframes.commands.fill import fill_run, write_filled

    if fill_confounds and options.get("confounds") is None:
        raise InputError("--fill-confounds needs --confounds, with fMRIPrep's table of the run")
    run = read_run(bold, **options)
    if not (run.missing | run.partial).any():
        raise InputError(
            f"{run.name}: no frame is missing; name those to fill by --confounds, --censor or --frames, "
            "or lower --fd-threshold"
        )
    logger.info("filling %d of %d frames", run.missing.sum(), len(run.missing))
    if run.partial.any():
        logger.info("filling what %s", counted(int(run.partial.sum()), "other lacks", "others lack"))
    tables = filled_confounds(run, Path(options["confounds"])) if fill_confounds else {}
    filled = fill_run(run, np.arange(len(run.missing), dtype=np.float64))
    run.about.update({name: run.bold.sidecar[name] for name in TIMING if name in run.bold.sidecar})
    described = "BOLD run whose missing frames were filled"
    images = write_filled(run, filled, described, run.bold.tr, tables=tables)
    return (*images, *(table for table in tables if table.suffix == ".tsv"))
