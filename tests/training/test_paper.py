"""Training of the paper's recipe: its windows, its losses, and that it can be interrupted."""

from dataclasses import replace

import lightning
import numpy as np
import pytest
import torch

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.model import Origin
from neuroframes.models.settings import PaperSettings
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.training.paper import PaperTraining, TrainingWindows, fit_paper, start_network, window_starts
from neuroframes.training.part import TrainingPart
from neuroframes.training.trainer import STATE

SMALL = PaperSettings(frames=6, latents=5, width=32, layers=2, heads=2, learning_rate=3e-3, batch=8, epochs=3)
RATE, TR, C, V = 32.0, 1.0, 3, 200


def recording(n_frames, seed):
    """A segment of slow signals, and EEG whose first channel is louder before the first signal is high."""
    generator = np.random.default_rng(seed)
    signals = np.cumsum(generator.standard_normal((n_frames + 4, 5)), axis=0)
    signals = (signals[4:] - signals[:-4]) / 2
    patterns = np.random.default_rng(0).standard_normal((5, V)) / np.sqrt(5)
    frames = signals @ patterns + 0.1 * generator.standard_normal((n_frames, V))
    times = 5.0 + np.arange(n_frames) * TR
    eeg = generator.standard_normal((C, round((times[-1] + 1) * RATE)))
    eeg[0] *= np.exp(np.interp(np.arange(eeg.shape[1]) / RATE + 4, times, signals[:, 0]))
    signal = Signal((1e-5 * eeg).astype(np.float32), RATE, ("Fz", "Cz", "Pz"))
    measured = np.ones(n_frames, bool)
    return Segment(np.asfortranarray(frames, np.float32), times, times - 5, measured, None, "run", signal)


@pytest.fixture(scope="module")
def segments():
    return [recording(40, 1), recording(33, 2)]


def fit(segments, settings, folder, **options):
    """The network that is trained."""
    space, split = CorticalSpace.from_counts({"L": V}), Split((Part("run", 0, 40),), (), 40.0)
    origin = Origin(space, TR, np.ones(V, np.float32), split, segments[0].eeg.channels)
    part = TrainingPart(origin, segments)
    options = {"checkpoint_every": 1, "accelerator": "cpu", **options}
    model = fit_paper(part, settings, state=folder, **options)
    assert (model.origin, model.settings, model.rate) == (origin, settings, RATE)
    return model.network


def opened(network):
    """With what starts at zero, so that nothing reaches what is behind it, at random values instead."""
    for parameter in network.parameters():
        if not parameter.any():
            with torch.no_grad():
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    return network


def test_windows_cover_what_is_measured_and_nothing_else():
    measured = np.ones(50, bool)
    measured[[12, 20, 21]] = False
    starts = window_starts(measured, 6)
    covered = np.zeros(50, bool)
    for start in starts:
        assert measured[start : start + 6].all()
        covered[start : start + 6] = True
    np.testing.assert_array_equal(covered, measured)
    assert np.all(np.diff(starts)[np.diff(starts) < 6] <= 3) and len(set(starts)) == len(starts)
    assert list(window_starts(np.ones(6, bool), 6)) == [0] and len(window_starts(np.ones(5, bool), 6)) == 0


def test_training_windows_hold_the_frames_and_eeg_of_their_segment(segments):
    windows = TrainingWindows.of(segments, TR, SMALL)
    frames = np.concatenate([segment.frames for segment in segments])
    np.testing.assert_array_equal(windows.frames[:, windows.rows[0]].T, frames[:6])
    np.testing.assert_array_equal(windows.frames[:, windows.rows[-1]].T, frames[-6:])
    eeg = segments[0].eeg.data
    # The first frame is centred on 5 s: it begins at 4.5, and its EEG 4 s before that.
    np.testing.assert_array_equal(windows.eeg[0], eeg[:, 16 : 16 + 192])
    early = [replace(segment, times=segment.times - 5) for segment in segments]
    before = TrainingWindows.of(early, TR, SMALL).eeg[0]
    np.testing.assert_array_equal(before, np.pad(eeg, ((0, 0), (144, 0)), mode="reflect")[:, :192])
    censored = [replace(segment, measured=np.arange(len(segment.frames)) % 6 > 0) for segment in segments]
    with pytest.raises(InputError, match="no 6 consecutive frames"):
        TrainingWindows.of(censored, TR, SMALL)
    with pytest.raises(InputError, match="paper's recipe needs EEG; there is none"):
        TrainingWindows.of([replace(segment, eeg=None) for segment in segments], TR, SMALL)


def test_latents_start_as_whitened_principal_components(segments):
    windows = TrainingWindows.of(segments, TR, SMALL)
    before = torch.get_rng_state()
    network = start_network(segments, windows, SMALL, RATE * TR, 0)
    assert torch.equal(torch.get_rng_state(), before)
    frames = torch.from_numpy(np.concatenate([segment.frames for segment in segments]))
    z = network.encode(frames)
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(5), rtol=0, atol=1e-3)
    _, s, _ = torch.linalg.svd(frames)
    left_over = (frames - network.decode(z)).square().sum()
    torch.testing.assert_close(left_over, s[5:].square().sum(), rtol=1e-3, atol=0)
    halves = network.encode(frames[:, :80], slice(0, 80)) + network.encode(frames[:, 80:], slice(80, None))
    torch.testing.assert_close(halves, z, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("joint", [True, False])
def test_gradients_reach_every_parameter(segments, joint):
    settings = replace(SMALL, joint=joint)
    windows = TrainingWindows.of(segments, TR, settings)
    network = opened(start_network(segments, windows, settings, RATE * TR, 0))
    training = PaperTraining(network, windows, settings, 0)
    which, seed = torch.arange(8), torch.Generator().manual_seed(0)
    reconstruction, diffusion = training.losses(which, seed)
    (to_encoder,) = torch.autograd.grad(diffusion, network.encoder, retain_graph=True, allow_unused=True)
    assert (to_encoder is not None) == joint
    diffusion.backward(retain_graph=True)
    reconstruction.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_losses_before_training_are_known(segments):
    """The head is zero, so the diffusion loss is the noise's variance."""
    windows = TrainingWindows.of(segments, TR, SMALL)
    training = PaperTraining(start_network(segments, windows, SMALL, RATE * TR, 0), windows, SMALL, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        losses = [training.losses(torch.arange(len(windows.rows)), generator) for _ in range(4)]
    assert np.mean([float(diffusion) for _, diffusion in losses]) == pytest.approx(1, abs=0.05)


def test_the_loss_falls(segments, tmp_path):
    network = fit(segments, replace(SMALL, epochs=60), tmp_path, checkpoint_every=1000)
    windows = TrainingWindows.of(segments, TR, SMALL)
    training = PaperTraining(network, windows, SMALL, 0)
    with torch.no_grad():
        reconstruction, diffusion = training.losses(
            torch.arange(len(windows.rows)).repeat(20), torch.Generator().manual_seed(0)
        )
    assert diffusion < 0.6 and reconstruction < 0.03


class Stop(lightning.Callback):
    """Interrupts training in the middle of an epoch."""

    def __init__(self, error):
        self.error = error

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 5:
            raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("power cut"), KeyboardInterrupt()], ids=["error", "interrupt"]
)
def test_interrupted_training_ends_where_it_would_have_ended(segments, tmp_path, error):
    expected = fit(segments, SMALL, tmp_path / "whole").state_dict()
    with pytest.raises(type(error)):
        fit(segments, SMALL, tmp_path / "cut", callbacks=[Stop(error)])
    assert (tmp_path / "cut" / STATE).exists()
    network = fit(segments, SMALL, tmp_path / "cut")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    # And a training that is complete isn't repeated.
    again = fit(segments, SMALL, tmp_path / "cut", callbacks=[Stop(AssertionError("trained again"))])
    assert torch.equal(again.decoder, network.decoder)


def test_the_seed_decides(segments, tmp_path):
    settings = replace(SMALL, epochs=1)
    first, second, other = (
        fit(segments, settings, tmp_path / f"{i}", seed=seed).decoder for i, seed in enumerate((0, 0, 1))
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_the_state_of_another_training_is_refused(segments, tmp_path):
    fit(segments, replace(SMALL, epochs=1), tmp_path)
    for options in ({"settings": SMALL}, {"settings": replace(SMALL, epochs=1), "seed": 1}):
        with pytest.raises(InputError, match="other settings, another seed or other data"):
            fit(segments, options.pop("settings"), tmp_path, **options)
    with pytest.raises(InputError, match="other settings"):
        fit([segments[1], segments[0]], replace(SMALL, epochs=1), tmp_path)
    eeg = segments[1].eeg
    other_eeg = [segments[0], replace(segments[1], eeg=replace(eeg, data=2 * eeg.data))]
    with pytest.raises(InputError, match="other data"):
        fit(other_eeg, replace(SMALL, epochs=1), tmp_path)
