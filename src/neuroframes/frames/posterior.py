"""The exact Gaussian posterior of latents given measurements along time.

With the prior Z[:, j] ~ N(m_j, v_j K_g), K_g = k_g(times, times), and y = A Z + e, e ~ N(0, r v_j I),

    E[Z | y]   = m + W_g (y - A m),        W_g = K_g A^T (A K_g A^T + r I)^-1,
    Cov[Z | y] = v_j (K_g - W_g A K_g).

The gain W_g and the covariance depend on the group alone, so a group of any number of latents costs
one Cholesky factorisation of M x M.

Latents that lead and lag each other have no such gain: see `CoupledPosterior`.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from neuroframes.frames.autoregression import Smoother
from neuroframes.frames.measurement import AlongTime, FrameMask
from neuroframes.frames.temporal import ON_GRID, TemporalCovariance

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rows = Mask | NDArray[np.integer] | slice

NEIGHBOURS = 8  # frames on either side that a time between frames is told by
SMALLEST_NOISE = 1e-10  # of a measurement that isn't a frame, in units of the latent's variance


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
    operator : AlongTime, what is measured
    """

    mean: Float
    conditionals: tuple[Conditional, ...]
    prior: TemporalCovariance
    operator: AlongTime

    def given(self, measurements: NDArray[np.floating], mean: Float | None = None) -> Float:
        """Posterior mean (K, d) given other measurements (M, d) of the same frames."""
        found = np.zeros_like(self.mean) if mean is None else np.array(mean, np.float64)
        surprise = measurements - self.operator.apply(found)
        for conditional, (_, latents) in zip(self.conditionals, self.prior.groups(), strict=True):
            found[:, latents] += conditional.gain @ surprise[:, latents]
        return found

    @property
    def std(self) -> Float:
        """Marginal standard deviation, shape (K, d)."""
        by_group = np.stack([c.std for c in self.conditionals], axis=1)
        return by_group[:, self.prior.group] * np.sqrt(self.prior.variance)

    def variance(self, decoder: Float32, rows: Rows = slice(None)) -> Float32:
        """Marginal variance (n, v) of some frames where `decoder` (d, v) takes the latents."""
        return np.asarray(np.square(self.std[rows]).astype(np.float32) @ np.square(decoder))

    def draw(self, generator: np.random.Generator, mean: Float | None = None) -> Float:
        """One sample path of all latents about `mean` (K, d), by default the posterior's; shape (K, d)."""
        sample = np.array(self.mean if mean is None else mean)
        for g, latents in self.prior.groups():
            normal = generator.standard_normal((len(sample), len(latents)))
            sample[:, latents] += self.conditionals[g].root @ normal * np.sqrt(self.prior.variance[latents])
        return sample


class CoupledPosterior:
    """Posterior of latents that lead and lag each other, over K times.

    Frames on the grid of the prior's TR follow its autoregression. A time between them is told by the
    `NEIGHBOURS` frames of the grid on either side, each latent by its own, as its spectrum has it: what
    they leave open is independent between times.

    Parameters
    ----------
    prior : TemporalCovariance with coupling
    times, operator, measurements, mean, noise : as of `posterior`

    Attributes
    ----------
    mean : array, shape (K, d)
    """

    def __init__(
        self,
        prior: TemporalCovariance,
        times: Float,
        operator: AlongTime,
        measurements: NDArray[np.floating],
        mean: Float | None = None,
        noise: float = 0.0,
    ) -> None:
        assert prior.coupling is not None
        self.prior, self._operator, self._noise = prior, operator, noise
        self._exact = exact = isinstance(operator, FrameMask) and not noise
        measured = operator.measured if isinstance(operator, FrameMask) else np.zeros(len(times), bool)
        anchors = measured if measured.any() else np.arange(len(times)) == 0
        self._grid = _Grid.of(prior, times, anchors)
        self._missing = np.ones(self._grid.n_frames, bool)
        if exact:
            self._missing[self._grid.frame[measured]] = False
        # Where nothing is measured it is the prior, whose covariance is the same at every frame.
        self._is_prior = exact and not measured.any() and bool(self._grid.on.all())
        self.mean = self.given(measurements, mean)

    @cached_property
    def _smoother(self) -> Smoother:
        coupling = self.prior.coupling
        assert coupling is not None
        span = coupling.order if self._grid.on.all() else 2 * NEIGHBOURS
        noisy = None if self._exact else self._noisy_measurements()
        if noisy is not None:
            span = max(span, int(np.abs(np.subtract(*np.nonzero(noisy[0]))).max(initial=0)))
        return Smoother(coupling, self._missing, span, noisy)

    def given(self, measurements: NDArray[np.floating], mean: Float | None = None) -> Float:
        """Posterior mean (K, d) given other measurements (M, d) of the same frames."""
        base = np.zeros((len(self._grid.on), len(self.prior.variance))) if mean is None else mean
        surprise = np.asarray(measurements - self._operator.apply(base), np.float64)
        if not len(surprise):
            return np.array(base, np.float64)
        known, told = np.zeros((self._grid.n_frames, base.shape[1])), None
        if self._smoother.missing.all():
            told = np.zeros_like(known)
            _, weights = self._noisy_measurements()
            told[self._grid.frame] = (self._operator.matrix.T @ surprise) * weights
        else:
            known[~self._smoother.missing] = surprise
        known[self._smoother.missing] = self._smoother.mean(known, told)
        return base + self._grid.at_times(known)

    def _noisy_measurements(self) -> tuple[Float, Float]:
        """A^T A on the grid, and the precision of each latent's measurements."""
        if not self._grid.on.all():
            raise NotImplementedError("measurements that aren't frames need times on one grid")
        along = np.zeros((self._grid.n_frames, self._grid.n_frames))
        along[np.ix_(self._grid.frame, self._grid.frame)] = self._operator.matrix.T @ self._operator.matrix
        assert self.prior.coupling is not None
        variance = np.diagonal(self.prior.coupling.lags[0])  # not 0 where the latent is
        return along, 1 / (max(self._noise, SMALLEST_NOISE) * variance)

    @cached_property
    def _covariances(self) -> Float:
        """Posterior covariance of the latents at each time, shape (K, d, d)."""
        grid, d = self._grid, len(self.prior.variance)
        if self._is_prior:
            assert self.prior.coupling is not None
            return np.broadcast_to(self.prior.coupling.lags[0], (len(grid.on), d, d))
        found = np.zeros((len(grid.on), d, d))
        # Which times a frame of the grid tells something, and by how much.
        pairs: list[tuple[NDArray[np.intp], NDArray[np.intp], Float]] = []
        after = np.zeros(0, np.intp)
        between = np.flatnonzero(~grid.on)
        for rows, covariance, across in self._smoother.covariances():
            for i, row in enumerate(rows):
                found[grid.on & (grid.frame == row)] = covariance[i, :, i]
            pairs = [(rows, rows, covariance)] + ([] if across is None else [(after, rows, across)])
            for later, earlier, values in pairs if len(between) else ():
                for k in between:
                    first, second = grid.weights_at(int(k), later), grid.weights_at(int(k), earlier)
                    if first is None or second is None:
                        continue
                    part = np.einsum("ia,iajb,jb->ab", first, values, second, optimize=True)
                    found[k] += part if later is earlier else part + part.T
            after = rows
        found[:, np.arange(d), np.arange(d)] += grid.left_open
        return found

    @property
    def std(self) -> Float:
        """Marginal standard deviation of the latents, shape (K, d)."""
        return np.sqrt(np.maximum(np.diagonal(self._covariances, axis1=1, axis2=2), 0.0))

    def variance(self, decoder: Float32, rows: Rows = slice(None)) -> Float32:
        """As of `Posterior`."""
        covariances = self._covariances[rows]
        different = covariances[:1] if self._is_prior else covariances
        found = np.empty((len(different), decoder.shape[1]), np.float32)
        for row, covariance in zip(found, different, strict=True):
            np.einsum("dv,dv->v", covariance.astype(np.float32) @ decoder, decoder, out=row)
        return np.maximum(found, 0).repeat(len(covariances) // max(1, len(different)), axis=0)

    def draw(self, generator: np.random.Generator, mean: Float | None = None) -> Float:
        """One sample path of all latents about `mean` (K, d), by default the posterior's; shape (K, d).

        Times between frames share those frames' path; what is open beside it is independent, even of a time
        that is asked twice.
        """
        away = np.zeros((self._grid.n_frames, len(self.prior.variance)))
        away[self._smoother.missing] = self._smoother.draw(generator)
        open_part = np.sqrt(self._grid.left_open)
        centre = self.mean if mean is None else mean
        return centre + self._grid.at_times(away) + open_part * generator.standard_normal(open_part.shape)


@dataclass(frozen=True)
class _Grid:
    """Times among frames of one grid.

    Attributes
    ----------
    times : array, shape (K,), seconds
    n_frames : int, of the grid
    on : array, shape (K,), which times are frames of it
    frame : array, shape (K,), those frames, or those before the times
    weights : array, shape (n, 2 NEIGHBOURS, d), of the frames around each of the n times between frames
    left_open : array, shape (K, d)
        Variance that these leave of each latent; 0 at frames of the grid.
    """

    times: Float
    n_frames: int
    on: Mask
    frame: NDArray[np.intp]
    weights: Float
    left_open: Float

    @classmethod
    def of(cls, prior: TemporalCovariance, times: Float, anchors: Mask) -> "_Grid":
        """The grid through the `anchors` (K,) among the times."""
        position = (times - times[anchors][0]) / prior.tr
        nearest = np.rint(position)
        on = np.abs(position - nearest) < ON_GRID
        if not on[anchors].all():
            raise ValueError("measured frames must lie on one grid of the prior's TR")
        frame = np.where(on, nearest, np.floor(position)).astype(np.intp)
        margin = 0 if on.all() else NEIGHBOURS
        first = frame.min() - margin
        n_frames = int(frame.max() - first + 1 + margin)
        around = np.arange(-NEIGHBOURS + 1, NEIGHBOURS + 1)
        weights = np.zeros((int((~on).sum()), 2 * NEIGHBOURS, len(prior.variance)))
        left_open = np.zeros((len(times), len(prior.variance)))
        fractions, which = np.unique(np.round((position - frame)[~on], 6), return_inverse=True)
        for number, fraction in enumerate(fractions):
            these = which == number
            for g, latents in prior.groups():
                asked = np.array([fraction])
                told = condition(
                    prior.kernel(g, prior.tr * np.concatenate([around, asked])),
                    FrameMask(np.arange(len(around) + 1) < len(around)),
                )
                weights[np.ix_(these, np.arange(len(around)), latents)] = told.gain[-1][:, None]
                open_here = max(told.covariance[-1, -1], 0.0) * prior.variance[latents]
                left_open[np.ix_(np.flatnonzero(~on)[these], latents)] = open_here
        return cls(times, n_frames, on, frame - first, weights, left_open)

    def at_times(self, values: Float) -> Float:
        """What frames of the grid (n_frames, d) say of the times, shape (K, d)."""
        found = values[self.frame]
        if not self.on.all():
            around = self.frame[~self.on, None] + np.arange(-NEIGHBOURS + 1, NEIGHBOURS + 1)
            found[~self.on] = np.einsum("nwd,nwd->nd", self.weights, values[around])
        return found

    def weights_at(self, k: int, frames: NDArray[np.intp]) -> Float | None:
        """Weights (n, d) of frames of the grid for time k; None where all are 0."""
        place = frames - (self.frame[k] - NEIGHBOURS + 1)
        inside = (place >= 0) & (place < 2 * NEIGHBOURS)
        if not inside.any():
            return None
        own = self.weights[int((~self.on[:k]).sum())]
        return np.asarray(np.where(inside[:, None], own[np.clip(place, 0, 2 * NEIGHBOURS - 1)], 0.0))


def posterior(
    prior: TemporalCovariance,
    times: Float,
    operator: AlongTime,
    measurements: NDArray[np.floating],
    mean: Float | None = None,
    noise: float = 0.0,
) -> Posterior | CoupledPosterior:
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
    if prior.coupling is not None:
        return CoupledPosterior(prior, times, operator, measurements, mean, noise)
    conditionals = tuple(condition(prior.kernel(g, times), operator, noise) for g, _ in prior.groups())
    nothing = Posterior(np.zeros((len(times), len(prior.group))), conditionals, prior, operator)
    return replace(nothing, mean=nothing.given(measurements, mean))
