"""Frames that are measured at some vertices only, and what they say of the others.

Given the frames that are measured in full, those that aren't covary as

    C = sum_g K_g (x) D_g^T diag(v_g) D_g  +  K_0 (x) S,     S = Q diag(s^2) Q,   Q = I - U U^T,

with (x) the Kronecker product of time and vertices, K_g and K_0 what is left of the kernels of latents (which
are independent of each other) and rest, and U an orthonormal basis of what latents reach: diag(v_g)^1/2 D_g =
B_g U^T. S keeps the rest out of that reach, as `FramePrior` does, and s gives S its diagonal r^2. With Phi =
[U, diag(s^2) U / a], a the mean of s^2, this is noise that is independent between vertices and a few
coefficients c_t ~ N(0, M) a frame (in form only: M is indefinite, C is not):

    C = K_0 (x) diag(s^2)  +  (I (x) Phi) M (I (x) Phi)^T,
    M = sum_g K_g (x) [[B_g^T B_g, 0], [0, 0]]  +  K_0 (x) [[U^T diag(s^2) U, -a I], [-a I, 0]].

Let p be the frames in which vertex v is measured, y_v its entries there less their mean, phi_v its row of
Phi, and n = K_0[t, p] K_0[p, p]^-1. Given the coefficients, vertices are independent:

    x_tv = n y_v + (c_t - n c_p) phi_v + e,   Var e = s_v^2 (K_0[t, t] - n K_0[p, t]).

With P the partial frames, H = sum_v K_0[p, p]^-1 (x) phi_v phi_v^T / s_v^2 and h = sum_v K_0[p, p]^-1 y_v (x)
phi_v / s_v^2,

    E[c_t | y] = M_tP (I + H M_PP)^-1 h,     Cov[c_P, c_t | y] = (I + M_PP H)^-1 M_Pt,

which is exact (Woodbury), and costs one factorisation in the coefficients however many entries there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, lu_factor, lu_solve

from neuroframes.frames.autoencoder import RANK_CUTOFF, blocks
from neuroframes.frames.prior import FramePrior

Float = NDArray[np.float64]
Index = NDArray[np.integer]
Mask = NDArray[np.bool_]

MATCHING, MOST_SCALED = 100, 1e4  # iterations that give S its diagonal, and s^2 / r^2, at most
LEAST_REST = 1e-3  # standard deviation: less is the rounding of frames that latents explain to the last digit
ROUNDING = 1e-9  # noise of an entry, in units of s^2: what is stored in single precision has more
LARGEST = 4096  # coefficients that are solved for at once: 134 MB a matrix, and some seconds
BATCH = 64  # patterns of measured frames taken together
NEAR = 1e-2  # correlation along time below which what a frame says of another's deviation isn't worked out


@dataclass(frozen=True)
class Between:
    """How vertices covary within a frame.

    Attributes
    ----------
    reach : array, shape (V, d), U
    mixing : array, shape (latents, d), B
    rest : array, shape (V,), s^2
    group : array of int, shape (latents,)
    """

    reach: Float
    mixing: Float
    rest: Float
    group: Index

    @classmethod
    def of(cls, prior: FramePrior) -> Self:
        """That of a prior; s by scaling it until S has the diagonal that the prior states."""
        decoder = prior.autoencoder.decoder * np.sqrt(prior.latents.variance)[:, None]
        values, vectors = np.linalg.eigh(decoder @ decoder.T)
        kept = values > RANK_CUTOFF * values[-1]
        reach = decoder.T @ vectors[:, kept] / np.sqrt(values[kept])
        stated = np.square(np.maximum(prior.autoencoder.rest, LEAST_REST), dtype=np.float64)
        between = cls(reach, decoder @ reach, stated.copy(), prior.latents.group)
        for _ in range(MATCHING):
            diagonal = between.rest_variance()
            if np.allclose(diagonal, stated, rtol=1e-9, atol=0):
                break
            # Where latents reach all of a vertex, nothing gives S a diagonal there.
            scaled = between.rest * stated / np.maximum(diagonal, LEAST_REST**2 * stated)
            between.rest[:] = np.clip(scaled, LEAST_REST**2, MOST_SCALED * stated)
        return between

    @property
    def _shared(self) -> Float:
        """U^T diag(s^2) U."""
        return (self.reach.T * self.rest) @ self.reach

    def rest_variance(self) -> Float:
        """Diagonal of S, shape (V,)."""
        leverage = np.square(self.reach).sum(axis=1)
        return self.rest * (1 - 2 * leverage) + ((self.reach @ self._shared) * self.reach).sum(axis=1)

    def features(self) -> Float:
        """Phi, shape (V, 2 d)."""
        return np.concatenate([self.reach, (self.rest / self.rest.mean())[:, None] * self.reach], axis=1)

    def parts(self) -> Float:
        """What stands beside each kernel in M, the rest's last; shape (G + 1, 2 d, 2 d)."""
        d, n_groups = self.reach.shape[1], int(self.group.max()) + 1
        parts = np.zeros((n_groups + 1, 2, d, 2, d))
        for g in range(n_groups):
            mixing = self.mixing[self.group == g]
            parts[g, 0, :, 0] = mixing.T @ mixing
        parts[-1, 0, :, 0] = self._shared
        parts[-1, 0, :, 1] = parts[-1, 1, :, 0] = -self.rest.mean() * np.eye(d)
        return parts.reshape(n_groups + 1, 2 * d, 2 * d)

    def draw_rest(self, n_frames: int, generator: np.random.Generator) -> NDArray[np.float32]:
        """Draws of N(0, S), independent along time, shape (n_frames, V)."""
        noise = generator.standard_normal((n_frames, len(self.rest)), np.float32)
        noise *= np.sqrt(self.rest).astype(np.float32)
        reach = self.reach.astype(np.float32)
        return np.asarray(noise - (noise @ reach) @ reach.T)


class PartialFrames:
    """R frames that are measured at some vertices, among K that aren't measured in full.

    Parameters
    ----------
    between : Between
    kernels : array, shape (G + 1, K, K)
        Conditional covariance along time of each group of latents, in units of their variance, and of the
        rest.
    at : array of int, shape (R,), which of the K frames they are
    entries : array, shape (R, V), where they are measured
    """

    def __init__(self, between: Between, kernels: Float, at: Index, entries: Mask) -> None:
        self.at, self.entries = at, entries
        self._kernels, self._parts = kernels, between.parts()
        self._rest, self._features = between.rest, between.features()
        # Vertices that are measured in the same frames share K_0[p, p]^-1, here with 0 at the other frames.
        patterns, member = np.unique(np.packbits(entries, axis=0), axis=1, return_inverse=True)
        order = np.argsort(member, kind="stable")
        self._members = np.split(order, np.cumsum(np.bincount(member))[:-1])
        self._inverses = np.zeros((patterns.shape[1], len(at), len(at)))
        for packed, inverse in zip(patterns.T, self._inverses, strict=True):
            pattern = np.unpackbits(packed, count=len(at)).astype(bool)
            within = kernels[-1][np.ix_(at[pattern], at[pattern])]
            noisy = within + ROUNDING * np.eye(len(within))
            inverse[np.ix_(pattern, pattern)] = cho_solve(cho_factor(noisy), np.eye(len(within)))
        self._gram = self._gram_of_entries()
        prior = self._prior(at, at)
        self._factor = lu_factor(np.eye(len(prior)) + self._gram @ prior, overwrite_a=True)
        self._posterior = lu_solve(self._factor, prior, trans=1)  # covariance of the coefficients

    def _gram_of_entries(self) -> Float:
        """H, shape (R 2 d, R 2 d)."""
        n, width = len(self.at), self._features.shape[1]
        gram = np.zeros((n * n, width * width))
        for batch in blocks(len(self._members), BATCH):
            within = [self._features[members] for members in self._members[batch]]
            rests = [self._rest[members] for members in self._members[batch]]
            shared = [(phi.T / rest) @ phi for phi, rest in zip(within, rests, strict=True)]
            inverses = self._inverses[batch].reshape(-1, n * n)
            gram += inverses.T @ np.reshape(shared, (-1, width * width))
        return gram.reshape(n, n, width, width).transpose(0, 2, 1, 3).reshape(n * width, n * width)

    def _prior(self, rows: Index, columns: Index) -> Float:
        """M between frames, shape (n 2 d, m 2 d)."""
        kernels = self._kernels[:, rows][:, :, columns]
        covariance = np.tensordot(kernels, self._parts, axes=(0, 0)).transpose(0, 2, 1, 3)
        width = self._features.shape[1]
        return covariance.reshape(len(rows) * width, len(columns) * width)

    def _weighed(self, values: NDArray[np.floating]) -> Float:
        """K_0[p, p]^-1 times the entries of values (R, V), 0 elsewhere."""
        weights = np.empty(values.shape)
        for inverse, members in zip(self._inverses, self._members, strict=True):
            weights[:, members] = inverse @ values[:, members]
        return weights

    def shift(self, surprise: NDArray[np.floating], rows: Index) -> Float:
        """What the entries add to the mean of some of the K frames, shape (n, V).

        Parameters
        ----------
        surprise : array, shape (R, V)
            Entries less their mean given the frames measured in full; what stands elsewhere isn't read.
        rows : array of int, shape (n,)
        """
        surprise = np.where(self.entries, surprise, 0).astype(np.float64)
        told = (self._weighed(surprise) / self._rest) @ self._features  # h
        weights = lu_solve(self._factor, told.ravel())
        known, asked = (
            (self._prior(frames, self.at) @ weights).reshape(len(frames), -1) @ self._features.T
            for frames in (self.at, rows)
        )
        return asked + self._kernels[-1][np.ix_(rows, self.at)] @ self._weighed(surprise - known)

    def shrinkage(self, rows: Index) -> Float:
        """By what factor the entries shrink the standard deviation of some of the K frames, shape (n, V).

        1 where a frame correlates with no partial one by `NEAR` or more: that is hardly too much.
        """
        shrinkage = np.ones((len(rows), len(self._rest)))
        scale = np.sqrt(np.maximum(np.diagonal(self._kernels, axis1=1, axis2=2), np.finfo(np.float64).tiny))
        correlation = self._kernels[:, rows][:, :, self.at] / scale[:, rows, None] / scale[:, None, self.at]
        for number in np.flatnonzero((np.abs(correlation) >= NEAR).any(axis=(0, 2))):
            row = rows[number : number + 1]
            own = self._prior(row, row)
            variance = self._rest * self._kernels[-1][row, row] + _quadratic(self._features, own)
            for members, left in self._variances(row, own):
                shrinkage[number, members] = np.sqrt(np.clip(left / variance[members], 0, 1))
        return shrinkage

    def _variances(self, row: Index, own: Float) -> Iterator[tuple[Index, Float]]:
        """Vertices, and the variance of frame `row` (1,) there given the entries, pattern after pattern."""
        n, width = len(self.at), self._features.shape[1]
        cross = self._prior(self.at, row)
        across = lu_solve(self._factor, cross, trans=1)
        if row[0] in self.at:  # the difference below would lose what little is left
            own = across.reshape(n, width, width)[self.at == row[0]]
        else:
            own = own - cross.T @ (self._gram @ across)
        kernel, along = self._kernels[-1, row[0], row[0]], self._kernels[-1, row[0], self.at]
        across = across.reshape(n, -1)
        for batch in blocks(len(self._members), BATCH):
            gains = self._inverses[batch] @ along
            pairs = (gains[:, :, None] * gains[:, None]).reshape(-1, n * n)
            left = own.ravel() - 2 * gains @ across + pairs @ self._posterior_by_frames
            for members, gain, covariance in zip(self._members[batch], gains, left, strict=True):
                of_rest = self._rest[members] * (kernel - gain @ along)
                of_shared = _quadratic(self._features[members], covariance.reshape(width, width))
                yield members, of_rest + of_shared

    @cached_property
    def _posterior_by_frames(self) -> Float:
        """Covariance of the coefficients with pairs of frames first, shape (R R, 2 d 2 d)."""
        n, width = len(self.at), self._features.shape[1]
        return self._posterior.reshape(n, width, n, width).transpose(0, 2, 1, 3).reshape(n * n, width * width)


def _quadratic(vectors: Float, matrix: Float) -> Float:
    """x^T A x of each row x."""
    return ((vectors @ matrix) * vectors).sum(axis=1)


def partial_frames_near(
    between: Between, kernels: Float, at: Index, entries: Mask, rows: Index
) -> Iterator[tuple[Index, PartialFrames]]:
    """Partial frames, and the rows that they inform: exactly where `LARGEST` allows it.

    Where there are more, each row is informed by those near it, and its standard deviation is what these
    leave: the others could only lower it.

    Parameters
    ----------
    between, kernels, at, entries : as of `PartialFrames`
    rows : array of int
        Of the K frames, those to be informed.
    """
    most = max(1, LARGEST // (2 * between.reach.shape[1]))
    margin = most // 8
    nearest = np.abs(np.subtract.outer(rows, at)).argmin(axis=1)
    for core in blocks(len(at), max(1, most - 2 * margin)):
        here = rows[(nearest >= core.start) & (nearest < core.stop)]
        around = slice(max(0, core.start - margin), core.stop + margin)
        if len(here):
            yield here, PartialFrames(between, kernels, at[around], entries[around])
