"""What every method owes its callers, fitted from its row of the registry to one small recording.

A model of ours, a baseline and the prior that a run gives itself are asked the same questions; what they
can do they state themselves.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.model import Model, TrainedModel
from neuroframes.models.population import PopulationModel
from neuroframes.models.settings import BackboneSettings
from neuroframes.recording.band_power import log_band_power
from neuroframes.recording.segments import Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.registry import ACROSS_NETWORKS, BACKBONE, METHODS, NO_EEG, ORACLE, OURS, fit, load_model
from neuroframes.training.backbone import fit_without_eeg
from neuroframes.training.part import TrainingPart

OWN, POPULATION = "a run's own prior", "neuroframes population"
CORRECTED = (ACROSS_NETWORKS, OURS)
CORRECTION = {"latents": 4, "frames": 24, "width": 8, "depth": 1, "heads": 2, "virtual_channels": 4}
CORRECTION |= {"filters": 2, "members": 1, "epochs": 1}
NETWORK = {"epochs": 1, "latents": 3, "batch": 32, "accelerator": "cpu"}
SMALL = {
    "banded ridge": {"latents": 4, "samples": 2},
    "CNN-TC": NETWORK | {"length": 4, "filters": 2},
    "CNN-TAG": NETWORK | {"length": 4, "width": 8},
    "E2FNet": NETWORK | {"width": 8},
    "E2FGAN": NETWORK | {"width": 8},
    "NeuroBOLT-like": NETWORK
    | {"depth": 1, "heads": 2, "spectral_depth": 1, "spectral_heads": 2, "width": 8, "seconds": 2},
    "surface model": {"width": 8, "embedding": 2, "virtual_channels": 4, "filters": 2, "hidden": 2}
    | {"epochs": 1},
    "paper's recipe": {"latents": 4, "width": 32, "layers": 1, "epochs": 1, "sampling_steps": 4}
    | {"batch": 4, "learning_rate": 0.01},
    "dynamic factors": {"factors": 2, "iterations": 3},
    NO_EEG: {"latents": 4},
    POPULATION: {"latents": 4},
    "neuroframes across people": {"latents": 4},
    "neuroframes backbone": {"latents": 4},
    ACROSS_NETWORKS: CORRECTION,
    OURS: CORRECTION,
}  # fmt: skip
MASKS = {
    "gaps": lambda k: np.arange(k) % 10 < 6,
    "one missing": lambda k: np.arange(k) != k // 2,
    "all but a few missing": lambda k: np.isin(np.arange(k), (5, 6, 20)),
    "nothing missing": lambda k: np.ones(k, bool),
    "nothing measured": lambda k: np.zeros(k, bool),
}


def with_people(part: TrainingPart) -> TrainingPart:
    """The same runs of three people."""
    people = [replace(segment, person=f"sub-{n}") for n in range(3) for segment in part.segments]
    return replace(part, segments=people, several=True)


def fitted_to(name: str, part: TrainingPart, test: Segment, state) -> Model:
    """The method of that name with few parameters, on the CPU; a learned correction with an open gate."""
    if name == OWN:
        origin = replace(part.origin, channels=(), bands={}, split=Split((), (), 0.0))
        run = replace(test.given(MASKS["gaps"](len(test.times))), eeg=None, power=None)
        own = TrainingPart(origin, [run], own=True)
        return fit_without_eeg(own, BackboneSettings())
    part = with_people(part) if METHODS[name].several else part
    run = {"accelerator": "cpu"} if METHODS[name].model and METHODS[name].needs else {}
    with pytest.MonkeyPatch.context() as patched:  # models go to a GPU where there is one
        patched.setattr(torch.cuda, "is_available", lambda: False)
        model = fit(name, part, SMALL.get(name, {}), state=state, seed=3, **run)
    if name in CORRECTED:
        model.eeg.correction.gate.fill_(1.0)
    return model


@dataclass(frozen=True)
class Fitted:
    """A model, its row's name, and a segment that it wasn't fitted to: all frames measured."""

    name: str
    model: Model
    segment: Segment

    @property
    def measured(self) -> np.ndarray:
        return MASKS["gaps"](len(self.segment.times))

    @property
    def eeg(self) -> bool:
        return self.name in METHODS and METHODS[self.name].eeg

    @property
    def frames(self) -> bool:
        return self.name not in METHODS or METHODS[self.name].frames


EVERY = [*METHODS, OWN]
TRAINED = [name for name in METHODS if METHODS[name].model] + [OWN]
DRAWING = [name for name in TRAINED if name != "surface model"]
NETWORKS = [name for name in METHODS if "torch" in METHODS[name].needs]


def each(names: list[str]):
    """Ask those methods alone."""
    return pytest.mark.parametrize("fitted", names, indirect=True)


@pytest.fixture(scope="module")
def fits(patch, tmp_path_factory) -> Callable[[str], Fitted]:
    """Every method is fitted once."""
    part, test = patch
    whole = replace(test, measured=np.ones(len(test.times), bool))

    @cache
    def of(name: str) -> Fitted:
        return Fitted(name, fitted_to(name, part, test, tmp_path_factory.mktemp("state")), whole)

    return of


@pytest.fixture(params=EVERY)
def fitted(request, fits) -> Fitted:
    return fits(request.param)


def same(first, second) -> bool:
    """Equal to the bit in mean, deviation and draws."""
    pairs = zip((first.mean, first.std, *first.draws), (second.mean, second.std, *second.draws), strict=True)
    return all(np.array_equal(a, b) if a is not None else b is None for a, b in pairs)


def draws_of(model: Model) -> int:
    return 2 if model.draws else 0


# What it says of itself


def test_it_is_what_its_row_says(fitted):
    model = fitted.model
    assert model.name == (NO_EEG if fitted.name == OWN else fitted.name)
    assert model.reads_frames == fitted.frames
    assert model.reads_eeg == fitted.eeg and (model.reads_eeg or not model.needs_eeg)
    assert model.n_parameters > 0
    assert isinstance(model, TrainedModel) == (fitted.name in TRAINED)
    assert model.draws == (fitted.name in DRAWING) and (model.states_deviation or not model.draws)


def test_what_counts_is_what_its_row_says(fitted):
    """Other EEG, and other measured frames, change the estimate where the method uses them."""
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    before = model.fill(given).mean
    later = {name: getattr(fitted.segment, name) for name in ("eeg", "power")}
    later["eeg"] = replace(later["eeg"], data=later["eeg"].data[:, ::-1].copy())
    later["power"] = replace(later["power"], values=later["power"].values[::-1])
    other_eeg = model.fill(replace(given, **later)).mean
    assert np.array_equal(other_eeg, before) != fitted.eeg
    turned = np.where(given.measured[:, None], -given.frames, given.frames)
    assert np.array_equal(model.fill(replace(given, frames=turned)).mean, before) != fitted.frames


# Shapes


@pytest.mark.parametrize("mask", MASKS)
def test_it_gives_the_missing_frames_whatever_is_missing(fitted, mask):
    model, segment = fitted.model, fitted.segment
    given = segment.given(MASKS[mask](len(segment.times)))
    kept = given.frames.copy()
    estimate = model.fill(given, draws=draws_of(model))
    shape = (int((~given.measured).sum()), segment.frames.shape[1])
    drawn = list(estimate.draws)
    assert len(drawn) == draws_of(model) and (estimate.std is not None) == model.states_deviation
    for values in (estimate.mean, *drawn, *([estimate.std] if model.states_deviation else [])):
        assert values.shape == shape and values.dtype == np.float32 and np.isfinite(values).all()
    assert estimate.std is None or (estimate.std >= 0).all()
    assert given.frames.tobytes() == kept.tobytes()
    completed = given.completed(estimate.mean)
    assert completed[given.measured].tobytes() == segment.frames[given.measured].tobytes()


@pytest.mark.parametrize("measured", [False, True])
def test_a_segment_may_be_one_frame(fitted, measured):
    model, segment = fitted.model, fitted.segment
    parts = {name: getattr(segment, name)[7:8] for name in ("frames", "times", "time_in_run", "motion")}
    one = replace(segment, measured=np.array([measured]), **parts)
    estimate = model.fill(one, draws=draws_of(model))
    for values in (estimate.mean, *estimate.draws):
        assert values.shape == (int(not measured), segment.frames.shape[1]) and np.isfinite(values).all()


# What it reads


@each([name for name in EVERY if name != ORACLE])  # which reads what it is scored on, as its name says
def test_what_stands_at_missing_frames_is_not_read(fitted):
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    spoilt = replace(given, frames=np.where(given.measured[:, None], given.frames, np.nan))
    one, other = (model.fill(segment, draws=draws_of(model)) for segment in (given, spoilt))
    assert np.isfinite(one.mean).all() and same(one, other)


def test_without_eeg_it_does_what_it_can_or_says_so(fitted):
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    silent = replace(given, eeg=None, power=None)
    if model.needs_eeg:
        with pytest.raises(InputError, match=f"{re.escape(model.name)} needs EEG"):
            model.fill(silent)
        with pytest.raises(InputError, match=f"{re.escape(model.name)} needs EEG: pass --eeg"):
            model.check(eeg=False, draws=0)
    else:
        model.check(eeg=False, draws=0)
        estimate = model.fill(silent)
        assert np.isfinite(estimate.mean).all()
        assert np.array_equal(estimate.mean, model.fill(given).mean) != fitted.eeg


def test_channels_may_lack_or_are_said_to(fitted, patch):
    """All but one channel, in the reference that they have by themselves."""
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    data = given.eeg.data[1:] - given.eeg.data[1:].mean(axis=0)
    some = Signal(data, given.eeg.rate, given.eeg.channels[1:])
    lacking = replace(given, eeg=some, power=log_band_power(data, some.rate, patch[0].origin.bands))
    if fitted.eeg and not model.fills_channels:
        with pytest.raises(InputError, match="channels|features"):
            model.fill(lacking)
    else:
        estimate = model.fill(lacking).mean
        assert np.isfinite(estimate).all()
        assert np.square(estimate - model.fill(given).mean).mean() < np.square(given.frames).mean()


def test_frames_in_between_are_filled_or_refused(fitted):
    model, segment = fitted.model, fitted.segment
    times = segment.times[0] + 1.0 * np.arange(2 * len(segment.times) - 1)  # half a TR
    known = np.arange(len(times)) % 2 == 0
    arrays = {name: getattr(segment, name)[np.arange(len(times)) // 2] for name in ("frames", "motion")}
    denser = replace(segment, times=times, time_in_run=times - times[0], measured=known, **arrays)
    if model.any_time:
        model.check(eeg=True, draws=0, between=True)
        assert np.isfinite(model.fill(denser).mean).all()
    else:
        with pytest.raises(InputError, match="frames on one grid only, and none in between"):
            model.check(eeg=True, draws=0, between=True)


# What is random


def test_the_same_seed_gives_the_same_estimate(fitted):
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    first, again, other = (
        model.fill(given, draws=draws_of(model), generator=np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    default = model.fill(given, draws=draws_of(model))
    drawn = [list(estimate.draws) for estimate in (first, again, default, other)]
    for estimate, draws in zip((again, default), drawn[1:3], strict=True):
        assert same(replace(estimate, draws=iter(draws)), replace(first, draws=iter(drawn[0])))
    assert not model.draws or not np.array_equal(drawn[0][0], drawn[3][0])


def test_the_same_seed_gives_the_same_fit_and_censored_frames_have_no_part_in_it(fitted, patch, tmp_path):
    part, test = patch

    def spoilt(segment):
        return replace(segment, frames=np.where(segment.measured[:, None], segment.frames, np.nan))

    segments = [spoilt(segment) for segment in part.segments]
    assert np.isnan(segments[0].frames).any()
    again = fitted_to(fitted.name, replace(part, segments=segments), spoilt(test), tmp_path)
    given = fitted.segment.given(fitted.measured)
    assert same(*(model.fill(given, draws=draws_of(model)) for model in (fitted.model, again)))


@each([name for name in EVERY if name not in DRAWING])
def test_draws_are_refused_where_there_are_none(fitted):
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    for ask in (lambda: model.check(eeg=True, draws=4), lambda: model.fill(given, draws=4)):
        with pytest.raises(InputError, match=f"--draws 4, but {re.escape(model.name)} draws nothing"):
            ask()


@each(DRAWING)
def test_draws_agree_with_what_is_stated(fitted):
    model, given, n_draws = fitted.model, fitted.segment.given(fitted.measured), 200
    model.check(eeg=True, draws=n_draws)
    estimate = model.fill(given, draws=n_draws, generator=np.random.default_rng(5))
    drawn = np.stack(list(estimate.draws)).astype(np.float64)
    # Standard errors of a mean and of a deviation over 200 draws are .07 and .05 of the deviation.
    away = np.abs(drawn.mean(axis=0) - estimate.mean)
    assert np.all(away <= 0.35 * estimate.std)
    np.testing.assert_allclose(drawn.std(axis=0, ddof=1), estimate.std, rtol=0.25)
    # The closed form holds where no learned correction varies with what is drawn.
    if fitted.name in (NO_EEG, BACKBONE, OWN, POPULATION):
        np.testing.assert_allclose(drawn.std(axis=0, ddof=1), model.fill(given).std, rtol=0.25)
    single = model.fill(given, draws=1)
    assert len(list(single.draws)) == 1 and np.isfinite(single.std).all()


# Where it is stored


@each(TRAINED)
def test_it_comes_back_from_its_files(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert type(again) is type(model) and (again.name, again.n_parameters) == (model.name, model.n_parameters)
    assert again.describe(given) == model.describe(given)
    for drawn in {0, draws_of(model)}:
        assert same(again.fill(given, draws=drawn), model.fill(given, draws=drawn))
    origin = replace(again.origin, space=model.origin.space, scale=model.origin.scale)
    assert origin.to_json() == model.origin.to_json()
    again.origin.space.check_same(model.origin.space, "the model")
    np.testing.assert_array_equal(again.origin.scale, model.origin.scale)


@each(TRAINED)
def test_what_is_left_without_eeg_does_not_use_it(fitted):
    alone, given = fitted.model.without_eeg(), fitted.segment.given(fitted.measured)
    assert (alone is None) == fitted.model.needs_eeg
    if alone is not None:
        silent = replace(given, eeg=None, power=None)
        assert not alone.reads_eeg and same(alone.fill(given), alone.fill(silent))
        assert same(alone.fill(given), fitted.model.fill(silent))


@each(TRAINED)
def test_some_vertices_are_filled_too(fitted):
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    some = np.flatnonzero(np.arange(given.frames.shape[1]) % 3)
    part = replace(given, frames=np.asfortranarray(given.frames[:, some]), vertices=some)
    estimate = model.fill(part, draws=draws_of(model))
    n_missing = int((~given.measured).sum())
    for values in (estimate.mean, *estimate.draws, *([estimate.std] if model.states_deviation else [])):
        assert values.shape == (n_missing, len(some)) and np.isfinite(values).all()
    every = replace(given, vertices=np.arange(given.frames.shape[1]))
    np.testing.assert_allclose(model.fill(every).mean, model.fill(given).mean, atol=1e-5)


# Where it runs


def networks_of(model: Model) -> torch.nn.Module:
    if isinstance(model, GaussianModel | PopulationModel):
        return model.eeg.correction
    return model.network if isinstance(model, TrainedModel) else model.network_


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@each(NETWORKS)
def test_a_model_is_applied_on_the_gpu_as_it_was_trained(fitted, patch, tmp_path):
    run = {"accelerator": "gpu"} if fitted.name in TRAINED else {}
    sizes = SMALL[fitted.name] | ({} if run else {"accelerator": "gpu"})
    part = with_people(patch[0]) if METHODS[fitted.name].several else patch[0]
    model = fit(fitted.name, part, sizes, state=tmp_path, seed=3, **run)
    networks = networks_of(model)
    assert {tensor.device.type for tensor in networks.state_dict().values()} == {"cuda"}
    if fitted.name in CORRECTED:
        networks.gate.fill_(1.0)
    estimate = model.fill(fitted.segment.given(fitted.measured), draws=draws_of(model))
    assert all(np.isfinite(values).all() for values in (estimate.mean, *estimate.draws))
    if isinstance(model, TrainedModel):
        model.save(tmp_path / "model")
        assert load_model(tmp_path / "model").n_parameters == model.n_parameters


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@each(NETWORKS)
def test_a_gpu_gives_what_a_cpu_gives(fitted, tmp_path, monkeypatch):
    model, given = fitted.model, fitted.segment.given(fitted.measured)
    if isinstance(model, TrainedModel):
        model.save(tmp_path / "model")
        on_gpu = load_model(tmp_path / "model").fill(given).mean
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        expected = load_model(tmp_path / "model").fill(given).mean
    else:
        expected = model.fill(given).mean
        model.network_.to("cuda")
        on_gpu = model.fill(given).mean
        model.network_.to("cpu")
    np.testing.assert_allclose(on_gpu, expected, atol=1e-2 * expected.std(), rtol=1e-2)
