"""Filling the frames of a run that were not measured.

Windows of any run share one prior; each is conditioned on its own measured frames and on those around
it, so cost is linear in the run's length. What comes out are the frames that weren't measured: none that was
can be touched. Those may be measured at some vertices all the same: these entries inform the rest in a second
step (see `frames.partial`), and stay as they are.

Draws go from window to window: x_w ~ p(x_w | y, x_<w), each window conditioned on the measurements y and on
the frames before it as they were drawn, so that a draw of any length is one of one process, without seams.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.autoencoder import blocks, columns_of, rows_of
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.partial import Between, PartialFrames, partial_frames_near
from neuroframes.frames.posterior import Posterior, condition, posterior, square_root
from neuroframes.frames.prior import CONTEXT, FramePosterior, FramePrior, windows_in_context
from neuroframes.frames.temporal import LONGEST_WINDOW, ON_GRID

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Index = NDArray[np.integer]


@dataclass(frozen=True)
class Window:
    """A part of a run in which something is missing.

    Attributes
    ----------
    context : slice, frames of the run that inform it, K_w of them
    near : array, shape (K_w,), those that are measured
    rows : array, shape (K_w,), the missing ones of its core, which it fills
    before : array, shape (K_w,), missing ones of earlier windows, known when draws come to this one
    """

    context: slice
    near: Mask
    rows: Mask
    before: Mask


def windows_of(prior: FramePrior, measured: Mask, times: Float) -> Iterator[Window]:
    """The windows of a run that have something missing, in order.

    Parameters
    ----------
    prior : FramePrior
    measured : array, shape (K,)
    times : array, shape (K,), seconds
    """
    n_frames = len(measured)
    # On a grid finer than the frames as much time must surround a window, within reason.
    step = float(np.median(np.diff(times))) if n_frames > 1 else prior.latents.tr
    reach = min(LONGEST_WINDOW, max(CONTEXT, round(CONTEXT * prior.latents.tr / step)))
    position = np.arange(n_frames)
    for core, context in windows_in_context(n_frames, reach):
        near, here = measured[context], position[context]
        rows = ~near & (here >= core.start) & (here < core.stop)
        if rows.any():
            yield Window(context, near, rows, ~near & (here < core.start))


def fill_missing(
    prior: FramePrior,
    frames: Float32,
    measured: Mask,
    times: Float,
    latents: Float | None = None,
    mean: Float | None = None,
    draws: NDArray[np.floating] | None = None,
    entries: Mask | None = None,
) -> tuple[Float32, Float32]:
    """Posterior mean and standard deviation of the M missing frames of a run, each of shape (M, V).

    Parameters
    ----------
    prior : FramePrior
    frames : array, shape (K, V), z-scored; what stands at missing frames is not read, but for `entries`
    measured : array, shape (K,), those that are measured at every vertex
    times : array, shape (K,), seconds
    latents : array, shape (K, d), of the measured frames, where they are known already
    mean : array, shape (K, d), or None
        Of the prior's latents, as the EEG gives it.
    draws : array, shape (S, K, d)
        Draws of the latents given the measured frames; the standard deviation is theirs rather than the
        closed form's, shrunk by the entries as that would be.
    entries : array, shape (M, V)
        Where missing frames are measured all the same: there the mean is the value, to the bit, and the
        standard deviation 0. They inform the others, exactly where such frames are few: see
        `partial_frames_near`. They take a prior whose latents are independent.
    """
    latents = prior.encode(frames, measured) if latents is None else latents
    filled = np.empty((int((~measured).sum()), frames.shape[1]), np.float32, order="F")
    std = np.empty_like(filled)
    between = None if entries is None else Between.of(prior)
    number = np.cumsum(~measured) - 1
    for window in windows_of(prior, measured, times):
        context, near, missing = window.context, window.near, number[window.context]
        around = None if mean is None else mean[context]
        posterior = prior.given(times[context], FrameMask(near), latents[context][near], around)
        here = slice(missing[window.rows][0], missing[window.rows][-1] + 1)
        known = rows_of(columns_of(frames[context]), near)
        drawn = None if draws is None else draws[:, context][:, window.rows]
        for block in blocks(frames.shape[1]):
            filled[here, block] = posterior.mean(known(block), block, window.rows)
            std[here, block] = posterior.std(block, window.rows, drawn)
        for rows, partial in _partial_frames(between, posterior, window, missing, entries):
            surprise = frames[context][partial.at]
            for block in blocks(frames.shape[1]):
                surprise[:, block] -= posterior.mean(known(block), block, partial.at)
            filled[missing[rows]] += partial.shift(surprise, rows)
            std[missing[rows]] *= partial.shrinkage(rows)
    if entries is not None:
        np.copyto(filled, frames[~measured], where=entries)
        std[entries] = 0
    return filled, std


def _partial_frames(
    between: Between | None, posterior: FramePosterior, window: Window, missing: Index, entries: Mask | None
) -> Iterator[tuple[Index, PartialFrames]]:
    """Partial frames of a window, and the rows that they inform; `missing` (K_w,) numbers rows of entries."""
    if between is None or entries is None:
        return
    at = np.flatnonzero(~window.near & np.asarray(entries.any(axis=1))[missing])
    if len(at):
        assert isinstance(posterior.latents, Posterior)
        conditionals = [*posterior.latents.conditionals, posterior.rest]
        kernels = np.stack([conditional.covariance for conditional in conditionals])
        yield from partial_frames_near(
            between, kernels, at, entries[missing[at]], np.flatnonzero(window.rows)
        )


def draw_exactly(
    prior: FramePrior,
    times: Float,
    latents: Float,
    measured: Mask,
    mean: Float | None,
    n_draws: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Draws (S, K, d) of the latents from their Gaussian posterior, given the measured frames.

    Parameters
    ----------
    prior, times, latents, measured, mean : as in `fill_missing`
    n_draws : int
    generator : numpy.random.Generator
    """
    draws = np.broadcast_to(latents, (n_draws, *latents.shape)).astype(np.float32)
    for window in windows_of(prior, measured, times):
        context, given = window.context, window.near | window.before
        if prior.latents.coupling is not None:
            # Given frames of the grid, what was drawn between them says nothing more.
            first = times[measured][0] if measured.any() else 0.0
            position = (times[context] - first) / prior.latents.tr
            given = window.near | (window.before & (np.abs(position - np.rint(position)) < ON_GRID))
        known, around = draws[:, context][:, given], None if mean is None else mean[context]
        found = posterior(prior.latents, times[context], FrameMask(given), known[0], around)
        rows = np.arange(context.start, context.stop)[window.rows]
        for draw, values in zip(draws, known, strict=True):
            draw[rows] = found.draw(generator, found.given(values, around))[window.rows]
    return draws


@dataclass(frozen=True)
class _RestStep:
    """What it takes to draw the rest of one window after those before it."""

    here: slice  # among the run's missing frames
    before: NDArray[np.int64]  # missing frames that inform it, among the run's
    gain: Float32  # (m, before)
    root: Float32  # (m, m), of the covariance that is left


def draw_missing(
    prior: FramePrior,
    estimate: Float32,
    measured: Mask,
    times: Float,
    latents: Float,
    mean: Float | None,
    draws: NDArray[np.floating],
    generator: np.random.Generator,
    entries: Mask | None = None,
) -> Iterator[Float32]:
    """Draws (M, V) of the missing frames, computed as they are taken.

    Parameters
    ----------
    prior, measured, times, latents, mean, entries : as in `fill_missing`
    estimate : array, shape (M, V), the posterior mean that it gives
    draws : array, shape (S, K, d), of the latents given the measured frames
    generator : numpy.random.Generator
    """
    number, between = np.cumsum(~measured) - 1, Between.of(prior)
    centre, steps = np.empty((len(estimate), latents.shape[1])), []
    informed: list[tuple[Index, Index, Index, PartialFrames]] = []
    for window in windows_of(prior, measured, times):
        at, missing = times[window.context], number[window.context]
        around = None if mean is None else mean[window.context]
        given = prior.given(at, FrameMask(window.near), latents[window.context][window.near], around)
        here = slice(missing[window.rows][0], missing[window.rows][-1] + 1)
        centre[here] = given.latents.mean[window.rows]
        fixed = window.near | window.before
        conditional = condition(prior.rest.kernel(0, at), FrameMask(fixed))
        root = square_root(conditional.covariance[np.ix_(window.rows, window.rows)])
        gain = conditional.gain[window.rows][:, window.before[fixed]]
        before = missing[window.before]
        steps.append(_RestStep(here, before, gain.astype(np.float32), root.astype(np.float32)))
        for rows, partial in _partial_frames(between, given, window, missing, entries):
            informed.append((missing[rows], missing[partial.at], rows, partial))
    rest = np.empty_like(estimate)
    for draw in draws:
        for step in steps:
            noise = between.draw_rest(len(step.root), generator)
            rest[step.here] = step.gain @ rest[step.before] + step.root @ noise
        away = prior.autoencoder.decode(draw[~measured] - centre) + rest
        if entries is not None:
            # Matheron's rule: what a draw says at the entries is taken back, with all that follows from it.
            shifts = [(into, partial.shift(-away[of], rows)) for into, of, rows, partial in informed]
            for into, shift in shifts:
                away[into] += shift
            away[entries] = 0
        yield estimate + np.float32(prior.spread) * away
