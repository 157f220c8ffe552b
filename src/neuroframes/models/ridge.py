"""Ridge regression with everything that blocked cross-validation needs in closed form.

Phi (n, p) are standardised features. With the thin SVD Phi = U diag(s) V^T, L = U diag(s) and
D = diag(1 / (s^2 + penalty)):

    prediction  Phi* V D L^T Y,        hat matrix  H = L D L^T.

One eigendecomposition, of Phi Phi^T or Phi^T Phi, whichever is smaller, serves all penalties, targets
and folds: the residual of a block B, left out of the fit, is (I - H_BB)^-1 (Y - H Y)_B.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

PENALTIES = np.logspace(-2, 5, 15)  # times p, the mean diagonal of Phi Phi^T
N_BLOCKS = 8
ENOUGH_SEGMENTS = 4  # from so many on, whole segments are left out
CLIP = 5.0  # robust standard deviations: an artefact is no evidence


@dataclass(frozen=True)
class Standardisation:
    """Median and robust spread of each feature over the training part.

    Attributes
    ----------
    centre, spread : array, shape (p,)
        `spread` is infinite where the feature is constant, so that it counts for nothing.
    """

    centre: Float32
    spread: Float32

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Standardisation":
        """From features (n, p); the spread is 1.4826 times the median absolute deviation."""
        centre = np.median(features, axis=0)
        spread = 1.4826 * np.median(np.abs(features - centre), axis=0)
        flat = spread <= 1e-6 * np.abs(centre) + 1e-12
        return cls(centre.astype(np.float32), np.where(flat, np.inf, spread).astype(np.float32))

    def __call__(self, features: NDArray[np.floating]) -> Float32:
        """Standardised and clipped features, shape (n, p)."""
        return np.clip((features - self.centre) / self.spread, -CLIP, CLIP).astype(np.float32)


def folds(lengths: Sequence[int]) -> list[NDArray[np.int64]]:
    """Rows to leave out in turn, of segments with so many rows each: segments, or blocks where they are few.

    Frames of one run share slow fluctuations that another run doesn't have, so a block of a run that was
    otherwise fitted to is easier than a new run.
    """
    rows = np.arange(sum(lengths))
    if np.count_nonzero(lengths) >= ENOUGH_SEGMENTS:
        blocks = np.split(rows, np.cumsum(lengths)[:-1])
    else:
        blocks = np.array_split(rows, N_BLOCKS)
    return [block for block in blocks if len(block)]


class Ridge:
    """The decomposition of one feature matrix, from which every fit follows.

    Parameters
    ----------
    features : array, shape (n, p)
        Standardised. An intercept isn't fitted: targets have mean 0.
    margin : int
        Frames on either side of a block that are left out of the fit with it and not scored, since
        neighbours in time are nearly equal.
    blocks : sequence of array of int
        Consecutive rows that are left out in turn; by default `folds` of one segment.
    """

    def __init__(
        self, features: NDArray[np.floating], margin: int, blocks: Sequence[NDArray[np.int64]] | None = None
    ) -> None:
        phi = np.asarray(features, np.float64)
        n, p = phi.shape
        squared, vectors = np.linalg.eigh(phi @ phi.T if n < p else phi.T @ phi)
        kept = squared > 1e-10 * squared[-1]
        self.squared, vectors = squared[kept], vectors[:, kept]
        self.right: Float = phi.T @ vectors / np.sqrt(self.squared) if n < p else vectors
        self.left: Float = vectors * np.sqrt(self.squared) if n < p else phi @ vectors
        self.penalties = p * PENALTIES
        self.blocks = folds([n]) if blocks is None else blocks
        self.margin = margin

    def coefficients(self, targets: NDArray[np.floating], penalty: float) -> Float:
        """What `right` is multiplied by: weights (p, q) = right @ coefficients (r, q)."""
        return (self.left.T @ targets) / (self.squared + penalty)[:, None]

    def left_out(self, targets: NDArray[np.floating], penalty: float) -> Float:
        """Prediction of each block by a fit without it and its margins, shape (n, q)."""
        return targets - self.left_out_residual(targets, penalty)

    def left_out_errors(self, targets: NDArray[np.floating], among: slice = slice(None)) -> Float:
        """Mean squared left-out error of each target, for each penalty, or some of them; (penalties, q).

        Rows that are in no block count as if they were without error.
        """
        projected = self.left.T @ targets
        residuals = (self.left_out_residual(targets, penalty, projected) for penalty in self.penalties[among])
        return np.array([np.square(residual).mean(axis=0) for residual in residuals])

    def best_penalty(self, targets: NDArray[np.floating]) -> tuple[float, float]:
        """The penalty with the lowest left-out error, pooled over targets, and that error."""
        errors = self.left_out_errors(targets).mean(axis=1)
        return float(self.penalties[errors.argmin()]), float(errors.min())

    def left_out_residual(
        self, targets: NDArray[np.floating], penalty: float, projected: Float | None = None
    ) -> Float:
        """What is left of the targets (n, q) by a fit without each row's block and its margins.

        `projected` is left^T Y, where it is known.
        """
        projected = self.left.T @ targets if projected is None else projected
        shrinkage = 1 / (self.squared + penalty)
        residual = targets - self.left @ (shrinkage[:, None] * projected)
        left_out = np.zeros_like(residual)
        for block in self.blocks:
            around = slice(max(block[0] - self.margin, 0), block[-1] + 1 + self.margin)
            left, error = self.left[around], residual[around]
            if len(left) < left.shape[1]:
                error = np.linalg.solve(np.eye(len(left)) - (left * shrinkage) @ left.T, error)
            else:  # the same by Woodbury's identity
                error = error + left @ np.linalg.solve(np.diag(1 / shrinkage) - left.T @ left, left.T @ error)
            left_out[block] = error[block - around.start]
        return left_out
