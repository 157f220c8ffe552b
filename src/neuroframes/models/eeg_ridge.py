"""The linear part of the EEG pathway: latents of a frame from lagged log band power.

    m(t) = h * (e_b p(t - lag) B) W

p is standardised log band power, of channels and of spatially whitened channels; B a basis of haemodynamic
responses (see `models.response`), e_b an emphasis on each band, both the prior of a ridge regression W with
one penalty for each group of latents that share a spectrum. All are chosen by left-out segments of the
training part, or blocks. The first components are much easier to tell from EEG than the last: one penalty
for all would drown the first in noise or silence them. h is a Wiener filter along time: see `models.wiener`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuroframes.models.response import response_basis
from neuroframes.models.ridge import Ridge, Standardisation, folds
from neuroframes.models.wiener import fit_wiener, smooth
from neuroframes.recording.band_power import LAST_LAG, BandPower, lagged

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

CHUNK = 2048  # frames whose features are held at once
JUDGED = 1200  # frames, evenly spread, on which bands are weighed
JUDGED_RESPONSES = 2  # columns of B in that: they hold nine tenths of it
EMPHASIS_STEPS = (10.0, 0.1, 3.0, 1 / 3)  # factors tried in turn on the variance that the prior gives a band


@dataclass(frozen=True)
class EegRidge:
    """Latents from band power.

    Attributes
    ----------
    standardisation : Standardisation of the band power, not lagged (F,)
    responses : array, shape (L, R), the basis B at `lags`
    lags : array, shape (L,), seconds
    weights : array, shape (R * F, d)
    kernels : array, shape (G, 2 * reach + 1), the filter of each group at lags of whole frames
    group : array of int, shape (d,)
    tr : float, seconds
    """

    standardisation: Standardisation
    responses: Float
    lags: Float
    weights: Float32
    kernels: Float
    group: NDArray[np.int64]
    tr: float

    def __call__(self, power: BandPower, times: Float) -> Float:
        """Prior mean of the latents, shape (K, d), at `times` (K,), seconds on the EEG clock."""
        standard = BandPower(self.standardisation(power.values), power.times)
        # Any times will do, on the frame grid or off it: the filter needs the ridge around each of them,
        # and on a grid the neighbours' neighbours are the same, to the microsecond.
        reach = self.kernels.shape[1] // 2
        around = np.add.outer(np.arange(-reach, reach + 1) * self.tr, times)
        distinct, where = np.unique(around.round(6), return_inverse=True)
        unfiltered = np.empty((len(distinct), len(self.group)))
        for rows in _chunks(len(distinct)):
            unfiltered[rows] = (
                responses_to(standard, distinct[rows], self.lags, self.responses) @ self.weights
            )
        mean = np.zeros((len(times), len(self.group)))
        for rows, weights in zip(where.reshape(around.shape), self.kernels.T, strict=True):
            mean += unfiltered[rows] * weights[self.group]
        return mean


def responses_to(power: BandPower, times: Float, lags: Float, basis: Float) -> Float32:
    """Band power filtered by each column of the basis, at `times` (K,): (K, R * F), response slowest."""
    features = np.empty((len(times), basis.shape[1], power.values.shape[1]), np.float32)
    for rows in _chunks(len(times)):
        at_lags = lagged(power, times[rows], lags).reshape(-1, len(lags), power.values.shape[1])
        np.einsum("klf,lr->krf", at_lags, basis.astype(np.float32), out=features[rows], optimize=True)
    return features.reshape(len(times), -1)


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, n, CHUNK))


def _before(power: BandPower, times: Float) -> Float32:
    """Band power that the frames at `times` are explained by: the rest of a run may be held out."""
    inside = (power.times >= times[0] - LAST_LAG) & (power.times <= times[-1])
    return power.values[inside]


def fit_eeg_ridge(
    powers: Sequence[BandPower],
    times: Sequence[Float],
    latents: Sequence[Float],
    measured: Sequence[NDArray[np.bool_]],
    group: NDArray[np.int64],
    importance: Float,
    tr: float,
    n_bands: int,
) -> tuple[EegRidge, list[Float]]:
    """Fit on segments of the training part.

    Parameters
    ----------
    powers, times, latents, measured : one a segment
        Band power (T, F) with the band fastest, times (K,), latents (K, d), measured (K,).
    group : array of int, shape (d,)
        Latents that share a penalty.
    importance : array, shape (d,)
        What a latent's squared error counts for when bands are weighed.
    tr : float, seconds; the step between lags
    n_bands : int

    Returns
    -------
    EegRidge, and per segment the left-out prediction of its latents (K, d), after the Wiener filter
    """
    standardisation = Standardisation.of(
        np.concatenate([_before(power, at) for power, at in zip(powers, times, strict=True)])
    )
    lags = np.arange(0, LAST_LAG + tr / 2, tr)
    basis = response_basis(lags)
    features = np.concatenate(
        [
            responses_to(BandPower(standardisation(power.values), power.times), at[mask], lags, basis)
            for power, at, mask in zip(powers, times, measured, strict=True)
        ]
    )
    targets = np.concatenate([z[mask] for z, mask in zip(latents, measured, strict=True)])
    band = np.arange(features.shape[1]) % n_bands
    margin = round(LAST_LAG / tr)
    lengths = [int(mask.sum()) for mask in measured]
    scale = weigh_bands(features, targets * np.sqrt(importance), n_bands, basis.shape[1], margin, lengths)[
        band
    ]
    ridge = Ridge(features * scale, margin, folds(lengths))
    errors = ridge.left_out_errors(targets)
    weights = np.empty((features.shape[1], targets.shape[1]), np.float32)
    left_out = np.empty_like(targets)
    for number in np.unique(group):
        these = group == number
        penalty = float(ridge.penalties[errors[:, these].mean(axis=1).argmin()])
        coefficients = ridge.right @ ridge.coefficients(targets[:, these], penalty)
        weights[:, these] = scale[:, None] * coefficients
        left_out[:, these] = ridge.left_out(targets[:, these], penalty)
    predictions = []
    ends = np.cumsum(lengths)[:-1]
    for part, mask in zip(np.split(left_out, ends), measured, strict=True):
        prediction = np.zeros((len(mask), targets.shape[1]))
        prediction[mask] = part
        predictions.append(prediction)
    seen = [np.where(mask[:, None], z, 0) for z, mask in zip(latents, measured, strict=True)]
    kernels = fit_wiener(predictions, seen, group, tr)
    predictions = [smooth(prediction, kernels, group) for prediction in predictions]
    return EegRidge(standardisation, basis, lags, weights, kernels, group, tr), predictions


def weigh_bands(
    features: Float32, targets: Float, n_bands: int, n_responses: int, margin: int, lengths: Sequence[int]
) -> NDArray[np.float32]:
    """Emphasis on each band (n_bands,) that predicts left-out blocks best, by descent along one at a time.

    Parameters
    ----------
    features : array, shape (n, R * F), response slowest and band fastest
    targets : array, shape (n, d), scaled by what each counts for
    n_bands, n_responses : int
    margin : int, frames
    lengths : sequence of int, frames of each segment
    """
    every = -(-len(features) // JUDGED)
    n_kept = features.shape[1] // n_responses * min(JUDGED_RESPONSES, n_responses)
    thinned, targets = features[::every, :n_kept].astype(np.float64), targets[::every]
    band = np.arange(n_kept) % n_bands
    ends = np.cumsum([0, *lengths])
    blocks = folds([len(range(-(-a // every) * every, b, every)) for a, b in pairwise(ends)])

    def errors(variance: Float, among: slice = slice(None)) -> Float:
        # Penalties are relative to the mean variance of features, so only its ratios between bands matter.
        scaled = thinned * np.sqrt(variance / variance.mean())[band]
        ridge = Ridge(scaled, -(-margin // every), blocks)
        return np.asarray(ridge.left_out_errors(targets, among).mean(axis=1))

    variance = np.ones(n_bands)
    at_once = errors(variance)
    lowest, best = at_once.min(), int(at_once.argmin())
    near = slice(max(best - 1, 0), best + 2)
    for factor in EMPHASIS_STEPS:
        for number in range(n_bands):
            tried = variance * np.where(np.arange(n_bands) == number, factor, 1.0)
            error = errors(tried, near).min()
            if error < lowest:
                lowest, variance = error, tried
    return np.sqrt(variance / variance.mean()).astype(np.float32)
