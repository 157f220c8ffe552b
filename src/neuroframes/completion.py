"""Completing runs: censored frames filled, frames at other times added, measured ones kept to the bit."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import blocks, columns_of, rows_of
from neuroframes.frames.completion import calibrated, each_draw, fill_missing
from neuroframes.frames.prior import FramePrior, default_latents, fit_frame_prior, folds_for
from neuroframes.models.gaussian import GaussianModel
from neuroframes.reconstruction import check_draws
from neuroframes.recording.segments import detrend, trend_basis, vertex_scale
from neuroframes.recording.sidecar import read_sidecar
from neuroframes.report.result import write_result
from neuroframes.task import Task, read_task

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

LONGER = 1.01  # times the TR: beyond, an output samples more coarsely than its input
SAME_FRAME = 1e-3  # of a frame: times as near as this are one, since headers round the TR


def complete(
    bold: str | Path,
    *,
    out: str | Path,
    overwrite: bool = False,
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    **beside: Any,
) -> tuple[Path, ...]:
    """Fill a run's missing frames by their posterior mean and state its standard deviation.

    Missing are the frames that `confounds`, `censor` or `frames` name, and those that are NaN throughout.
    Without a model the prior is fitted to the measured frames of the run itself. A model of the paper's
    recipe needs the EEG, and always draws; a surface model needs it too, and states no standard deviation.

    Parameters
    ----------
    bold : path
        CIFTI dense series, GIFTI (both hemispheres are found by name) or 4-D volume.
    out : path
        Image of the same format.
    overwrite : bool
    draws : int
        Take the standard deviation from so many draws of the posterior, at least 2; by default it is in
        closed form, which leaves out how the learned correction varies.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
    **beside
        What is known beside the run: see `read_task`.

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation (0 where measured) if there is one, then draws.

    Raises
    ------
    InputError
        If nothing or too little is measured, inputs don't fit each other, or `out` exists.
    """
    out = Path(out)
    check_draws(draws, save_draws)
    n_saved = draws if save_draws else 0
    task = read_task(bold, out, overwrite=overwrite, draws=draws, save_draws=save_draws, **beside)
    n_frames = len(task.measured)
    if task.measured.all():
        logger.warning("%s: no frame is missing; the output equals the input", task.bold.sources[0].name)
    logger.info("filling %d of %d frames", (~task.measured).sum(), n_frames)
    grid = np.arange(n_frames, dtype=np.float64)
    frames, deviation, drawn = estimate(task, grid, np.arange(n_frames), seed, draws)
    timing = read_sidecar(task.bold.sources[0])
    about: dict[str, Any] = {
        "Description": "BOLD run whose missing frames were filled: NeuroframesMeasured says which are data.",
        **{name: timing[name] for name in ("SliceTimingCorrected", "StartTime") if name in timing},
        **task.about,
    }
    return write_result(
        out,
        frames,
        deviation,
        task.bold.space,
        tr=task.bold.tr,
        start=float(task.bold.times[0]),
        measured=task.measured,
        about=about,
        draws=drawn if save_draws else (),
        n_draws=n_saved,
        overwrite=overwrite,
    )


def resample(
    bold: str | Path,
    *,
    tr: float,
    out: str | Path,
    overwrite: bool = False,
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    **beside: Any,
) -> tuple[Path, ...]:
    """Frames at another TR; those that fall on a measured frame are that frame, to the bit.

    Parameters
    ----------
    bold, out, overwrite, draws, save_draws, seed, **beside
        As in `complete`; `bold_tr` overrides the TR of the file.
    tr : float, seconds
        Of the output. Frames at a longer TR are samples, not means: faster fluctuations alias (with a
        warning).

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation, then draws.
    """
    out = Path(out)
    if not 0 < tr < np.inf:
        raise InputError(f"a TR of {tr} s was given; expected a positive number of seconds")
    check_draws(draws, save_draws)
    n_saved = draws if save_draws else 0
    options: dict[str, Any] = {"overwrite": overwrite, "draws": draws, "save_draws": save_draws, **beside}
    task = read_task(bold, out, in_between=True, **options)
    n_frames, ratio = len(task.measured), tr / task.bold.tr
    if ratio > LONGER:
        logger.warning(
            "%s: at a TR of %g s what fluctuates faster than every %g s is aliased, not averaged; "
            "low-pass filter the frames first if that matters",
            task.bold.sources[0].name,
            tr,
            2 * tr,
        )
    wanted = np.arange(0, n_frames - 1 + SAME_FRAME, ratio)  # counted in frames of the run
    wanted = np.where(np.abs(wanted - np.rint(wanted)) < SAME_FRAME, np.rint(wanted), wanted)
    grid = np.union1d(np.arange(n_frames), wanted)
    rows, at = np.searchsorted(grid, wanted), np.searchsorted(grid, np.arange(n_frames))
    logger.info("%d frames at a TR of %g s from %d at %g s", len(wanted), tr, n_frames, task.bold.tr)
    frames, deviation, drawn = estimate(task, grid, at, seed, draws)
    known = np.zeros(len(grid), bool)
    known[at] = task.measured
    about = {
        "Description": "BOLD run resampled in time: NeuroframesMeasured says which frames are data.",
        **task.about,
    }
    return write_result(
        out,
        np.asfortranarray(frames[rows]),
        None if deviation is None else np.asfortranarray(deviation[rows]),
        task.bold.space,
        tr=tr,
        # A frame stands for the middle of its volume, and volumes have another length now.
        start=float(task.bold.times[0] + (task.bold.tr - tr) / 2),
        measured=known[rows],
        about=about,
        draws=(np.asfortranarray(draw[rows]) for draw in drawn) if save_draws else (),
        n_draws=n_saved,
        overwrite=overwrite,
    )


def estimate(
    task: Task, grid: Float, at: NDArray[np.int64], seed: int, n_draws: int = 0
) -> tuple[Float32, Float32 | None, Iterator[Float32]]:
    """Frames and standard deviation on a grid that contains the run's frames.

    Parameters
    ----------
    task : Task, of K frames
    grid : array, shape (G,), positions counted in frames of the run, increasing
    at : array, shape (K,), where in `grid` the run's frames are
    seed : int
    n_draws : int
        From which the standard deviation is taken; in closed form if 0.

    Returns
    -------
    frames, deviation : array, shape (G, V), in the file's units
        Measured frames to the bit with deviation 0. Vertices that are constant or not finite, or that the
        model knows nothing of, are kept as the nearest frame has them, with deviation 0. There is no
        deviation where the model states none.
    draws : iterator of array, shape (G, V)
    """
    data, n_frames = task.bold.data, len(task.measured)
    frames = np.take(data.T, np.rint(grid).astype(int), axis=1).T
    known = np.zeros(len(grid), bool)
    known[at] = task.measured
    if known.all():
        model = task.model
        stated = model is None or isinstance(model, GaussianModel) or model.states_deviation
        return frames, np.zeros_like(frames) if stated else None, (frames for _ in range(n_draws))
    residual = np.array(data, order="F")
    with np.errstate(invalid="ignore"):  # vertices with infinite values, which are sorted out here
        trend = detrend(residual, task.measured)
        scale = vertex_scale(residual, task.measured)
    # A millionth of the mean is what float32 can't tell from constant.
    usable = scale > 1e-6 * np.abs(trend[0])
    if task.model is not None:
        usable &= task.model.scale > 0
    if not usable.any():
        raise InputError(
            f"{task.bold.sources[0].name}: every vertex is constant or has values that aren't finite; "
            "there is nothing to learn from: export it again"
        )
    if task.model is not None:
        # Sessions differ in the BOLD's unit, not in how strongly vertices vary beside each other.
        scale = task.model.scale * np.median(scale[usable] / task.model.scale[usable])
    # Where nothing lies between the run's frames they are the grid: a view spares a copy each time.
    rows = slice(None) if len(at) == len(grid) else at
    vertices = np.flatnonzero(usable)
    if n_dead := len(scale) - len(vertices):
        why = "constant or not finite" + ("" if task.model is None else ", or unknown to the model")
        logger.warning("%d of %d vertices are %s: kept as they are", n_dead, len(scale), why)
    standard = np.zeros((len(grid), len(vertices)), np.float32, order="F")
    for block in blocks(len(vertices)):
        standard[rows, block] = residual[:, vertices[block]] / scale[vertices[block]]
    del residual
    times = grid * task.bold.tr
    clock = None if task.clock is None else np.interp(times, times[at], task.clock)
    wanted = Wanted(task, standard, rows, known, times, clock, usable)
    std, standard_draws = _filled(wanted, n_draws, np.random.default_rng(seed))
    unknown = np.flatnonzero(~known)
    # Held beyond the first and the last measured frame: a line fitted elsewhere leads anywhere there.
    inside = np.clip(grid[unknown], *np.flatnonzero(task.measured)[[0, -1]])
    basis = trend_basis(inside, n_frames)

    def put(values: Float32) -> None:
        """Unknown frames of `values`, z-scored, into `frames`, in the file's units."""
        for block in blocks(len(vertices)):
            columns = vertices[block]
            filled = values[unknown, block] * scale[columns] + basis @ trend[:, columns]
            frames[np.ix_(unknown, columns)] = filled

    def drawn() -> Iterator[Float32]:
        for draw in standard_draws:
            put(draw)
            yield frames.copy(order="F")

    put(standard)
    deviation = None
    if std is not None:
        deviation = np.zeros_like(frames)
        for block in blocks(len(vertices)):
            deviation[np.ix_(unknown, vertices[block])] = std[:, block] * scale[vertices[block]]
    _keep_nearest(frames, grid, known, np.flatnonzero(~usable))
    # `put` writes into it again for each draw.
    return frames.copy(order="F") if n_draws else frames, deviation, drawn()


def _keep_nearest(frames: Float32, grid: Float, known: Mask, dead: NDArray[np.int64]) -> None:
    """Where an unknown frame has no value at a vertex that isn't estimated, put the nearest known one's."""
    unknown, seen = np.flatnonzero(~known), np.flatnonzero(known)
    nearest = seen[np.abs(np.subtract.outer(grid[unknown], grid[seen])).argmin(axis=1)]
    kept = frames[np.ix_(unknown, dead)]
    frames[np.ix_(unknown, dead)] = np.where(np.isfinite(kept), kept, frames[np.ix_(nearest, dead)])


@dataclass(frozen=True)
class Wanted:
    """What is to be filled.

    Attributes
    ----------
    task : Task, of K frames
    standard : array, shape (G, v), the usable vertices, z-scored
        Its unknown frames are written to.
    rows : where in the grid the run's frames are
    known : array, shape (G,)
    times : array, shape (G,), seconds
    clock : array, shape (G,), seconds on the EEG clock, or None
    usable : array, shape (V,)
    """

    task: Task
    standard: Float32
    rows: slice | NDArray[np.int64]
    known: Mask
    times: Float
    clock: Float | None
    usable: Mask

    def seen(self, prior: FramePrior) -> Float:
        """Latents of the known frames, 0 at the others; shape (G, d)."""
        seen = np.zeros((len(self.standard), prior.autoencoder.n_latents))
        seen[self.known] = prior.autoencoder.encode(rows_of(columns_of(self.standard), self.known))
        return seen


def _filled(
    wanted: Wanted, n_draws: int, generator: np.random.Generator
) -> tuple[Float32 | None, Iterator[Float32]]:
    """Fill the unknown frames in place; returns their standard deviation, and draws (G, v)."""
    model, standard, known, times = wanted.task.model, wanted.standard, wanted.known, wanted.times
    if model is not None and not isinstance(model, GaussianModel):
        assert wanted.clock is not None  # `read_task` refuses these models without EEG
        draws, vertices = model.draws_for(n_draws), np.flatnonzero(wanted.usable)
        heard = wanted.task.heard
        return model.fill_missing(
            standard, known, heard, wanted.clock, generator, draws=draws, vertices=vertices
        )
    prior, mean = _prior(wanted, generator)
    latents = _draws(wanted, prior, n_draws, generator) if n_draws else None
    std = fill_missing(prior, standard, known, times, mean, latents)
    if latents is None:
        return std, iter(())
    return std, each_draw(prior, standard, known, times, mean, latents, generator)


def _prior(wanted: Wanted, generator: np.random.Generator) -> tuple[FramePrior, Float | None]:
    """The model's prior and the EEG's mean on the grid, or a prior fitted to the run's measured frames."""
    task = wanted.task
    if isinstance(task.model, GaussianModel):
        prior = task.model.prior.restricted(wanted.usable)
        seen = None if task.heard is None else wanted.seen(prior)
        clock = wanted.times if wanted.clock is None else wanted.clock
        given, mean = task.model.given_eeg(task.heard, clock, seen, wanted.known)
        return replace(prior, latents=given.latents), mean
    logger.info("fitting the prior to the run's %d measured frames", task.measured.sum())
    # A view where the run's frames are the grid.
    frames = wanted.standard[wanted.rows]
    n_measured = int(task.measured.sum())
    prior = fit_frame_prior(
        columns_of(frames),
        frames.shape[1],
        [(slice(0, len(frames)), task.measured)],
        task.bold.tr,
        default_latents(n_measured),
        generator,
        folds_for(n_measured),
    )
    return calibrated(prior, frames, task.measured, wanted.times[wanted.rows]), None


def _draws(wanted: Wanted, prior: FramePrior, n_draws: int, generator: np.random.Generator) -> Float32:
    """Draws of the latents on the grid, shape (S, G, d)."""
    from neuroframes.models.draws import draw_latents, fixed, learned

    seen, model, heard, clock = wanted.seen(prior), wanted.task.model, wanted.task.heard, wanted.clock
    if not isinstance(model, GaussianModel) or heard is None or clock is None:
        mean_of = fixed(np.zeros_like(seen))
    else:
        mean_of = learned(model, heard, clock, seen, wanted.known)
    return draw_latents(prior.latents, mean_of, wanted.times, seen, wanted.known, n_draws, generator)
