"""The registry: rows and presets that agree with the code behind them, settings, and models read back."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroframes import registry
from neuroframes.checksums import write_checksums
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.paper import PaperModel
from neuroframes.models.settings import CorrectionSettings, PaperSettings, SurfaceSettings
from neuroframes.registry import (
    BACKBONE,
    METHODS,
    PRESETS,
    check_fits,
    check_needs,
    fit,
    in_order,
    load_model,
    method_of,
    row_of,
    settings_of,
)

FAMILIES = {"without EEG", "regression", "network", "neuroframes"}


def test_names_can_stand_in_a_list():
    assert not [name for name in METHODS if "," in name]


@pytest.mark.parametrize("name", METHODS)
def test_a_row_names_code_that_is_there(name):
    method = METHODS[name]
    assert callable(registry._imported(method.fitted_by)) and method.family in FAMILIES
    assert (method.settings is None) == (method.model == "")
    if method.model:
        # What is stored names the module that reads it.
        model = registry._imported(method.model)
        module, kind = method.model.split(".")[1], model.format.removeprefix("neuroframes-model-")
        assert kind.rpartition("-")[0] == module


def test_presets_are_those_of_train():
    assert PRESETS == {
        "surface": "surface model",
        "paper": "paper's recipe",
        "gaussian": "neuroframes backbone",
        "default": "neuroframes",
    }


def test_settings_are_a_preset_s_own_but_for_the_sizes_given():
    assert settings_of("default", {}) == CorrectionSettings()
    assert settings_of("paper", {"layers": 2}) == PaperSettings(layers=2)
    assert settings_of("surface", {"epochs": 3}) == SurfaceSettings(epochs=3)


@pytest.mark.parametrize(
    ("preset", "sizes", "message"),
    [
        ("small", {}, "--preset small; choose from surface, paper, gaussian, default"),
        ("gaussian", {"width": 8}, "--preset gaussian has no --width; leave that out, it has --latents"),
        ("surface", {"latents": 4, "layers": 1}, "has no --latents, --layers; .* it has --width, --epochs"),
        ("paper", {"epochs": 0}, "--epochs 0; expected at least 1"),
    ],
)
def test_sizes_that_cannot_be(preset, sizes, message):
    with pytest.raises(InputError, match=message):
        settings_of(preset, sizes)


@pytest.mark.parametrize(
    ("name", "extra"), [("banded ridge", "benchmark"), ("CNN-TC", "diffusion"), ("neuroframes", "diffusion")]
)
def test_a_package_that_is_needed_is_named(monkeypatch, patch, tmp_path, name, extra):
    check_needs(name)
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    needed = " and ".join(METHODS[name].needs)
    message = rf"{name} needs {needed}; pip install 'neuroframes\[{extra}\]', or leave it out"
    with pytest.raises(InputError, match=message):
        check_needs(name)
    with pytest.raises(InputError, match=message):
        fit(name, patch[0], {}, state=tmp_path)
    check_needs("neuroframes backbone")  # which takes nothing that isn't always there


def test_the_surface_model_needs_a_mesh(patch, tmp_path):
    part, _ = patch
    check_fits("surface model", part.origin.space)
    elsewhere = replace(part.origin, space=CorticalSpace.from_counts({"L": 50}))
    check_fits("neuroframes", elsewhere.space)
    with pytest.raises(InputError, match="surface model needs a cortical mesh.* of the space unknown; "):
        fit("surface model", replace(part, origin=elsewhere), {}, state=tmp_path)


def test_options_change_a_baseline_and_settings_a_model(patch, tmp_path):
    part, _ = patch
    drift = fit("drift", part, {"order": 1}, state=tmp_path)
    assert drift.n_parameters == 2 * part.origin.space.V
    model = fit("neuroframes without EEG", part, {"latents": 3}, state=tmp_path)
    assert model.prior.autoencoder.n_latents == 3
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def gaussian(patch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gaussian") / "model"
    fit(BACKBONE, patch[0], {"latents": 3}, state=folder).save(folder)
    return folder


def test_models_are_told_apart_by_what_is_stored(patch, gaussian, tmp_path):
    part, _ = patch
    sizes = {"latents": 3, "width": 32, "layers": 1, "epochs": 1}
    paper = fit("paper's recipe", part, sizes, state=tmp_path / "state", accelerator="cpu")
    paper.save(tmp_path / "paper")
    assert isinstance(load_model(gaussian), GaussianModel)
    state = torch.get_rng_state()
    model = load_model(str(tmp_path / "paper"))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(model, PaperModel) and (model.settings.layers, model.settings.width) == (1, 32)
    np.testing.assert_array_equal(model.origin.scale, part.origin.scale)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("[]", "format None"),
        ('{"format": "other-1"}', "format other-1"),
        ('{"format": "neuroframes-model-2"}', "format neuroframes-model-2"),
        ('{"format": "neuroframes-model-paper-1"}', "format neuroframes-model-paper-1"),
        ('{"format": "neuroframes-model-surface-9"}', "format neuroframes-model-surface-9"),
    ],
)
def test_another_format_is_refused(gaussian, tmp_path, about, message):
    (tmp_path / "model.json").write_text(about)
    shutil.copy(gaussian / "model.safetensors", tmp_path)
    write_checksums(tmp_path)
    with pytest.raises(InputError, match=f"a model of {message}, but this version reads .*; train it again"):
        load_model(tmp_path)


def test_where_no_model_is_train_is_named(tmp_path):
    with pytest.raises(
        InputError, match="nowhere: no such folder; pass the folder that neuroframes train or prior wrote"
    ):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("model_format", ["neuroframes-model-paper-2", "neuroframes-model-surface-2"])
def test_networks_need_pytorch_to_be_read(gaussian, tmp_path, monkeypatch, model_format):
    (tmp_path / "model.json").write_text(json.dumps({"format": model_format}))
    shutil.copy(gaussian / "model.safetensors", tmp_path)
    write_checksums(tmp_path)
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    with pytest.raises(
        InputError, match=r"needs torch and lightning; pip install 'neuroframes\[diffusion\]'"
    ):
        load_model(tmp_path)
    assert isinstance(load_model(gaussian), GaussianModel)


def test_a_row_says_where_a_network_is_less_than_its_own_settings():
    own = PaperSettings().to_json()
    assert row_of("paper's recipe", own) == row_of("paper's recipe", {}) == "paper's recipe"
    more = {**own, "width": 2048, "epochs": 400, "batch": 8, "learning_rate": 1e-5, "joint": False}
    assert row_of("paper's recipe", more) == "paper's recipe"
    for less in ({"epochs": 30}, {"width": 256}, {**own, "layers": 2}):
        assert row_of("paper's recipe", less) == "paper's recipe, reduced"
    assert row_of("CNN-TC", {"epochs": 1}) == "CNN-TC, reduced" and row_of("CNN-TC", {}) == "CNN-TC"
    assert row_of("banded ridge", {"samples": 8}) == "banded ridge"
    assert row_of(BACKBONE, {"latents": 3}) == BACKBONE
    row = "paper's recipe, reduced, shuffled EEG"
    assert method_of(row) is METHODS["paper's recipe"] and in_order([BACKBONE, row]) == [row, BACKBONE]


def test_what_cannot_be_fitted_says_why():
    space = CorticalSpace.from_counts({"L": 50})
    check_fits("motion alone", space)
    with pytest.raises(InputError, match="motion alone needs motion parameters, and the confounds have none"):
        check_fits("motion alone", space, motion=False)
    for name in ("ridge FIR", "drift", "surface model"):
        with pytest.raises(InputError, match=f"{name} needs EEG, or knows nothing of the moment"):
            check_fits(name, None)
    check_fits("mean frame", None)
