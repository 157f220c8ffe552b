"""A Gaussian process for each principal component, its kernel by marginal likelihood.

    k(tau) = s (m(tau / l) cos 2 pi f tau + n [tau = 0]),   m Matern with nu = 3/2 or 5/2

(Rasmussen and Williams 2006, equations 2.30 and 4.17). With the eigenvectors Q and values e of m cos at the
measured times, the likelihood of a component z is closed in n and s:

    y = Q'z,   s = mean y^2 / (e + n),   -2 log p = N log s + sum log (e + n) + constant

so nu, l, f and n are the likeliest of a grid, of which one decomposition serves all components and all n. The
rest has one kernel at all vertices, found in the same way. The posterior is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from neuroframes.baselines.components import fit_components, split
from neuroframes.baselines.interface import Baseline, repetition_time
from neuroframes.frames.prior import SAMPLE
from neuroframes.models.model import Estimate
from neuroframes.recording.segments import Segment

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]

LONGEST = 512  # frames of a stretch, whose likelihood counts by itself
SCALES = np.geomspace(1, 64, 13)  # by TR
FREQUENCIES = np.linspace(0, 0.12, 25)  # Hz
NOISES = np.geomspace(1e-9, 30, 32)  # by the variance of the rest of the kernel


@dataclass(frozen=True)
class Kernel:
    """k(tau) / s, noise included at tau = 0.

    Attributes
    ----------
    nu : float, 1.5 or 2.5
    scale : float, l in seconds
    frequency : float, f in Hz
    noise : float, n
    """

    nu: float
    scale: float
    frequency: float
    noise: float = 0.0

    def __call__(self, lag: Float) -> Float:
        """At time differences in seconds, without noise."""
        distance = np.sqrt(2 * self.nu) * np.abs(lag) / self.scale
        polynomial = 1 + distance + (distance**2 / 3 if self.nu == 2.5 else 0)
        return polynomial * np.exp(-distance) * np.cos(2 * np.pi * self.frequency * lag)

    def posterior(self, known: Float, missing: Float) -> tuple[Float, Float]:
        """Weights (m, n) of what is known at times (n,), and variance (m,) by s, noise included."""
        inside = self(np.subtract.outer(known, known)) + self.noise * np.eye(len(known))
        across = self(np.subtract.outer(missing, known))
        weights = cho_solve(cho_factor(inside, overwrite_a=True), across.T).T
        return weights, 1 + self.noise - np.einsum("mn,mn->m", weights, across)


def likelihoods(kernel: Kernel, times: Sequence[Float], series: Sequence[Float]) -> tuple[Float, Float]:
    """-2 log p of each series under each of `NOISES`, but for a constant, and s; shapes (noises, series).

    Parameters
    ----------
    kernel : Kernel
    times : sequence of array, shape (n,), seconds
        Of stretches that are independent.
    series : sequence of array, shape (n, series), at these times
    """
    count = sum(len(at) for at in times)
    squares, logs = np.zeros((len(NOISES), series[0].shape[1])), np.zeros((len(NOISES), 1))
    for at, values in zip(times, series, strict=True):
        eigenvalues, vectors = np.linalg.eigh(kernel(np.subtract.outer(at, at)))
        variances = np.maximum(eigenvalues, 0) + NOISES[:, None]
        squares += (1 / variances) @ (vectors.T @ values) ** 2
        logs += np.log(variances).sum(axis=1, keepdims=True)
    variance = np.maximum(squares / count, np.finfo(float).tiny)
    return count * np.log(variance) + logs, variance


class MaternProcess(Baseline):
    """Exact conditioning of a Gaussian process for each principal component of the training part.

    Parameters
    ----------
    seed : int
        Of the principal components.
    """

    name = "Matern process"
    states_deviation = any_time = True
    frequencies: ClassVar[Float] = np.zeros(1)

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Sequence[Segment]) -> Self:
        """Fit components, their kernels and variances s, each d, and the kernel of what they leave over."""
        self.components_ = fit_components(train, self.seed)
        d, tr = self.components_.n_latents, repetition_time(train)
        every = -(-train[0].frames.shape[1] // SAMPLE)
        times, series = [], []
        for segment in train:
            latents, rest = split(self.components_, segment)
            both = np.concatenate([latents, rest.frames[:, ::every]], axis=1)
            for known in np.array_split(np.flatnonzero(segment.measured), -(-len(both) // LONGEST)):
                times.append(segment.times[known])
                series.append(both[known])
        least, self.variances_ = np.full(d + 1, np.inf), np.ones(d + 1)
        self.kernels_ = [Kernel(1.5, tr, 0.0)] * (d + 1)
        for nu, scale, frequency in product((1.5, 2.5), tr * SCALES, self.frequencies):
            kernel = Kernel(nu, scale, frequency)
            found, variances = likelihoods(kernel, times, series)
            # What is left over shares a kernel, and its variance is known at every vertex.
            found[:, d] = found[:, d:].sum(axis=1)
            best = found[:, : d + 1].argmin(axis=0)
            for j in np.flatnonzero(found[best, np.arange(d + 1)] < least):
                least[j], self.variances_[j] = found[best[j], j], variances[best[j], j]
                self.kernels_[j] = replace(kernel, noise=float(NOISES[best[j]]))
        return self

    @property
    def n_parameters(self) -> int:
        return self.components_.decoder.size + 5 * len(self.kernels_)

    def estimate(self, segment: Segment) -> Float32:
        return self.fill(segment).mean

    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        self.check(eeg=False, draws=draws)
        known, missing = segment.times[segment.measured], segment.times[~segment.measured]
        conditioned = {kernel: kernel.posterior(known, missing) for kernel in set(self.kernels_)}
        *kernels, of_rest = self.kernels_
        latents, rest = split(self.components_, segment)
        mean, variance = np.empty((2, len(missing), len(kernels)))
        for j, kernel in enumerate(kernels):
            weights, left = conditioned[kernel]
            mean[:, j] = weights @ latents[segment.measured, j]
            variance[:, j] = self.variances_[j] * left
        weights, left = conditioned[of_rest]
        frames = self.components_.decode(mean) + weights.astype(np.float32) @ rest.frames[segment.measured]
        variance = variance @ np.square(self.components_.decoder)
        variance += np.outer(left / (1 + of_rest.noise), np.square(self.components_.rest))
        return Estimate(frames, np.sqrt(variance).astype(np.float32))


class OscillatingProcess(MaternProcess):
    """The same with kernels that oscillate: Matern times cosine."""

    name = "oscillating Matern process"
    frequencies = FREQUENCIES
