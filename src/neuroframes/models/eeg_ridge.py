"""The linear part of the EEG pathway: latents of a frame from lagged log band power.

    m(t) = h * (e_b p(t - lag) B) W

p is standardised log band power, of channels and of spatially whitened channels, or other features; B a basis
of responses (see `models.response`), e_b an emphasis on each band, both the prior of a ridge regression W
with one penalty for each group of latents that share a spectrum. All are chosen by left-out segments of the
training part, or blocks. The first components are much easier to tell from EEG than the last: one penalty
for all would drown the first in noise or silence them. h is a Wiener filter along time
(`training.wiener`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.models.ridge import Standardisation
from neuroframes.recording.band_power import BandPower, lagged

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

CHUNK = 2048  # frames whose features are held at once


@dataclass(frozen=True)
class EegRidge:
    """Latents from band power.

    Attributes
    ----------
    standardisation : Standardisation of the band power, not lagged (F,), or None: that of each run
    responses : array, shape (L, R), the basis B at `lags`
    lags : array, shape (L,), seconds
    weights : array, shape (R * F, d)
    kernels : array, shape (G, 2 * reach + 1), the filter of each group at lags of whole frames
    group : array of int, shape (d,)
    tr : float, seconds
    response : str, the kind of B
    emphasis : tuple of float, e of each band; () where it is 1 for all
    """

    standardisation: Standardisation | None
    responses: Float
    lags: Float
    weights: Float32
    kernels: Float
    group: NDArray[np.int64]
    tr: float
    response: str
    emphasis: tuple[float, ...]

    def __str__(self) -> str:
        nothing = "" if self.weights.any() else "; no latent follows EEG"
        emphasis = "an" if self.emphasis else "no"
        return f"response along lags: {self.response}; {emphasis} emphasis on bands{nothing}"

    def __call__(self, power: BandPower, times: Float) -> Float:
        """Prior mean of the latents, shape (K, d), at `times` (K,), seconds on the EEG clock."""
        standardisation = self.standardisation or Standardisation.of(power.values)
        standard = BandPower(standardisation(power.values), power.times)
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
