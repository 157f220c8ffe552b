"""Frames of a run at another TR."""

import logging
from pathlib import Path
from typing import Any

from neuroframes.commands.run import read_run, with_run_options
from neuroframes.errors import InputError
from neuroframes.threads import few_threads

logger = logging.getLogger(__name__)

LONGER = 1.01  # times the TR: beyond, an output samples more coarsely than its input
MOST_PARTS = 100  # of a TR: between them nothing is left to tell apart, but memory runs out
SAME_FRAME = 1e-3  # of a frame: times as near as this are one, since headers round the TR


@few_threads
@with_run_options
def resample(bold: str | Path | Any, *, tr: float, **options: Any) -> tuple[Any, ...]:
    """Frames at another TR; those that fall on a measured frame are that frame, to the bit.

    Parameters
    ----------
    bold : path
        CIFTI series, GIFTI (both hemispheres are found by name), 4-D volume, or table of parcels.
    tr : float, seconds
        TR of the output. Frames at a longer TR are samples, not means: faster fluctuations alias.
    **options
        Where to write, and what is known beside the run, as in `read_run`.

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation, then draws; objects as `complete` has them.
    """
    import numpy as np

    from neuroframes.commands.fill import fill_run, write_filled
    from neuroframes.recording.stated_time import check_tr

    tr = check_tr(tr, "--tr (s)")
    run = read_run(bold, between=True, **options)
    n_frames, ratio = len(run.missing), tr / run.bold.tr
    if not 1 / MOST_PARTS <= ratio <= n_frames - 1:
        longest, shortest = run.bold.tr * (n_frames - 1), run.bold.tr / MOST_PARTS
        raise InputError(
            f"--tr {tr:g} s; {run.name} has {n_frames} frames at {run.bold.tr:g} s: expected at most "
            f"{longest:g} s, its length, and at least {shortest:g} s, a hundredth of its TR"
        )
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
    logger.info("%d frames at a TR of %g s from %d at %g s", len(position), tr, n_frames, run.bold.tr)
    run.about["NeuroframesOptions"]["tr"] = tr
    filled, at = fill_run(run, grid), np.searchsorted(grid, position)
    return write_filled(run, filled, "BOLD run resampled in time", tr, at)
