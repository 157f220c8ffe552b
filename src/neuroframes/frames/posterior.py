"""The exact Gaussian posterior of latents given measurements along time.

With the prior Z[:, j] ~ N(m_j, v_j K_g), K_g = k_g(times, times), and y = A Z + e, e ~ N(0, r v_j I),

    E[Z | y]   = m + W_g (y - A m),        W_g = K_g A^T (A K_g A^T + r I)^-1,
    Cov[Z | y] = v_j (K_g - W_g A K_g).

The gain W_g and the covariance depend on the group alone, so a group of any number of latents costs
one Cholesky factorisation of M x M.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from neuroframes.frames.measurement import AlongTime
from neuroframes.frames.temporal import TemporalCovariance

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Conditional:
    """What measurements along time say of the latents of one group.

    Attributes
    ----------
    gain : array, shape (K, M)
    covariance : array, shape (K, K), in units of the latent's variance
    """

    gain: Float
    covariance: Float

    @property
    def std(self) -> Float:
        """Posterior standard deviation of each frame, shape (K,)."""
        return np.sqrt(np.maximum(np.diagonal(self.covariance), 0.0))

    @cached_property
    def root(self) -> Float:
        """R of shape (K, K) with R R^T = covariance."""
        return square_root(self.covariance)


def square_root(covariance: NDArray[np.floating]) -> Float:
    """R with R R^T = covariance; a semi-definite one has no Cholesky factor."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def rounding(gram: NDArray[np.floating]) -> float:
    """What rounding may take from the eigenvalues of `gram`: the trace bounds the largest."""
    return float(4 * np.finfo(np.float64).eps * np.trace(gram))


def condition(kernel: Float, operator: AlongTime, noise: float = 0.0) -> Conditional:
    """Condition one group's kernel on y = A z + e.

    Parameters
    ----------
    kernel : array, shape (K, K)
        Prior covariance of the frames, in units of the latent's variance.
    operator : AlongTime, K -> M
    noise : float
        Variance of e, in the same units.
    """
    cross = operator.apply(kernel)
    gram = operator.apply(np.ascontiguousarray(cross.T))
    if not len(gram):  # nothing is measured: the posterior is the prior
        return Conditional(np.zeros((len(kernel), 0)), kernel)
    # A ridge the size of rounding lets A repeat a row.
    factor = cho_factor(gram + (noise + rounding(gram)) * np.eye(len(gram)), lower=True)
    gain = cho_solve(factor, cross).T
    return Conditional(gain, kernel - gain @ cross)


@dataclass(frozen=True)
class Posterior:
    """Posterior of d latents over K frames.

    Attributes
    ----------
    mean : array, shape (K, d)
    conditionals : one a group
    prior : TemporalCovariance
    """

    mean: Float
    conditionals: tuple[Conditional, ...]
    prior: TemporalCovariance

    @property
    def std(self) -> Float:
        """Marginal standard deviation, shape (K, d)."""
        by_group = np.stack([c.std for c in self.conditionals], axis=1)
        return by_group[:, self.prior.group] * np.sqrt(self.prior.variance)

    def draw(self, generator: np.random.Generator) -> Float:
        """One sample path of all latents, shape (K, d)."""
        sample = self.mean.copy()
        for g, latents in self.prior.groups():
            normal = generator.standard_normal((len(sample), len(latents)))
            sample[:, latents] += self.conditionals[g].root @ normal * np.sqrt(self.prior.variance[latents])
        return sample


def posterior(
    prior: TemporalCovariance,
    times: Float,
    operator: AlongTime,
    measurements: NDArray[np.floating],
    mean: Float | None = None,
    noise: float = 0.0,
) -> Posterior:
    """Exact posterior of the latents at `times` given y = A z + e.

    Parameters
    ----------
    prior : TemporalCovariance of d latents
    times : array, shape (K,), seconds
    operator : AlongTime, K -> M
    measurements : array, shape (M, d)
    mean : array, shape (K, d)
        Prior mean; zero if None.
    noise : float
        Variance of e, in units of each latent's variance.
    """
    estimate = np.zeros((len(times), len(prior.group))) if mean is None else np.array(mean, np.float64)
    surprise = measurements - operator.apply(estimate)
    conditionals = []
    for g, latents in prior.groups():
        conditional = condition(prior.kernel(g, times), operator, noise)
        estimate[:, latents] += conditional.gain @ surprise[:, latents]
        conditionals.append(conditional)
    return Posterior(estimate, tuple(conditionals), prior)
