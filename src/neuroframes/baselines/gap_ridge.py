"""Ridge regression of a missing frame on the measured frames around it.

A missing frame has up to n measured frames on either side, at some offsets in time. With u the frames at
these offsets from t, one after the other, x the frame at t, and means over all t where these are measured,

    W = ((1 - w) A_others + w A_own + a I)^-1 ((1 - w) B_others + w B_own),   A = mean u u',   B = mean u x'

gives W' u. So each pattern of offsets, which is a place in a gap of some length, has its own regression, with
lead and lag between vertices: kriging by empirical cross-covariances. `a`, and the own share `w`, have the
least squared error on examples left out: stretches of the run or, where it doesn't count, groups of other
people. A pattern of too few examples loses its farthest offsets until it has enough. More than 200 vertices
are taken by their principal components, and the rest is interpolated linearly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from neuroframes.baselines.components import fit_components, split
from neuroframes.baselines.interface import Baseline
from neuroframes.baselines.interpolation import Linear
from neuroframes.recording.segments import Segment

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Offsets = tuple[int, ...]
Series = tuple[Float32, NDArray[np.bool_]]  # components (K, d) of a run, and which frames are measured

REACH = 32  # frames: neighbours that are farther away don't count
FOLDS = 4
FEWEST = 5 * FOLDS  # examples
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SHARES = (0.1, 0.3, 0.5)


@dataclass(frozen=True)
class Moments:
    """Sums over n examples of u u', u x' and x'x."""

    n: int
    uu: Float
    ux: Float
    xx: float

    @classmethod
    def of(cls, series: Series, at: NDArray[np.intp], offsets: Offsets) -> Self:
        """Of the frames `at` and those around them."""
        x = series[0][at]
        u = series[0][at[:, None] + np.array(offsets)].reshape(len(at), -1)
        return cls(len(at), (u.T @ u).astype(np.float64), (u.T @ x).astype(np.float64), float(np.sum(x**2)))

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """Of all of them."""
        n, uu, ux, xx = zip(*((of.n, of.uu, of.ux, of.xx) for of in parts), strict=True)
        return cls(sum(n), sum(uu), sum(ux), sum(xx))

    def error(self, weights: Float) -> float:
        """Sum of squared errors of W' u."""
        return self.xx + float(np.sum(weights * (self.uu @ weights - 2 * self.ux)))


def regression(parts: Iterable[tuple[float, Moments]], penalty: float) -> Float:
    """W of moments, each with its share."""
    shared = [(share / of.n, of) for share, of in parts]
    uu = np.sum([share * of.uu for share, of in shared], axis=0)
    uu[np.diag_indices_from(uu)] += penalty
    factor = cho_factor(uu, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, np.sum([share * of.ux for share, of in shared], axis=0)))


def examples(series: Series, offsets: Offsets) -> NDArray[np.intp]:
    """Frames of a run that are measured as are those at the offsets."""
    measured = series[1]
    at = np.arange(max(0, -min(offsets)), len(measured) - max(0, max(offsets)))
    return at[measured[at] & measured[at[:, None] + np.array(offsets)].all(axis=1)]


def patterns(measured: NDArray[np.bool_], neighbours: int) -> dict[Offsets, list[int]]:
    """Offsets of the measured frames next to missing ones, and which missing frames have them."""
    found: dict[Offsets, list[int]] = {}
    known = np.flatnonzero(measured)
    for at in np.flatnonzero(~measured).tolist():
        place = np.searchsorted(known, at)
        around = known[max(0, place - neighbours) : place + neighbours] - at
        found.setdefault(tuple(around[np.abs(around) <= REACH].tolist()), []).append(at)
    return found


class GapRidge(Baseline):
    """Ridge regression on the measured frames around a gap, learned from the training segments.

    Parameters
    ----------
    neighbours : int
        Measured frames on either side.
    seed : int
        Of the principal components.
    """

    name = "gap ridge"
    own: ClassVar[bool] = True

    def __init__(self, neighbours: int = 4, seed: int = 0) -> None:
        self.neighbours, self.seed = neighbours, seed

    def fit(self, train: Sequence[Segment], others: Sequence[Segment] = ()) -> Self:
        """Keep what regressions are learned from; they wait for the patterns that are asked for."""
        counted = train if self.own else ()
        self.components_ = fit_components([*counted, *others], self.seed)
        self.linear_ = Linear().fit(train)
        self.own_ = [self._series(segment)[0] for segment in counted]
        people = sorted({segment.person for segment in others})
        self.others_: list[list[Series]] = [[] for _ in range(FOLDS)]
        for segment in others:
            self.others_[people.index(segment.person) % FOLDS].append(self._series(segment)[0])
        self.weights_: dict[Offsets, tuple[Offsets, Float]] = {}
        return self

    def _series(self, segment: Segment) -> tuple[Series, Segment]:
        latents, rest = split(self.components_, segment)
        return (latents.astype(np.float32), segment.measured), rest

    @property
    def n_parameters(self) -> int:
        return self.components_.decoder.size + sum(weights.size for _, weights in self.weights_.values())

    def _learned(self, offsets: Offsets) -> tuple[Offsets, Float]:
        """Offsets of which there are enough examples, and W of them."""
        if not offsets:
            return offsets, np.zeros((0, self.components_.n_latents))
        own = [np.array_split(examples(series, offsets), FOLDS) for series in self.own_]
        others = [[examples(series, offsets) for series in group] for group in self.others_]
        n_own = sum(len(at) for of in own for at in of)
        n_others = sum(len(at) for of in others for at in of)
        if max(n_own, n_others) < FEWEST:
            farthest = max(offsets, key=abs)
            return self._learned(tuple(offset for offset in offsets if offset != farthest))
        groups = [
            Moments.total(Moments.of(*of, offsets) for of in zip(group, at, strict=True))
            for group, at in zip(self.others_, others, strict=True)
            if group
        ]
        if n_own < FEWEST:
            folds, beside = groups, []
        else:
            folds = [
                Moments.total(
                    Moments.of(series, at[n], offsets) for series, at in zip(self.own_, own, strict=True)
                )
                for n in range(FOLDS)
            ]
            beside = [Moments.total(groups)] if n_others >= FEWEST else []

        folds = [of for of in folds if of.n]

        # Of one person alone nobody can be left out.
        without = [Moments.total(folds[:n] + folds[n + 1 :] or folds) for n in range(len(folds))]

        def fitted(to: Moments, share: float, penalty: float) -> Float:
            return regression([(share, to), *((1 - share, of) for of in beside)], penalty)

        def missed(chosen: tuple[float, float]) -> float:
            return sum(of.error(fitted(to, *chosen)) for of, to in zip(folds, without, strict=True))

        chosen = min(product(SHARES if beside else (1.0,), PENALTIES), key=missed)
        return offsets, fitted(Moments.total(folds), *chosen)

    def estimate(self, segment: Segment) -> Float32:
        (frames, measured), rest = self._series(segment)
        for offsets, missing in patterns(measured, self.neighbours).items():
            if offsets not in self.weights_:
                self.weights_[offsets] = self._learned(offsets)
            at, weights = self.weights_[offsets]
            around = np.array(missing)[:, None] + np.array(at, int)
            frames[missing] = frames[around].reshape(len(missing), -1) @ weights.astype(np.float32)
        return self.components_.decode(frames[~measured]) + self.linear_.estimate(rest)


class OthersGapRidge(GapRidge):
    """The same learned from other people alone."""

    name = "gap ridge of others"
    own = False


class BothGapRidge(GapRidge):
    """The same learned from the training segments and from other people."""

    name = "gap ridge of both"
