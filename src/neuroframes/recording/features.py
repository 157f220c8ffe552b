"""Tables of features per frame, in place of raw EEG: K frames in rows, F features in columns.

    .tsv, .parquet    columns are named after features; the TR stands in the sidecar, as RepetitionTime
    .npz, .mat        features (K, F), names (F,) and tr, in seconds

Row k is what was measured while frame k was acquired: any delay to BOLD is left to who reads it. A table has
no other clock than its rows: row k is at (k + 1/2) TR.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.unreadable import reading
from neuroframes.errors import InputError, check_number, check_there, listed, said
from neuroframes.recording.arrays import read_arrays, texts
from neuroframes.recording.band_power import BANDS, BandPower, lagged, log_band_power
from neuroframes.recording.sidecar import read_sidecar, seconds, write_sidecar
from neuroframes.recording.tsv import UNKNOWN, numbers, read_tsv

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = (".tsv", ".npz", ".parquet", ".mat")
PLACES = {  # m, head coordinates
    "frontal": (0.0, 0.09, 0.06),
    "central": (0.0, 0.0, 0.13),
    "left": (-0.08, 0.0, 0.04),
    "right": (0.08, 0.0, 0.04),
    "posterior": (0.0, -0.08, 0.05),
}
CATEGORY = "="  # in the name of an indicator
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

    # As a recording of raw EEG has them.
    triggers: ClassVar[NDArray[np.float64]] = np.empty(0)

    @property
    def rate(self) -> float:
        """Rows a second."""
        return 1 / self.tr

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""
        return len(self.values) * self.tr

    @property
    def times(self) -> NDArray[np.float64]:
        """The middle of each frame, shape (K,), seconds."""
        return self.tr * (np.arange(len(self.values), dtype=np.float64) + 0.5)

    @property
    def power(self) -> BandPower:
        """What methods that take band power take, with the bands that the names end in."""
        return BandPower(self.values, self.times, bands_of(self.names))

    def picked(self, expected: Sequence[str], what: str) -> "Features":
        """The table with exactly these columns, in that order; InputError where it lacks one of `what`."""
        if missing := [name for name in expected if name not in self.names]:
            raise InputError(
                f"{len(missing)} of the {len(expected)} features of {what} are missing from the table: "
                f"{listed(missing)}; it has {listed(self.names)}: rename or add columns"
            )
        order = [self.names.index(name) for name in expected]
        return Features(self.values[:, order], tuple(expected), self.tr)


def bands_of(names: Sequence[str]) -> NDArray[np.intp]:
    """Numbers of the features' bands, shape (F,), where all names end in one, as "Oz alpha"; otherwise 0."""
    ends = [re.search(rf"(?<![a-z])({'|'.join(BANDS)})$", name.lower()) for name in names]
    return np.unique([end[1] if end and all(ends) else "" for end in ends], return_inverse=True)[1]


def is_table(path: Path) -> bool:
    """Whether a file of this name holds features per frame, rather than raw EEG."""
    return path.suffix in FORMATS


def tables_of(eeg: Sequence[Path], person: str) -> list[Path]:
    """A person's EEG as far as it is features of each frame; InputError where the rest is raw EEG."""
    tables = [path for path in eeg if is_table(path)]
    if tables and len(tables) < len(eeg):
        raise InputError(
            f"{tables[0].name} holds features of each frame, but other runs of {person} have "
            "raw EEG; keep them in data sets of their own"
        )
    return tables


def check_frames(
    path: Path,
    features: Features,
    n_frames: int,
    tr: float,
    remedy: str = "cut both to the frames that they share, dummy scans included",
) -> None:
    """Raise InputError where a table is not of a BOLD run of `n_frames` every `tr` seconds."""
    if not np.isclose(features.tr, tr, rtol=1e-3):
        raise InputError(f"{path.name} has a TR of {features.tr:g} s, its BOLD {tr:g} s; correct one of them")
    if len(features.values) != n_frames:
        raise InputError(
            f"{path.name}: features of {len(features.values)} frames for {n_frames} frames of BOLD; row k is "
            f"frame k, pauses included: {remedy}"
        )


def refuse_options(path: Path, command: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise InputError where options that are for raw EEG alone differ from the command's defaults."""
    defaults = signature(command).parameters
    if unused := [name for name, value in given.items() if value != defaults[name].default]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise InputError(
            f"{options}: {path.name} holds features of each frame, no EEG to be read that way; leave it out"
        )


def read_features(path: str | Path, *, tr: float | None = None, stimulus: bool = False) -> Features:
    """Read a table of features per frame.

    Parameters
    ----------
    path : path
        `*.tsv`, `*.npz`, `*.parquet` (with the package pyarrow) or `*.mat`.
    tr : float, seconds, optional
        Where neither the file nor its sidecar states it.
    stimulus : bool
        It is of a stimulus: values may be missing, and columns of text are categories (see `indicators`).

    Raises
    ------
    InputError
        If it is no such table, a value is missing, names don't fit or repeat, or the TR is unknown or
        contradicts `tr`.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path.name}: expected features per frame as {' or '.join(FORMATS)}")
    check_there(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; pass a table")
    read = {".tsv": _read_text, ".parquet": _read_parquet}.get(path.suffix)
    values, names, stated = read(path, stimulus) if read else _read_arrays(path)
    if len(names) != values.shape[1]:
        raise InputError(
            f"{path.name}: {len(names)} names for {values.shape[1]} columns; expected frames in rows and "
            "features in columns, with a name for each"
        )
    if "" in names:
        raise InputError(
            f"{path.name}: column {names.index('') + 1} has no name; name it, or remove it if it counts rows"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path.name}: more than one feature is called {twice[0]!r}; rename one")
    if not (np.isfinite(values) | (stimulus & np.isnan(values))).all():
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
    """Write a table, in the format of the suffix; the TR of a .tsv or .parquet goes into its sidecar."""
    import pandas as pd
    from scipy.io import savemat

    arrays: dict[str, Any] = {"features": features.values, "tr": features.tr}
    if path.suffix == ".npz":
        np.savez(path, names=np.array(features.names), **arrays)
        return
    if path.suffix == ".mat":
        # Compressed, with checksums: SciPy trusts the sizes that a file states.
        savemat(path, {"names": np.array(features.names, object), **arrays}, do_compression=True)
        return
    table = pd.DataFrame(features.values, columns=features.names)
    if path.suffix == ".parquet":
        _need_pyarrow(path)
        table.to_parquet(path)
    else:
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


def indicators(name: str, labels: Sequence[str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """A column for each value of a category, 1 where it is the case, shape (K, n), and their names.

    The value "circle" of "kind" has the name "kind=circle"; what isn't known has none.
    """
    known = sorted({label for label in labels if label.lower() not in UNKNOWN})
    columns = [[float(label == of) for label in labels] for of in known]
    return np.array(columns, float).reshape(len(known), len(labels)).T, tuple(
        f"{name}{CATEGORY}{of}" for of in known
    )


def without_categories(names: Sequence[str]) -> list[str]:
    """Names of features that are no indicators of a category."""
    return [name for name in names if CATEGORY not in name]


def _columns(path: Path, table: "DataFrame", stimulus: bool) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Numbers of a table of text and their names; of a stimulus, categories where no entry is a number."""
    import pandas as pd

    parts = []
    for name in table:
        text = table[name].astype(str).str.strip()
        known = text[~text.str.lower().isin(UNKNOWN)]
        if stimulus and len(known) and pd.to_numeric(known, errors="coerce").isna().all():
            parts.append(indicators(str(name), text.tolist()))
        else:
            parts.append((numbers(path, table, str(name))[:, None], (str(name),)))
    return np.concatenate([of for of, _ in parts], axis=1), tuple(
        name for _, names in parts for name in names
    )


def _read_text(path: Path, stimulus: bool) -> Contents:
    return *_columns(path, read_tsv(path), stimulus), _stated_tr(path)


def _read_parquet(path: Path, stimulus: bool) -> Contents:
    import pandas as pd

    _need_pyarrow(path)
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # those of pyarrow are one or the other
        raise InputError(
            f"{path}: can't be read as Parquet ({said(error)}); copy or write it again"
        ) from error
    if stimulus:
        as_text = table.rename(columns=str).astype(object).where(table.notna().to_numpy(), "n/a").astype(str)
        return *_columns(path, as_text, stimulus), _stated_tr(path)
    kinds = {str(name): values.dtype for name, values in table.items()}
    if text := [name for name, kind in kinds.items() if not pd.api.types.is_numeric_dtype(kind)]:
        raise InputError(f"{path.name}: no numbers in {listed(text)}; every column is a feature: drop others")
    return table.to_numpy(np.float64, na_value=np.nan), tuple(kinds), _stated_tr(path)


def _need_pyarrow(path: Path) -> None:
    if find_spec("pyarrow") is None:
        raise InputError(f"{path.name}: Parquet takes the package pyarrow: pip install pyarrow")


def _stated_tr(path: Path) -> float:
    """The TR of the sidecar, 0 where it states none."""
    return seconds(path, read_sidecar(path), "RepetitionTime") or 0.0


def _read_arrays(path: Path) -> Contents:
    with reading(path, f"can't be read as {path.suffix}", "copy or write it again"):
        arrays = read_arrays(path)
        names = texts(arrays["names"]) if "names" in arrays else None
    values = arrays.get("features")
    if values is not None and values.ndim < 2 and names:
        # Of MATLAB's format 7.3 arrays of one column, or of one row, come without it.
        values = values.reshape((-1, 1) if len(names) == 1 else (1, -1))
    if values is None or values.ndim != 2 or values.dtype.kind not in "biuf" or names is None:
        raise InputError(
            f"{path.name} holds {', '.join(arrays) or 'nothing'}; expected features, frames x features, and "
            "names, and if it is known tr, in seconds; save it again with these arrays"
        )
    tr = check_number(arrays["tr"].squeeze().tolist(), f"{path.name}: tr") if "tr" in arrays else 0.0
    return values, names, tr
