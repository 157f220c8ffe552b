"""A population prior from many runs, each read twice, one at a time.

First the components: of each run the strongest, weighted by their size, are stacked below those of the runs
before, and the strongest of the stack are kept, twice as many as are asked for (incremental group PCA: MIGP,
Smith et al. 2014). Then each run's latents in the group's components, and their sums. Both are done for a few
people at a time, in processes of their own; parts that are there already are kept.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes import __version__
from neuroframes.checksums import check_files, write_checksums
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import written_whole
from neuroframes.frames.artefacts import suspicious
from neuroframes.frames.autoencoder import (
    Columns,
    LinearAutoencoder,
    blocks,
    columns_of,
    fit_autoencoder,
    rows_of,
)
from neuroframes.frames.coupling import Lags, fit_lags
from neuroframes.frames.population import Population
from neuroframes.frames.prior import SAMPLE, default_latents
from neuroframes.frames.temporal import fit_temporal_covariance, total_power
from neuroframes.models.model import Origin
from neuroframes.models.population import PopulationModel
from neuroframes.models.settings import BackboneSettings
from neuroframes.models.stored import digest
from neuroframes.recording.bold import bold_files, read_bold
from neuroframes.recording.segments import Segment, Split, detrend, vertex_scale
from neuroframes.recording.timeline import Censoring
from neuroframes.threads import few_threads
from neuroframes.training.part import TrainingPart

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

MOST_LATENTS = 128
KEPT = 2  # times as many components are kept on the way as are asked for
STACK = "components.npz"
MOST_PARTS = 64  # that people are dealt into, each with a file of components: so many lie on disk at once


@dataclass(frozen=True)
class GroupRun:
    """A run of somebody.

    Attributes
    ----------
    bold : Path
    person : str
    confounds : Path, or None: no frame is censored
    """

    bold: Path
    person: str
    confounds: Path | None


@dataclass(frozen=True)
class Part:
    """A few people's runs, and how they are read.

    Attributes
    ----------
    runs : tuple of GroupRun
    space : CorticalSpace, tr : float, seconds
        Of the prior.
    rules : Censoring
    latents : int, or None: as many as the frames support
    fewest : int
        Runs with fewer measured frames are left out.
    bold_tr : float, seconds, or None: as the files state it
    folder : Path
        Where results are kept.
    components : Path, or None: of a prior, in whose components sums are to be made
    """

    runs: tuple[GroupRun, ...]
    space: CorticalSpace
    tr: float
    rules: Censoring
    latents: int | None
    fewest: int
    bold_tr: float | None
    folder: Path
    components: Path | None = None

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(run.person for run in self.runs))

    @property
    def most_latents(self) -> int:
        return MOST_LATENTS if self.latents is None else self.latents

    @cached_property
    def result(self) -> Path:
        """Where the result is, or will be; another place where files or settings are others."""
        files = [file for run in self.runs for file in (*bold_files(run.bold), run.confounds) if file]
        stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        settings = (
            self.runs,
            self.space.to_json(),
            self.tr,
            self.rules,
            self.latents,
            self.fewest,
            self.bold_tr,
        )
        text = repr((__version__, stamps, settings))
        kind = "components" if self.components is None else f"sums-{digest(self.components)}"
        return self.folder / f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}-{kind}"

    def dealt(self) -> "list[Part]":
        """As parts of a few people each, with all runs of a person in one."""
        people: dict[str, tuple[GroupRun, ...]] = {}
        for run in self.runs:
            people[run.person] = (*people.get(run.person, ()), run)
        every = [*people.values()]
        shares = np.array_split(np.arange(len(every)), min(MOST_PARTS, len(every)))
        return [replace(self, runs=sum((every[person] for person in share), ())) for share in shares]


@dataclass(frozen=True)
class Frames:
    """Frames of a run in the prior's space.

    Attributes
    ----------
    values : array, shape (K, V), z-scored; 0 at vertices that are constant or lack values
    measured : array, shape (K,)
    varying : array, shape (V,), the other vertices
    notes : list of str, what was left out
    """

    values: Float32
    measured: Mask
    varying: Mask
    notes: list[str]

    @property
    def n_measured(self) -> int:
        return int(self.measured.sum())


def read_frames(run: GroupRun, part: Part) -> Frames:
    """Read a run, and z-score each vertex over its measured frames.

    Frames that look like artefacts are not counted: they would decide scale and components.

    Raises
    ------
    InputError
        If the run can't be read, or has another space.
    """
    bold, name = read_bold(run.bold, tr=part.bold_tr), run.bold.name
    places = part.space.places_in(bold.space, name)
    measured = ~part.rules.left_out(bold, run.confounds)
    frames = np.take(bold.data.T, places, axis=0).T
    frames[:, places < 0] = np.nan
    del bold
    frames, trusted, varying = _without_artefacts(frames, measured)
    notes = []
    if (marked := measured & ~trusted).any():
        listed = ", ".join(map(str, np.flatnonzero(marked)))
        notes.append(f"{name}: frames {listed} look like artefacts and are not counted")
    if trusted.sum() < part.fewest or not varying.any():
        notes.append(f"{name}: {trusted.sum()} measured frames, at least {part.fewest} are needed: left out")
        trusted = np.zeros_like(trusted)
    return Frames(frames, trusted, varying, notes)


def frames_of(segment: Segment) -> Frames:
    """Frames of a segment, without those that look like artefacts."""
    return Frames(*_without_artefacts(np.array(segment.frames, order="F"), segment.measured), notes=[])


def _without_artefacts(frames: Float32, measured: Mask) -> tuple[Float32, Mask, Mask]:
    """Frames (K, V) z-scored over the measured ones that look like no artefacts, these, and what varies."""
    # The trend is left in what is kept for a second look, which a trend of artefacts would spoil.
    values, varying = _z_scored(frames.copy(order="F"), measured)
    if (marked := suspicious(values, measured)).any():
        measured = measured & ~marked
        values, varying = _z_scored(frames, measured)
    return values, measured, varying


def _z_scored(frames: Float32, measured: Mask) -> tuple[Float32, Mask]:
    """Frames (K, V) without trend, in units of each vertex's deviation, in place; which vertices vary."""
    trend = detrend(frames, measured)
    scale = vertex_scale(frames, measured, trend[0])
    for block in blocks(len(scale)):
        frames[:, block] /= np.where(scale[block] > 0, scale[block], np.inf)
        np.nan_to_num(frames[:, block], copy=False, nan=0, posinf=0, neginf=0)
    return frames, scale > 0


@few_threads
def find_components(part: Part) -> None:
    """Write the strongest components of a part's runs; nothing where they are there."""
    if part.result.exists():
        return
    found = (frames for run in part.runs if (frames := read_frames(run, part)).n_measured)
    stack, varying, counts = stacked(found, KEPT * part.most_latents, part.space.V)
    with written_whole(part.result) as folder:
        folder.mkdir()
        np.savez(folder / STACK, stack=stack, varying=varying, counts=counts)
        write_checksums(folder)


def stacked(runs: Iterable[Frames], n_kept: int, n_vertices: int) -> tuple[Float32, Float, NDArray[np.int64]]:
    """The strongest components of runs, weighted by their size.

    Returns
    -------
    stack : array, shape (n_kept at most, V)
    varying : array, shape (2, V), in how many runs, and in how many of their frames, a vertex varies
    counts : array, shape (2,), runs and frames
    """
    stack = np.zeros((0, n_vertices), np.float32)
    varying, counts = np.zeros((2, n_vertices)), np.zeros(2, np.int64)
    for found in runs:
        columns = rows_of(columns_of(found.values), found.measured)
        own, _ = fit_autoencoder(columns, n_vertices, n_kept, np.random.default_rng(0))
        stack = strongest([stack, own.decoder * np.sqrt(np.float32(found.n_measured))], n_kept)
        counts += [1, found.n_measured]
        varying += np.outer([1, found.n_measured], found.varying)
    return stack, varying, counts


def strongest(stacks: Iterable[Float32], number: int) -> Float32:
    """The principal components of rows (n, V), strongest first, each as long as its singular value.

    The sign of each is the one with which its largest entry is positive.
    """
    rows = np.concatenate([*stacks])
    gram = np.zeros((len(rows), len(rows)))
    for block in blocks(rows.shape[1]):
        part = rows[:, block].astype(np.float64)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    strongest_first = np.argsort(-values)[:number]
    # Weaker ones are rounding.
    kept = values[strongest_first] > len(rows) * np.finfo(np.float32).eps * values[-1]
    found = vectors[:, strongest_first[kept]].T.astype(np.float32) @ rows
    largest = found[np.arange(len(found)), np.abs(found).argmax(axis=1)]
    return np.asarray(found * np.sign(largest)[:, None])


def group_components(parts: Sequence[Part]) -> PopulationModel:
    """The components of all parts, once each was found; a prior of nobody yet.

    Vertices that are constant, or lack values, in half of the runs or more are not known.

    Raises
    ------
    InputError
        If no run has enough frames.
    """
    first, stack = parts[0], np.zeros((0, parts[0].space.V), np.float32)
    varying, counts = np.zeros((2, first.space.V)), np.zeros(2, np.int64)
    for part in parts:
        check_files(part.result, "repeat the same call")
        with np.load(part.result / STACK) as found:
            if len(found["stack"]):
                stack = strongest([stack, found["stack"]], KEPT * first.most_latents)
            counts, varying = counts + found["counts"], varying + found["varying"]
    if not counts[0]:
        raise InputError(f"no run has {first.fewest} measured frames; lower --fewest-frames, or censor fewer")
    group, _ = group_of(stack, varying, counts, first.latents)
    nobody = Population(group, {}, np.zeros(1), first.tr, {})
    return PopulationModel(Origin(first.space, first.tr, group.rest, Split((), (), 0.0)), nobody)


def group_of(
    stack: Float32, varying: Float, counts: NDArray[np.int64], n_latents: int | None
) -> tuple[LinearAutoencoder, Mask]:
    """The group's components, of what `stacked` gives, and which vertices (V,) they know.

    As many as are asked for, or as the frames support. The rest's size is 1 where something is known.
    """
    n_runs, n_frames = counts
    known = 2 * varying[0] > n_runs
    # What runs lack at a vertex is no sign of its size.
    size = known * np.sqrt(n_frames) / np.maximum(varying[1], 1)
    decoder = stack[: n_latents or default_latents(int(n_frames))] * size
    return LinearAutoencoder(decoder.astype(np.float32), known.astype(np.float32)), known


def _columns_at(frames: Float32, vertices: NDArray[np.intp]) -> Columns:
    """Frames at some of the vertices, of which one block at a time is copied."""
    return lambda block: np.take(frames.T, vertices[block], axis=0).T


def _power_of_rest(
    columns: Columns, measured: Mask, latents: NDArray[np.float64], autoencoder: LinearAutoencoder, tr: float
) -> NDArray[np.float64]:
    """Two-sided power (F,) of what latents (K, d) leave over of a run, 1 a measured frame."""
    n_vertices = autoencoder.decoder.shape[1]
    sample = np.arange(0, n_vertices, max(1, n_vertices // SAMPLE))
    frames = np.concatenate([columns(slice(v, v + 1)) for v in sample], axis=1)
    rest = frames - autoencoder.decode(latents, sample).astype(np.float64)
    covariance = fit_temporal_covariance([(rest, measured)], tr, np.zeros(len(sample), int))
    return np.asarray(measured.sum() * total_power(covariance)[0])


def latents_of(
    found: Frames, group: LinearAutoencoder, known: Mask
) -> tuple[Float, LinearAutoencoder, NDArray[np.intp]]:
    """A run's latents (K, d), the group's components at vertices that it has, and which these are."""
    vertices = np.flatnonzero(found.varying & known)
    here = LinearAutoencoder(group.decoder[:, vertices], group.rest[vertices])
    latents = np.zeros((len(found.measured), here.n_latents))
    latents[found.measured] = here.encode(rows_of(_columns_at(found.values, vertices), found.measured))
    return latents, here, vertices


def sums_of(
    runs: Iterable[tuple[str, Frames]], group: LinearAutoencoder, known: Mask, tr: float
) -> Population:
    """What runs say in the components of a group.

    Parameters
    ----------
    runs : iterable of (person, Frames)
    group : LinearAutoencoder
        Its rest is not read: it is that of the runs.
    known : array, shape (V,), vertices that it knows
    tr : float, seconds
    """
    people: dict[str, Lags] = {}
    n_runs: Counter[str] = Counter()
    rest_power = np.zeros(1)
    squares, counts = np.zeros(len(known)), np.zeros(len(known))
    for person, found in runs:
        latents, here, vertices = latents_of(found, group, known)
        measured, columns = found.measured, rows_of(_columns_at(found.values, vertices), found.measured)
        for block in blocks(len(vertices)):
            rest = columns(block) - here.decode(latents[measured], block)
            squares[vertices[block]] += np.square(rest).sum(axis=0, dtype=np.float64)
        counts[vertices] += found.n_measured
        columns = _columns_at(found.values, vertices)
        rest_power = rest_power + _power_of_rest(columns, measured, latents, here, tr)
        lags = fit_lags(latents, measured, tr)
        people[person] = people[person] + lags if person in people else lags
        n_runs[person] += 1
    rest = np.sqrt(squares / np.maximum(counts, 1)).astype(np.float32)
    return Population(replace(group, rest=rest), people, rest_power, tr, n_runs)


@few_threads
def sum_people(part: Part) -> None:
    """Write the prior of a part's people in the components of another; nothing where it is there."""
    if part.result.exists():
        return
    assert part.components is not None
    group, notes = PopulationModel.load(part.components), []
    own, known = group.population, group.origin.scale > 0

    def counted() -> Iterator[tuple[str, Frames]]:
        for run in part.runs:
            found = read_frames(run, part)
            notes.extend(found.notes)
            if found.n_measured and not (found.varying & known).any():
                notes.append(f"{run.bold.name}: constant wherever the components know something: left out")
            elif found.n_measured:
                yield run.person, found

    population = sums_of(counted(), own.autoencoder, known, own.tr)
    PopulationModel(group.origin, population, tuple(notes)).save(part.result, overwrite=True)


def people_of(parts: Sequence[Part]) -> PopulationModel:
    """The prior of all parts' people, once each part was summed.

    Raises
    ------
    InputError
        If no run has enough frames.
    """
    found = reduce(PopulationModel.merged, (PopulationModel.load(part.result) for part in parts))
    if not found.population.people:
        fewest = parts[0].fewest
        raise InputError(f"no run has {fewest} measured frames; lower --fewest-frames, or censor fewer")
    return found


def one_by_one(function: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Call a function with each part, in this process."""
    for part in parts:
        function(part)


def prior_of(
    whole: Part, run: Callable[[Callable[[Part], None], list[Part]], None] = one_by_one
) -> PopulationModel:
    """The prior of runs, dealt into parts.

    Parameters
    ----------
    whole : Part
        Its `folder` keeps what is done.
    run : callable, of a function and parts
        Calls the function with each.

    Raises
    ------
    InputError
        If no run has enough frames: then nothing is kept.
    """

    def together(function: Callable[[Sequence[Part]], PopulationModel]) -> PopulationModel:
        try:
            return function(parts)
        except InputError:
            shutil.rmtree(whole.folder)
            raise

    parts, place = whole.dealt(), whole.components
    if place is None:
        place = whole.folder / "components"
        run(find_components, parts)
        together(group_components).save(place, overwrite=True)
    parts = [replace(part, components=place) for part in parts]
    run(sum_people, parts)
    return together(people_of)


def fit_population(
    part: TrainingPart, settings: BackboneSettings, *, seed: int = 0, **_: Any
) -> PopulationModel:
    """The prior of other people's runs, in components of all of them.

    Parameters
    ----------
    part : TrainingPart with `others`, which alone are learned from
        Frames that look like artefacts are not counted.
    settings : BackboneSettings
    seed : int
    **_ : what networks take
    """
    runs, tr = [(other.person, frames_of(other)) for other in part.others], part.origin.tr
    n_frames = sum(found.n_measured for _, found in runs)

    def columns(block: slice) -> Float32:
        return np.concatenate([found.values[found.measured, block] for _, found in runs])

    n_vertices, n_latents = part.others[0].frames.shape[1], settings.latents or default_latents(n_frames)
    group, _latents = fit_autoencoder(columns, n_vertices, n_latents, np.random.default_rng(seed))
    return PopulationModel(part.origin, sums_of(runs, group, np.ones(n_vertices, bool), tr))
