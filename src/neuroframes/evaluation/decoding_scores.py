"""How much of the stimulus decoded features tell.

    r                 of each feature along time, decoded and shown, pooled over runs
    identification    of S stretches of T seconds that don't overlap: how often a stretch as it was decoded
                      is more like what was shown then than like what was shown at another one (2-way, chance
                      .5), and how often what was shown is among the k most like it (top-k, chance k / S)
    classification    of a category, whose indicators are features: of the values that occur the one with the
                      largest is the answer; the mean over values of the share found (balanced accuracy,
                      chance one over their number)

Two stretches are alike as their features correlate, all moments and features taken together, each feature
standardised over all stretches. Stretches with the same features but for rounding count as half found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.evaluation.metrics import correlation, standardised
from neuroframes.recording.features import CATEGORY

Array = NDArray[np.float64]
Series = Sequence[NDArray[np.floating]]  # (K, F), one a run
Rows = Sequence[NDArray[np.bool_]]  # (K,), one a run

STRETCHES = (4.0, 10.0, 20.0)  # seconds
TOP = (1, 5)
FEWEST_STRETCHES = 4


@dataclass(frozen=True)
class Identification:
    """Of S stretches.

    Attributes
    ----------
    length : float, seconds
    start : array, shape (S, 2), run and first frame of each
    similarity : array, shape (S, S), of each as it was decoded (rows) with what was shown at each
    """

    length: float
    start: NDArray[np.intp]
    similarity: Array

    @property
    def two_way(self) -> float:
        """Share of other stretches that are less like a decoded one than its own, mean over stretches."""
        own = np.diagonal(self.similarity)[:, None]
        won = (self.similarity < own) + 0.5 * (self.similarity == own)
        n = len(own)
        return float((won.sum() - 0.5 * n) / (n * (n - 1)))

    def top(self, k: int) -> float:
        """Share of stretches whose own is among the k that are most like it; a tie counts in part."""
        own = np.diagonal(self.similarity)[:, None]
        above, ties = (self.similarity > own).sum(axis=1), (self.similarity == own).sum(axis=1)
        return float(np.clip((k - above) / ties, 0, 1).mean())

    def nearest(self, n: int) -> NDArray[np.intp]:
        """The n stretches whose features are most like each decoded one, the most alike first; (S, n)."""
        return np.argsort(-self.similarity, axis=1, kind="stable")[:, :n]


def feature_r(shown: Series, decoded: Series, rows: Rows) -> Array:
    """r of each feature over these moments of all runs, shape (F,); 0 where it is undefined."""
    x, y = (_picked(series, rows).astype(np.float64) for series in (shown, decoded))
    return np.nan_to_num(correlation(x, y))


def identify(shown: Series, decoded: Series, rows: Rows, tr: float, length: float) -> Identification | None:
    """Identify stretches of `length` seconds; None of fewer than four.

    Parameters
    ----------
    shown, decoded : sequence of array, shape (K, F)
        Features, with NaN where nothing was shown.
    rows : sequence of array, shape (K,), moments that count
        A stretch has no others.
    tr, length : float, seconds
    """
    size = max(1, round(length / tr))
    starts = [(run, first) for run, mask in enumerate(rows) for first in _stretches(mask, size)]
    if len(starts) < FEWEST_STRETCHES:
        return None
    x, y = (
        np.concatenate([series[run][first : first + size] for run, first in starts])
        for series in (shown, decoded)
    )
    x, y = standardised(x), standardised(y, x)
    x, y = (part.reshape(len(starts), -1) for part in (x, y))
    similarity = standardised(y.T).T @ standardised(x.T)
    return Identification(size * tr, np.array(starts), similarity.round(12))


def classify(
    shown: Series, decoded: Series, rows: Rows, names: Sequence[str]
) -> dict[str, tuple[float, int]]:
    """Balanced accuracy of each category among the features' names, and of how many values that occur.

    A category has none where fewer than two occur.
    """
    x, y = _picked(shown, rows), _picked(decoded, rows)
    found = {}
    for category in dict.fromkeys(name.partition(CATEGORY)[0] for name in names if CATEGORY in name):
        columns = [number for number, name in enumerate(names) if name.startswith(category + CATEGORY)]
        columns = [column for column in columns if (x[:, column] > 0.5).any()]
        if len(columns) < 2:
            continue
        truth, answer = x[:, columns].argmax(axis=1), y[:, columns].argmax(axis=1)
        said = x[:, columns].max(axis=1) > 0.5  # of some moments there may be no category
        shares = [(answer[said & (truth == of)] == of).mean() for of in range(len(columns))]
        found[category] = float(np.mean(shares)), len(columns)
    return found


def decoding_scores(
    shown: Series, decoded: Series, rows: Rows, names: Sequence[str], tr: float, told: Rows | None = None
) -> dict[str, float]:
    """All of them by their names in tables.

    Parameters
    ----------
    shown, decoded : sequence of array, shape (K, F)
    rows : sequence of array, shape (K,), moments whose r is scored
    names : sequence of str, F of them
    tr : float, seconds
    told : sequence of array, shape (K,), moments of which stretches and categories consist; `rows` by default
        Hidden frames alone may be too few in a row for a stretch.
    """
    known = [np.isfinite(series).all(axis=1) for series in shown]
    counted = [mask & of for mask, of in zip(rows, known, strict=True)]
    wider = counted if told is None else [mask & of for mask, of in zip(told, known, strict=True)]
    if sum(mask.sum() for mask in counted) < 3:
        return {}
    r = feature_r(shown, decoded, counted)
    varying = np.array([series.any() for series in standardised(_picked(shown, counted)).T])
    found = {"decoded r": float(r[varying].mean())} if varying.any() else {}
    found |= {f"decoded r, {name}": float(value) for name, value in zip(names, r, strict=True)}
    for length in STRETCHES:
        if (of := identify(shown, decoded, wider, tr, length)) is not None:
            where = f"{length:g} s"
            found[f"2-way identification, {where}"] = of.two_way
            n = len(of.similarity)
            found |= {f"top-{k}, {where}": of.top(k) for k in TOP if k < n}
            found[f"stretches, {where}"] = float(n)
    for category, (accuracy, n) in classify(shown, decoded, wider, names).items():
        found |= {f"balanced accuracy, {category}": accuracy, f"values, {category}": float(n)}
    return found


def _picked(series: Series, rows: Rows) -> NDArray[np.floating]:
    return np.concatenate([part[mask] for part, mask in zip(series, rows, strict=True)])


def _stretches(mask: NDArray[np.bool_], size: int) -> list[int]:
    """Where stretches of `size` rows in a row begin, one after another."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [
        first for begin, end in edges.reshape(-1, 2) for first in range(int(begin), int(end) - size + 1, size)
    ]


def chance_of(found: Mapping[str, float]) -> dict[str, float]:
    """What each score is expected to be of features that tell nothing, under the same names."""
    expected = {}
    for name in found:
        kind, _, where = name.partition(", ")
        if kind.startswith("top-"):
            expected[name] = int(kind.removeprefix("top-")) / found[f"stretches, {where}"]
        elif kind == "balanced accuracy":
            expected[name] = 1 / found[f"values, {where}"]
        elif kind == "2-way identification":
            expected[name] = 0.5
        elif kind == "decoded r":
            expected[name] = 0.0
    return expected
