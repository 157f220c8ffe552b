"""How good a model is on held-out time: the benchmark of one store with a given model."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuroframes.commands.run import Draws
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing, written_whole
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    import pandas as pd

    from neuroframes.evaluation.assessment import Fold
    from neuroframes.models.model import TrainedModel
    from neuroframes.recording.store import Store

logger = logging.getLogger(__name__)

NAMES = ("channels", "features")  # of what EEG consists of
# What anybody could do without a model of ours.
BESIDE = (
    *("mean frame", "run mean", "drift", "linear", "cubic spline", "kriging"),
    *("ridge FIR", "kriging + EEG"),
)


@few_threads
def evaluate(
    store: str | Path,
    *,
    model: str | Path,
    out: str | Path,
    tasks: str = "eeg,gap-1,gap-2,gap-4,gap-8,gap-16,ends-only",
    beside: Sequence[str | Path] = (),
    draws: int = 0,
    seed: int = 0,
    overwrite: bool = False,
) -> "pd.DataFrame":
    """Score a model and the baselines on held-out time.

    Parameters
    ----------
    store : path
        Store that the model was trained on.
    model : path
        Model that train wrote.
    out : path
        Folder of the results: `evaluation.md`, `results.csv` with every number, `differences.csv`.
    tasks : str
        Names of tasks, comma-separated; every-third and irregular are others (docs/concepts.md).
    beside : sequence of paths
        Other models of the same split, which get rows of their own.
    draws : int
        Number of draws from which models that can draw take their standard deviation; 0 for the closed form,
        or the model's own number.
    seed : int
        Seed of the shuffled EEG and of draws.
    overwrite : bool
        Replace the output if it exists.

    Returns
    -------
    pandas.DataFrame of all numbers: group, recording, seed, method, task, region, metric, value

    Raises
    ------
    InputError
        If the model holds no test part, the store is another subject's or of another preparation, models
        differ in what they were trained on, or `out` exists.
    """
    from neuroframes.evaluation.assessment import Fold, assess
    from neuroframes.evaluation.cells import device, write_cell
    from neuroframes.evaluation.plan import slug
    from neuroframes.evaluation.recordings import OWN, held_out
    from neuroframes.evaluation.summary import read_cells, write_tables
    from neuroframes.evaluation.tasks import TASKS, parse_names
    from neuroframes.recording.store import open_store
    from neuroframes.registry import fit
    from neuroframes.training.part import read_training_part

    asked = Draws.asked(draws, save_draws=False, seed=seed)
    draws, seed = asked.number, asked.seed
    out, paths = Path(out), [Path(path) for path in (model, *beside)]
    refuse_existing(out, overwrite, folder="evaluation.json", inputs=[Path(store), *paths])
    chosen, recording = parse_names(tasks, TASKS, "tasks"), open_store(store)
    models = _models(paths, recording)
    origin = next(iter(models.values())).origin
    logger.info("reading training and test part")
    part = read_training_part(recording, origin.split, origin.bands)
    fold = Fold(part, held_out(recording, part), chosen)
    name = recording.path.stem
    about = {"group": OWN, "recording": name, "person": name, "seed": seed, "audit": False, "options": {}}
    with written_whole(out, overwrite=overwrite) as folder:
        folder.mkdir()
        cells: list[Path] = []
        for name in (*BESIDE, *models):
            logger.info("%s", name)
            fitted = models.get(name) or fit(name, part, {}, state=folder / "state", seed=seed)
            found, arrays = assess(fitted, fold, seed=seed, draws=draws, similarity=False, controlled=chosen)
            if not found["scores"]:  # nothing that the tasks ask for
                continue
            cells.append(folder / "cells" / f"{len(cells)}-{slug(name)}")
            found["cost"]["device"] = device()
            write_cell(cells[-1], {**about, **found, "method": name}, arrays)
        if not cells:
            raise InputError(
                f"the test part of {Path(model).name} is too short for the tasks {', '.join(chosen)}; "
                "choose shorter gaps, or train with a larger --test-fraction"
            )
        of = {"neuroframes": str(model), "store": str(store), "tasks": chosen, "seed": seed}
        (folder / "evaluation.json").write_text(json.dumps(of, indent=2) + "\n")
        results, _ = write_tables(folder / "evaluation.md", read_cells(cells), _preface(fold))
    return results


def _models(paths: Sequence[Path], recording: "Store") -> dict[str, "TrainedModel"]:
    """Models by the names of their rows, the first one's prior without EEG among them."""
    from neuroframes.registry import load_model, row_of

    models: dict[str, TrainedModel] = {}
    for path in paths:
        trained = load_model(path)
        _check_trained_on(recording, trained, path)
        if trained.origin.split != next(iter(models.values()), trained).origin.split:
            raise InputError(
                f"{path} was trained on another part of the recording; give all models the same "
                "--test-fraction and --gap"
            )
        settings = getattr(trained, "settings", None)  # of networks
        row = row_of(trained.name, settings.to_json() if settings else {})
        name = f"{row}, {path.name}" if row in models else row
        if name in models:
            raise InputError(f"--beside names two models {path.name}; rename a folder")
        models[name] = trained
        if alone := trained.without_eeg():
            models.setdefault(alone.name, alone)
    return models


def _check_trained_on(recording: "Store", model: "TrainedModel", path: Path) -> None:
    origin = model.origin
    origin.space.check_same(recording.space, recording.path.name)
    here = {**recording.settings, **{name: ", ".join(getattr(recording, name)) for name in NAMES}}
    there = {**origin.eeg_settings, **{name: ", ".join(getattr(origin, name)) for name in NAMES}}
    if differ := [f"{name} {here[name]}, not {of}" for name, of in there.items() if here[name] != of]:
        raise InputError(
            f"the EEG of {recording.path.name} isn't what {path.name} was trained on: {'; '.join(differ)}; "
            "pass the store that it was trained on"
        )
    known = {run.name: len(run.frame_times) for run in recording.runs}
    parts = (*origin.split.train, *origin.split.test)
    if lacking := sorted({part.run for part in parts if part.stop > known.get(part.run, 0)}):
        raise InputError(
            f"{recording.path.name} lacks runs that {path.name} was trained on, or has less of them "
            f"({', '.join(lacking)}); pass the store that it was trained on"
        )
    if not origin.split.test:
        raise InputError(
            f"{path.name} was trained on everything; train with --test-fraction 0.25 to evaluate"
        )


def _preface(fold: "Fold") -> str:
    """What the report says before its tables."""
    split = fold.part.origin.split
    frames = sum(int(segment.measured.sum()) for segment in fold.test)
    parts = ", ".join(f"{part.run} {part.start}:{part.stop}" for part in split.test)
    return (
        "# Evaluation on held-out time\n\n"
        f"Test part: {parts} ({frames} measured frames), at least {split.gap:g} s from the training "
        "part. All methods were fitted on the training part. Each part's mean and linear trend are its own, "
        "hidden frames included, for all methods alike. Scored are the frames that a task hides; an "
        "undefined r, of a constant prediction, counts as 0.\n"
    )
