"""What a surface model makes of a run: windows blended, measured frames kept, and what it was stored as."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import diags_array

from neuroframes.models.settings import SurfaceSettings
from neuroframes.diffusion.windows import Windows
from neuroframes.errors import InputError
from neuroframes.models.denoiser import EARLIEST
from neuroframes.models.load import load_model
from neuroframes.models.surface import SurfaceModel
from neuroframes.models.surface_network import SpatiotemporalNeuralFrames, normalised
from neuroframes.recording.segments import Part, Split
from neuroframes.recording.signal import Signal

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
    return SurfaceModel(
        settings=SETTINGS,
        network=network.eval(),
        space=cifti_space,
        tr=TR,
        rate=RATE,
        scale=np.ones(V, np.float32),
        channels=CHANNELS,
        eeg_settings={"rate": RATE, "l_freq": 0.5, "reference": "average"},
        split=Split((Part("run", 0, 40),), (), 40.0),
    )


def recording(n_frames, seed=1):
    generator = np.random.default_rng(seed)
    frames = np.asfortranarray(generator.standard_normal((n_frames, V)), np.float32)
    times = 5.0 + TR * np.arange(n_frames)
    eeg = 1e-5 * generator.standard_normal((len(CHANNELS), round((times[-1] + 6) * RATE)))
    return frames, Signal(eeg.astype(np.float32), RATE, CHANNELS), times


def fill(model, run, measured, **options):
    frames, eeg, times = run
    frames = frames.copy(order="F")
    deviation, drawn = model.fill_missing(frames, measured, eeg, times, np.random.default_rng(0), **options)
    assert deviation is None and list(drawn) == []
    return frames


@pytest.mark.parametrize("n_frames", [1, 4, 10, 12, 33])
def test_measured_frames_come_back_exactly_and_missing_ones_are_not_read(model, n_frames):
    run = recording(n_frames)
    measured = np.arange(n_frames) % 3 == 1
    blank = run[0].copy(order="F")
    blank[~measured] = np.nan
    completed = fill(model, (blank, *run[1:]), measured)
    assert completed[measured].tobytes() == run[0][measured].tobytes() and np.isfinite(completed).all()
    assert fill(model, run, measured).tobytes() == completed.tobytes()
    np.testing.assert_allclose(fill(model, run, measured, batch=3), completed, rtol=1e-3, atol=1e-4)
    everything = np.ones(n_frames, bool)
    assert fill(model, run, everything).tobytes() == run[0].tobytes()


def test_windows_are_blended(model):
    """Against one window at a time, by the network's own call."""
    frames, eeg, times = run = recording(23)
    measured = np.arange(23) % 5 == 0
    windows, device = Windows.over(23, K, K // 2), model.network.place.device
    pieces = []
    for window in windows.slices:
        # Frames are at 5 s and after: much of the EEG that they follow lies beyond the ends.
        mirrored = np.pad(eeg.data, ((0, 0), (1000, 1000)), mode="reflect")
        first = 1000 + round((times[window.start] - EARLIEST) * RATE)
        around = mirrored[None, :, first : first + model.network.n_samples]
        given = frames[None, window].transpose(0, 2, 1).copy()
        inputs = [torch.from_numpy(part).to(device) for part in (around, measured[None, window], given)]
        with torch.no_grad():
            pieces.append(model.network(*inputs)[0].T.cpu())
    expected = windows.blend(pieces).numpy()
    np.testing.assert_allclose(fill(model, run, measured), expected, rtol=1e-4, atol=1e-5)


def test_vertices_that_are_left_out_count_as_zero(model):
    frames, *rest = recording(15)
    measured, some = np.arange(15) % 3 > 0, np.flatnonzero(np.arange(V) % 5)
    silent = np.where(np.isin(np.arange(V), some), frames, 0).astype(np.float32, order="F")
    whole = fill(model, (silent, *rest), measured)
    part = fill(model, (silent[:, some], *rest), measured, vertices=some)
    np.testing.assert_allclose(part, whole[:, some], atol=1e-5)


def test_what_it_cannot_do_is_refused(model):
    frames, eeg, times = recording(12)
    measured, generator = np.zeros(12, bool), np.random.default_rng(0)
    with pytest.raises(InputError, match="a frame every 0.5 s is wanted; a model of --preset surface"):
        model.fill_missing(frames, measured, eeg, times / 2, generator)
    with pytest.raises(InputError, match="4 channels at 64 Hz"):
        model.fill_missing(frames, measured, replace(eeg, rate=64.0), times, generator)
    with pytest.raises(InputError, match="--draws 4, but a model of --preset surface draws nothing"):
        model.draws_for(4)
    assert model.draws_for(0) == 0


def test_a_saved_model_predicts_the_same(model, tmp_path):
    model.save(tmp_path / "model")
    before = torch.get_rng_state()
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, SurfaceModel) and torch.equal(torch.get_rng_state(), before)
    assert json.loads((tmp_path / "model/model.json").read_text())["format"] == "neuroframes-model-surface-1"
    for name in ("settings", "tr", "rate", "channels", "eeg_settings", "split", "n_parameters"):
        assert getattr(loaded, name) == getattr(model, name), name
    measured = np.arange(20) % 4 == 0
    assert fill(loaded, recording(20), measured).tobytes() == fill(model, recording(20), measured).tobytes()


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
        ({"format": "neuroframes-model-surface-0"}, "but this version reads neuroframes-model-surface-1"),
        ({"settings": {**about["settings"], "width": 16}}, "damaged.*train it again"),
        ({"bands": ["alpha"]}, "damaged.*train it again"),
    ):
        (folder / "model.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(InputError, match=message):
            load_model(folder)
