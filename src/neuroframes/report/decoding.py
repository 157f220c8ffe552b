"""What frames tell of the stimulus, as tables, and as a page of what was shown and what was taken for it.

The page (`retrieval.html`) has a row for each stretch of the held-out part: the stretch as it was shown, and
those whose features are most like what each file's frames say of it. A stretch is the film's picture in its
middle, or, where there is no film, a bar for each feature, its mean in standard deviations over stretches.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neuroframes.evaluation.decoding_scores import Identification, chance_of, identify
from neuroframes.evaluation.metrics import WHOLE, standardised
from neuroframes.recording.stimulus import films_at
from neuroframes.recording.store import StoredRun
from neuroframes.recording.video import thumbnails

Float32 = NDArray[np.float32]

LENGTH = 10.0  # seconds of a stretch
NEAREST = 5
MOST_STRETCHES = 60  # rows of a page
MOST_FEATURES = 20  # columns of a table
MOST_BARS = 12
WIDTH = 112  # pixels of a picture


@dataclass(frozen=True)
class DecodedRun:
    """What the frames of a file tell of the stimulus.

    Attributes
    ----------
    file : str
    kind : "measured", "completed" or "reconstructed"
    run : StoredRun
    first : int, frame of the run with which the K moments begin that count
    shown, decoded : array, shape (K, F), by the whole cortex
        There is NaN in `shown` where nothing was shown, or the file's frames don't reach.
    scores : dict from region to dict of float
    """

    file: str
    kind: str
    run: StoredRun
    first: int
    shown: Float32
    decoded: Float32
    scores: Mapping[str, Mapping[str, float]]


def tidy(runs: Sequence[DecodedRun]) -> pd.DataFrame:
    """Every score of files: file, kind, region, metric, value, chance."""
    rows = [
        (of.file, of.kind, region, metric, value, chance.get(metric, np.nan))
        for of in runs
        for region, found in of.scores.items()
        for chance in [chance_of(found)]
        for metric, value in found.items()
    ]
    return pd.DataFrame(rows, columns=["file", "kind", "region", "metric", "value", "chance"])


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Text of what the whole cortex tells, a row for each file, chance in brackets.

    Parameters
    ----------
    scores : DataFrame
        As `tidy` returns it.
    """
    rows = {}
    for (file, kind), of in scores[scores["region"] == WHOLE].groupby(["file", "kind"], sort=False):
        value, chance = (of.set_index("metric")[name] for name in ("value", "chance"))
        row = {"kind": kind, "r": "", "p": ""}
        for metric in value.index:
            name, _, where = metric.partition(", ")
            if metric == "decoded r":
                row["r"] = f"{value[metric]:.3f}"
                if "decoded r low" in value:
                    row["r"] += f" ({value['decoded r low']:.3f} to {value['decoded r high']:.3f})"
            elif metric == "decoded p":
                row["p"] = f"{value[metric]:.3f}"
            elif name == "balanced accuracy" or (name != "stretches" and where == f"{LENGTH:g} s"):
                row[metric] = f"{value[metric]:.2f} ({chance[metric]:.2f})"
            elif name == "stretches" and where == f"{LENGTH:g} s":
                row["stretches"] = f"{value[metric]:.0f}"
        rows[file] = row
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("").rename_axis("file")
    return table.loc[:, (table != "").any()]


def scores_text(scores: pd.DataFrame, width: int | None = None) -> str:
    """`summary` for a terminal, at most `width` characters wide."""
    return str(summary(scores).rename_axis(index=None).to_string(line_width=width))


def report(scores: pd.DataFrame) -> str:
    """Markdown of all tables."""
    text = (
        "# What frames tell of the stimulus\n\n"
        "r of decoded and shown features along the held-out time, with its 95 % interval; 2-way: how often a "
        f"stretch of {LENGTH:g} s is told from another one; top-k: how often it is among the k most alike. "
        "In brackets: chance. Every number: `scores.csv`; stretches to look at: `retrieval.html`.\n\n"
    )
    text += _table(summary(scores))
    r = scores[scores["metric"].str.startswith("decoded r, ") & (scores["region"] == WHOLE)]
    by_feature = r.assign(metric=r["metric"].str.removeprefix("decoded r, "))
    text += "\n## r of each feature\n\n"
    if by_feature["metric"].nunique() <= MOST_FEATURES:
        text += _table(by_feature.pivot_table("value", "file", "metric", sort=False))
    else:
        text += f"{by_feature['metric'].nunique()} features: see `scores.csv`.\n"
    mean = scores[scores["metric"] == "decoded r"]
    if mean["region"].nunique() > 1:
        text += "\n## r by region\n\n" + _table(mean.pivot_table("value", "file", "region", sort=False))
    return text


def _table(values: pd.DataFrame) -> str:
    cells = values.map(lambda cell: cell if isinstance(cell, str) else f"{cell:.3f}")
    rows = [["file", *cells.columns], ["---", *["---:"] * cells.shape[1]]]
    rows += [[name, *row] for name, row in zip(cells.index, cells.to_numpy(), strict=True)]
    return "".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows
    )


def retrieval_page(runs: Sequence[DecodedRun], names: Sequence[str], tr: float) -> str:
    """The page, self-contained; `names` are those of features, `tr` is in seconds."""
    style, sections = list[str](), list[str]()
    names_of_runs = dict.fromkeys(of.run.name for of in runs)
    most = max(MOST_STRETCHES // len(names_of_runs), NEAREST)
    for number, name in enumerate(names_of_runs):
        of_run = [of for of in runs if of.run.name == name]
        every = [identify([of.shown], [of.decoded], [_known(of)], tr, LENGTH) for of in of_run]
        found = [(of, told) for of, told in zip(of_run, every, strict=True) if told is not None]
        sections.append(f"<h2>{escape(name)}</h2>")
        if not found:
            sections.append(f"<p>Too few stretches of {LENGTH:g} s to tell them apart.</p>")
            continue
        size = round(found[0][1].length / tr)
        starts = sorted({int(first) for _, told in found for first in told.start[:, 1]})
        chosen = [starts[at] for at in np.unique(np.linspace(0, len(starts) - 1, most).astype(int))]
        rows, shown = list[str](), set[int]()
        for first in chosen:
            cells, taken = _row(first, found)
            shown |= {first, *taken}
            minutes, seconds = divmod(round(tr * (found[0][0].first + first)), 60)
            cells = [f"{minutes}:{seconds:02}", _picture(first), *cells]
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        every_moment = np.fmax.reduce([of.shown for of, _ in found])  # that any file reaches
        whole = replace(found[0][0], shown=every_moment)
        images, legend = _images(whole, sorted(shown), size, names, tr)
        style += [
            f"#run{number} .s{first}{{background-image:url({image})}}" for first, image in images.items()
        ]
        heads = "".join(f"<th>{escape(of.file)}<small>{_told(of, told)}</small></th>" for of, told in found)
        left_out = f" {len(chosen)} of {len(starts)} stretches." * (len(chosen) < len(starts))
        sections.append(
            f"<p>{escape(legend)}{left_out}</p><table id=run{number}><thead><tr><th>time<th>shown{heads}"
            f"</thead><tbody>{''.join(rows)}</tbody></table>"
        )
    page = files("neuroframes.report").joinpath("retrieval.html").read_text(encoding="utf-8")
    page = page.replace("/*STYLE*/", "\n".join(style)).replace("{LENGTH}", f"{LENGTH:g}")
    return page.replace("<!--DATA-->", "\n".join(sections))


def _known(of: DecodedRun) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(of.shown).all(axis=1))


def _row(first: int, found: Sequence[tuple[DecodedRun, Identification]]) -> tuple[list[str], set[int]]:
    """The stretches that each file takes that of frame `first` for, as cells, and which they are."""
    cells, taken = [], set[int]()
    for _, told in found:
        starts = told.start[:, 1]
        nearest = starts[told.nearest(NEAREST)[starts == first]].ravel()  # none where the file lacks it
        cells.append("".join(_picture(at, own=at == first) for at in nearest.tolist()))
        taken |= {*nearest.tolist()}
    return cells, taken


def _picture(first: int, own: bool = False) -> str:
    return f'<i class="s{first}{" own" * own}"></i>'


def _told(of: DecodedRun, told: Identification) -> str:
    n, fewer = len(told.similarity), min(NEAREST, len(told.similarity))
    return (
        f"{of.kind}; first is right in {told.top(1):.0%} (chance {1 / n:.0%}), one of {fewer} in "
        f"{told.top(fewer):.0%} (chance {fewer / n:.0%})"
    )


def _images(
    of: DecodedRun, starts: Sequence[int], size: int, names: Sequence[str], tr: float
) -> tuple[dict[int, str], str]:
    """What stands for each stretch of `size` frames, as data URLs, and what that is."""
    run = of.run
    middle = run.frame_times[[of.first + first for first in starts]] + tr * (size - 1) / 2
    films = films_at(run.sources, middle, run.frame_times[0], tr) if find_spec("av") else None
    if films is not None:
        pictures = dict[int, bytes]()
        for film in dict.fromkeys(path for path, _ in films):
            here = {first: at for first, (path, at) in zip(starts, films, strict=True) if path == film}
            pictures |= dict(zip(here, thumbnails(film, [*here.values()], WIDTH), strict=True))
        return {first: _url("jpeg", picture) for first, picture in pictures.items()}, "Pictures of the film."
    means = standardised(np.stack([of.shown[first : first + size].mean(axis=0) for first in starts]))
    means *= np.sqrt(len(starts))  # of unit variance
    legend = f"No film is there: bars are features, from above {', '.join(names[:MOST_BARS])}."
    return {first: _url("svg+xml", _bars(row)) for first, row in zip(starts, means, strict=True)}, legend


def _bars(values: NDArray[np.floating]) -> bytes:
    """A bar for each feature, to the right where it is above its mean."""
    height = 84 / min(len(values), MOST_BARS)
    bars = "".join(
        f"<rect x='{56 + min(0, reach):.1f}' y='{height * (number + 0.15):.1f}' width='{abs(reach):.1f}' "
        f"height='{0.7 * height:.1f}' fill='{'#2b6f77' if reach < 0 else '#d9822b'}'/>"
        for number, reach in enumerate(18 * np.clip(values[:MOST_BARS], -3, 3))
    )
    return f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 112 84'>{bars}</svg>".encode()


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
