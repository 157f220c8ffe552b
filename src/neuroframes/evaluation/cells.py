"""One cell of a benchmark: a method on a recording, fitted once, scored on every task, and kept.

    FOLDER/cell.json          scores, controls, cost
    FOLDER/predictions.npz    of each task, truth and prediction of the scored frames at some vertices

A finished cell is never run again. Everything that follows from cells is in `neuroframes.evaluation.summary`.
"""

import json
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import filled
from neuroframes.completion import estimate
from neuroframes.cortex.flat import flat_index
from neuroframes.cortex.regions import parcels, regions
from neuroframes.evaluation.bootstrap import TooFewBlocksError
from neuroframes.evaluation.controls import backwards, of_other, zeroed
from neuroframes.evaluation.evaluate import Estimate, shuffled_segments
from neuroframes.evaluation.leak_audit import leaking_split
from neuroframes.evaluation.methods import DEAF, METHODS, Fitted, fit_method, make_baseline
from neuroframes.evaluation.metrics import WHOLE, score
from neuroframes.evaluation.recordings import HCP, Recording, read_real_bold
from neuroframes.evaluation.similarity import similarity_scores
from neuroframes.evaluation.surrogates import permutation_p
from neuroframes.evaluation.tasks import given_and_scored
from neuroframes.files import written_whole
from neuroframes.recording.band_power import log_band_power
from neuroframes.recording.segments import (
    Segment,
    detrend,
    load_segments,
    trend_basis,
    vertex_scale,
)
from neuroframes.recording.signal import Signal
from neuroframes.recording.store import open_store
from neuroframes.task import Task
from neuroframes.training.train import TrainingPart, read_training_part

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

TEST_FRACTION = 0.25
GAP = 40.0  # seconds
SHUFFLES = 3
KEPT_VERTICES = 256  # evenly spread, whose predictions are kept for intervals and figures


@dataclass(frozen=True)
class Cell:
    """A method on a recording, or the audit of its leak.

    Attributes
    ----------
    recording : Recording
    method : str
    tasks : tuple of str
    options : mapping, what the method's fit takes
    audit : bool
    folder : Path
    """

    recording: Recording
    method: str
    tasks: tuple[str, ...]
    options: Mapping[str, Any]
    audit: bool
    folder: Path

    def __str__(self) -> str:
        return f"{self.recording.name}, {self.method}" + (", leak audit" if self.audit else "")


@dataclass(frozen=True)
class Scored:
    """A task's truth and estimates, one array (K, V) a segment, and the frames that count."""

    truth: list[Float32]
    frames: list[Float32]
    std: list[Float32] | None
    scored: list[Mask]
    censored: list[Mask]


def run_cell(cell: Cell) -> None:
    """Fit, score, and write the cell, whole or not at all; nothing where it is there."""
    if cell.folder.exists():  # another job was as fast
        return
    if cell.audit:
        about, arrays = _audited(cell)
    elif cell.recording.has_eeg:
        about, arrays = _scored(cell)
    else:
        about, arrays = _completed(cell)
    about |= {
        "recording": cell.recording.name,
        "group": cell.recording.group,
        "seed": cell.recording.seed,
        "method": cell.method,
        "audit": cell.audit,
        "options": dict(cell.options),
    }
    with written_whole(cell.folder, overwrite=False) as folder:
        folder.mkdir(parents=True)
        (folder / "cell.json").write_text(json.dumps(about, indent=1) + "\n")
        np.savez_compressed(folder / "predictions.npz", **arrays)


def _fit(cell: Cell, part: TrainingPart) -> tuple[Fitted, float]:
    """The method, and seconds that fitting took."""
    began = time.perf_counter()
    # Beside the cell, so that a training that was interrupted goes on.
    state = cell.folder.with_name(f".{cell.folder.name}-training")
    fitted = fit_method(cell.method, part, cell.options, state, cell.recording.seed)
    shutil.rmtree(state, ignore_errors=True)
    return fitted, time.perf_counter() - began


def _scored(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """On a recording with EEG: fitted to its training part, scored on its test part."""
    part = read_training_part(cell.recording.source, None, TEST_FRACTION, GAP)
    test, _ = load_segments(part.store, part.split.test, part.bands, part.scale)
    space, tr = part.store.space, part.tr
    fitted, seconds = _fit(cell, part)
    where, index, labels = regions(space), flat_index(space), parcels(space)
    method, scores = METHODS[cell.method], {}
    arrays: dict[str, Any] = {}
    alone, from_eeg = None if method.frames else _alone(fitted, test), None
    for task in cell.tasks:
        if task == "eeg" and method.frames and not method.eeg:
            continue
        if not any(given_and_scored(task, segment)[1].any() for segment in test):
            continue
        result = _estimates(fitted, test, task, alone)
        if task == "eeg":
            from_eeg = result
        scores[task] = _scores(result, tr, where, index, labels)
        arrays |= _to_keep(task, result)
    about = {"scores": scores, "tr": tr, "lengths": [len(segment.times) for segment in test]}
    given = np.arange(len(test[0].times)) % 2 == 0
    began = time.perf_counter()
    fitted.predict(test[0], given)
    per_frame = 1000 * (time.perf_counter() - began) / len(given)
    about["cost"] = _cost(fitted.n_parameters, seconds, per_frame)
    if method.eeg and from_eeg is not None:
        about |= _controls(cell, fitted, part, test, from_eeg)
    return about, arrays


def _estimates(
    fitted: Fitted, segments: Sequence[Segment], task: str, alone: Sequence[Float32] | None = None
) -> Scored:
    """What a method says, or what it said `alone` where given frames make no difference to it."""
    masks = [given_and_scored(task, segment) for segment in segments]
    if alone is None:
        estimates = [
            fitted.predict(segment, given) for segment, (given, _) in zip(segments, masks, strict=True)
        ]
    else:
        estimates = [
            (filled(segment, given, frames), None)
            for segment, (given, _), frames in zip(segments, masks, alone, strict=True)
        ]
    return _joined(segments, estimates, [scored for _, scored in masks])


def _alone(fitted: Fitted, segments: Sequence[Segment]) -> list[Float32]:
    """Frames where none is given."""
    return [fitted.predict(segment, np.zeros(len(segment.times), bool))[0] for segment in segments]


def _joined(segments: Sequence[Segment], estimates: Sequence[Estimate], scored: list[Mask]) -> Scored:
    stds = [std for _, std in estimates if std is not None]
    return Scored(
        [segment.frames for segment in segments],
        [frames for frames, _ in estimates],
        stds or None,
        scored,
        [~segment.measured for segment in segments],
    )


def _scores(
    result: Scored,
    tr: float,
    where: dict[str, NDArray[np.intp]],
    index: NDArray[np.intp] | None,
    labels: NDArray[np.intp] | None,
) -> dict[str, dict[str, float]]:
    """Every metric by region."""
    found = score(
        result.truth,
        result.frames,
        result.scored,
        std=result.std,
        regions=where,
        censored=result.censored,
    )
    found[WHOLE] |= similarity_scores(
        result.truth, result.frames, result.scored, tr=tr, index=index, parcels=labels
    )
    return found


def _to_keep(task: str, result: Scored) -> dict[str, Any]:
    """What intervals and figures need, in half precision: three digits of a z-score are plenty for them."""
    arrays = {
        name: np.concatenate([frames[mask] for frames, mask in zip(_thinned(of), result.scored, strict=True)])
        for name, of in (("truth", result.truth), ("frames", result.frames))
    }
    halves = {f"{task} {name}": array.astype(np.float16) for name, array in arrays.items()}
    return halves | {f"{task} scored": np.concatenate(result.scored)}


def _thinned(frames: Sequence[Float32]) -> list[Float32]:
    """The vertices (K, v) that are kept of each segment's frames (K, V)."""
    return [x[:, :: -(-x.shape[1] // KEPT_VERTICES)] for x in frames]


def kept(cell: Mapping[str, Any], task: str) -> tuple[list[Any], list[Any], list[NDArray[np.bool_]]]:
    """Truth and estimate (K, v), by segment, and which frames are scored; the others are 0."""
    with np.load(cell["folder"] / "predictions.npz") as arrays:
        scored = arrays[f"{task} scored"]
        ends = np.cumsum(cell["lengths"])[:-1]
        parts = []
        for name in ("truth", "frames"):
            rows = arrays[f"{task} {name}"]
            frames = np.zeros((len(scored), rows.shape[1]), np.float32)
            frames[scored] = rows
            parts.append(np.split(frames, ends))
    return parts[0], parts[1], np.split(scored, ends)


def _controls(
    cell: Cell, fitted: Fitted, part: TrainingPart, test: Sequence[Segment], result: Scored
) -> dict[str, Any]:
    """r from EEG alone where the EEG can't tell, and the probability by chance of the r of `result`."""
    generator = np.random.default_rng(cell.recording.seed)

    def r_of(segments: Sequence[Segment]) -> float:
        changed = _estimates(fitted, segments, "eeg")
        return score(changed.truth, changed.frames, changed.scored)[WHOLE]["temporal_r"]

    others = {segment.run: segment for segment in (*part.segments, *test)}
    shuffles = (shuffled_segments(test, others, generator) for _ in range(SHUFFLES))
    controls = {
        "shuffled": float(np.mean([r_of(segments) for segments in shuffles])),
        "zeroed": r_of([zeroed(segment) for segment in test]),
        "backwards": r_of([backwards(segment) for segment in test]),
    }
    if cell.recording.other is not None:
        run = open_store(cell.recording.other).runs[-1]
        theirs = Signal(run.eeg(), run.eeg_rate, part.store.channels)
        power = log_band_power(theirs.data, theirs.rate, part.bands)
        controls["other subject"] = r_of([of_other(segment, theirs, power) for segment in test])
    truth, frames = _thinned(result.truth), _thinned(result.frames)
    try:
        p = permutation_p(truth, frames, result.scored, part.tr, generator).p
    except TooFewBlocksError:
        return {"controls": controls}
    return {"controls": controls, "p": p}


def _audited(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """r from EEG alone where the training part is split at random into windows that overlap."""
    part = read_training_part(cell.recording.source, None, TEST_FRACTION, GAP)
    train, test = leaking_split(part.segments, np.random.default_rng(cell.recording.seed))
    fitted, _ = _fit(cell, replace(part, segments=train))
    estimates = [(frames, None) for frames in _alone(fitted, test)]
    result = _joined(test, estimates, [segment.measured for segment in test])
    r = score(result.truth, result.frames, result.scored)[WHOLE]["temporal_r"]
    return {"leaking r": r}, {}


def _completed(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """On a run of BOLD alone: fitted to the frames that a task leaves, scored on those that it hides."""
    run = read_real_bold(cell.recording)
    scores: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    seconds: list[float] = []
    # HCP's regions are parcels; vertices of brainspace aren't, and have no mesh here.
    regions_of = np.arange(run.data.shape[1]) if cell.recording.group == HCP else None
    every = Segment(run.data, run.times, run.times, np.ones(len(run.data), bool), None, cell.recording.name)
    for task in (task for task in cell.tasks if task != "eeg"):
        given, scored = given_and_scored(task, every)
        truth = np.array(run.data, order="F")
        trend = trend_basis(np.arange(len(truth)), len(truth)) @ detrend(truth, given)
        scale = vertex_scale(truth, given)
        truth /= np.where(scale > 0, scale, 1)
        segment = replace(every, frames=truth, measured=given)
        began = time.perf_counter()
        std = None
        if cell.method == DEAF:  # the code path of `neuroframes complete`: it is given the run as it is
            position = np.arange(len(truth))
            wanted = Task(run, given, None, None, None, {})
            found, deviation, _ = estimate(wanted, position.astype(np.float64), position, 0)
            assert deviation is not None
            frames = ((found - trend) / scale).astype(np.float32)
            std = (deviation / scale).astype(np.float32)
        else:
            baseline = make_baseline(METHODS[cell.method], cell.options, cell.recording.seed)
            baseline.fit([segment])
            seconds.append(time.perf_counter() - began)
            frames = baseline.predict(segment, given)
        result = _joined([segment], [(frames, std)], [scored])
        result = replace(result, censored=[np.zeros(len(given), bool)])
        scores[task] = _scores(result, run.tr, {}, None, regions_of)
        arrays |= _to_keep(task, result)
    return {
        "scores": scores,
        "tr": run.tr,
        "lengths": [len(run.data)],
        # Ours fits and fills at once.
        "cost": _cost(None, float(np.mean(seconds)) if seconds else None, None),
    }, arrays


def _cost(parameters: int | None, seconds: float | None, per_frame: float | None) -> dict[str, Any]:
    """What a cell took; its process runs nothing else."""
    torch = sys.modules.get("torch")
    cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
    peak = _peak()
    return {
        "parameters": parameters,
        "fit s": seconds,
        "ms per frame": per_frame,
        "peak GiB": peak if peak is None or cuda is None else peak + cuda.max_memory_allocated() / 2**30,
        "device": platform.machine() if cuda is None else cuda.get_device_name(),
    }


def _peak() -> float | None:
    """GiB of memory at most so far, without a GPU's; None where the system doesn't say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    # Not getrusage: its maximum is inherited from the process that started this one.
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20
