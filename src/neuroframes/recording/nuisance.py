"""Confound regression and high-pass filter, as nilearn's `signal.clean` does them.

Measured frames Y and confounds C, to which a cosine basis of all frames is added, become Y - Q Q' Y, with Q
an orthonormal basis of C over the measured frames alone: what is censored bends no fit. Means are kept.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, listed
from neuroframes.recording.tsv import numbers, read_tsv

if TYPE_CHECKING:
    from pandas import DataFrame

BLOCK = 4096  # vertices worked on at once


def read_confounds(path: Path, asked: str) -> "DataFrame":
    """Columns of a confounds table, or those that a strategy of nilearn's `load_confounds` takes.

    Parameters
    ----------
    path : Path
        fMRIPrep's `*_desc-confounds_timeseries.tsv`.
    asked : str
        Names with commas between: columns of the table, or parts of a strategy, such as motion, wm_csf,
        high_pass and compcor, with nilearn's defaults.

    Returns
    -------
    DataFrame, a row a frame, 0 where a value isn't known

    Raises
    ------
    InputError
        If a name is neither, or the table lacks what a strategy needs.
    """
    import pandas as pd
    from nilearn.interfaces.fmriprep import load_confounds

    table, names = read_tsv(path), [name.strip() for name in asked.split(",")]
    columns = [name for name in names if name in table]
    found = pd.DataFrame({name: numbers(path, table, name) for name in columns})
    if strategy := [name for name in names if name not in table]:
        if "scrub" in strategy:
            raise InputError(
                "--regress scrub: frames are censored by --fd-threshold and --dvars-threshold; leave it out"
            )
        if "_desc-confounds" not in path.name:
            raise InputError(
                f"--regress {asked}: {path.name} has no column {' or '.join(strategy)}, and nilearn takes "
                "strategies from *_desc-confounds_timeseries.tsv alone; name columns of the table instead: "
                f"{listed([*table], most=8)}"
            )
        # It goes by the image's name alone, which it asks to be one of fMRIPrep's.
        image = path.name.partition("_desc-")[0] + "_desc-preproc_bold.nii.gz"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                taken, _ = load_confounds(str(path.with_name(image)), strategy=strategy, demean=False)
        except ValueError as error:
            raise InputError(
                f"--regress {asked}: {path.name} has no column {' or '.join(strategy)}, nor can nilearn "
                f"take it as a strategy ({error}); name columns, or parts of a strategy of load_confounds"
            ) from error
        found = pd.concat([found, taken], axis=1)
    return found.fillna(0)


def without_nuisance(
    frames: NDArray[np.float32],
    measured: NDArray[np.bool_],
    confounds: "DataFrame | None",
    high_pass: float | None,
    tr: float,
    name: str,
) -> NDArray[np.float32]:
    """Frames less what confounds and slow drifts explain of the measured ones; the others are NaN.

    Parameters
    ----------
    frames : array, shape (K, V)
    measured : array, shape (K,)
    confounds : DataFrame of K rows, or None
    high_pass : float, Hz, or None
        Edge below which a cosine basis is taken out.
    tr : float, seconds
    name : str
        The run's, for messages.

    Returns
    -------
    array, shape (K, V), in Fortran order
        In the units of `frames`, each vertex with the mean of its measured frames.

    Raises
    ------
    InputError
        If fewer frames are measured than are needed for that many regressors.
    """
    from nilearn.signal import clean, create_cosine_drift

    kept, n_frames = np.flatnonzero(measured), len(frames)
    regressors = np.empty((n_frames, 0)) if confounds is None else confounds.to_numpy(np.float64)
    if high_pass is not None:
        lowest, highest = 1 / (2 * n_frames * tr), 1 / (2 * tr)
        if not lowest <= high_pass < highest:
            raise InputError(
                f"{name}: --high-pass {high_pass:g} Hz; {n_frames} frames every {tr:g} s have drifts from "
                f"{lowest:.2g} to {highest:.2g} Hz: choose one between, or leave it out"
            )
        # `clean` would leave all of them out where one regressor resembles one of them.
        drifts = create_cosine_drift(high_pass, tr * np.arange(n_frames))[:, :-1]
        regressors = np.hstack([regressors, drifts])
    if (n_regressors := regressors.shape[1]) >= len(kept) - 1:
        raise InputError(
            f"{name}: {len(kept)} measured frames for {n_regressors} regressors; name fewer to --regress, "
            "lower --high-pass, or censor fewer"
        )
    result = np.full(frames.shape, np.nan, np.float32, order="F")
    for start in range(0, frames.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        result[kept, block] = clean(
            frames[:, block].astype(np.float64),
            sample_mask=kept,
            confounds=regressors if n_regressors else None,
            filter=False,
            detrend=False,
            standardize=None,
        )
    return result
