"""Ridge regression of every vertex on lagged log band power (a finite impulse response per feature).

Phi (n, p) holds the standardised log band power of all channels and bands at 0 to 20 s before each frame.
With the thin SVD Phi = U diag(s) V', L = U diag(s) and D = diag(1 / (s^2 + penalty)):
  prediction  Phi* V D L' Y        hat matrix  H = L D L'
One eigendecomposition, of Phi Phi' or Phi' Phi, whichever is smaller, serves all penalties, vertices
and folds: the residual of a block B, left out of the fit, is (I - H_BB)^-1 (Y - H Y)_B.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import filled, repetition_time, training_mean
from neuroframes.errors import InputError
from neuroframes.recording.band_power import LAST_LAG, lagged
from neuroframes.recording.segments import Segment

JUDGED_VERTICES = 512  # evenly spread, enough to choose one penalty by their pooled error
PENALTIES = np.logspace(-2, 5, 15)  # times p, the mean diagonal of Phi Phi'


def left_out_errors(
    left: NDArray[np.float64],
    squared: NDArray[np.float64],
    targets: NDArray[np.float64],
    penalties: NDArray[np.float64],
    n_folds: int,
    margin: int,
) -> NDArray[np.float64]:
    """Mean squared error of blocked cross-validation for each penalty, shape (P,).

    Parameters
    ----------
    left : array, shape (n, r), L = U diag(s)
    squared : array, shape (r,), s^2
    targets : array, shape (n, q), centred
    penalties : array, shape (P,)
    n_folds : int, contiguous blocks in turn left out
    margin : int, frames on either side of a block left out of the fit with it and not judged
    """
    n = len(left)
    blocks = np.array_split(np.arange(n), n_folds)
    projected = left.T @ targets
    errors = np.zeros(len(penalties))
    for index, penalty in enumerate(penalties):
        shrinkage = 1 / (squared + penalty)
        residual = targets - left @ (shrinkage[:, None] * projected)
        for block in blocks:
            first = max(block[0] - margin, 0)
            around = slice(first, block[-1] + 1 + margin)
            hat = (left[around] * shrinkage) @ left[around].T
            left_out = np.linalg.solve(np.eye(len(hat)) - hat, residual[around])
            errors[index] += np.sum(left_out[block - first] ** 2)
    return errors / targets.size


class RidgeFIR:
    """Ridge on log band power lagged 0 to 20 s at the TR, one penalty for all vertices.

    Parameters
    ----------
    n_folds : int
        Contiguous blocks of the training frames; a margin of 20 s on either side is left out too, so
        that frames next to a block, nearly equal to it, don't give it away.

    Notes
    -----
    The penalty is the one with the lowest left-out error pooled over vertices. Centring and scaling
    come from the whole training part, not from each fold. Measured frames of a segment are
    returned but not used for its other frames.
    """

    name = "ridge FIR"

    def __init__(self, n_folds: int = 8) -> None:
        self.n_folds = n_folds

    def features(self, segment: Segment) -> NDArray[np.float64]:
        """Lagged log band power, shape (K, p), lag slowest."""
        if segment.power is None:
            raise InputError(f"{segment.run}: ridge on band power needs EEG; there is none for this run")
        return lagged(segment.power, segment.times, self.lags_).astype(np.float64)

    def fit(self, train: Sequence[Segment]) -> Self:
        """Choose the penalty and solve for all vertices."""
        tr = repetition_time(train)
        self.lags_ = np.arange(0, LAST_LAG + tr / 2, tr)
        self.mean_ = training_mean(train)
        phi = np.concatenate([self.features(segment)[segment.measured] for segment in train])
        self.centre_ = phi.mean(axis=0)
        deviation = phi.std(axis=0)
        # A flat channel's deviation is rounding; scaled up, it would become a feature.
        flat = deviation <= 1e-6 * np.abs(self.centre_) + 1e-12
        self.scale_ = np.where(flat, np.inf, deviation)
        phi = (phi - self.centre_) / self.scale_

        n, p = phi.shape
        squared, vectors = np.linalg.eigh(phi @ phi.T if n < p else phi.T @ phi)
        kept = squared > 1e-10 * squared[-1]
        squared, vectors = squared[kept], vectors[:, kept]
        right = phi.T @ vectors / np.sqrt(squared) if n < p else vectors
        left = vectors * np.sqrt(squared) if n < p else phi @ vectors

        every = -(-len(self.mean_) // JUDGED_VERTICES)
        judged = np.concatenate([segment.frames[segment.measured, ::every] for segment in train])
        self.penalties_ = p * PENALTIES
        margin = round(LAST_LAG / tr)
        targets = judged.astype(np.float64) - self.mean_[::every]
        self.errors_ = left_out_errors(left, squared, targets, self.penalties_, self.n_folds, margin)
        self.penalty_ = float(self.penalties_[self.errors_.argmin()])

        # Columns of L have mean 0, so L' Y needs no centred copy of the frames.
        ends = np.cumsum([segment.measured.sum() for segment in train])[:-1]
        moment = sum(
            rows.T.astype(np.float32) @ segment.frames[segment.measured]
            for rows, segment in zip(np.split(left, ends), train, strict=True)
        )
        self.right_ = right
        self.coefficients_ = (moment / (squared + self.penalty_)[:, None]).astype(np.float32)
        return self

    def predict(self, segment: Segment, measured: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Every frame, shape (K, V); see `Baseline.predict`."""
        phi = (self.features(segment) - self.centre_) / self.scale_
        estimate = (phi @ self.right_).astype(np.float32) @ self.coefficients_ + self.mean_
        return filled(segment, measured, estimate)
