"""One cell of a benchmark: a method on a recording, fitted, scored on every task, and kept.

    FOLDER/cell.json          scores, controls, cost
    FOLDER/predictions.npz    of each task, truth and prediction of the scored frames at some vertices

A leak audit is a cell of its own: the same method, fitted under the split that is usual. Windows that overlap
are dealt at random to a training and a test part, so frames of a test window stand in training windows too,
and the others have neighbours there that are nearly equal. The difference to the split with a gap shows how
much of a published r is leak. Nothing else in this package can be asked for such a split.

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

from neuroframes.checksums import check_files, write_checksums
from neuroframes.evaluation.assessment import Assessment, Fold, assess, assess_bound
from neuroframes.evaluation.decoding import BOUNDS
from neuroframes.evaluation.recordings import Recording, folds_of
from neuroframes.evaluation.tasks import ALONE
from neuroframes.files import written_whole
from neuroframes.models.model import Model
from neuroframes.recording.segments import Segment
from neuroframes.registry import fit, row_of
from neuroframes.threads import few_threads

Mask = NDArray[np.bool_]

LEAKING_WINDOW = 10  # frames of a leaking split's windows, those of Qu et al. (2026)
HOP = 5  # frames between windows
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Cell:
    """A method on a recording, or the audit of its leak.

    Attributes
    ----------
    recording : Recording
    method : str
    tasks : tuple of str
    options : mapping, settings of the method that differ from its own
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


@few_threads
def run_cell(cell: Cell) -> None:
    """Fit, score, and write the cell, whole or not at all; nothing where it is there."""
    if cell.folder.exists():
        return
    run = _audited if cell.audit else _bound if cell.method in BOUNDS else _scored
    about, arrays = run(cell)
    of = cell.recording
    about |= {"recording": of.name, "group": of.group, "seed": of.seed, "person": of.person or of.name}
    row = cell.method if cell.method in BOUNDS else row_of(cell.method, cell.options)
    about |= {"method": row, "audit": cell.audit, "options": dict(cell.options)}
    if not cell.folder.exists():  # another job may have been faster
        with written_whole(cell.folder) as folder:
            write_cell(folder, about, arrays)


def write_cell(folder: Path, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Make the folder of a cell."""
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps(about, indent=1) + "\n")
    np.savez_compressed(folder / "predictions.npz", **arrays)  # type: ignore[arg-type]
    write_checksums(folder)


def read_cell(folder: Path) -> dict[str, Any]:
    """What `write_cell` wrote, and its folder; InputError where a file isn't as it was written."""
    check_files(folder, f"remove {folder}, and the same call runs it again")
    return {**json.loads((folder / "cell.json").read_text()), "folder": folder}


def _fitted(cell: Cell, fold: Fold) -> Model:
    # Beside the cell, so that a training that was interrupted goes on.
    state = cell.folder.with_name(f".{cell.folder.name}-training")
    model = fit(cell.method, fold.part, cell.options, state=state, seed=cell.recording.seed)
    shutil.rmtree(state, ignore_errors=True)
    return model


def _scored(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores of all folds of a recording; every task is of one of them."""
    parts: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for fold in folds_of(cell.recording, cell.tasks):
        began = time.perf_counter()
        model = _fitted(cell, fold)
        seconds = time.perf_counter() - began
        about, more = assess(model, fold, seed=cell.recording.seed)
        about["cost"]["fit s"] = seconds
        parts.append(about)
        arrays |= more
    scores = {task: of for part in parts for task, of in part["scores"].items()}
    cost = {name: float(np.mean([of["cost"][name] for of in parts])) for name in parts[0]["cost"]}
    return {**parts[0], "scores": scores, "cost": {**cost, "peak GiB": _peak(), "device": device()}}, arrays


def _bound(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decoding of what needs no method, on all folds of a recording."""
    found = [assess_bound(cell.method, fold) for fold in folds_of(cell.recording, cell.tasks)]
    arrays = {name: array for _, more in found for name, array in more.items()}
    scores = {task: of for about, _ in found for task, of in about["scores"].items()}
    return {**found[0][0], "scores": scores, "cost": {"device": device()}}, arrays


def _audited(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """r from EEG alone where the training part is split at random into windows that overlap."""
    (fold,) = folds_of(cell.recording, (ALONE,))
    train, test = leaking_split(fold.part.segments, np.random.default_rng(cell.recording.seed))
    leaking = replace(fold, part=replace(fold.part, segments=train), test=test)
    of = Assessment(_fitted(cell, leaking), leaking, seed=cell.recording.seed)
    return {"leaking r": of.outcome(ALONE).r}, {}


def random_windows(n_frames: int, generator: np.random.Generator) -> tuple[Mask, Mask]:
    """Frames of training windows and of test windows, each of shape (K,); most frames are in both kinds."""
    starts = np.arange(0, n_frames - LEAKING_WINDOW + 1, HOP)
    test = generator.random(len(starts)) < TEST_SHARE
    masks = np.zeros((2, n_frames), bool)
    for start, is_test in zip(starts, test, strict=True):
        masks[int(is_test), start : start + LEAKING_WINDOW] = True
    return masks[0], masks[1]


def leaking_split(
    segments: Sequence[Segment], generator: np.random.Generator
) -> tuple[list[Segment], list[Segment]]:
    """The same segments twice: measured in training windows, and measured in test windows."""
    masks = [random_windows(len(segment.times), generator) for segment in segments]
    pairs = list(zip(segments, masks, strict=True))
    return [s.given(train) for s, (train, _) in pairs], [s.given(test) for s, (_, test) in pairs]


def kept(cell: Mapping[str, Any], task: str) -> tuple[list[Any], list[Any], list[Mask]]:
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


def _cuda() -> Any:
    """PyTorch's side of the GPU, None where there is none or nothing has loaded PyTorch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def device() -> str:
    """What computes."""
    cuda = _cuda()
    return platform.machine() if cuda is None else str(cuda.get_device_name())


def _peak() -> float | None:
    """GiB of memory at most so far, a GPU's besides; None where the system doesn't say."""
    status, cuda = Path("/proc/self/status"), _cuda()
    if not status.exists():
        return None
    # Not getrusage: its maximum is inherited from the process that started this one.
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    gpu = 0 if cuda is None else cuda.max_memory_allocated() / 2**30
    return int(line.split()[1]) / 2**20 + gpu
