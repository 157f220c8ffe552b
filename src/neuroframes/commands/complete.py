"""Filling the missing frames of a run."""

import logging
from pathlib import Path
from typing import Any

from neuroframes.commands.run import check_draws, read_run, with_run_options
from neuroframes.errors import InputError
from neuroframes.threads import few_threads

logger = logging.getLogger(__name__)

TIMING = ("SliceTimingCorrected", "StartTime")  # of the input, which hold for the output too


@few_threads
@with_run_options
def complete(
    bold: str | Path,
    *,
    out: str | Path,
    overwrite: bool = False,
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    **beside: Any,
) -> tuple[Path, ...]:
    """Fill missing frames; measured ones are kept to the bit.

    Missing are the frames that `confounds`, `censor` or `frames` name, those that are NaN throughout, and
    in partial frames the values that aren't finite, of vertices that have enough in others. What an earlier
    call estimated stays an estimate: it informs nothing, and keeps its standard deviation. Without a model
    the prior is fitted to the frames of the run itself that are measured in full.

    Parameters
    ----------
    bold : path
        CIFTI dense series, GIFTI (both hemispheres are found by name) or 4-D volume.
    out : path
        Image to write, of the same format.
    overwrite : bool
        Replace the output if it exists.
    draws : int
        Take the standard deviation from so many draws of the posterior, at least 2; by default it is in
        closed form, which leaves out how a learned correction varies.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
        Of the draws.
    **beside
        What is known beside the run, as in `read_run`.

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation (0 where measured) if there is one, then draws.

    Raises
    ------
    InputError
        If nothing is missing, nothing or too little is measured, inputs don't fit each other, or `out` is
        there.
    """
    import numpy as np

    from neuroframes.commands.fill import fill_run
    from neuroframes.report.result import write_result

    out = Path(out)
    check_draws(draws, save_draws)
    run = read_run(bold, out, overwrite, draws, save_draws, **beside)
    if not (run.missing | run.partial).any():
        raise InputError(
            f"{run.name}: no frame is missing; name those to fill by --confounds, --censor or --frames"
        )
    logger.info("filling %d of %d frames", run.missing.sum(), len(run.missing))
    if run.partial.any():
        logger.info("filling what %d others lack", run.partial.sum())
    filled = fill_run(run, np.arange(len(run.missing), dtype=np.float64), draws, seed)
    about: dict[str, Any] = {
        "Description": "BOLD run whose missing frames were filled: NeuroframesMeasured says which are data.",
        **{name: run.bold.sidecar[name] for name in TIMING if name in run.bold.sidecar},
        **run.about,
        "NeuroframesMethod": filled.method,
        "NeuroframesPartial": np.flatnonzero(filled.partial),
    }
    return write_result(
        out,
        filled.frames,
        filled.deviation,
        run.bold.space,
        tr=run.bold.tr,
        start=float(run.bold.times[0]),
        measured=filled.data,
        about=about,
        draws=filled.draws if save_draws else (),
        n_draws=draws if save_draws else 0,
        overwrite=overwrite,
    )
