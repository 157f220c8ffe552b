"""Fitting the ridge from EEG to latents: response, penalties, emphasis on bands, a filter along time.

All by segments left out; see `models.eeg_ridge` for what is fitted.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuroframes.models.eeg_ridge import EegRidge, responses_to
from neuroframes.models.response import response_of
from neuroframes.models.ridge import Ridge, Standardisation, folds
from neuroframes.recording.band_power import LAST_LAG, BandPower
from neuroframes.recording.segments import Segment
from neuroframes.training.wiener import fit_wiener, smooth

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Blocks = Sequence[NDArray[np.int64]]

logger = logging.getLogger(__name__)

WEIGHED = 1200  # frames, evenly spread, on which responses are compared and bands weighed
WEIGHED_SHARE = 0.9  # of B, which the columns hold that bands are weighed by
EMPHASIS_STEPS = (10.0, 0.1, 3.0, 1 / 3)  # factors tried in turn on the variance that the prior gives a band


def _before(power: BandPower, times: Float) -> Float32:
    """Band power that the frames at `times` are explained by: the rest of a run may be held out."""
    inside = (power.times >= times[0] - LAST_LAG) & (power.times <= times[-1])
    return power.values[inside]


class EegDesign:
    """What measured frames are explained by, whatever their latents are.

    Parameters
    ----------
    segments : sequence of Segment
        What is read of them are their times and which frames are measured.
    powers : sequence of BandPower, one a segment
        Features (T, F) of its whole run.
    tr : float, seconds; the step between lags
    responses : sequence of str
        Kinds of response, of which the one with the lowest left-out error is taken.
    """

    def __init__(
        self, segments: Sequence[Segment], powers: Sequence[BandPower], tr: float, responses: Sequence[str]
    ) -> None:
        self.tr, self.responses, self.band = tr, responses, powers[0].band
        self.measured = [s.measured for s in segments]
        self._at = [s.times[s.measured] for s in segments]
        before = [_before(power, segment.times) for power, segment in zip(powers, segments, strict=True)]
        self.standardisation = Standardisation.of(np.concatenate(before))
        self._standard = [replace(power, values=self.standardisation(power.values)) for power in powers]
        self.lengths, self.margin = [len(part) for part in self._at], round(LAST_LAG / tr)
        self._ridges: dict[tuple[str, int], Ridge] = {}

    def features(self, kind: str, every: int = 1) -> Float32:
        """Of one frame in so many, for a kind of response: (n, R * F), response slowest."""
        offsets = np.cumsum([0, *self.lengths[:-1]])
        some = [times[-offset % every :: every] for times, offset in zip(self._at, offsets, strict=True)]
        basis = response_of(kind, self.tr)
        return np.concatenate([responses_to(*of, *basis) for of in zip(self._standard, some, strict=True)])

    def ridge(self, kind: str, every: int = 1) -> Ridge:
        """That of `features`, computed once."""
        if (kind, every) not in self._ridges:
            blocks = folds(self.lengths) if every == 1 else _thinned(self.lengths)[1]
            self._ridges[kind, every] = Ridge(self.features(kind, every), -(-self.margin // every), blocks)
        return self._ridges[kind, every]

    def targets(self, latents: Sequence[Float]) -> Float:
        """Latents (K, d) of segments at the measured frames, one after the other."""
        return np.concatenate([z[mask] for z, mask in zip(latents, self.measured, strict=True)])

    def response(self, weighted: Float, group: NDArray[np.int64]) -> str:
        """The kind of response with the lowest left-out error of targets scaled by what each counts for."""
        if not self.responses[1:]:
            return self.responses[0]
        every = _thinned(self.lengths)[0]

        def error(kind: str) -> float:
            errors = self.ridge(kind, every).left_out_errors(weighted[::every])
            return float(sum(errors[:, group == number].sum(axis=1).min() for number in np.unique(group)))

        return min(self.responses, key=error)

    def fit(
        self, ridge: Ridge, latents: Sequence[Float], group: NDArray[np.int64]
    ) -> tuple[Float, list[Float], Float]:
        """Weights (p, d), left-out predictions (K, d) of each segment, and kernels of the filter on them."""
        targets = self.targets(latents)
        errors = ridge.left_out_errors(targets)
        weights = np.empty((len(ridge.right), targets.shape[1]))
        left_out = np.empty_like(targets)
        for number in np.unique(group):
            these = group == number
            penalty = float(ridge.penalties[errors[:, these].mean(axis=1).argmin()])
            weights[:, these] = ridge.right @ ridge.coefficients(targets[:, these], penalty)
            left_out[:, these] = ridge.left_out(targets[:, these], penalty)
        predictions = [np.zeros_like(z) for z in latents]
        put_at_measured(predictions, left_out, self.measured)
        targets_of = [np.where(mask[:, None], z, 0) for z, mask in zip(latents, self.measured, strict=True)]
        kernels = fit_wiener(predictions, targets_of, group, self.tr)
        return weights, [smooth(prediction, kernels, group) for prediction in predictions], kernels

    def left_out(self, latents: Sequence[Float], group: NDArray[np.int64], importance: Float) -> list[Float]:
        """Left-out predictions (K, d) of any latents, without emphasis on bands."""
        kind = self.response(self.targets(latents) * np.sqrt(importance), group)
        return self.fit(self.ridge(kind), latents, group)[1]


def fit_eeg_ridge(
    segments: Sequence[Segment],
    powers: Sequence[BandPower],
    latents: Sequence[Float],
    group: NDArray[np.int64],
    importance: Float,
    tr: float,
    responses: Sequence[str],
) -> tuple[EegRidge, list[Float]]:
    """Fit on segments of the training part.

    Parameters
    ----------
    segments, powers, tr, responses : as of `EegDesign`
    latents : sequence of array, shape (K, d), one a segment
    group : array of int, shape (d,)
        Latents that share a penalty.
    importance : array, shape (d,)
        What a latent's squared error counts for when bands are weighed.

    Returns
    -------
    EegRidge, and per segment the left-out prediction of its latents (K, d), after the Wiener filter
    """
    design = EegDesign(segments, powers, tr, responses)
    weighted = design.targets(latents) * np.sqrt(importance)
    response = design.response(weighted, group)
    (lags, basis), features, band = response_of(response, tr), design.features(response), design.band
    share = np.cumsum(np.square(basis).sum(axis=0)) / np.square(basis).sum()
    main = features[:, : len(band) * (int(np.searchsorted(share, WEIGHED_SHARE)) + 1)]
    emphasis = weigh_bands(main, weighted, band, design.margin, design.lengths)
    scale = np.tile(emphasis[band], basis.shape[1])
    ridge = Ridge(features * scale, design.margin, folds(design.lengths))
    weights, predictions, kernels = design.fit(ridge, latents, group)
    scaled = np.asarray(scale[:, None] * weights, np.float32)
    chosen = tr, response, tuple(emphasis.tolist()) if np.ptp(emphasis) else ()
    found = EegRidge(design.standardisation, basis, lags, scaled, kernels, group, *chosen)
    logger.info("%s", found)
    return found, predictions


def put_at_measured(series: Sequence[Float], values: Float, measured: Sequence[NDArray[np.bool_]]) -> None:
    """Write values (n, d), of the measured frames of all segments, into the segments' series (K, d)."""
    ends = np.cumsum([mask.sum() for mask in measured])
    for one, part, mask in zip(series, np.split(values, ends[:-1]), measured, strict=True):
        one[mask] = part


def _thinned(lengths: Sequence[int]) -> tuple[int, list[NDArray[np.int64]]]:
    """The step between frames that are weighed, and the blocks of them that are left out in turn."""
    ends = np.cumsum([0, *lengths])
    every = -(-int(ends[-1]) // WEIGHED)
    return every, folds([len(range(-(-a // every) * every, b, every)) for a, b in pairwise(ends)])


def weigh_bands(
    features: Float32, targets: Float, band: NDArray[np.intp], margin: int, lengths: Sequence[int]
) -> NDArray[np.float32]:
    """Emphasis on each band (bands,) that predicts left-out blocks best, by descent along one at a time.

    It is 1 for all unless what either half of the blocks chooses predicts the other half better.

    Parameters
    ----------
    features : array, shape (n, R * F), response slowest
    targets : array, shape (n, d), scaled by what each counts for
    band : array of int, shape (F,)
    margin : int, frames
    lengths : sequence of int, frames of each segment
    """
    every, blocks = _thinned(lengths)
    thinned, targets = features[::every].astype(np.float64), targets[::every]
    n_bands, band = int(band.max()) + 1, np.tile(band, thinned.shape[1] // len(band))
    equal, halves = np.ones(n_bands), [blocks[::2], blocks[1::2]]

    def errors(variance: Float, of: Blocks, among: slice = slice(None)) -> Float:
        # Penalties are relative to the mean variance of features, so only its ratios between bands matter.
        scaled = thinned * np.sqrt(variance / variance.mean())[band]
        ridge = Ridge(scaled, -(-margin // every), of)
        return np.asarray(ridge.left_out_errors(targets, among).mean(axis=1))

    def best(of: Blocks) -> Float:
        variance, at_once = equal, errors(equal, of)
        lowest, place = at_once.min(), int(at_once.argmin())
        near = slice(max(place - 1, 0), place + 2)
        for factor in EMPHASIS_STEPS:
            for number in range(n_bands):
                tried = variance * np.where(np.arange(n_bands) == number, factor, 1.0)
                error = errors(tried, of, near).min()
                if error < lowest:
                    lowest, variance = error, tried
        return variance

    confirmed = n_bands > 1 and all(
        errors(best(half), other).min() < errors(equal, other).min() for half, other in (halves, halves[::-1])
    )
    variance = best(blocks) if confirmed else equal
    return np.sqrt(variance / variance.mean()).astype(np.float32)
