"""Filling a run on a grid of times that holds its own: z-scored, estimated, put back into its units."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from neuroframes.commands.run import Run, fewest_values
from neuroframes.errors import InputError, listed
from neuroframes.frames.artefacts import suspicious
from neuroframes.frames.autoencoder import blocks
from neuroframes.frames.information import effective_frames
from neuroframes.models.model import Origin, TrainedModel
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.bids import person_of
from neuroframes.recording.bold import read_deviation
from neuroframes.recording.segments import Segment, Split, detrend, trend_basis, vertex_scale
from neuroframes.report.result import write_result
from neuroframes.training.backbone import fit_without_eeg
from neuroframes.training.part import TrainingPart

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

SAMPLED = 1024  # vertices at most, from which the effective number of frames is estimated


@dataclass(frozen=True)
class Filled:
    """What a run is on a grid of G times.

    Attributes
    ----------
    frames : array, shape (G, V), in the file's units
    deviation : array, shape (G, V), or None where the model states none
        0 where a value is data; NaN where an estimate has none: vertices that the model knows nothing of.
    draws : iterator of array, shape (G, V)
    data : array, shape (G,), which frames are data at every vertex
    partial : array, shape (G,), which others are data at some
    method : str, how the others came about
    """

    frames: Float32
    deviation: Float32 | None
    draws: Iterator[Float32]
    data: Mask
    partial: Mask
    method: str


@dataclass(frozen=True)
class Units:
    """From z-scores back to the file's units.

    Attributes
    ----------
    trend : array, shape (2, V), mean and slope of each vertex over its values that are data
    scale : array, shape (V,)
    vertices : array of int, shape (v,), those that vary and that the model knows
    """

    trend: Float
    scale: Float32
    vertices: NDArray[np.intp]

    def put(self, into: Float32, rows: NDArray[np.intp], values: Float32, basis: Float) -> None:
        """z-scores (m, v), with the trend at `basis` (m, 2), into rows of frames (G, V)."""
        for block in blocks(len(self.vertices)):
            columns = self.vertices[block]
            scaled = values[:, block] * self.scale[columns] + basis @ self.trend[:, columns]
            into[np.ix_(rows, columns)] = scaled


def fill_run(run: Run, grid: Float) -> Filled:
    """Estimate a run's frames that aren't data, and those between its frames.

    Parameters
    ----------
    run : Run, of K frames
    grid : array, shape (G,), increasing
        Positions counted in frames of the run; 0 to K - 1 are among them.

    Returns
    -------
    Filled
        What is data is so to the bit. Estimates of an earlier call stay as they are, with their deviation.
        Of partial frames the values that are lacking are estimated, by models that do not use the others
        (all but the Gaussian) as if the whole frame were missing. Vertices that are constant or not finite,
        or that the model knows nothing of, are kept as they are, in missing frames as the nearest frame of
        data has them.
    """
    own = np.searchsorted(grid, np.arange(len(run.missing)))
    frames = np.take(run.bold.data.T, np.rint(grid).astype(int), axis=1).T
    data, partial, kept = (np.zeros(len(grid), bool) for _ in range(3))
    data[own], partial[own], kept[own] = run.data, run.partial, ~run.bold.measured & ~run.missing
    filled, some = ~data & ~kept, partial.copy()
    some[own] |= kept[own] & np.isin(np.arange(len(own)), run.bold.sidecar.get("NeuroframesPartial", []))
    if not filled.any():
        deviation = _carried(np.zeros_like(frames), run, kept, own)
        same = (frames for _ in range(run.draws.number))
        return Filled(frames, deviation, same, data, some, "nothing was estimated")
    segment, units = standardised(run, grid, own, data, partial)
    run.about.update(
        _information(segment.frames[:, :: -(-len(units.vertices) // SAMPLED)][own], run.data, run.name)
    )
    doubted = np.flatnonzero(suspicious(segment.frames, segment.measured)[own])
    if len(doubted):
        looks = "%d of %d frames (%s) may be artefacts: kept, but informing no other; censor them if they are"
        logger.warning(looks, len(doubted), len(own), listed(doubted.tolist()))
    run.about["NeuroframesSuspiciousInSource"] = doubted
    model = _own_prior(segment, run, own) if run.model is None else run.model.for_run(segment)
    method = model.describe(segment)
    if run.model is not None:
        logger.info("%s: %s", segment.run, method)
    estimate = model.fill(segment, draws=run.draws.number, generator=run.draws.generator)
    rows, among = np.flatnonzero(filled), filled[~data]
    # Held beyond the first and the last frame of data: a line fitted elsewhere leads anywhere there.
    inside = np.clip(grid[rows], *np.flatnonzero(run.data | run.partial)[[0, -1]])
    basis = trend_basis(inside, len(run.missing))
    given = frames[partial]
    there = np.isfinite(given)
    units.put(frames, rows, estimate.mean[among], basis)
    _keep_nearest(frames, grid, data, rows, units.vertices)
    frames[partial] = np.where(there, given, frames[partial])
    stated = None
    if estimate.std is not None:
        stated = np.zeros_like(frames)
        stated[rows] = np.nan
        units.put(stated, rows, estimate.std[among], np.zeros_like(basis))
        stated[partial] = np.where(there, 0, stated[partial])
        _carried(stated, run, kept, own)

    def drawn() -> Iterator[Float32]:
        for draw in estimate.draws:
            sequence = frames.copy(order="F")
            units.put(sequence, rows, draw[among], basis)
            sequence[partial] = np.where(there, given, sequence[partial])
            yield sequence

    return Filled(frames, stated, drawn(), data, some, method + run.draws.note)


def write_filled(
    run: Run,
    filled: Filled,
    description: str,
    tr: float,
    at: slice | NDArray[np.intp] = slice(None),
    tables: Mapping[Path, str] = MappingProxyType({}),
) -> tuple[Path, ...]:
    """Write what a run was filled to, or the frames `at` some places of the grid, `tr` seconds apart.

    With them, or not at all, `tables` of text are written, in the same folder.

    Returns
    -------
    tuple of Path
        Images: frames, their standard deviation if there is one, then draws.
    """
    about = run.about | {
        "Description": f"{description}: NeuroframesMeasured says which frames are data.",
        "NeuroframesMethod": filled.method,
        "NeuroframesPartial": np.flatnonzero(filled.partial[at]),
    }
    return write_result(
        run.out,
        np.asfortranarray(filled.frames[at]),
        None if filled.deviation is None else np.asfortranarray(filled.deviation[at]),
        run.bold.space,
        tr=tr,
        # A frame stands for the middle of its volume, and volumes may have another length now.
        start=float(run.bold.times[0] + (run.bold.tr - tr) / 2),
        measured=filled.data[at],
        about=about,
        draws=(np.asfortranarray(draw[at]) for draw in filled.draws) if run.draws.saved else (),
        n_draws=run.draws.saved,
        tables=tables,
        overwrite=run.overwrite,
    )


def standardised(
    run: Run, grid: Float, own: NDArray[np.intp], data: Mask, partial: Mask
) -> tuple[Segment, Units]:
    """The run on the grid, its vertices z-scored over the values that are data, and the way back.

    Parameters
    ----------
    run, grid : as in `fill_run`
    own : array of int, shape (K,), where in the grid the run's frames are
    data, partial : array, shape (G,), which frames of the grid are data, and which are at some vertices
    """
    residual = np.array(run.bold.data, order="F")
    known = run.data | run.partial
    trend = detrend(residual, known)
    scale = vertex_scale(residual, known, trend[0], fewest_values(known))
    varying = scale > 0
    known_to_model = np.ones_like(varying) if run.model is None else run.model.origin.scale > 0
    vertices = np.flatnonzero(varying & known_to_model)
    if not len(vertices):
        raise InputError(
            f"{run.name}: every vertex is constant or has values that aren't finite; "
            "there is nothing to learn from: export it again"
        )
    if run.model is not None and not run.model.scaled_by_run:
        # Sessions differ in the BOLD's unit, not in how strongly vertices vary beside each other.
        of_training = run.model.origin.scale
        scale = of_training * np.median(scale[vertices] / of_training[vertices])
    for some, why in (
        (~varying, "are constant or not finite in many frames"),
        (varying & ~known_to_model, "are unknown to the model, without signal in what it was made of"),
    ):
        if some.any():
            logger.warning("%s %s: kept as they are", run.bold.space.described(some), why)
    # Where nothing lies between the run's frames they are the grid: a view spares a copy each time.
    rows: slice | NDArray[np.intp] = slice(None) if len(own) == len(grid) else own
    frames = np.zeros((len(grid), len(vertices)), np.float32, order="F")
    for block in blocks(len(vertices)):
        frames[rows, block] = residual[:, vertices[block]] / scale[vertices[block]]
    in_run = grid * run.bold.tr
    times = np.interp(in_run, in_run[own], run.times)
    of_model = None if run.model is None or len(vertices) == len(scale) else vertices
    given = Segment(
        *(frames, times, in_run, data, run.power, run.name, run.eeg),
        vertices=of_model,
        partial=partial,
        person=person_of(run.bold.sources[0]),
    )
    return given, Units(trend, scale, vertices)


def _information(frames: Float32, measured: Mask, name: str) -> dict[str, float]:
    """For log and sidecar: share of frames (K, V) that are measured, and how many they are worth."""
    share, effective = measured.mean(), effective_frames(frames, measured)
    worth = "%s: %d of %d frames (%.0f %%) are measured in full, worth about %.0f independent ones"
    logger.info(worth, name, measured.sum(), len(measured), 100 * share, effective)
    return {
        "NeuroframesShareMeasured": round(float(share), 4),
        "NeuroframesEffectiveFrames": round(effective, 1),
    }


def _own_prior(segment: Segment, run: Run, own: NDArray[np.intp]) -> TrainedModel:
    """The prior that the run gives itself, fitted to its own frames of the grid."""
    if len(own) < len(segment.times):
        names = ("frames", "times", "time_in_run", "measured")
        arrays = {name: getattr(segment, name)[own] for name in names}
        segment = replace(segment, **arrays, partial=None)
    if run.partial.sum() > run.data.sum():
        lacking = "%d frames lack values, more than the %d full ones that the prior is fitted to"
        logger.warning(lacking, run.partial.sum(), run.data.sum())
    scale = np.ones(segment.frames.shape[1], np.float32)
    origin = Origin(run.bold.space, run.bold.tr, scale, Split((), (), 0.0))
    return fit_without_eeg(TrainingPart(origin, [segment], own=True), BackboneSettings())


def _carried(deviation: Float32, run: Run, kept: Mask, own: NDArray[np.intp]) -> Float32:
    """The deviation (G, V), at frames that an earlier call estimated as that call stated it, or NaN."""
    if kept.any():
        deviation[kept] = np.nan
        stated = read_deviation(run.bold)
        if stated is not None:
            deviation[kept] = stated[kept[own]]
        else:
            logger.warning("%s: no standard deviation stands beside its estimates: theirs is NaN", run.name)
    return deviation


def _keep_nearest(
    frames: Float32, grid: Float, data: Mask, rows: NDArray[np.intp], vertices: NDArray[np.intp]
) -> None:
    """Give filled frames the values of the nearest data at vertices that aren't estimated."""
    dead = np.ones(frames.shape[1], bool)
    dead[vertices] = False
    columns, known = np.flatnonzero(dead), np.flatnonzero(data)
    nearest = known[np.abs(np.subtract.outer(grid[rows], grid[known])).argmin(axis=1)]
    frames[np.ix_(rows, columns)] = frames[np.ix_(nearest, columns)]
