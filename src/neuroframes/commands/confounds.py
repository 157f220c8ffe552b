"""Confounds of a run whose frames were filled, so that both can be regressed on one another again."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from neuroframes.commands.fill import fill_run
from neuroframes.commands.run import Draws, Run, partial_frames
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing
from neuroframes.recording.bids import confounds_beside
from neuroframes.recording.bold import Bold
from neuroframes.recording.sidecar import sidecar_path
from neuroframes.recording.timeline import OUTLIERS
from neuroframes.recording.tsv import numbers, read_text, read_tsv

logger = logging.getLogger(__name__)

KNOWN_BEFOREHAND = "cosine"  # fMRIPrep's regressors of slow drift, true of every frame


def filled_confounds(run: Run, path: Path) -> dict[Path, str]:
    """A table of confounds, its entries at filled frames completed as if columns were parcels.

    Parameters
    ----------
    run : Run, of K frames
    path : Path
        fMRIPrep's table of the run, one line a frame.

    Returns
    -------
    dict of text by Path
        The table to be written beside the result, and its sidecar if there is one. Lines of measured frames
        are as they were. Columns that mark outliers are left out: what they mark is filled.

    Raises
    ------
    InputError
        If an entry is no number, no column can be completed, or the table can't be written there.
    """
    out = confounds_beside(run.out)
    sidecar = sidecar_path(path)
    targets = {out: path} | ({sidecar_path(out): sidecar} if sidecar.exists() else {})
    for target in targets:
        refuse_existing(target, run.overwrite, folder=False, inputs=targets.values())
    table = read_tsv(path)
    acquired = run.bold.acquired
    table = table[[name for name in table if not OUTLIERS.fullmatch(name)]]
    table = table.set_axis(np.flatnonzero(acquired)).reindex(range(len(acquired)), fill_value="n/a")
    # Where the run pauses nothing is known beforehand.
    known = KNOWN_BEFOREHAND if acquired.all() else ()
    names = [name for name in table if not name.startswith(known)]
    if not names:
        raise InputError(f"{path.name}: no column that could be completed; leave --fill-confounds out")
    values = np.column_stack([numbers(path, table, name) for name in names]).astype(np.float32, order="F")
    filled = run.missing | ~run.bold.measured
    space = CorticalSpace.from_parcels(len(names), names)
    columns = Bold(values, run.bold.tr, run.bold.times, space, (path,))
    logger.info("%s: completing %d columns at %d frames", path.name, len(names), filled.sum())
    partial = partial_frames(columns, ~filled, None)
    alone = replace(run, bold=columns, missing=filled, partial=partial, about={}, draws=Draws(0, 0, 0))
    alone = replace(alone, model=None, eeg=None, power=None)
    completed = fill_run(alone, np.arange(len(filled), dtype=np.float64)).frames
    for name, entries in zip(names, completed[filled].T, strict=True):
        table.loc[filled, name] = [f"{entry:.9g}" if np.isfinite(entry) else "n/a" for entry in entries]
    text = table.to_csv(sep="\t", index=False, lineterminator="\n")
    return {out: text} | {target: read_text(read) for target, read in targets.items() if target != out}
