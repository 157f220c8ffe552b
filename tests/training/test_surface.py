"""Training of the surface model: its windows, masks and loss, and that it can be interrupted."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from neuroframes.cortex.mesh import surface, vertex_positions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.model import Origin
from neuroframes.models.settings import SurfaceSettings
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.training.part import TrainingPart
from neuroframes.training.surface import SurfaceTraining, SurfaceWindows, fit_surface
from neuroframes.training.trainer import STATE

SETTINGS = SurfaceSettings(
    width=16, embedding=4, virtual_channels=4, filters=2, hidden=4, learning_rate=3e-3, batch=8, epochs=2
)
RATE, TR, C, V, GAP = 32.0, 1.0, 6, 60, 10.0
BANDS, POSITIONS = {"alpha": (8.0, 13.0)}, 0.1 * np.eye(C)[:, :3] + 0.01


@pytest.fixture(scope="module")
def space():
    """A patch of 60 vertices of fsaverage5's left hemisphere around the pole, as a part of a GIFTI space."""
    at = surface("fsaverage5", "sphere", "L")[0]
    vertex = np.sort(np.argsort(-at[:, 2])[:V]).astype(np.int32)
    return CorticalSpace("fsaverage5", "gifti", np.zeros(V, np.int8), vertex, "")


@pytest.fixture(scope="module")
def segments(space):
    """Slow signals, and EEG whose alpha power follows the first of them 5 s earlier."""
    generator, found = np.random.default_rng(0), []
    # Smooth across the patch, as on the cortex.
    place = vertex_positions(space, "sphere")[:, :2]
    waves = place @ generator.standard_normal((2, 3)) / place.std() + 6 * generator.random(3)
    patterns = np.sin(waves).T
    for n_frames in (90, 70):
        signals = np.cumsum(generator.standard_normal((n_frames + 4, 3)), axis=0)
        signals = (signals[4:] - signals[:-4]) / 2
        frames = signals @ patterns + 0.3 * generator.standard_normal((n_frames, V))
        times = 5.0 + TR * np.arange(n_frames)
        eeg = generator.standard_normal((C, round((times[-1] + 6) * RATE)))
        eeg *= np.exp(np.interp(np.arange(eeg.shape[1]) / RATE + 5, times, signals[:, 0]))
        signal = Signal((1e-5 * eeg).astype(np.float32), RATE, tuple("abcdef"))
        measured = np.ones(n_frames, bool)
        found.append(
            Segment(np.asfortranarray(frames, np.float32), times, times - 5, measured, None, "run", signal)
        )
    return found


def fit(segments, space, folder, settings=SETTINGS, *, positions=POSITIONS, bands=BANDS, **options):
    """The network that is trained."""
    split = Split((Part("run", 0, 160),), (), GAP)
    of_eeg = {"channels": segments[0].eeg.channels, "bands": bands, "positions": positions}
    origin = Origin(space, TR, np.ones(V, np.float32), split, **of_eeg)
    part = TrainingPart(origin, segments)
    model = fit_surface(part, settings, state=folder, **{"accelerator": "cpu", **options})
    assert (model.origin, model.settings, model.rate) == (origin, settings, RATE)
    return model.network


@pytest.fixture
def training(segments, space, tmp_path):
    network = fit(segments, space, tmp_path / "start", replace(SETTINGS, epochs=1))
    windows = SurfaceWindows(segments, 10, 10, network.n_samples)
    return SurfaceTraining(network, windows, SETTINGS, 0)


def test_windows_to_validate_on_lie_a_gap_from_those_to_fit_to(segments):
    censored = segments[0].measured.copy()
    censored[20] = False
    segments = [replace(segments[0], measured=censored), segments[1]]
    windows = SurfaceWindows(segments, 10, 10, 1248)
    covered = {name: np.zeros(160, bool) for name in ("fit", "validation")}
    for name, mask in covered.items():
        for number, start in getattr(windows, name):
            assert segments[number].measured[start : start + 10].all()
            mask[90 * number + start : 90 * number + start + 10] = True
    validation = np.flatnonzero(covered["validation"])
    assert len(validation) and validation.min() >= 128 and np.flatnonzero(covered["fit"]).max() < 128 - 10
    assert not np.concatenate([s.measured for s in windows.fitted])[118:].any()
    eeg, frames = windows.batch([(0, 30), (1, 5)])
    np.testing.assert_array_equal(frames[1], segments[1].frames[5:15].T)
    np.testing.assert_array_equal(eeg[0, :, -320:], segments[0].eeg.data[:, 49 * 32 - 320 : 49 * 32])
    mirrored = np.pad(segments[1].eeg.data, ((0, 0), (480, 0)), mode="reflect")  # frame 5 is at 10 s
    np.testing.assert_array_equal(eeg[1], mirrored[:, :1248])
    with pytest.raises(InputError, match="160 frames of the training part hold no 10"):
        SurfaceWindows(segments, 10, 140, 1248)
    with pytest.raises(InputError, match="needs EEG; there is none"):
        SurfaceWindows([replace(s, eeg=None) for s in segments], 10, 10, 1248).batch([(0, 0)])


def test_masks_differ_within_a_batch_and_always_hide_something(training):
    assert not training.masks.all(dim=1).any() and (~training.masks).all(dim=1).any()
    shown, forward = [], training.network.forward

    def spy(eeg, known, frames):
        shown.append(known)
        return forward(eeg, known, frames)

    training.network.forward = spy
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    training.trainer = trainer
    training.log = lambda *_, **__: None
    training.training_step(training.windows.batch([(0, start) for start in range(0, 80, 5)]))
    assert len(set(map(tuple, shown[0].tolist()))) > 4


def test_the_loss_is_that_of_hidden_frames_and_of_roughness(training):
    eeg, frames = training.windows.batch([(0, 0), (0, 30)])
    known = torch.zeros(2, 10, dtype=torch.bool)
    known[0, ::2] = True
    x = training.network(eeg, known, frames).detach()
    hidden = ~known[:, None].expand_as(x)
    error = ((x - frames)[hidden] ** 2).mean()
    roughness = (x[..., 1:] - x[..., :-1]).square().mean()
    loss = training.loss(eeg, frames, known)
    torch.testing.assert_close(loss.detach(), error + 0.1 * roughness)
    # The penalty has a gradient: without it, that of the loss is another.
    parameter = training.network.decoder.out.weight
    (whole,) = torch.autograd.grad(loss, parameter)
    training.settings = replace(SETTINGS, smoothness=0.0)
    (without,) = torch.autograd.grad(training.loss(eeg, frames, known), parameter)
    x = training.network(eeg, known, frames)
    (penalty,) = torch.autograd.grad(0.1 * x.diff(dim=2).square().mean(), parameter)
    torch.testing.assert_close(whole - without, penalty, rtol=1e-3, atol=1e-5)
    assert penalty.abs().max() > 0


def test_it_learns(training):
    eeg, frames = training.windows.batch(training.windows.fit.tolist())
    known = training.masks[torch.arange(len(frames)) % len(training.masks)]
    optimizer, losses = training.configure_optimizers(), []
    for _ in range(40):
        loss = training.loss(eeg, frames, known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


class Stop(lightning.Callback):
    """Interrupts training in the middle of an epoch."""

    def __init__(self, error):
        self.error = error

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 4:
            raise self.error


def test_interrupted_training_ends_where_it_would_have_ended(segments, space, tmp_path):
    expected = fit(segments, space, tmp_path / "whole").state_dict()
    with pytest.raises(RuntimeError, match="power cut"):
        fit(segments, space, tmp_path / "cut", callbacks=[Stop(RuntimeError("power cut"))])
    assert (tmp_path / "cut" / STATE).exists()
    for name, tensor in fit(segments, space, tmp_path / "cut").state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    other = fit(segments, space, tmp_path / "other", seed=1)
    assert not torch.equal(other.embedding, expected["embedding"])
    eeg = segments[1].eeg
    other_eeg = [segments[0], replace(segments[1], eeg=replace(eeg, data=2 * eeg.data))]
    for given, options in (
        (segments, {"seed": 1}),
        (segments, {"bands": {"alpha": (8.0, 12.0)}}),
        (segments, {"positions": 1.01 * POSITIONS}),
        (other_eeg, {}),
    ):
        with pytest.raises(InputError, match="other settings, another seed or other data"):
            fit(given, space, tmp_path / "cut", **options)
