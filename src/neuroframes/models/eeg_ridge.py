"""The linear part of the EEG pathway: latents of a frame from lagged log band power.

    m(t) = h * (standardised p(t - lag), all lags) W

W is ridge, with one penalty for each group of latents that share a spectrum, chosen by left-out blocks of
the training part. The first components are much easier to tell from EEG than the last: one penalty for
all would drown the first in noise or silence them. h is a Wiener filter along time: see `models.wiener`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.models.ridge import Ridge, Standardisation
from neuroframes.models.wiener import fit_wiener, smooth
from neuroframes.recording.band_power import LAST_LAG, BandPower, lagged

Float = NDArray[np.float64]
FOLDS = 8


@dataclass(frozen=True)
class EegRidge:
    """Latents from band power.

    Attributes
    ----------
    standardisation : Standardisation of the band power, not lagged (F,)
    weights : array, shape (L * F, d)
    lags : array, shape (L,), seconds
    kernels : array, shape (G, 2 * reach + 1), the filter of each group at lags of whole frames
    group : array of int, shape (d,)
    tr : float, seconds
    """

    standardisation: Standardisation
    weights: NDArray[np.float32]
    lags: Float
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
        unfiltered = lagged(standard, distinct, self.lags) @ self.weights
        mean = np.zeros((len(times), len(self.group)))
        for rows, weights in zip(where.reshape(around.shape), self.kernels.T, strict=True):
            mean += unfiltered[rows] * weights[self.group]
        return mean


def _before(power: BandPower, times: Float) -> NDArray[np.float32]:
    """Band power that the frames at `times` are explained by: the rest of a run may be held out."""
    inside = (power.times >= times[0] - LAST_LAG) & (power.times <= times[-1])
    return power.values[inside]


def fit_eeg_ridge(
    powers: Sequence[BandPower],
    times: Sequence[Float],
    latents: Sequence[Float],
    measured: Sequence[NDArray[np.bool_]],
    group: NDArray[np.int64],
    tr: float,
) -> tuple[EegRidge, list[Float]]:
    """Fit on segments of the training part.

    Parameters
    ----------
    powers, times, latents, measured : one a segment
        Times (K,), latents (K, d), measured (K,).
    group : array of int, shape (d,)
        Latents that share a penalty.
    tr : float, seconds; the step between lags

    Returns
    -------
    EegRidge, and per segment the left-out prediction of its latents (K, d), zero at censored frames
    """
    standardisation = Standardisation.of(
        np.concatenate([_before(power, at) for power, at in zip(powers, times, strict=True)])
    )
    lags = np.arange(0, LAST_LAG + tr / 2, tr)
    features = np.concatenate(
        [
            lagged(BandPower(standardisation(power.values), power.times), at[mask], lags)
            for power, at, mask in zip(powers, times, measured, strict=True)
        ]
    )
    targets = np.concatenate([z[mask] for z, mask in zip(latents, measured, strict=True)])
    ridge = Ridge(features, FOLDS, round(LAST_LAG / tr))
    weights = np.empty((features.shape[1], targets.shape[1]), np.float32)
    left_out = np.empty_like(targets)
    for number in np.unique(group):
        these = group == number
        penalty = ridge.best_penalty(targets[:, these])
        weights[:, these] = ridge.right @ ridge.coefficients(targets[:, these], penalty)
        left_out[:, these] = ridge.left_out(targets[:, these], penalty)
    predictions = []
    ends = np.cumsum([mask.sum() for mask in measured])[:-1]
    for part, mask in zip(np.split(left_out, ends), measured, strict=True):
        prediction = np.zeros((len(mask), targets.shape[1]))
        prediction[mask] = part
        predictions.append(prediction)
    seen = [np.where(mask[:, None], z, 0) for z, mask in zip(latents, measured, strict=True)]
    kernels = fit_wiener(predictions, seen, group, tr)
    predictions = [smooth(prediction, kernels, group) for prediction in predictions]
    return EegRidge(standardisation, weights, lags, kernels, group, tr), predictions
