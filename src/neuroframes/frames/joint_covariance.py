"""The prior covariance of all vertices of all frames at once.

    C = sum_g K_g (x) D_g^T diag(v_g) D_g  +  K_rest (x) S,

with (x) the Kronecker product of time and vertices: the prior of `FramePrior`. The rest needs a covariance
between vertices here: S = Q diag(s^2) Q keeps it out of the latents' reach, Q = I - D+ D = I - U U^T, and s
gives S the diagonal r^2. C is only ever applied through its factors, or evaluated between some vertices.
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.autoencoder import RANK_CUTOFF
from neuroframes.frames.posterior import square_root
from neuroframes.frames.prior import FramePrior

Float = NDArray[np.floating]
Index = NDArray[np.integer]

MATCHING = 100  # iterations that give S its diagonal, at most


class JointCovariance:
    """C over all vertices of K frames.

    Parameters
    ----------
    prior : FramePrior
    times : array, shape (K,), seconds
    """

    def __init__(self, prior: FramePrior, times: NDArray[np.float64]) -> None:
        self.kernels = [(prior.latents.kernel(g, times), latents) for g, latents in prior.latents.groups()]
        self.rest_kernel = prior.rest.kernel(0, times)
        # Latents of variance 1 spare the factor v.
        self.decoder = prior.autoencoder.decoder * np.sqrt(prior.latents.variance)[:, None]
        values, vectors = np.linalg.eigh(self.decoder @ self.decoder.T)
        kept = values > RANK_CUTOFF * values[-1]
        self.reach: Float = self.decoder.T @ vectors[:, kept] / np.sqrt(values[kept])  # U, (V, d)
        wanted = np.square(prior.autoencoder.rest, dtype=np.float64)
        self.rest = wanted.copy()  # s^2, (V,)
        for _ in range(MATCHING):
            diagonal = self._rest_diagonal()
            self.rest *= np.divide(wanted, diagonal, out=np.zeros_like(wanted), where=diagonal > 0)
            if np.allclose(diagonal, wanted, rtol=1e-9, atol=0):
                break

    def _rest_diagonal(self) -> Float:
        reach, inner = self.reach, (self.reach.T * self.rest) @ self.reach
        return self.rest * (1 - 2 * np.square(reach).sum(axis=1)) + ((reach @ inner) * reach).sum(axis=1)

    def variance(self, block: slice) -> Float:
        """Diagonal of C at the vertices of a block, shape (K, v)."""
        variance = np.outer(np.diagonal(self.rest_kernel), self._rest_diagonal()[block])
        for kernel, latents in self.kernels:
            shared = np.square(self.decoder[latents, block]).sum(axis=0)
            variance += np.outer(np.diagonal(kernel), shared)
        return variance

    def mean_kernel(self) -> Float:
        """Covariance along time averaged over vertices, shape (K, K)."""
        kernel = self.rest_kernel * self._rest_diagonal().mean()
        for each, latents in self.kernels:
            kernel = kernel + each * np.square(self.decoder[latents]).sum() / len(self.rest)
        return kernel

    def parts(self, left: Index | slice, right: Index | slice) -> Iterator[tuple[Float, Float]]:
        """Each kernel along time with its covariance between two sets of vertices."""
        for kernel, latents in self.kernels:
            yield kernel, self.decoder[latents][:, left].T @ self.decoder[latents][:, right]
        inner = (self.reach.T * self.rest) @ self.reach
        shared = self.reach[left] @ self.reach[right].T
        covariance = self.reach[left] @ inner @ self.reach[right].T
        covariance -= shared * np.add.outer(self.rest[left], self.rest[right])
        vertices = np.arange(len(self.rest))
        covariance += np.equal.outer(vertices[left], vertices[right]) * self.rest[right]
        yield self.rest_kernel, covariance

    def apply(self, x: Float) -> Float:
        """C x for x of shape (K, V)."""
        rest = (x - (x @ self.reach) @ self.reach.T) * self.rest
        product = self.rest_kernel @ (rest - (rest @ self.reach) @ self.reach.T)
        seen = x @ self.decoder.T
        for kernel, latents in self.kernels:
            product += kernel @ seen[:, latents] @ self.decoder[latents]
        return product

    @cached_property
    def _roots(self) -> list[Float]:
        return [square_root(kernel) for kernel in (self.rest_kernel, *(kernel for kernel, _ in self.kernels))]

    def draw(self, generator: np.random.Generator) -> Float:
        """One draw of N(0, C), shape (K, V)."""
        normal = generator.standard_normal((len(self.rest_kernel), len(self.rest))) * np.sqrt(self.rest)
        sample = self._roots[0] @ (normal - (normal @ self.reach) @ self.reach.T)
        for root, (_, latents) in zip(self._roots[1:], self.kernels, strict=True):
            sample += root @ generator.standard_normal((len(root), len(latents))) @ self.decoder[latents]
        return sample
