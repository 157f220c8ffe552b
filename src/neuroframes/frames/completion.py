"""Filling the frames of a run that were not measured.

Windows of any run share one prior; each is conditioned on its own measured frames and on those around
it, so cost is linear in the run's length. Measured frames are never touched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.autoencoder import blocks, columns_of, rows_of
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.prior import (
    CONTEXT,
    SAMPLE,
    FramePosterior,
    FramePrior,
    spread_of,
    windows_in_context,
)
from neuroframes.frames.temporal import LONGEST_WINDOW

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

HIDDEN_SHARE = 0.15  # of the measured frames, hidden to calibrate the standard deviation
PRIOR_GAPS = 1  # as many hidden gaps count for as much as the stated standard deviation itself
FEWEST_HIDDEN = 8  # frames; a quantile of fewer says nothing


def given_frames(
    prior: FramePrior, frames: Float32, measured: Mask, times: Float, mean: Float | None = None
) -> FramePosterior:
    """Posterior of one window given its measured frames.

    Parameters
    ----------
    frames : array, shape (K, V), z-scored; what stands at missing frames is not read
    measured : array, shape (K,)
    times : array, shape (K,), seconds
    mean : array, shape (K, d), or None
    """
    seen = prior.autoencoder.encode(rows_of(columns_of(frames), measured))
    return prior.given(times, FrameMask(measured), seen, mean)


@dataclass(frozen=True)
class Filling:
    """One window of a run: its posterior, and which of its frames are wanted.

    Attributes
    ----------
    posterior : FramePosterior of the window's frames
    context : slice, the window in the run
    near : array, shape (K_window,), its measured frames
    rows : array, shape (K_window,), the missing frames of its core
    """

    posterior: FramePosterior
    context: slice
    near: Mask
    rows: Mask


def fillings(
    prior: FramePrior, frames: Float32, measured: Mask, times: Float, mean: Float | None = None
) -> Iterator[Filling]:
    """The windows of a run that have something missing, in order; parameters as in `given_frames`."""
    n_frames = len(frames)
    # On a grid finer than the frames as much time must surround a window, within reason.
    step = float(np.median(np.diff(times))) if n_frames > 1 else prior.latents.tr
    reach = min(LONGEST_WINDOW, max(CONTEXT, round(CONTEXT * prior.latents.tr / step)))
    for core, context in windows_in_context(n_frames, reach):
        wanted = np.zeros(n_frames, bool)
        wanted[core] = ~measured[core]
        if wanted.any():
            near, around = measured[context], None if mean is None else mean[context]
            posterior = given_frames(prior, frames[context], near, times[context], around)
            yield Filling(posterior, context, near, wanted[context])


def fill_missing(
    prior: FramePrior,
    frames: Float32,
    measured: Mask,
    times: Float,
    mean: Float | None = None,
    draws: NDArray[np.floating] | None = None,
) -> Float32:
    """Put the posterior mean at the missing frames, in place.

    Parameters
    ----------
    prior, frames, measured, times, mean : as in `given_frames`
    draws : array, shape (S, K, d)
        Draws of the latents; the standard deviation is theirs rather than the closed form's.

    Returns
    -------
    array, shape (K - n measured, V)
        Standard deviation of the frames that were filled, in order.
    """
    n_vertices = frames.shape[1]
    std = np.empty((int((~measured).sum()), n_vertices), np.float32, order="F")
    filled = np.empty_like(std)
    done = 0
    for window in fillings(prior, frames, measured, times, mean):
        here = slice(done, done + int(window.rows.sum()))
        seen = rows_of(columns_of(frames[window.context]), window.near)
        drawn = None if draws is None else draws[:, window.context][:, window.rows]
        for block in blocks(n_vertices):
            filled[here, block] = window.posterior.mean(seen(block), block, window.rows)
            std[here, block] = window.posterior.std(block, window.rows, drawn)
        done = here.stop
    frames[~measured] = filled
    return std


def each_draw(
    prior: FramePrior,
    frames: Float32,
    measured: Mask,
    times: Float,
    mean: Float | None,
    draws: NDArray[np.floating],
    generator: np.random.Generator,
) -> Iterator[Float32]:
    """All vertices (K, V) of each draw of the latents (S, K, d), computed as they are taken.

    Other parameters are as in `given_frames`.
    """
    windows = list(fillings(prior, frames, measured, times, mean))
    for draw in draws:
        yield drawn_frames(windows, frames, draw, generator)


def drawn_frames(
    windows: Sequence[Filling],
    frames: Float32,
    draw: NDArray[np.floating],
    generator: np.random.Generator,
    block: slice = slice(None),
) -> Float32:
    """One draw of a block of vertices (K, v), measured frames as they are.

    Parameters
    ----------
    windows : sequence of Filling, see `fillings`
    frames : array, shape (K, V)
    draw : array, shape (K, d)
        Of the latents. What the rest is uncertain of is drawn independently between vertices.
    generator : numpy.random.Generator
    block : slice of vertices
    """
    drawn = np.array(frames[:, block])
    for window in windows:
        rows = np.flatnonzero(window.rows)
        values = window.posterior.draw(
            frames[window.context, block][window.near], draw[window.context], generator, block
        )
        drawn[window.context.start + rows] = values[rows]
    return drawn


def calibrated(
    prior: FramePrior, frames: Float32, measured: Mask, times: Float, mean: Float | None = None
) -> FramePrior:
    """The prior with its standard deviation scaled so that intervals cover what they say.

    Measured frames are hidden in gaps as long as the real ones, and the errors there are compared
    with the standard deviation stated for them. Returned as it was where too few can be hidden.
    """
    _, context = next(iter(windows_in_context(len(frames))))
    hidden = hide_alike(measured[context])
    if hidden.sum() < FEWEST_HIDDEN:
        return prior
    frames, near = frames[context], measured[context] & ~hidden
    around = None if mean is None else mean[context]
    posterior = given_frames(replace(prior, spread=1.0), frames, near, times[context], around)
    errors, stds = [], []
    step = max(1, frames.shape[1] // SAMPLE)
    for start in range(0, frames.shape[1], step):
        block = slice(start, start + 1)
        errors.append(frames[hidden, block] - posterior.mean(frames[near, block], block, hidden))
        stds.append(posterior.std(block, hidden))
    spread = spread_of(np.concatenate(errors), np.concatenate(stds))
    # Errors within a gap go together: a factor from few gaps is shrunk towards 1.
    n_gaps = len(_runs_of(hidden)[0])
    return replace(prior, spread=spread ** (n_gaps / (n_gaps + PRIOR_GAPS)))


def hide_alike(measured: Mask) -> Mask:
    """Measured frames to hide, so that what is missing then resembles what is missing now.

    A stretch of measured frames hides a gap as long as one of the real ones, or as long as it can
    with two frames left on either side, but no less than half. At most `HIDDEN_SHARE` of the measured frames.
    """
    gaps = _runs_of(~measured)[1]
    gaps = gaps if len(gaps) else np.ones(1, np.int64)
    starts, stretches = _runs_of(measured)
    hidden = np.zeros(len(measured), bool)
    budget = HIDDEN_SHARE * measured.sum()
    # Spread over the run: every fourth stretch, then the ones after them, until the budget is spent.
    order = np.concatenate([np.arange(first, len(starts), 4) for first in range(4)])
    turn = 0
    for start, stop in ((starts[i], starts[i] + stretches[i]) for i in order):
        while hidden.sum() < budget:
            wanted = int(gaps[turn % len(gaps)])
            gap = min(wanted, stop - start - 4)
            if 2 * gap < max(wanted, 2):
                break
            margin = min((stop - start - gap) // 2, gap + 1, 9)
            hidden[start + margin : start + margin + gap] = True
            start += 4 * (gap + margin)
            turn += 1
    return hidden


def _runs_of(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of the stretches where `mask` is True."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts = np.flatnonzero(edges == 1)
    return starts, np.flatnonzero(edges == -1) - starts
