"""Frames of a run at another TR."""

import logging
from pathlib import Path
from typing import Any

from neuroframes.commands.run import check_draws, read_run, with_run_options
from neuroframes.errors import check_number
from neuroframes.threads import few_threads

logger = logging.getLogger(__name__)

LONGER = 1.01  # times the TR: beyond, an output samples more coarsely than its input
SAME_FRAME = 1e-3  # of a frame: times as near as this are one, since headers round the TR


@few_threads
@with_run_options
def resample(
    bold: str | Path,
    *,
    tr: float,
    out: str | Path,
    overwrite: bool = False,
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    **beside: Any,
) -> tuple[Path, ...]:
    """Frames at another TR; those that fall on a measured frame are that frame, to the bit.

    Parameters
    ----------
    bold : path
        CIFTI dense series, GIFTI (both hemispheres are found by name) or 4-D volume.
    tr : float, seconds
        Of the output. Frames at a longer TR are samples, not means: faster fluctuations alias.
    out : path
        Image to write, of the same format.
    overwrite : bool
        Replace the output if it exists.
    draws : int
        Take the standard deviation from so many draws of the posterior, at least 2; 0 for the closed form.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
        Of the draws.
    **beside
        What is known beside the run, as in `read_run`.

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation, then draws.
    """
    import numpy as np

    from neuroframes.commands.fill import fill_run
    from neuroframes.report.result import write_result

    out, tr = Path(out), check_number(tr, "--tr", above=0)
    check_draws(draws, save_draws)
    run = read_run(bold, out, overwrite, draws, save_draws, between=True, **beside)
    n_frames, ratio = len(run.missing), tr / run.bold.tr
    if ratio > LONGER:
        logger.warning(
            "%s: at a TR of %g s what fluctuates faster than every %g s is aliased, not averaged; "
            "low-pass filter the frames first if that matters",
            run.name,
            tr,
            2 * tr,
        )
    position = np.arange(0, n_frames - 1 + SAME_FRAME, ratio)  # counted in frames of the run
    position = np.where(np.abs(position - np.rint(position)) < SAME_FRAME, np.rint(position), position)
    grid = np.union1d(np.arange(n_frames), position)
    rows = np.searchsorted(grid, position)
    logger.info("%d frames at a TR of %g s from %d at %g s", len(position), tr, n_frames, run.bold.tr)
    filled = fill_run(run, grid, draws, seed)
    about = {
        "Description": "BOLD run resampled in time: NeuroframesMeasured says which frames are data.",
        **run.about,
        "NeuroframesMethod": filled.method,
        "NeuroframesPartial": np.flatnonzero(filled.partial[rows]),
    }
    return write_result(
        out,
        np.asfortranarray(filled.frames[rows]),
        None if filled.deviation is None else np.asfortranarray(filled.deviation[rows]),
        run.bold.space,
        tr=tr,
        # A frame stands for the middle of its volume, and volumes have another length now.
        start=float(run.bold.times[0] + (run.bold.tr - tr) / 2),
        measured=filled.data[rows],
        about=about,
        draws=(np.asfortranarray(draw[rows]) for draw in filled.draws) if save_draws else (),
        n_draws=draws if save_draws else 0,
        overwrite=overwrite,
    )
