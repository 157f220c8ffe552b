"""Tables that mark frames with 0 and 1, as programs for censoring write them.

    1 = left out    columns named so (`LEFT_OUT`), XCP-D's among them: a frame that any of them marks; one-hot
                    columns (of a single 1 each), as spike regressors and FSL's fsl_motion_outliers are
    1 = kept        columns named so (`KEPT`)

A lone column of another name, or of none, is taken for 1 = left out, with a warning, but those of C-PAC
(`censor`), AFNI (.1D) and xcpEngine (`tmask`) for 1 = kept. Where that leaves out most frames it may be the
other way round: refused.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, listed
from neuroframes.recording.tsv import BETWEEN, read_text, split_lines

if TYPE_CHECKING:
    from pandas import DataFrame, Series

logger = logging.getLogger(__name__)

LEFT_OUT = re.compile(
    r"(?!no[nt]_outlier)(.+_)?outliers?_?\d*|denoising|interpolation|framewise_?displacement|(std_?)?dvars"
    r"|censor_(before|after|between)|scrub(bed)?|spikes?_?\d*|bad|censored|missing"
)
MEASURES = re.compile(r"framewise_?displacement|(std_?)?dvars")  # marks only where they are 0 and 1
KEPT = re.compile(r"keep|kept|retain(ed)?|included?|good|uncensored|not_censored")
DECISIVE = {"censored", "keep"}  # whatever stands beside them
KEPT_AS_A_RULE = {"censor", "tmask"}
NAME_IT = "let its first line call the column 'keep' (1 = kept) or 'censored' (1 = left out)"


def read_censor(path: str | Path, n_frames: int) -> NDArray[np.bool_]:
    """Frames to leave out, from a table of 0 and 1 with one line a frame.

    Between fields are tabs, semicolons, commas or blanks. The first line may be names, after # too.

    Parameters
    ----------
    path : path
    n_frames : int

    Returns
    -------
    array, shape (n_frames,), bool

    Raises
    ------
    InputError
        If the number of lines is not `n_frames`, an entry is neither 0 nor 1, or it isn't clear which columns
        count or which of 0 and 1 is left out.
    """
    path = Path(path)
    table = _table(path, n_frames)
    if len(table) != n_frames:
        raise InputError(
            f"{path.name}: {len(table)} lines but the BOLD has {n_frames} frames; pass the table of this run"
        )
    marks = table.apply(_numbers)
    # Columns that say by name which of 0 and 1 is left out; of measures those that are marks, if any are.
    clear = [name for name in table if LEFT_OUT.fullmatch(name) or KEPT.fullmatch(name)]
    clear = [name for name in clear if name in DECISIVE] or clear
    of_marks = [name for name in clear if not MEASURES.fullmatch(name) or marks[name].isin((0, 1)).all()]
    clear = of_marks or clear
    usual = [*table] if table.shape[1] == 1 else [name for name in table if name in KEPT_AS_A_RULE]
    if clear:
        kept = np.array([bool(KEPT.fullmatch(name)) for name in clear])
        _check_marks(path, table[clear], marks[clear])
        left_out = (marks[clear].to_numpy() != kept).any(axis=1)
        said = listed([f"{name} = {0 if keeps else 1}" for name, keeps in zip(clear, kept, strict=True)], 5)
    elif len(usual) == 1:
        (name,) = usual
        _check_marks(path, table[usual], marks[usual])
        kept_value = int(path.suffix.lower() == ".1d" or name in KEPT_AS_A_RULE)
        left_out, said = marks[name].to_numpy() != kept_value, f"{name} = {1 - kept_value}"
        if left_out.mean() > 0.5:
            raise InputError(
                f"{path.name}: if {said} means left out, {left_out.sum()} of {n_frames} frames are; {NAME_IT}"
            )
        if not kept_value:
            logger.warning("%s: 1 in %s is taken to mean left out; %s", path.name, name, NAME_IT)
    else:
        if not marks.isin((0, 1)).all(axis=None) or (marks.sum() > 1).any():
            raise InputError(
                f"{path.name}: which of its {table.shape[1]} columns ({listed([*table], 5)})? Name it 'keep' "
                "(1 = kept) or 'censored' (1 = left out), or pass columns of 0 with a single 1 each"
            )
        left_out, said = marks.to_numpy().any(axis=1), f"1 in any of {table.shape[1]} columns"
    logger.info("%s: %s means left out, %d of %d frames", path.name, said, left_out.sum(), n_frames)
    return left_out


def _table(path: Path, n_frames: int) -> "DataFrame":
    """Entries in lower case, shape (K, columns), under names in lower case or `column 1` and so on."""
    lines = [line for line in read_text(path).split("\n") if line.strip()]
    is_afni = path.suffix.lower() == ".1d"  # whose comments say how it was made
    comments = [line.lstrip("# \t") for line in lines if line.startswith("#") and not is_afni]
    lines = [line for line in lines if not line.startswith("#")]
    if not lines:
        raise InputError(f"{path.name}: nothing but comments; export it again")
    # By the last line: a name may have blanks within.
    separator = next((each for each in BETWEEN if each in lines[-1].strip()), "\t")
    lines = [line.rstrip().lstrip(" ") for line in lines]
    rows = split_lines(path, "\n".join(lines), separator)
    rows = rows.apply(lambda column: column.str.strip().str.lower())
    if rows.shape == (1, n_frames):
        rows = rows.T
    names = [f"column {number + 1}" for number in range(rows.shape[1])]
    above = rows.iloc[0].tolist()
    # pandas counts columns without names; 0 and 1 alone may be marks.
    counts = len(above) > 2 and above == [str(number) for number in range(len(above))]
    if counts or _numbers(rows.iloc[0]).isna().any():
        rows = rows.iloc[1:]
        names = names if counts else above
    elif comments and len(written := re.split(separator, comments[-1].strip().lower())) == len(names):
        names = written
    names = [re.sub(r"[\s-]+", "_", name.strip()) for name in names]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise InputError(f"{path.name}: more than one column is called {twice!r}; remove or rename one")
    return rows.set_axis(names, axis=1).reset_index(drop=True)


def _numbers(text: "Series") -> "Series":
    import pandas as pd

    return pd.to_numeric(text.replace({"true": "1", "false": "0"}), errors="coerce")


def _check_marks(path: Path, text: "DataFrame", marks: "DataFrame") -> None:
    """Raise InputError at the first entry that is neither 0 nor 1."""
    wrong = np.argwhere(~marks.isin((0, 1)).to_numpy())
    if len(wrong):
        (frame, column), name = wrong[0], text.columns[wrong[0][1]]
        remedy = "pass a table of amounts as --confounds, numbers of frames as --frames"
        raise InputError(
            f"{path.name}: {name}, frame {frame} has {text.iat[frame, column]!r}; expected 0 or 1; {remedy}"
        )
