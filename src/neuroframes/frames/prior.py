"""The Gaussian prior of cortical frames, and its exact posterior at every vertex.

    X = Z D + R,   Z[:, j] ~ N(m_j, v_j K_g(j)),   R[:, v] ~ N(0, r_v^2 K_rest),   R D+ = 0.

The latents carry what vertices share. What lies outside the autoencoder's reach has a temporal
covariance too, so gaps are interpolated there as well, and measured frames stay exact at every vertex.
Measurements along time commute with the decoder: y D+ are the measurements of the latents, y - y D+ D
those of the rest. How the rest covaries between vertices enters neither mean nor standard deviation, except
where frames are measured at some vertices only: see `frames.partial`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.autoencoder import (
    Columns,
    LinearAutoencoder,
    blocks,
    columns_of,
    fit_autoencoder,
    rows_of,
)
from neuroframes.frames.measurement import AlongTime
from neuroframes.frames.posterior import Conditional, CoupledPosterior, Posterior, condition, posterior
from neuroframes.frames.temporal import (
    FEWEST_MEASURED,
    LONGEST_WINDOW,
    TemporalCovariance,
    fit_temporal_covariance,
    octave_groups,
)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SAMPLE = 512  # vertices that stand for all where one number or one spectrum is estimated
CONTEXT = 256  # frames on either side of a window: the memory of BOLD is shorter


@dataclass(frozen=True)
class FramePosterior:
    """Posterior of K frames at every vertex, evaluated a block of vertices at a time.

    Attributes
    ----------
    prior : FramePrior
    latents : Posterior of the latents, or CoupledPosterior
    rest : Conditional of the rest
    known : array, shape (M, d), latents of the measurements
    """

    prior: "FramePrior"
    latents: Posterior | CoupledPosterior
    rest: Conditional
    known: Float

    def mean(
        self, measurements: Float32, block: slice, rows: Mask | NDArray[np.integer] | slice = slice(None)
    ) -> Float32:
        """Posterior mean (K, v) of some rows, from the measurements (M, v) of the same vertices."""
        decode = self.prior.autoencoder.decode
        unexplained = measurements - decode(self.known, block)
        return decode(self.latents.mean[rows], block) + self.rest.gain[rows].astype(np.float32) @ unexplained

    def std(
        self, block: slice, rows: Mask | slice = slice(None), draws: NDArray[np.floating] | None = None
    ) -> Float32:
        """Marginal standard deviation (K, v) of some rows, calibrated; of latents in closed form or `draws`.

        `draws` has shape (S, n, d), those rows; of a single one the latents' part is 0.
        """
        autoencoder = self.prior.autoencoder
        if draws is None:
            variance = self.latents.variance(autoencoder.decoder[:, block], rows)
        else:
            away = draws - draws.mean(axis=0)
            # One after another: all of them at once would be S times the block.
            squares = (np.square(autoencoder.decode(draw, block)) for draw in away)
            variance = np.asarray(sum(squares), np.float32) / np.float32(max(1, len(draws) - 1))
        variance += np.outer(np.square(self.rest.std[rows]), np.square(autoencoder.rest[block]))
        return np.sqrt(variance) * np.float32(self.prior.spread)


@dataclass(frozen=True)
class FramePrior:
    """Prior of frames z-scored per vertex.

    Attributes
    ----------
    autoencoder : LinearAutoencoder
    latents : TemporalCovariance of the d latents
    rest : TemporalCovariance of what they leave over, one group, variance 1
    spread : float
        Factor on the standard deviation, so that intervals cover what they say.
    """

    autoencoder: LinearAutoencoder
    latents: TemporalCovariance
    rest: TemporalCovariance
    spread: float = 1.0

    def restricted(self, vertices: NDArray[np.integer]) -> "FramePrior":
        """The same prior for some of the vertices; the encoder is the pseudo-inverse of what is left."""
        full = self.autoencoder
        return replace(self, autoencoder=LinearAutoencoder(full.decoder[:, vertices], full.rest[vertices]))

    def encode(self, frames: Float32, measured: Mask) -> Float:
        """Latents (K, d) of the measured ones of frames (K, V), 0 at the others, which aren't read."""
        latents = np.zeros((len(frames), self.autoencoder.n_latents))
        latents[measured] = self.autoencoder.encode(rows_of(columns_of(frames), measured))
        return latents

    def given(
        self, times: Float, operator: AlongTime, known: Float, mean: Float | None = None
    ) -> FramePosterior:
        """Exact posterior given measurements along time.

        Parameters
        ----------
        times : array, shape (K,), seconds
        operator : AlongTime, K -> M
        known : array, shape (M, d)
            Latents of the measurements, from `autoencoder.encode`.
        mean : array, shape (K, d)
            Prior mean of the latents, as the EEG gives it; zero if None.
        """
        latents = posterior(self.latents, times, operator, known, mean)
        rest = condition(self.rest.kernel(0, times), operator)
        return FramePosterior(self, latents, rest, np.asarray(known, np.float64))


def default_latents(n_measured: int) -> int:
    """As many latents as frames support: one for every eight, at most 128."""
    return max(1, min(128, n_measured // 8))


def folds_for(n_measured: int) -> int:
    """Into how many blocks frames are cut so that covariances come from frames left out: at most 4."""
    return 1 if n_measured < 48 else min(4, max(2, n_measured // 64))


def fit_frame_prior(
    columns: Columns,
    n_vertices: int,
    runs: list[tuple[slice, Mask]],
    tr: float,
    n_latents: int,
    generator: np.random.Generator,
    folds: int = 1,
) -> FramePrior:
    """Fit autoencoder and temporal covariances to runs with missing frames.

    Parameters
    ----------
    columns : callable
        From a slice of vertices to frames (K, v) of all runs, z-scored; missing frames are not read.
    n_vertices : int
    runs : list of (rows of the run, measured (K_run,))
    tr : float, seconds
    n_latents : int
    generator : numpy.random.Generator
    folds : int
        Principal components leave far less over of frames they were fitted to than of others, so
        covariances are those of frames left out, one contiguous block in turn; with 1, of all frames.
    """
    measured = np.concatenate([mask for _, mask in runs])
    sample = np.arange(0, n_vertices, max(1, n_vertices // SAMPLE))
    latent_series, rest_series = [], []
    rest_power = np.zeros(n_vertices)
    autoencoder, _ = fit_autoencoder(rows_of(columns, measured), n_vertices, n_latents, generator)
    for held in _contiguous_folds(measured, folds):
        here = autoencoder
        if folds > 1:
            fitted = rows_of(columns, measured & ~held)
            here, _ = fit_autoencoder(fitted, n_vertices, autoencoder.n_latents, generator)
        rows = np.flatnonzero(held)
        known_at = measured[rows]
        frames = rows_of(columns, rows[known_at])
        known = here.encode(frames)
        for block in blocks(n_vertices):
            rest = frames(block) - here.decode(known, block)
            rest_power[block] += np.square(rest).sum(axis=0)
        # What stands at missing frames is never read. A part may have lower rank than the whole.
        latents = np.zeros((len(rows), autoencoder.n_latents))
        latents[known_at, : here.n_latents] = known
        rest = np.zeros((len(rows), len(sample)))
        rest[known_at] = np.concatenate([frames(slice(v, v + 1)) for v in sample], axis=1)
        rest[known_at] -= here.decode(known, sample)
        for _, run in _stretches(runs, held):
            inside = np.searchsorted(rows, run)
            latent_series.append((latents[inside], measured[run]))
            rest_series.append((rest[inside], measured[run]))
    spread = np.sqrt(rest_power / measured.sum()).astype(np.float32)
    # Where the latents explain a vertex to the last digit, rounding would pose as its rest.
    alive = spread[sample] > 1e-3
    alive = alive if alive.any() else ~alive
    covariance = fit_temporal_covariance(latent_series, tr, octave_groups(autoencoder.n_latents))
    rest_covariance = fit_temporal_covariance(
        [(z[:, alive], mask) for z, mask in rest_series], tr, np.zeros(int(alive.sum()), int)
    )
    shared = replace(rest_covariance, group=np.zeros(1, int), variance=np.ones(1))
    return FramePrior(replace(autoencoder, rest=spread), covariance, shared)


def _contiguous_folds(measured: Mask, folds: int) -> list[Mask]:
    """Masks over the frames of all runs, each a contiguous block with about as many measured ones."""
    fold = np.minimum(np.cumsum(measured) * folds // max(int(measured.sum()), 1), folds - 1)
    return [fold == number for number in range(folds)]


def _stretches(runs: list[tuple[slice, Mask]], held: Mask) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The frames of each run that are held out, where they are enough to say something."""
    for number, (rows, _) in enumerate(runs):
        inside = np.flatnonzero(held[rows]) + rows.start
        if len(inside) >= FEWEST_MEASURED:
            yield number, inside


def windows_in_context(n_frames: int, reach: int = CONTEXT) -> Iterator[tuple[slice, slice]]:
    """Cut a run of any length into windows, each with the `reach` frames around it that inform it.

    Yields
    ------
    core, context : slices of frames; cores tile the run, contexts overlap
    """
    n_windows = 1 if n_frames <= LONGEST_WINDOW + reach else -(-n_frames // LONGEST_WINDOW)
    edges = np.linspace(0, n_frames, n_windows + 1).astype(int)
    for start, stop in pairwise(edges):
        yield slice(start, stop), slice(max(0, start - reach), min(n_frames, stop + reach))
