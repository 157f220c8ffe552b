"""Gaussian-process interpolation (kriging) with one stationary kernel for all vertices.

x_v(t) - m_v ~ GP(0, c), c(tau) = w [tau = 0] + sum_j a_j k_j(tau), a_j >= 0, k_j from a fixed dictionary of
correlation functions (exponential, Matern 3/2, Gaussian, damped cosine) at several scales. With O the
measured and M the missing frames, W = C_MO (C_OO + w I)^-1, exactly, in float64.

The amplitudes maximise the Gaussian likelihood of stretches of n frames, pooled over stretches and
vertices: it depends on the data through their autocovariance alone, whose n x n Toeplitz matrix is G,
  minimise log|C| + tr(C^-1 G),  by  a_j <- a_j sqrt(tr(C^-1 K_j C^-1 G) / tr(C^-1 K_j)),
which never lowers the likelihood and keeps a_j >= 0 (Zhou et al. 2019, "MM algorithms for variance
components models", doi:10.1080/10618600.2018.1529601). It shares no code with
`neuroframes.frames`, so that each can be checked against the other.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, toeplitz

from neuroframes.baselines.interface import repetition_time
from neuroframes.baselines.interpolation import TimeInterpolation
from neuroframes.recording.segments import Segment

POOLED_VERTICES = 4096  # an autocovariance averaged over as many is as good as over all
WHITE_FLOOR = 1e-6  # of the variance: keeps C_OO invertible where the data are smooth


def pooled_autocovariance(
    train: Sequence[Segment], mean: NDArray[np.float32], n_lags: int
) -> NDArray[np.float64]:
    """Mean over vertices and pairs of measured frames of (x_t - m)(x_t+lag - m), shape (n_lags,).

    A lag at which no two frames are measured takes what its neighbours have.
    """
    every = -(-len(mean) // POOLED_VERTICES)
    products, pairs = np.zeros(n_lags), np.zeros(n_lags)
    for segment in train:
        length = 2 * len(segment.times)  # zero-padded, so that the circular product is the linear one
        known = segment.measured[:, None]
        frames = np.where(known, segment.frames[:, ::every] - mean[::every], 0)
        lags = min(n_lags, len(segment.times))
        power = np.sum(np.abs(np.fft.rfft(frames, length, axis=0)) ** 2, axis=1)
        products[:lags] += np.fft.irfft(power, length)[:lags] / frames.shape[1]
        pairs[:lags] += np.fft.irfft(np.abs(np.fft.rfft(known[:, 0], length)) ** 2, length)[:lags].round()
    paired, lag = pairs > 0, np.arange(n_lags)
    return np.interp(lag, lag[paired], products[paired] / pairs[paired])


def dictionary(lag: NDArray[np.float64], tr: float) -> NDArray[np.float64]:
    """Correlation functions at absolute time differences `lag`, shape (J, *lag.shape)."""
    functions = []
    for scale in tr * np.geomspace(0.5, 64, 8):
        distance = lag / scale
        functions += [np.exp(-distance), np.exp(-(distance**2) / 2)]
        functions.append((1 + np.sqrt(3) * distance) * np.exp(-np.sqrt(3) * distance))
    # Resting fluctuations and band-pass filters oscillate, which kernels of one sign can't express:
    # spectral lines, Gaussian with a standard deviation of 0.015 Hz.
    damping = np.exp(-2 * (np.pi * 0.015 * lag) ** 2)
    functions += [damping * np.cos(2 * np.pi * frequency * lag) for frequency in np.linspace(0.01, 0.2, 20)]
    return np.stack(functions)


def likeliest_amplitudes(
    autocovariance: NDArray[np.float64], atoms: NDArray[np.float64], iterations: int = 300
) -> NDArray[np.float64]:
    """Amplitudes a >= 0 of the atoms, shape (J,), that maximise the pooled likelihood.

    Parameters
    ----------
    autocovariance : array, shape (n,), at lags of 0 .. n - 1 frames
    atoms : array, shape (J, n), correlation functions at the same lags
    """
    n = len(autocovariance)
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).ravel()
    # Pairwise averages of censored data need not be a covariance; the nearest one is.
    values, vectors = np.linalg.eigh(toeplitz(autocovariance))
    data = (vectors * np.maximum(values, WHITE_FLOOR * autocovariance[0])) @ vectors.T
    amplitudes = np.full(len(atoms), autocovariance[0] / len(atoms))
    for _ in range(iterations):
        covariance = amplitudes @ atoms
        covariance[0] *= 1 + WHITE_FLOOR
        inverse = np.linalg.inv(toeplitz(covariance))
        # tr(M K_j) needs only M's sums along diagonals, as K_j is Toeplitz.
        expected, observed = (
            atoms @ np.bincount(lag, matrix.ravel(), n) for matrix in (inverse, inverse @ data @ inverse)
        )
        amplitudes = amplitudes * np.sqrt(np.maximum(observed, 0) / expected)
    return amplitudes


class Kriging(TimeInterpolation):
    """Exact conditioning of a stationary Gaussian process fitted to the training part.

    Parameters
    ----------
    n_lags : int
        Length of the stretches whose likelihood is maximised, in frames; at most half the longest
        training segment is used.
    """

    name = "kriging"

    def __init__(self, n_lags: int = 128) -> None:
        self.n_lags = n_lags

    def fit(self, train: Sequence[Segment]) -> Self:
        """Fit the mean (V,) and the kernel's amplitudes (1 + J,), the white one first."""
        super().fit(train)
        self.tr_ = repetition_time(train)
        n_lags = max(2, min(self.n_lags, max(len(segment.times) for segment in train) // 2))
        autocovariance = pooled_autocovariance(train, self.mean_, n_lags)
        atoms = dictionary(self.tr_ * np.arange(n_lags, dtype=np.float64), self.tr_)
        white = np.eye(1, n_lags)
        self.amplitudes_ = likeliest_amplitudes(autocovariance, np.concatenate([white, atoms]))
        self.amplitudes_[0] += WHITE_FLOOR * autocovariance[0]
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_) + len(self.amplitudes_)

    def kernel(self, lag: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance without the white part at time differences `lag`, seconds, any shape."""
        # Few distinct lags occur on a frame grid; the dictionary is evaluated once for each.
        distinct, position = np.unique(np.abs(lag).round(6), return_inverse=True)
        covariance = np.tensordot(self.amplitudes_[1:], dictionary(distinct, self.tr_), axes=1)
        return covariance[position].reshape(lag.shape)

    def posterior(
        self, known: NDArray[np.float64], missing: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights, shape (m, n), and standard deviation, shape (m,), white part included.

        The deviation is that of a vertex of average variance: one kernel serves them all.
        """
        white = self.amplitudes_[0]
        inside = self.kernel(np.subtract.outer(known, known))
        across = self.kernel(np.subtract.outer(missing, known))
        factor = cho_factor(inside + white * np.eye(len(known)))
        weights = cho_solve(factor, across.T).T
        variance = self.amplitudes_.sum() - np.einsum("mn,mn->m", weights, across)
        return weights, np.sqrt(variance)

    def weights(self, known: NDArray[np.float64], missing: NDArray[np.float64]) -> NDArray[np.float64]:
        """W = C_MO (C_OO + w I)^-1, shape (m, n)."""
        return self.posterior(known, missing)[0]
