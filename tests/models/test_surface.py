"""What a surface model makes of a run: windows blended, measured frames kept, and what it was stored as."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import diags_array

from neuroframes.checksums import write_checksums
from neuroframes.diffusion.windows import Windows
from neuroframes.errors import InputError
from neuroframes.models.denoiser import EARLIEST
from neuroframes.models.model import Origin
from neuroframes.models.settings import SurfaceSettings
from neuroframes.models.surface import SurfaceModel
from neuroframes.models.surface_network import SpatiotemporalNeuralFrames, normalised
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.registry import load_model

K, V, RATE, TR = 10, 200, 32.0, 1.0
CHANNELS = ("Fz", "Cz", "Pz", "Oz")
SETTINGS = SurfaceSettings(width=8, embedding=2, virtual_channels=4, filters=2, hidden=2)


@pytest.fixture(scope="module")
def model(cifti_space):
    """Of random weights; its mesh is a chain of vertices."""
    generator = torch.Generator().manual_seed(0)
    indices, values = normalised(diags_array([np.ones(V - 1)] * 2, offsets=[-1, 1]))
    with torch.random.fork_rng(devices=[]):
        network = SpatiotemporalNeuralFrames(
            SETTINGS,
            indices=indices,
            values=values,
            place=torch.randn(V, 4, generator=generator),
            positions=0.1 * torch.eye(4)[:, :3],
            bands={"alpha": (8.0, 13.0)},
            tr=TR,
            rate=RATE,
        )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=generator)
    split, eeg_settings = Split((Part("run", 0, 40),), (), 40.0), {"rate": RATE, "l_freq": 0.5}
    bands = {"alpha": (8.0, 13.0)}
    origin = Origin(cifti_space, TR, np.ones(V, np.float32), split, CHANNELS, eeg_settings, bands)
    return SurfaceModel(SETTINGS, network.eval(), origin, RATE)


def recording(n_frames, seed=1):
    generator = np.random.default_rng(seed)
    frames = np.asfortranarray(generator.standard_normal((n_frames, V)), np.float32)
    times = 5.0 + TR * np.arange(n_frames)
    eeg = 1e-5 * generator.standard_normal((len(CHANNELS), round((times[-1] + 6) * RATE)))
    signal = Signal(eeg.astype(np.float32), RATE, CHANNELS)
    return Segment(frames, times, times - 5, np.ones(n_frames, bool), None, "run", signal)


@pytest.mark.parametrize("n_frames", [1, 4, 10, 12, 33])
def test_runs_of_any_length_are_filled_and_missing_frames_are_not_read(model, n_frames):
    segment, measured = recording(n_frames), np.arange(n_frames) % 3 == 1
    blank = replace(segment, frames=np.where(measured[:, None], segment.frames, np.nan))
    estimate = model.fill(blank.given(measured))
    assert np.isfinite(estimate.mean).all() and estimate.mean.shape == ((~measured).sum(), V)
    assert estimate.std is None and list(estimate.draws) == []
    assert model.fill(segment.given(measured)).mean.tobytes() == estimate.mean.tobytes()
    assert model.fill(segment).mean.shape == (0, V)


def test_windows_are_blended(model):
    """Against one window at a time, by the network's own call."""
    segment, measured = recording(23), np.arange(23) % 5 == 0
    windows, device = Windows.over(23, K, K // 2), model.network.place.device
    pieces = []
    for window in windows.slices:
        # Frames are at 5 s and after: much of the EEG that they follow lies beyond the ends.
        mirrored = np.pad(segment.eeg.data, ((0, 0), (1000, 1000)), mode="reflect")
        first = 1000 + round((segment.times[window.start] - EARLIEST) * RATE)
        around = mirrored[None, :, first : first + model.network.n_samples]
        given = segment.frames[None, window].transpose(0, 2, 1).copy()
        inputs = [torch.from_numpy(part).to(device) for part in (around, measured[None, window], given)]
        with torch.no_grad():
            pieces.append(model.network(*inputs)[0].T.cpu())
    expected = windows.blend(pieces).numpy()
    given = segment.given(measured)
    np.testing.assert_allclose(given.completed(model.fill(given).mean), expected, rtol=1e-4, atol=1e-5)


def test_vertices_that_are_left_out_count_as_zero(model):
    segment, some = recording(15).given(np.arange(15) % 3 > 0), np.flatnonzero(np.arange(V) % 5)
    silent = np.where(np.isin(np.arange(V), some), segment.frames, 0).astype(np.float32, order="F")
    whole = model.fill(replace(segment, frames=silent)).mean
    part = model.fill(replace(segment, frames=silent[:, some], vertices=some)).mean
    np.testing.assert_allclose(part, whole[:, some], atol=1e-5)


def test_what_it_cannot_do_is_refused(model):
    segment = recording(12).given(np.zeros(12, bool))
    with pytest.raises(InputError, match="a frame every 0.5 s is asked for; surface model has one every 1 s"):
        model.fill(replace(segment, times=segment.times / 2))
    with pytest.raises(InputError, match="4 channels at 64 Hz"):
        model.fill(replace(segment, eeg=replace(segment.eeg, rate=64.0)))
    for asked in (model.fill, model.check):
        arguments = {"segment": segment} if asked == model.fill else {"eeg": True}
        with pytest.raises(InputError, match="--draws 4, but surface model draws nothing"):
            asked(**arguments, draws=4)


def test_it_says_what_it_was_given(model):
    segment = recording(12)
    assert "given EEG and the measured frames; no uncertainty" in model.describe(segment)
    assert "given EEG; no uncertainty is stated" in model.describe(segment.given(np.zeros(12, bool)))


def test_a_saved_model_predicts_the_same(model, tmp_path):
    model.save(tmp_path / "model")
    before = torch.get_rng_state()
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, SurfaceModel) and torch.equal(torch.get_rng_state(), before)
    assert json.loads((tmp_path / "model/model.json").read_text())["format"] == "neuroframes-model-surface-2"
    for name in ("settings", "rate", "n_parameters"):
        assert getattr(loaded, name) == getattr(model, name), name
    for name in ("tr", "channels", "eeg_settings", "split"):
        assert getattr(loaded.origin, name) == getattr(model.origin, name), name
    given = recording(20).given(np.arange(20) % 4 == 0)
    assert loaded.fill(given).mean.tobytes() == model.fill(given).mean.tobytes()


def test_it_goes_to_the_gpu_where_there_is_one(model, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda _, device: asked.append(device))
    replace(model).save(tmp_path / "model")
    load_model(tmp_path / "model")
    assert asked == ["cuda", "cuda"]

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(torch.OutOfMemoryError):  # no damage of the model
        load_model(tmp_path / "model")


def test_what_is_no_model_is_refused(model, tmp_path):
    folder = tmp_path / "model"
    model.save(folder)
    about = json.loads((folder / "model.json").read_text())
    for change, message in (
        ({"format": "neuroframes-model-surface-0"}, "but this version reads neuroframes-model-surface-2"),
        ({"settings": {**about["settings"], "width": 16}}, "damaged.*train it again"),
        ({"bands": ["alpha"]}, "damaged.*train it again"),
    ):
        (folder / "model.json").write_text(json.dumps({**about, **change}))
        write_checksums(folder)
        with pytest.raises(InputError, match=message):
            load_model(folder)
