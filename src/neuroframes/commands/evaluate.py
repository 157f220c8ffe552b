"""How good a model is on held-out time: the benchmark of one store with a given model."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroframes.commands.run import Draws
from neuroframes.errors import InputError, check_list
from neuroframes.files import refuse_existing, written_whole
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    import pandas as pd

    from neuroframes.evaluation.assessment import Fold
    from neuroframes.models.model import Model, TrainedModel
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
    stores: Sequence[str | Path],
    *,
    out: str | Path,
    model: str | Path | None = None,
    tasks: str = "eeg,gap-1,gap-2,gap-4,gap-8,gap-16,ends-only",
    beside: Sequence[str | Path] = (),
    bands: str | None = None,
    latents: int | None = None,
    draws: int = 0,
    seed: int = 0,
    overwrite: bool = False,
) -> "pd.DataFrame":
    """Score a model and the baselines on held-out time, or on people who are left out.

    Of three stores or more each person is left out in turn: all methods, the model across people among them,
    are fitted to the others, and scored on that person.

    Parameters
    ----------
    stores : paths
        Store that the model was trained on; or those of three people or more.
    out : path
        Folder of the results: `evaluation.md`, `results.csv` with every number, `differences.csv`.
    model : path
        Model that train wrote; of several people none, since each time another is fitted.
    tasks : str
        Names of tasks, comma-separated; every-third and irregular are others (docs/concepts.md).
    beside : sequence of paths
        Other models of the same split, which get rows of their own.
    bands : str
        Frequency bands of the EEG where people are left out, as of train; all by default.
    latents : int
        Size of the autoencoder where people are left out, as of train; time grows with its cube.
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
    from neuroframes.evaluation.assessment import assess, assess_bound
    from neuroframes.evaluation.cells import device, write_cell
    from neuroframes.evaluation.decoding import BOUNDS
    from neuroframes.evaluation.plan import slug
    from neuroframes.evaluation.summary import read_cells, write_tables
    from neuroframes.evaluation.tasks import TASKS, parse_names
    from neuroframes.models.population import PopulationModel
    from neuroframes.registry import settings_of

    asked = Draws.asked(draws, save_draws=False, seed=seed)
    draws, seed = asked.number, asked.seed
    check_list(stores, "stores")
    out, places = Path(out), [Path(store) for store in stores]
    paths = [Path(path) for path in (*([] if model is None else [model]), *beside)]
    refuse_existing(out, overwrite, folder="evaluation.json", inputs=[*places, *paths])
    if (len(places) == 1) != bool(paths) or (model is None and beside):
        raise InputError(
            "pass one store and --model, or the stores of several people without: each is left out in turn"
        )
    if paths and (bands, latents) != (None, None):
        raise InputError("--bands and --latents are of people who are left out; a model has its own")
    options = {} if latents is None else {"latents": latents}
    settings_of("gaussian", options)  # checked before any data are read
    chosen = parse_names(tasks, TASKS, "tasks")
    with written_whole(out, overwrite=overwrite) as folder:
        folder.mkdir()
        cells: list[Path] = []
        preface = ""
        for trial in (
            _held_out_time(places[0], paths, chosen) if paths else _left_out_people(places, chosen, bands)
        ):
            preface = preface or trial.preface
            about = {"group": trial.group, "recording": trial.name, "person": trial.name, "seed": seed}
            for method, fitted in trial.models(folder / "state", seed, options):
                logger.info("%s: %s", trial.name, method)
                found, arrays = assess(
                    fitted, trial.fold, seed=seed, draws=draws, similarity=False, controlled=chosen
                )
                if not found["scores"]:  # nothing that the tasks ask for
                    continue
                cells.append(folder / "cells" / f"{len(cells)}-{slug(method)}")
                found["cost"]["device"] = device()
                if isinstance(fitted, PopulationModel) and not fitted.reads_eeg:
                    del found["cost"]["ms per frame"]  # its adaptation was done for the model with EEG
                write_cell(
                    cells[-1], {**about, "audit": False, "options": {}, **found, "method": method}, arrays
                )
            for row in BOUNDS if trial.fold.decoders else ():
                found, arrays = assess_bound(row, trial.fold)
                if not found["scores"]:
                    continue
                cells.append(folder / "cells" / f"{len(cells)}-{slug(row)}")
                about |= {"audit": False, "options": {}, "method": row, "cost": {"device": device()}}
                write_cell(cells[-1], {**found, **about}, arrays)
        if not cells:
            raise InputError(
                f"the test part is too short for the tasks {', '.join(chosen)}; "
                "choose shorter gaps, or train with a larger --test-fraction"
            )
        of = {
            "neuroframes": None if model is None else str(model),
            "stores": [*map(str, places)],
            "tasks": chosen,
            "seed": seed,
        }
        (folder / "evaluation.json").write_text(json.dumps(of, indent=2) + "\n")
        results, _ = write_tables(folder / "evaluation.md", read_cells(cells), preface)
    return results


@dataclass(frozen=True)
class Trial:
    """What methods are fitted to and scored on.

    Attributes
    ----------
    name : str, of the recording
    group : str
    fold : Fold
    preface : str, of the report
    trained : dict from row to models that need no fit
    fitted : tuple of str, methods that do
    """

    name: str
    group: str
    fold: "Fold"
    preface: str
    trained: "dict[str, TrainedModel]"
    fitted: tuple[str, ...]

    def models(self, state: Path, seed: int, options: Mapping[str, Any]) -> "Iterator[tuple[str, Model]]":
        """Rows and models, each fitted when it is asked for, with its prior without EEG where it has one."""
        from neuroframes.models.model import TrainedModel
        from neuroframes.registry import fit

        yield from ((name, fit(name, self.fold.part, {}, state=state, seed=seed)) for name in BESIDE)
        yield from self.trained.items()
        for name in self.fitted:
            model = fit(name, self.fold.part, options, state=state, seed=seed)
            yield name, model
            alone = model.without_eeg() if isinstance(model, TrainedModel) and model.reads_eeg else None
            if alone is not None:
                yield alone.name, alone


def _held_out_time(place: Path, paths: Sequence[Path], tasks: tuple[str, ...]) -> Iterator[Trial]:
    """The end of one recording."""
    from neuroframes.evaluation.assessment import Fold
    from neuroframes.evaluation.decoding import Decoders
    from neuroframes.evaluation.recordings import OWN, held_out
    from neuroframes.recording.store import open_store
    from neuroframes.training.part import read_training_part

    recording = open_store(place)
    models = _models(paths, recording)
    origin = next(iter(models.values())).origin
    logger.info("reading training and test part")
    electrodes = origin.electrodes.asked_of(recording.channels)
    part = read_training_part(recording, origin.split, origin.bands, electrodes)
    decoders = None
    if names := recording.stimulus_features:
        logger.info("fitting decoders of %d features of the stimulus", len(names))
        try:
            decoders = Decoders.fit(part.segments, names, origin.space, origin.tr)
        except InputError as error:  # frames are scored without
            logger.warning("nothing is decoded: %s", error)
    fold = Fold(part, held_out(recording, part), tasks, decoders=decoders)
    yield Trial(recording.path.stem, OWN, fold, _preface(fold), models, ())


def _left_out_people(places: Sequence[Path], tasks: tuple[str, ...], bands: str | None) -> Iterator[Trial]:
    """Each person in turn, with the others to fit to."""
    from neuroframes.evaluation.recordings import FEWEST_PEOPLE, folds_of, left_out
    from neuroframes.recording.band_power import parse_bands
    from neuroframes.registry import ACROSS

    if len(places) < FEWEST_PEOPLE:
        raise InputError(
            f"{len(places)} people; of at least {FEWEST_PEOPLE} one can be left out of a model across people"
        )
    preface = (
        f"# Evaluation by leaving people out\n\n{len(places)} people. Each is scored in turn, with methods "
        "that were fitted to all others. Frames and band power are standardised by run.\n"
    )
    for recording in left_out(places):
        for fold in folds_of(recording, tasks, parse_bands(bands)):
            yield Trial(recording.person, recording.group, fold, preface, {}, (ACROSS,))


def _models(paths: Sequence[Path], recording: "Store") -> dict[str, "TrainedModel"]:
    """Models by the names of their rows, the first one's prior without EEG among them."""
    from neuroframes.registry import load_model, row_of

    models: dict[str, TrainedModel] = {}
    for path in paths:
        trained = load_model(path)
        _check_trained_on(recording, trained, path)
        first = next(iter(models.values()), trained).origin
        if (trained.origin.split, trained.origin.channels) != (first.split, first.channels):
            raise InputError(
                f"{path} was trained on another part of the recording, or other channels; give all models "
                "the same --test-fraction and --gap"
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
    from neuroframes.models.population import PopulationModel

    origin = model.origin
    if isinstance(model, PopulationModel) and not model.reads_eeg:
        raise InputError(f"{path.name} is a prior, of no store; pass a model that train or adapt made")
    origin.space.check_same(recording.space, recording.path.name)
    if origin.subject not in ("", recording.subject):
        raise InputError(
            f"{path.name} was fitted to sub-{origin.subject}, not to sub-{recording.subject}, whose store "
            "this is; pass the store that it was fitted to"
        )
    names = NAMES[model.any_montage :]
    here = {**recording.settings, **{name: ", ".join(getattr(recording, name)) for name in names}}
    there = {**origin.eeg_settings, **{name: ", ".join(getattr(origin, name)) for name in names}}
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
            f"{path.name} was trained on everything; train it on one person, or adapt it, with "
            "--test-fraction 0.25 to evaluate, or pass the stores of several people without --model"
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
        "undefined r, of a constant prediction, counts as 0.\n\n"
        "Tasks: eeg gives no frame; gap-4 hides gaps of 4 frames, 8 between them (16 in gap-16); ends-only "
        "hides 18 of 20. Metrics: docs/metrics.md.\n"
    )
