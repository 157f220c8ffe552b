"""Training: what a model holds, that it is deterministic, and what it refuses."""

import json

import numpy as np
import pytest
from neuroframes.training.train import train, training_eeg
from safetensors.numpy import load_file

from neuroframes.errors import InputError
from neuroframes.models.gaussian import GaussianModel
from neuroframes.recording.bold import read_bold
from neuroframes.recording.segments import Part
from neuroframes.recording.store import open_store


def test_a_model_knows_its_recording(recording):
    model, store = GaussianModel.load(recording.model), open_store(recording.store)
    assert sorted(path.name for path in recording.model.iterdir()) == ["model.json", "model.safetensors"]
    model.space.check_same(store.space, "the store")
    assert model.channels == store.channels and model.tr == 1.0
    assert model.eeg_settings == {"rate": 200.0, "l_freq": 0.5, "reference": "average"}
    assert list(model.bands) == ["delta", "theta", "alpha", "beta", "gamma"]
    assert model.split.test == (Part("task-movie_run-3", 0, 120),)
    assert model.split.train == (Part("task-movie_run-1", 0, 120), Part("task-movie_run-2", 0, 120))


def test_the_scale_is_that_of_the_training_part_alone(recording):
    model, store = GaussianModel.load(recording.model), open_store(recording.store)
    squares, n = 0.0, 0
    for run in store.runs[:2]:
        at, seen = np.arange(120), ~run.censored
        data = run.bold()[seen].astype(np.float64)
        line = np.polynomial.polynomial.polyfit(at[seen], data, 1)
        residual = data - np.polynomial.polynomial.polyval(at[seen], line).T
        squares, n = squares + (residual**2).sum(axis=0), n + seen.sum()
    expected = np.sqrt(squares / n)
    live = model.scale > 0
    np.testing.assert_allclose(model.scale[live], expected[live], rtol=1e-3)
    constant = np.ptp(read_bold(recording.bold(1)).data, axis=0) == 0
    assert constant.any() and (model.scale[constant] == 0).all()


def test_channels_vary_together_as_in_the_training_part_alone(recording):
    model, store = GaussianModel.load(recording.model), open_store(recording.store)
    pieces = list(training_eeg(store, [Part("task-movie_run-1", 30, 90), Part("task-movie_run-2", 0, 120)]))
    first, second = store.runs[:2]
    begin = first.frame_times[30] - 20
    n = round((first.frame_times[89] - begin) * first.eeg_rate) + 1
    at = int(begin * first.eeg_rate)
    np.testing.assert_array_equal(pieces[0][0], first.eeg()[:, at : at + n])
    assert [rate for _, rate in pieces] == [200.0, 200.0] and pieces[1][0].shape[1] < second.eeg().shape[1]
    eeg = np.concatenate([eeg for eeg, _ in training_eeg(store, model.split.train)], axis=1).astype(float)
    covariance = eeg @ eeg.T / eeg.shape[1]  # 0.5 to 100 Hz hold nearly all of it
    error = np.linalg.norm(model.channel_covariance.total - covariance) / np.linalg.norm(covariance)
    assert error < 0.1


def test_the_same_seed_gives_the_same_model(recording, tmp_path):
    again = train(recording.store, out=tmp_path / "again", preset="gaussian")
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


def test_options_are_heeded(recording, tmp_path):
    model = train(
        recording.store,
        out=tmp_path / "m",
        preset="gaussian",
        bands="alpha, beta",
        latents=6,
        test_fraction=0,
        overwrite=True,
    )
    assert list(model.bands) == ["alpha", "beta"] and model.prior.autoencoder.n_latents == 6
    assert model.split.test == () and len(model.split.train) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": "alpha,mu"}, "unknown bands mu; choose from delta"),
        ({"latents": 0}, "latents 0; expected a positive number"),
        ({"preset": "gaussian", "epochs": 3, "width": 8}, "has no networks, so no width, epochs"),
        ({"preset": "paper", "members": 2}, "one network; leave --members out"),
        ({"layers": 2}, "--layers is for --preset paper"),
        ({"preset": "paper", "layers": 0}, "--layers 0; expected at least 1"),
        ({"epochs": 0}, "--epochs 0; expected at least 1"),
        ({"width": 30}, "--width 30 with 4 heads; expected a multiple"),
        ({"gap": 10.0}, "a gap of 10 s leaks"),
        ({"test_fraction": 1.0}, "test fraction is 1"),
        ({"test_fraction": 0.99}, "can't be split"),
    ],
)
def test_options_that_cannot_be(recording, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train(recording.store, out=tmp_path / "m", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"precision": "nonsense"}, {"devices": 0}])
def test_what_lightning_would_refuse_late_is_refused_first(tmp_path, options):
    with pytest.raises(InputError, match="--precision nonsense; choose|--devices 0; expected"):
        train(tmp_path / "no.zarr", out=tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_networks_need_pytorch_before_anything_is_read(tmp_path, monkeypatch, preset):
    monkeypatch.setattr("neuroframes.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"neuroframes\[diffusion\]"):
        train(tmp_path / "nothing.zarr", out=tmp_path / "model", preset=preset)
