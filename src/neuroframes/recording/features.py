"""Tables of features per frame, in place of raw EEG: K frames in rows, F features in columns.

    .tsv    the first line is the features' names; the TR stands in the sidecar, as RepetitionTime
    .npz    features (K, F), names (F,) and tr, in seconds

Row k is what was measured while frame k was acquired: any delay to BOLD is left to who reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_number
from neuroframes.recording.band_power import BANDS, lagged, log_band_power
from neuroframes.recording.sidecar import read_sidecar, seconds, write_sidecar
from neuroframes.recording.tsv import numbers, read_tsv

FORMATS = (".tsv", ".npz")
PLACES = {  # m, head coordinates
    "frontal": (0.0, 0.09, 0.06),
    "central": (0.0, 0.0, 0.13),
    "left": (-0.08, 0.0, 0.04),
    "right": (0.08, 0.0, 0.04),
    "posterior": (0.0, -0.08, 0.05),
}
REACH = 0.03  # m, standard deviation of the weight that a channel has


@dataclass(frozen=True)
class Features:
    """Features of each frame of a run.

    Attributes
    ----------
    values : array, shape (K, F)
    names : tuple of str, F of them
    tr : float, seconds
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    tr: float


def read_features(path: str | Path, *, tr: float | None = None) -> Features:
    """Read a table of features per frame.

    Parameters
    ----------
    path : path
        `*.tsv` or `*.npz`.
    tr : float, seconds, optional
        Where neither the file nor its sidecar states it.

    Raises
    ------
    InputError
        If it is no such table, a value is missing, names don't fit or repeat, or the TR is unknown or
        contradicts `tr`.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path.name}: expected features per frame as {' or '.join(FORMATS)}")
    values, names, stated = _read_arrays(path) if path.suffix == ".npz" else _read_text(path)
    if len(names) != values.shape[1]:
        raise InputError(
            f"{path.name}: {len(names)} names for {values.shape[1]} columns; expected frames in rows and "
            "features in columns, with a name for each"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path.name}: more than one feature is called {twice[0]!r}; rename one")
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"{path.name}: frame {row}, {names[column]}: no finite number; features must be known for every "
            "frame: fill it, or leave the run out"
        )
    if stated and tr and not np.isclose(stated, tr, rtol=1e-3):
        raise InputError(f"{path.name} states a TR of {stated:g} s, not {tr:g} s; correct one of them")
    if not (known := tr or stated):
        raise InputError(f"{path.name}: no TR; state it as RepetitionTime in {path.stem}.json")
    return Features(values.astype(np.float32), names, check_number(known, f"{path.name}: TR (s)", above=0))


def write_features(path: Path, features: Features) -> None:
    """Write a table, in the format of the suffix; the TR of a .tsv goes into its sidecar."""
    import pandas as pd

    if path.suffix == ".npz":
        np.savez(path, features=features.values, names=np.array(features.names), tr=features.tr)
        return
    table = pd.DataFrame(features.values, columns=features.names)
    table.to_csv(path, sep="\t", index=False, float_format="%.9g", lineterminator="\n")
    write_sidecar(path, {"RepetitionTime": features.tr})


def scalp_features(
    eeg: NDArray[np.float32],
    positions: NDArray[np.float64],
    rate: float,
    frames: NDArray[np.float64],
    tr: float,
) -> Features:
    """Log power of five bands in five places on the scalp, while each frame was acquired.

    Parameters
    ----------
    eeg : array, shape (C, N), volts
    positions : array, shape (C, 3), metres, in head coordinates
    rate : float, Hz
    frames : array, shape (K,), seconds after the first sample, the frames' centres
    tr : float, seconds
    """
    power = log_band_power(eeg, rate)
    within = tr * (np.arange(5) - 2) / 5
    per_channel = lagged(power, frames, within).reshape(len(frames), len(within), len(eeg), -1).mean(axis=1)
    distance = np.linalg.norm(np.array([*PLACES.values()])[:, None] - positions, axis=2)
    weight = np.exp(-0.5 * np.square(distance / REACH))
    weight /= weight.sum(axis=1, keepdims=True)
    values = np.einsum("rc,kcb->krb", weight, per_channel).reshape(len(frames), -1)
    names = tuple(f"{place} {band}" for place in PLACES for band in BANDS)
    return Features(values.astype(np.float32), names, tr)


Contents = tuple[NDArray[Any], tuple[str, ...], float]  # values, names, TR or 0


def _read_text(path: Path) -> Contents:
    table = read_tsv(path)
    names: Sequence[str] = [*table]
    values = np.column_stack([numbers(path, table, name) for name in names])
    return values, tuple(names), seconds(path, read_sidecar(path), "RepetitionTime") or 0.0


def _read_arrays(path: Path) -> Contents:
    try:
        with np.load(path) as stored:
            arrays = dict(stored)
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(f"{path}: can't be read as NPZ ({error}); copy or write it again") from error
    values = arrays.get("features")
    if values is None or values.ndim != 2 or values.dtype.kind not in "biuf" or "names" not in arrays:
        raise InputError(
            f"{path.name} holds {', '.join(arrays) or 'nothing'}; expected features, frames x features, and "
            "names; save it with np.savez(FILE, features=..., names=..., tr=...)"
        )
    return values, tuple(arrays["names"].astype(str).ravel().tolist()), float(arrays.get("tr", 0.0))
