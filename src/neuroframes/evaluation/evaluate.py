"""How good a model is on held-out time, beside what anybody could do without it.

The training part is what the model was trained on; the test part lies after it, a gap apart. All methods
are fitted on the training part, see the same frames of the test part, and are scored on the same others.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines import (
    CubicSpline,
    Drift,
    Kriging,
    KrigingEeg,
    Linear,
    MeanFrame,
    RidgeFIR,
    RunMean,
    shuffled,
)
from neuroframes.baselines.interface import Baseline
from neuroframes.cortex.regions import regions
from neuroframes.errors import InputError
from neuroframes.evaluation.metrics import score
from neuroframes.evaluation.table import Results, markdown, write_json
from neuroframes.evaluation.tasks import TASKS, USUAL, given_and_scored
from neuroframes.files import refuse_existing, written_whole
from neuroframes.frames.autoencoder import columns_of
from neuroframes.frames.completion import fill_missing
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.load import load_model
from neuroframes.models.settings import PAPER_DRAWS
from neuroframes.recording.segments import Segment, load_segments
from neuroframes.recording.store import Store, open_store

if TYPE_CHECKING:
    from neuroframes.models.network_model import NetworkModel

logger = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Estimate = tuple[Float32, Float32 | None]  # frames and, where stated, their standard deviation
Method = Callable[[Segment, Mask], Estimate]

OURS, OURS_WITHOUT, SHUFFLED = "neuroframes", "neuroframes, no EEG", ", shuffled EEG"
OURS_GAUSSIAN, PAPER, SURFACE = "neuroframes, Gaussian", "paper's recipe", "surface model"
OURS_SHUFFLED = OURS + SHUFFLED
SHUFFLES = 10  # one shuffle's r scatters by about .02 around 0
SHOWN = ("temporal_r", "mse", "spatial_r_test_mean", "lag1_error", "coverage")


def evaluate(
    store: str | Path,
    *,
    model: str | Path,
    out: str | Path,
    tasks: str = ",".join(USUAL),
    beside: Sequence[str | Path] = (),
    draws: int = PAPER_DRAWS,
    seed: int = 0,
    overwrite: bool = False,
) -> Results:
    """Score a model and the baselines on the model's held-out test part.

    Parameters
    ----------
    store : path
        The subject that the model was trained on.
    model : path
    out : path
        Folder for `evaluation.json` (every metric, task, method and region) and `evaluation.md`.
    tasks : str
        Comma-separated, of those in `neuroframes.evaluation.tasks.TASKS`; the usual ones by default.
    beside : sequence of paths
        Other models, trained on the same part of the same store, that get rows of their own.
    draws : int
        Of a model of the paper's recipe: their mean is the estimate.
    seed : int
        Of the shuffled EEG and of draws.
    overwrite : bool

    Returns
    -------
    dict: task -> method -> region -> metric -> number

    Raises
    ------
    InputError
        If the model holds no test part, the store is another subject's, models differ in what they were
        trained on, or `out` exists.
    """
    out = Path(out)
    refuse_existing(out, overwrite, folder=True, inputs=[Path(path) for path in (store, model, *beside)])
    if draws < 2:
        raise InputError(f"--draws {draws}; a standard deviation takes at least 2")
    names = [name.strip() for name in tasks.split(",")]
    if unknown := [name for name in names if name not in TASKS]:
        raise InputError(f"unknown tasks {', '.join(unknown)}; choose from {', '.join(TASKS)}")
    trained, recording = load_model(Path(model)), open_store(store)
    if not isinstance(trained, GaussianModel):
        raise InputError(
            f"{model} is of --preset {trained.preset}; pass it as --beside, and another preset's as --model"
        )
    _check_trained_on(recording, trained, Path(model))
    if not trained.split.test:
        raise InputError(
            f"{Path(model).name} was trained on everything; train with --test-fraction 0.25 to evaluate"
        )
    others = _beside([Path(path) for path in beside], trained, recording, draws, seed)
    logger.info("reading training and test part")
    train, scale = load_segments(recording, trained.split.train, trained.bands)
    test, _ = load_segments(recording, trained.split.test, trained.bands, scale)
    results = compare(
        trained, train, test, names, regions(recording.space), np.random.default_rng(seed), others
    )
    if not results:
        raise InputError(
            f"the test part of {Path(model).name} is too short for the tasks {', '.join(names)}; "
            "choose shorter gaps, or train with a larger --test-fraction"
        )
    with written_whole(out, overwrite=overwrite) as folder:
        folder.mkdir()
        write_json(results, folder / "evaluation.json")
        (folder / "evaluation.md").write_text(_report(results, trained, test))
    return results


def _check_trained_on(recording: Store, model: "GaussianModel | NetworkModel", path: Path) -> None:
    model.space.check_same(recording.space, recording.path.name)
    if model.channels != recording.channels:
        raise InputError(
            f"{recording.path.name} has the EEG channels {', '.join(recording.channels)} but "
            f"{path.name} was trained on {', '.join(model.channels)}; "
            "pass the store that it was trained on"
        )
    known = {run.name: len(run.frame_times) for run in recording.runs}
    parts = (*model.split.train, *model.split.test)
    if any(part.stop > known.get(part.run, 0) for part in parts):
        raise InputError(
            f"{recording.path.name} lacks runs that {path.name} was trained on "
            f"({', '.join(sorted({part.run for part in parts} - set(known))) or 'its runs are shorter'}); "
            "pass the store that it was trained on"
        )


def _beside(
    paths: Sequence[Path], ours: GaussianModel, recording: Store, draws: int, seed: int
) -> dict[str, Method]:
    """Other models by the names of their rows."""
    methods: dict[str, Method] = {}
    for path in paths:
        model = load_model(path)
        _check_trained_on(recording, model, path)
        if model.split != ours.split:
            raise InputError(
                f"{path} was trained on another part of the recording; give all models the same "
                "--test-fraction and --gap"
            )
        if isinstance(model, GaussianModel):
            name, method = path.name if model.correction else OURS_GAUSSIAN, partial(predict, model)
        elif model.preset == "surface":
            name, method = SURFACE, partial(predict_by_surface, model)
        else:
            name, method = PAPER, partial(predict_by_draws, model, n_draws=draws, seed=seed)
        name = f"{name}, {path.name}" if name in methods else name
        if name in methods:
            raise InputError(f"--beside names two models {path.name}; rename a folder")
        methods[name] = method
    return methods


def compare(
    model: GaussianModel,
    train: Sequence[Segment],
    test: Sequence[Segment],
    tasks: Sequence[str],
    where: dict[str, NDArray[np.intp]],
    generator: np.random.Generator,
    beside: Mapping[str, Method] = MappingProxyType({}),
) -> Results:
    """Scores of all methods: task -> method -> region -> metric -> number."""
    logger.info("fitting the baselines")
    in_time: list[Baseline] = [Linear().fit(train), CubicSpline().fit(train), Kriging().fit(train)]
    always: list[Baseline] = [MeanFrame().fit(train), RunMean().fit(train), Drift().fit(train)]
    ridge = RidgeFIR().fit(train)
    in_time.append(KrigingEeg(ridge).fit(train))
    elsewhere = {segment.run: segment for segment in (*train, *test)}
    results: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if not any(given_and_scored(task, segment)[1].any() for segment in test):
            logger.warning("%s: the test part is too short for it; left out", task)
            continue
        logger.info("task %s", task)
        from_eeg = task == "eeg"
        plain = (*always, *([] if from_eeg else in_time), ridge)
        methods: dict[str, Method] = {baseline.name: _plain(baseline) for baseline in plain}
        methods[OURS] = lambda segment, given: predict(model, segment, given)
        if not from_eeg:
            methods[OURS_WITHOUT] = lambda segment, given: predict(model, segment, given, eeg=False)
        if taken := methods.keys() & beside.keys():
            raise InputError(f"--beside: {', '.join(taken)} is another row's name; rename the folder")
        methods |= beside
        results[task] = {name: _score(method, task, test, where) for name, method in methods.items()}
        repeats = SHUFFLES if from_eeg else 1
        for name in (ridge.name, OURS) if from_eeg else (OURS,):
            scores = [
                _score(_mean_of(methods[name]), task, shuffled_segments(test, elsewhere, generator), where)
                for _ in range(repeats)
            ]
            results[task][name + SHUFFLED] = _mean(scores)
    return results


def predict(model: GaussianModel, segment: Segment, given: Mask, *, eeg: bool = True) -> Estimate:
    """Frames (K, V) of a segment and their standard deviation, 0 where given."""
    heard = model.hear(segment.eeg) if eeg and segment.eeg is not None else None
    seen = model.prior.autoencoder.encode(columns_of(segment.frames))
    prior, mean = model.given_eeg(heard, segment.times, seen, given)
    frames = np.array(segment.frames, order="F")
    # The nominal grid: triggers jitter by less than what the prior can tell apart.
    times = model.tr * np.arange(len(frames), dtype=np.float64)
    deviation = np.zeros_like(frames)
    deviation[~given] = fill_missing(prior, frames, given, times, mean)
    return frames, deviation


def predict_by_draws(
    model: "NetworkModel", segment: Segment, given: Mask, *, n_draws: int, seed: int
) -> Estimate:
    """As `predict`; mean and standard deviation of draws."""
    assert segment.eeg is not None
    frames, deviation = np.array(segment.frames, order="F"), np.zeros_like(segment.frames)
    generator = np.random.default_rng(seed)
    std, _ = model.fill_missing(frames, given, segment.eeg, segment.times, generator, draws=n_draws)
    deviation[~given] = std
    return frames, deviation


def predict_by_surface(model: "NetworkModel", segment: Segment, given: Mask) -> Estimate:
    """As `predict`, without a standard deviation."""
    assert segment.eeg is not None
    frames = np.array(segment.frames, order="F")
    model.fill_missing(frames, given, segment.eeg, segment.times, np.random.default_rng(0))
    return frames, None


def shuffled_segments(
    test: Sequence[Segment], elsewhere: Mapping[str, Segment], generator: np.random.Generator
) -> list[Segment]:
    """The segments with EEG of blocks of all other runs in `elsewhere`; see `baselines.shuffled`."""
    return [
        shuffled(segment, generator, others=[other for run, other in elsewhere.items() if run != segment.run])
        for segment in test
    ]


def _mean_of(method: Method) -> Method:
    """The method without its standard deviation."""
    return lambda segment, given: (method(segment, given)[0], None)


def _plain(baseline: Baseline) -> Method:
    return lambda segment, given: (baseline.predict(segment, given), None)


def _score(
    method: Method, task: str, test: Sequence[Segment], where: dict[str, NDArray[np.intp]]
) -> dict[str, Any]:
    masks = [given_and_scored(task, segment) for segment in test]
    estimates = [method(segment, given) for segment, (given, _) in zip(test, masks, strict=True)]
    stds = [std for _, std in estimates if std is not None]
    return score(
        [segment.frames for segment in test],
        [frames for frames, _ in estimates],
        [scored for _, scored in masks],
        std=stds or None,
        regions=where,
        censored=[~segment.measured for segment in test],
    )


def _mean(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        region: {metric: float(np.mean([s[region][metric] for s in scores])) for metric in scores[0][region]}
        for region in scores[0]
    }


def _report(results: Results, model: GaussianModel, test: Sequence[Segment]) -> str:
    frames = sum(int(segment.measured.sum()) for segment in test)
    parts = ", ".join(f"{part.run} {part.start}:{part.stop}" for part in model.split.test)
    text = (
        "# Evaluation on held-out time\n\n"
        f"Test part: {parts} ({frames} measured frames), at least {model.split.gap:g} s from the training "
        "part. All methods were fitted on the training part. Each part's mean and linear trend are its own, "
        "hidden frames included, for all methods alike; shuffled EEG alone is the mean of "
        f"{SHUFFLES} shuffles. Scored are the frames that a task hides; an "
        "undefined r, of a constant prediction, counts as 0.\n"
    )
    for region in _regions(results):
        for metric in SHOWN if region == "whole" else SHOWN[:1]:
            text += f"\n## {metric}, {region}\n\n{markdown(results, metric, region)}"
    return text


def _regions(results: Results) -> Iterator[str]:
    by_method = (method for task in results.values() for method in task.values())
    return iter(dict.fromkeys(region for method in by_method for region in method))
