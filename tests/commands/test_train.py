"""From a store to a model: what it holds, that it is deterministic, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from neuroframes.commands.train import train
from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.segments import Part, load_segments
from neuroframes.recording.store import open_store


def test_a_model_knows_its_recording(recording):
    model, store = GaussianModel.load(recording.model), open_store(recording.store)
    assert sorted(path.name for path in recording.model.iterdir()) == [
        "checksums.txt",
        "model.json",
        "model.safetensors",
    ]
    origin = model.origin
    origin.space.check_same(store.space, "the store")
    assert origin.channels == model.eeg.channels.channels == store.channels and origin.tr == 1.0
    assert origin.eeg_settings == {"rate": 200.0, "l_freq": 0.5, "reference": "average", "gradient": False}
    assert list(model.eeg.bands) == ["delta", "theta", "alpha", "beta", "gamma"]
    assert origin.split.test == (Part("task-movie_run-3", 0, 120),)
    assert origin.split.train == (Part("task-movie_run-1", 0, 120), Part("task-movie_run-2", 0, 120))


def test_the_same_seed_gives_the_same_model(recording, tmp_path):
    again = train([recording.store], out=tmp_path / "again", preset="gaussian")
    first = load_file(recording.model / "model.safetensors")
    second = load_file(tmp_path / "again" / "model.safetensors")
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert values.tobytes() == second[name].tobytes(), name
    about = [json.loads((path / "model.json").read_text()) for path in (recording.model, tmp_path / "again")]
    assert about[0] == about[1]
    assert (
        again.prior.autoencoder.n_latents == GaussianModel.load(recording.model).prior.autoencoder.n_latents
    )


def test_options_are_used(recording, tmp_path):
    model = train(
        [recording.store],
        out=tmp_path / "m",
        preset="gaussian",
        bands="alpha, beta",
        latents=6,
        test_fraction=0,
        overwrite=True,
    )
    assert list(model.eeg.bands) == ["alpha", "beta"] and model.prior.autoencoder.n_latents == 6
    assert model.origin.split.test == () and len(model.origin.split.train) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": "alpha,mu"}, "unknown bands mu; choose from delta"),
        ({"latents": 0}, "--latents 0; expected at least 1"),
        (
            {"preset": "gaussian", "epochs": 3, "width": 8},
            "gaussian has no --width, --epochs; leave that out, it has --latents",
        ),
        ({"preset": "paper", "members": 2}, "--preset paper has no --members; .* it has --latents, --width"),
        ({"layers": 2}, "--preset default has no --layers"),
        ({"preset": "paper", "layers": 0}, "--layers 0; expected at least 1"),
        ({"epochs": 0}, "--epochs 0; expected at least 1"),
        ({"width": 30}, "--width 30 with 4 heads; expected a multiple"),
        ({"gap": 10.0}, "a gap of 10 s leaks"),
        ({"test_fraction": 1.0}, "test fraction is 1"),
        ({"test_fraction": 0.99}, "can't be split"),
        ({"test_session": "01"}, "no run of ses-01; the store has no sessions"),
        ({"test_session": "01", "test_fraction": 0.3}, "--test-session exclude each other; pass one"),
    ],
)
def test_options_that_cannot_be(recording, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train([recording.store], out=tmp_path / "m", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"precision": "nonsense"}, {"devices": 0}, {"seed": 0.5}])
def test_what_lightning_would_refuse_late_is_refused_first(tmp_path, options):
    with pytest.raises(InputError, match=r"--precision nonsense; choose|--(devices 0|seed 0.5); expected"):
        train([tmp_path / "no.zarr"], out=tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["default", "paper", "surface"])
def test_networks_need_pytorch_before_any_data_are_read(recording, tmp_path, monkeypatch, preset):
    monkeypatch.setattr("neuroframes.registry.find_spec", lambda _: None)
    monkeypatch.setattr("neuroframes.training.part.read_training_part", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"neuroframes\[diffusion\]"):
        train([recording.store], out=tmp_path / "model", preset=preset)


@pytest.fixture(scope="module")
def default(recording, tmp_path_factory):
    """A model of the default preset."""
    folder = tmp_path_factory.mktemp("default")
    sizes = {"width": 8, "epochs": 1, "members": 1, "latents": 4}
    train([recording.store], out=folder / "m", **sizes, progress=False)
    return folder / "m"


def test_the_default_preset_writes_a_model_that_a_correction_moves(recording, default):
    assert [path.name for path in default.parent.iterdir()] == ["m"]  # the state of training is gone
    assert sorted(path.name for path in default.iterdir()) == [
        "checksums.txt",
        "correction.json",
        "correction.safetensors",
        "model.json",
        "model.safetensors",
    ]
    model = GaussianModel.load(default)
    eeg, plain = model.eeg, replace(model.eeg, correction=None)
    eeg.correction.gate.fill_(1.0)
    store = open_store(recording.store)
    (test,), _ = load_segments(store, model.origin.split.test, eeg.bands, model.origin.scale)
    assert "learned correction" in model.describe(test.given(np.zeros(len(test.times), bool)))
    measured = np.arange(len(test.times)) % 20 < 10
    latents = model.prior.encode(test.frames, np.ones_like(measured))
    mean = plain.mean(test.eeg, test.times)
    moved = [
        eeg.mean(test.eeg, test.times, *given) - mean
        for given in ((), (latents, measured), (2 * latents, measured))
    ]
    assert all(np.isfinite(move).all() and move.shape == mean.shape and move.std() > 0 for move in moved)
    assert np.abs(moved[1] - moved[0]).max() > 0 and np.abs(moved[2] - moved[1]).max() > 0
    eeg.correction.gate.fill_(0.0)
    np.testing.assert_array_equal(eeg.mean(test.eeg, test.times, latents, measured), mean)


def damage_tensors(folder):
    (folder / "correction.safetensors").write_bytes(b"no tensors")


def damage_missing(folder):
    (folder / "correction.safetensors").unlink()


def damage_settings(folder):
    about = json.loads((folder / "correction.json").read_text())
    about["settings"]["width"] *= 2
    (folder / "correction.json").write_text(json.dumps(about))


@pytest.mark.parametrize("damage", [damage_tensors, damage_missing, damage_settings])
def test_a_damaged_correction_is_refused(default, tmp_path, damage):
    damage(shutil.copytree(default, tmp_path / "m"))
    with pytest.raises(InputError, match="damaged"):
        GaussianModel.load(tmp_path / "m")


def test_a_preset_that_needs_a_mesh_is_refused_before_anything_is_read(recording, tmp_path, monkeypatch):
    monkeypatch.setattr("neuroframes.training.part.read_training_part", None)  # can't be called
    with pytest.raises(InputError, match="surface model needs a cortical mesh.* of the space unknown"):
        train([recording.store], out=tmp_path / "m", preset="surface")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_needed(recording, tmp_path):
    with pytest.raises(InputError, match="not a store of neuroframes; make one with: neuroframes prepare"):
        train([recording.model], out=tmp_path / "model")
    with pytest.raises(InputError, match="no store; pass what prepare wrote"):
        train([], out=tmp_path / "model")
