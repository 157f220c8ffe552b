"""Filling the frames of a run that were not measured.

Windows of any run share one prior; each is conditioned on its own measured frames and on those around
it, so cost is linear in the run's length. What comes out are the frames that weren't measured: none that was
can be touched.

Draws go from window to window: x_w ~ p(x_w | y, x_<w), each window conditioned on the measurements y and on the
frames before it as they were drawn, so that a draw of any length is one of one process, without seams.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.autoencoder import blocks, columns_of, rows_of
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import condition, square_root
from neuroframes.frames.prior import CONTEXT, FramePrior, windows_in_context
from neuroframes.frames.temporal import LONGEST_WINDOW

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


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
) -> tuple[Float32, Float32]:
    """Posterior mean and standard deviation of the M missing frames of a run, each of shape (M, V).

    Parameters
    ----------
    prior : FramePrior
    frames : array, shape (K, V), z-scored; what stands at missing frames is not read
    measured : array, shape (K,)
    times : array, shape (K,), seconds
    latents : array, shape (K, d), of the measured frames, where they are known already
    mean : array, shape (K, d), or None
        Of the prior's latents, as the EEG gives it.
    draws : array, shape (S, K, d)
        Draws of the latents; the standard deviation is theirs rather than the closed form's.
    """
    n_vertices = frames.shape[1]
    latents = prior.encode(frames, measured) if latents is None else latents
    filled = np.empty((int((~measured).sum()), n_vertices), np.float32, order="F")
    std = np.empty_like(filled)
    done = 0
    for window in windows_of(prior, measured, times):
        context, near = window.context, window.near
        around = None if mean is None else mean[context]
        posterior = prior.given(times[context], FrameMask(near), latents[context][near], around)
        here = slice(done, done + int(window.rows.sum()))
        known = rows_of(columns_of(frames[context]), near)
        drawn = None if draws is None else draws[:, context][:, window.rows]
        for block in blocks(n_vertices):
            filled[here, block] = posterior.mean(known(block), block, window.rows)
            std[here, block] = posterior.std(block, window.rows, drawn)
        done = here.stop
    return filled, std


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
    block: slice = slice(None),
) -> Iterator[Float32]:
    """Draws (M, v) of the missing frames at a block of vertices, computed as they are taken.

    Parameters
    ----------
    prior, measured, times, latents, mean : as in `fill_missing`
    estimate : array, shape (M, V), the posterior mean that it gives
    draws : array, shape (S, K, d), of the latents
    generator : numpy.random.Generator
        What is uncertain in the rest is drawn independently between vertices.
    block : slice of vertices
    """
    number = np.cumsum(~measured) - 1
    centre, steps = np.empty((len(estimate), latents.shape[1])), []
    for window in windows_of(prior, measured, times):
        at = times[window.context]
        around = None if mean is None else mean[window.context]
        given = prior.given(at, FrameMask(window.near), latents[window.context][window.near], around)
        missing = number[window.context]
        here = slice(missing[window.rows][0], missing[window.rows][-1] + 1)
        centre[here] = given.latents.mean[window.rows]
        fixed = window.near | window.before
        conditional = condition(prior.rest.kernel(0, at), FrameMask(fixed))
        root = square_root(conditional.covariance[np.ix_(window.rows, window.rows)])
        gain = conditional.gain[window.rows][:, window.before[fixed]]
        steps.append(_RestStep(here, missing[window.before], gain.astype(np.float32), root.astype(np.float32)))
    size, spread = prior.autoencoder.rest[block], np.float32(prior.spread)
    rest = np.empty_like(estimate[:, block])
    for draw in draws:
        for step in steps:
            noise = generator.standard_normal(rest[step.here].shape, np.float32) * size
            rest[step.here] = step.gain @ rest[step.before] + step.root @ noise
        away = prior.autoencoder.decode(draw[~measured] - centre, block)
        yield estimate[:, block] + spread * (away + rest)
