"""Latents that lead and lag each other, and what measured frames say of missing ones.

Latents z_t of d components with covariances C(l) = E z_{t+l} z_t^T at lags l up to Q. Of all stationary
processes with these, the one of largest entropy (Burg 1975) is the autoregression

    z_t = A_1 z_{t-1} + ... + A_Q z_{t-Q} + e_t,    e_t ~ N(0, S),

found by the recursion of Whittle (1963), which also gives the predictors of lower order that frames at a
run's start take. It is stable wherever C is positive definite. With U_t = S^-1/2 [I, -A_1, ..., -A_Q],

    z^T P z = sum_t |U_t (z_t, ..., z_{t-Q})|^2

is the density of a run: its precision P holds no entry beyond Q lags. Missing frames m, given measured ones
k, are N(-P_mm^-1 P_mk z_k, P_mm^-1). Cut into blocks of Q frames or more, P_mm is block tridiagonal, so its
factor, covariances within a block and between neighbours, and draws cost as much as there are missing frames
(Rue and Held 2005).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.lapack import dpotri

Float = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Autoregression:
    """The process of largest entropy with given covariances.

    Attributes
    ----------
    lags : array, shape (Q + 1, d, d)
        C(0) to C(Q); their block Toeplitz matrix must be positive definite.
    """

    lags: Float

    @property
    def order(self) -> int:
        return len(self.lags) - 1

    @cached_property
    def filters(self) -> list[Float]:
        """Whitening filters U of the orders 0 to Q, shapes (1, d, d) to (Q + 1, d, d)."""
        return [_whitening(coefficients, noise) for coefficients, noise in _predictors(self.lags)]

    @property
    def noises(self) -> Float:
        """Geometric mean of the variances that predictors of orders 0 to Q leave, shape (Q + 1,)."""
        logs = [np.linalg.slogdet(noise)[1] for _, noise in _predictors(self.lags)]
        return np.exp(np.array(logs) / self.lags.shape[1])

    @cached_property
    def precision(self) -> Float:
        """P between frames t and t - l, l = 0 to Q, away from a run's ends; shape (Q + 1, d, d)."""
        whiten = self.filters[-1]
        return np.stack(
            [
                np.einsum("kji,kjm->im", whiten[: self.order + 1 - lag], whiten[lag:], optimize=True)
                for lag in range(self.order + 1)
            ]
        )


def _predictors(lags: Float) -> Iterator[tuple[Float, Float]]:
    """Coefficients (q, d, d) and noise (d, d) of the best predictors from the q frames before, q = 0 to Q."""
    d = lags.shape[1]
    ahead = back = np.zeros((0, d, d))
    noise, noise_back = lags[0], lags[0]
    yield ahead, noise
    for q in range(len(lags) - 1):
        missed = lags[q + 1] - np.einsum("kij,kjm->im", ahead, lags[q:0:-1], optimize=True)
        gain, gain_back = np.linalg.solve(noise_back, missed.T).T, np.linalg.solve(noise, missed).T
        ahead, back = (
            np.concatenate([ahead - gain @ back[::-1], gain[None]]),
            np.concatenate([back - gain_back @ ahead[::-1], gain_back[None]]),
        )
        noise, noise_back = noise - gain @ missed.T, noise_back - gain_back @ missed
        noise, noise_back = (noise + noise.T) / 2, (noise_back + noise_back.T) / 2
        yield ahead, noise


def _whitening(coefficients: Float, noise: Float) -> Float:
    root = np.linalg.inv(np.linalg.cholesky(noise))
    return np.concatenate([root[None], -root @ coefficients])


@dataclass(frozen=True)
class _Block:
    """Missing frames of one stretch, and what links them to those of the stretch before."""

    rows: Index  # (n,)
    factor: Float  # (n d, n d), lower Cholesky factor
    link: Float | None  # (n d, n' d), None where the stretch before misses nothing


class Smoother:
    """The missing frames of a run, given the others.

    Parameters
    ----------
    process : Autoregression
    missing : array, shape (K,)
    span : int
        Frames of a block, if more than the process' order: covariances are known so far apart.
    noisy : array, shape (K, K), and array, shape (d,)
        Precision that noisy measurements of the missing frames add along time, of at most `span` frames, and
        its factor for each latent.
    """

    def __init__(
        self, process: Autoregression, missing: Mask, span: int = 0, noisy: tuple[Float, Float] | None = None
    ) -> None:
        self.process, self.missing, self._noisy = process, missing, noisy
        self._n_frames, self._d = len(missing), process.lags.shape[1]
        self._blocks: list[_Block] = []
        rows, span = np.flatnonzero(missing), max(process.order, span, 1)
        number, before = rows // span, np.zeros(0, np.intp)
        for stretch in np.unique(number):
            here = rows[number == stretch]
            adjacent = len(before) > 0 and before[0] // span == stretch - 1
            matrix, link = self._precision(here, here), None
            if adjacent:
                across = self._precision(here, before)
                link = solve_triangular(self._blocks[-1].factor, across.T, lower=True).T
                matrix = matrix - link @ link.T
            self._blocks.append(_Block(here, cholesky(matrix, lower=True), link))
            before = here

    def mean(self, frames: Float, told: Float | None = None) -> Float:
        """Posterior mean of the missing frames, shape (M, d).

        Parameters
        ----------
        frames : array, shape (K, d); not read where they are missing
        told : array, shape (K, d)
            What noisy measurements add to the right-hand side.
        """
        order, filters = self.process.order, self.process.filters
        stop = max(order, self._n_frames)  # a run may be shorter than the order
        known = np.where(self.missing[:, None], 0.0, frames)
        white = np.zeros_like(known)
        told = np.zeros_like(known) if told is None else told.copy()
        for lag in range(order + 1):
            white[order:] += known[order - lag : stop - lag] @ filters[-1][lag].T
        for t in range(min(order, self._n_frames)):
            white[t] = np.einsum("kij,kj->i", filters[t], known[t::-1])
            told[t::-1] -= np.einsum("kij,i->kj", filters[t], white[t])
        for lag in range(order + 1):
            told[order - lag : stop - lag] -= white[order:] @ filters[-1][lag]
        parts: list[Float] = []
        for block in self._blocks:
            right = told[block.rows].ravel()
            if block.link is not None:
                right = right - block.link @ parts[-1]
            parts.append(solve_triangular(block.factor, right, lower=True))
        return self._backward(parts)

    def draw(self, generator: np.random.Generator) -> Float:
        """Deviation of the missing frames from their mean, shape (M, d)."""
        return self._backward([generator.standard_normal(len(block.factor)) for block in self._blocks])

    def covariances(self) -> Iterator[tuple[Index, Float, Float | None]]:
        """From the last block to the first: its frames, their covariance, and that of the next block with it.

        Yields
        ------
        rows (n,), covariance (n, d, n, d), covariance of the next block's frames with these, (n', d, n, d)
        """
        after: Float | None = None
        for number in range(len(self._blocks) - 1, -1, -1):
            block = self._blocks[number]
            n = len(block.rows)
            lower, _ = dpotri(block.factor, lower=True)
            covariance, across = np.tril(lower) + np.tril(lower, -1).T, None
            link = self._blocks[number + 1].link if number + 1 < len(self._blocks) else None
            if link is not None and after is not None:
                gain = solve_triangular(block.factor, link.T, lower=True, trans=1).T
                across = -after @ gain
                covariance -= gain.T @ across
                across = across.reshape(-1, self._d, n, self._d)
            after = covariance
            yield block.rows, covariance.reshape(n, self._d, n, self._d), across

    def lagged(self, n_lags: int) -> Float:
        """Sums over pairs of missing frames t and t - l of their covariance, shape (n_lags + 1, d, d)."""
        total, after = np.zeros((n_lags + 1, self._d, self._d)), np.zeros(0, np.intp)
        for rows, covariance, across in self.covariances():
            pairs = [(rows, covariance)] if across is None else [(rows, covariance), (after, across)]
            for later, values in pairs:
                for i, j in zip(*np.nonzero(_apart(later, rows, n_lags)), strict=True):
                    total[later[i] - rows[j]] += values[i, :, j]
            after = rows
        return total

    def _backward(self, parts: list[Float]) -> Float:
        """L^-T times the parts of all blocks, shape (M, d)."""
        found: list[Float] = []
        for number in range(len(self._blocks) - 1, -1, -1):
            right, link = parts[number], None
            if number + 1 < len(self._blocks):
                link = self._blocks[number + 1].link
            if link is not None:
                right = right - link.T @ found[-1]
            found.append(solve_triangular(self._blocks[number].factor, right, lower=True, trans=1))
        return np.concatenate([np.zeros(0), *found[::-1]]).reshape(-1, self._d)

    def _precision(self, rows: Index, columns: Index) -> Float:
        """P between frames, shape (n d, m d)."""
        order, last = self.process.order, self._n_frames - 1
        found = np.zeros((len(rows), self._d, len(columns), self._d))
        for i, t in enumerate(rows):
            for j in np.flatnonzero(np.abs(columns - t) <= order):
                first, second = max(t, columns[j]), min(t, columns[j])
                if first >= order and second + order <= last:
                    entry = self.process.precision[first - second]
                else:
                    entry = self._near_end(first, second)
                found[i, :, j] = entry if t >= columns[j] else entry.T
        if self._noisy is not None:
            along, factors = self._noisy
            latents = np.arange(self._d)
            found[:, latents, :, latents] += factors[:, None, None] * along[np.ix_(rows, columns)]
        return found.reshape(len(rows) * self._d, -1)

    def _near_end(self, t: int, s: int) -> Float:
        """P between frames t >= s, one of them near the run's start or end."""
        order, entry = self.process.order, np.zeros((self._d, self._d))
        for u in range(t, min(s + order, self._n_frames - 1) + 1):
            whiten = self.process.filters[min(u, order)]
            if u - s < len(whiten):
                entry += whiten[u - t].T @ whiten[u - s]
        return entry


def _apart(later: Index, earlier: Index, n_lags: int) -> Mask:
    distance = np.subtract.outer(later, earlier)
    return np.asarray((distance >= 0) & (distance <= n_lags))
