"""The exact posterior of frames when some vertices of some frames are measured.

With X ~ N(m D, C), C of `JointCovariance`, and y = A X, where A copies M entries,

    E[X | y] = m D + C A^T G^-1 (y - A m D),   G = A C A^T,   Cov[X | y] = C - C A^T G^-1 A C.

G is factorised (Cholesky) for up to `LARGEST_DENSE` measurements; beyond, conjugate gradients solve with C
applied through its factors. Draws follow Matheron's rule (Journel and Huijbregts 1978, chapter VII):
x + C A^T G^-1 (y - A x) with x from the prior. Where whole frames are measured all equals `FramePrior.given`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.sparse.linalg import LinearOperator, cg

from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import blocks
from neuroframes.frames.joint_covariance import JointCovariance
from neuroframes.frames.measurement import FrameVertexMask
from neuroframes.frames.posterior import rounding
from neuroframes.frames.prior import FramePrior

Float = NDArray[np.floating]

LARGEST_DENSE = 8000  # measurements: 0.5 GB, and some seconds
TOLERANCE = 1e-6  # of conjugate gradients, relative to ||y||
MOST_PATTERNS = 256  # sets of measured frames that some vertices share, up to which each is preconditioned


@dataclass(frozen=True)
class Regression:
    """Multiplication by C A^T G^-1."""

    covariance: JointCovariance
    operator: FrameVertexMask
    factor: Float | None  # lower Cholesky factor of G, where that is affordable

    @classmethod
    def of(cls, covariance: JointCovariance, operator: FrameVertexMask, largest_dense: int) -> "Regression":
        frame, vertex = np.nonzero(operator.measured)
        if len(frame) > largest_dense:
            return cls(covariance, operator, None)
        gram = np.zeros((len(frame), len(frame)))
        for rows in blocks(len(frame), 512):
            for kernel, shared in covariance.parts(vertex[rows], vertex):
                gram[rows] += kernel[np.ix_(frame[rows], frame)] * shared
        gram[np.diag_indices_from(gram)] += rounding(gram)
        return cls(covariance, operator, cholesky(gram, lower=True, overwrite_a=True))

    def __call__(self, y: Float) -> Float:
        """From a vector (M,) to frames (K, V)."""
        if self.factor is not None:
            weights = cho_solve((self.factor, True), y)
        else:
            shape = (len(y), len(y))
            weights, failed = cg(
                LinearOperator(shape, self._gram, dtype=np.float64),
                y,
                rtol=TOLERANCE,
                M=LinearOperator(shape, self._preconditioner, dtype=np.float64),
            )
            if failed:
                raise InputError(
                    f"conjugate gradients did not converge on {len(y)} measured entries in {failed} steps; "
                    "shorten the window or measure whole frames"
                )
        return self.covariance.apply(self.operator.adjoint(weights))

    def _gram(self, weights: Float) -> Float:
        return self.operator.apply(self.covariance.apply(self.operator.adjoint(weights)))

    @cached_property
    def _preconditioner(self) -> Callable[[Float], Float]:
        """G^-1 if vertices were independent and had one covariance along time, the mean one."""
        patterns, member = np.unique(self.operator.measured, axis=1, return_inverse=True)
        if patterns.shape[1] > MOST_PATTERNS:
            return np.asarray
        kernel = self.covariance.mean_kernel()
        solvers = []
        for number in np.flatnonzero(patterns.any(axis=0)):
            pattern = patterns[:, number]
            gram = kernel[np.ix_(pattern, pattern)]
            factor = cho_factor(gram + rounding(gram) * np.eye(len(gram)), lower=True)
            solvers.append((np.ix_(pattern, member == number), factor))

        def solve(weights: Float) -> Float:
            x = self.operator.adjoint(weights)
            for where, factor in solvers:
                x[where] = cho_solve(factor, x[where])
            return self.operator.apply(x)

        return solve


@dataclass(frozen=True)
class JointPosterior:
    """Posterior of K frames at every vertex.

    Attributes
    ----------
    mean : array, shape (K, V), measured entries to the bit
    regression : Regression
    spread : float
        Factor on deviations from the mean, as in `FramePrior`.
    """

    mean: Float
    regression: Regression
    spread: float

    def std(self, generator: np.random.Generator, block: slice = slice(None), n_draws: int = 64) -> Float:
        """Marginal standard deviation (K, v): exact where G is factorised, else that of draws."""
        if self.regression.factor is None:
            draws = (self.draw(generator)[:, block] for _ in range(n_draws))
            return np.sqrt(sum(np.square(draw - self.mean[:, block]) for draw in draws) / n_draws)
        covariance, operator = self.regression.covariance, self.regression.operator
        frame, vertex = np.nonzero(operator.measured)
        n_frames = len(self.mean)
        wanted = np.arange(self.mean.shape[1])[block]
        variance = covariance.variance(block)
        for part in blocks(len(wanted), max(1, LARGEST_DENSE**2 // max(n_frames * len(frame), 1))):
            across = np.zeros((len(frame), n_frames, len(wanted[part])))
            for kernel, shared in covariance.parts(vertex, wanted[part]):
                across += kernel[frame][:, :, None] * shared[:, None, :]
            columns = across.reshape(len(frame), n_frames * across.shape[2])
            explained = solve_triangular(self.regression.factor, columns, lower=True)
            variance[:, part] -= np.square(explained).sum(axis=0).reshape(n_frames, -1)
        variance[operator.measured[:, block]] = 0
        return self.spread * np.sqrt(np.maximum(variance, 0))

    def draw(self, generator: np.random.Generator) -> Float:
        """One draw of all frames, shape (K, V)."""
        sample = self.regression.covariance.draw(generator)
        known = self.regression.operator.apply(sample)
        # Measured entries of the difference are rounding.
        deviation = self.regression.operator.impose(sample - self.regression(known), np.zeros_like(known))
        return self.mean + self.spread * deviation


def given_entries(
    prior: FramePrior,
    times: NDArray[np.float64],
    operator: FrameVertexMask,
    measurements: Float,
    mean: Float | None = None,
    largest_dense: int = LARGEST_DENSE,
) -> JointPosterior:
    """Exact posterior given some vertices of some frames.

    Parameters
    ----------
    prior : FramePrior
    times : array, shape (K,), seconds
    operator : FrameVertexMask, (K, V) -> M
    measurements : array, shape (M,)
    mean : array, shape (K, d)
        Prior mean of the latents; zero if None.
    largest_dense : int
        Measurements up to which G is factorised.
    """
    regression = Regression.of(JointCovariance(prior, times), operator, largest_dense)
    estimate = np.zeros(operator.measured.shape)
    if mean is not None:
        estimate += mean @ prior.autoencoder.decoder
    estimate = estimate + regression(measurements - operator.apply(estimate))
    return JointPosterior(operator.impose(estimate, measurements), regression, prior.spread)
