from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from neuroframes.baselines.e2fnet import E2FNet, Generator, scheduled, ssim_mse
from neuroframes.baselines.network import TrainingFrames, VertexNetwork
from neuroframes.errors import InputError
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal
from neuroframes.training.trainer import run

LENGTHS = [(200.0, 0.8, 500), (1000.0, 0.8, 800), (250.0, 2.16, 540), (100.0, 2.0, 500)]


def recorded(n_frames=60, *, tr=2.0, rate=100.0, channels=5, start=0.0, seed=0) -> Segment:
    """Noise at 30 vertices and in the EEG, whose first frame starts at `start` seconds."""
    generator = np.random.default_rng(seed)
    n_samples = int((start + tr * n_frames) * rate) + 1
    eeg = 1e-5 * generator.standard_normal((channels, n_samples)).astype(np.float32)
    time_in_run = tr * np.arange(n_frames)
    frames = generator.standard_normal((n_frames, 30)).astype(np.float32)
    names = tuple(f"E{i}" for i in range(channels))
    times, measured = start + time_in_run + tr / 2, np.ones(n_frames, bool)
    return Segment(frames, times, time_in_run, measured, None, f"run-{seed}", eeg=Signal(eeg, rate, names))


def model_for(tr: float, **settings) -> E2FNet:
    """As its `fit` leaves it before it makes inputs."""
    model = E2FNet(**{"width": 8, "batch": 8, "epochs": 2, "accelerator": "cpu", **settings})
    model.tr_ = tr
    return model


def training_of(model, train):
    data = TrainingFrames(train, [model.inputs(segment) for segment in train], model.tr_)
    torch.manual_seed(0)
    body, features = model.body(data.batch(data.fit[:1])[0])
    mean = np.zeros(30, np.float32)
    return model.training(VertexNetwork(body, features, mean, np.eye(4, 30, dtype=np.float32)), data)


@pytest.mark.parametrize(("rate", "tr", "length"), LENGTHS)
def test_inputs_are_spectra_of_the_twenty_repetition_times_before_a_frame(rate, tr, length):
    segment = recorded(4, tr=tr, rate=rate, start=25 * tr)
    inputs = model_for(tr).inputs(segment)(np.array([3, 1]))
    assert inputs.shape == (2, 20, 5, 249) and inputs.dtype == torch.float32
    for row, frame in enumerate((3, 1)):
        for step in (0, 7, 19):
            stop = round((segment.times[frame] - tr / 2 - (19 - step) * tr) * rate)
            window = segment.eeg.data[:, stop - length : stop].astype(float)
            wave = np.exp(-2j * np.pi * np.outer(np.arange(1, 250), np.arange(length)) / length)
            magnitude = np.abs(window @ wave.T)
            expected = (magnitude - magnitude.mean(0)) / magnitude.std(0)
            np.testing.assert_allclose(inputs[row, step], expected, atol=1e-4)


@pytest.mark.parametrize("seconds", [80, 3])
def test_before_its_start_the_recording_is_mirrored(seconds):
    segment = recorded(40)
    eeg = segment.eeg.data[:, : 100 * seconds]
    rows = np.array([0, 2, 30])
    inputs = model_for(2.0).inputs(replace(segment, eeg=replace(segment.eeg, data=eeg)))(rows)
    whole = np.pad(eeg, ((0, 0), (6000, 6000)), mode="reflect")
    later = replace(segment, times=segment.times + 60, eeg=replace(segment.eeg, data=whole))
    assert torch.equal(inputs, model_for(2.0).inputs(later)(rows))


def test_neither_frames_nor_later_eeg_are_looked_at():
    segment = recorded(40)
    rows = np.arange(40)
    inputs = model_for(2.0).inputs(segment)(rows)
    blank = replace(segment, frames=np.full_like(segment.frames, np.nan))
    assert torch.equal(model_for(2.0).inputs(blank)(rows), inputs)
    later = segment.eeg.data.copy()
    later[:, 6000:] = 0  # from 60 s on, where frame 30 starts
    cut = model_for(2.0).inputs(replace(segment, eeg=replace(segment.eeg, data=later)))(rows)
    assert torch.equal(cut[:31], inputs[:31])
    assert not torch.equal(cut[31], inputs[31])


def test_equal_channels_give_zeros():
    segment = recorded(30)
    same = np.tile(segment.eeg.data[:1], (5, 1))
    inputs = model_for(2.0).inputs(replace(segment, eeg=replace(segment.eeg, data=same)))
    assert not inputs(np.arange(30)).any()


def test_without_enough_eeg_it_says_so():
    segment = recorded(30)
    with pytest.raises(InputError, match="E2FNet needs EEG; there is none"):
        E2FNet().fit([replace(segment, eeg=None)])
    with pytest.raises(InputError, match="compares channels but the EEG has one; use EEG of at least 2"):
        E2FNet().fit([replace(segment, eeg=replace(segment.eeg, data=segment.eeg.data[:1]))])


@pytest.mark.parametrize("width", [0, 12])
def test_widths_are_multiples_of_eight(width):
    with pytest.raises(InputError, match="multiple of 8"):
        E2FNet(width=width)


def test_it_has_the_authors_parameters():
    with torch.device("meta"):
        generator = Generator(64, 256)
    last = 3 * 3 * 32 * 30 + 30  # to 30 slices, for which the common head stands here
    assert sum(p.numel() for p in generator.parameters()) + last == 19_152_030


@pytest.mark.parametrize("channels", [2, 26, 64, 70])
def test_channels_are_resized_as_images_are(channels):
    generator = Generator(channels, 8)
    assert generator(torch.randn(2, 20, channels, 249)).shape == (2, 64)
    maps = torch.randn(1, 3, channels, 64)
    expected = nn.functional.interpolate(maps, (64, 64), mode="bicubic")
    torch.testing.assert_close(generator.resize @ maps, expected)


def test_the_loss_by_hand():
    generator = np.random.default_rng(0)
    truth, estimate = generator.standard_normal((2, 6, 50)) + 0.2
    total = 0.0
    for y, x in zip(truth, estimate, strict=True):
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        c1, c2 = 0.06**2, 0.18**2
        ssim = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
        ssim /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)
        total += (1 - ssim + ((x - y) ** 2).mean()) / 2 / 6
    truth, estimate = torch.tensor(truth), torch.tensor(estimate)
    assert float(ssim_mse(estimate, truth)) == pytest.approx(total, rel=1e-12)
    assert float(ssim_mse(truth, truth)) == pytest.approx(0, abs=1e-12)
    assert float(ssim_mse(-truth, truth)) > total


def test_gradients_reach_every_parameter():
    training = training_of(model_for(2.0, width=16), [recorded()])
    loss = training.training_step(training.data.batch(training.data.fit[:4]))
    loss.backward()
    for name, parameter in training.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_the_learning_rate_warms_up_and_restarts():
    configured = scheduled([nn.Parameter(torch.zeros(1))], 1e-3, 200)
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(401):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(1e-3 / 50)
    assert rates[24] == pytest.approx(1e-3 / 2 * (1 + np.cos(np.pi * 24 / 200)) / 2)
    assert rates[100] == pytest.approx(1e-3 / 2) and rates[199] < 1e-7
    assert rates[200] == rates[400] == 1e-3


def test_training_is_the_definition_s(tmp_path):
    class Batches(Callback):
        taken = ()

        def on_train_batch_start(self, trainer, module, batch, *_):
            self.taken = (*self.taken, batch)

    train = recorded()
    training = training_of(model_for(2.0), [replace(train, frames=10 * train.frames)])
    start = {name: tensor.clone() for name, tensor in training.state_dict().items()}
    batches = Batches()
    trained = run(training, tmp_path, max_epochs=2, accelerator="cpu", callbacks=[batches])
    assert len(batches.taken) == 6
    training.load_state_dict(start)
    network, norms = training.train().network, []
    optimizer = torch.optim.AdamW(network.parameters())
    for step, (x, frames) in enumerate(batches.taken):
        optimizer.param_groups[0]["lr"] = 1e-3 * (step + 1) / 50 * (1 + np.cos(np.pi * step / 30)) / 2
        optimizer.zero_grad()
        ssim_mse(network(x), frames).backward()
        norms.append(float(nn.utils.clip_grad_norm_(network.parameters(), 1)))
        optimizer.step()
    assert max(norms) > 1
    for name, tensor in training.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, msg=name)


def test_the_same_seed_gives_the_same_frames():
    train, test = [recorded()], recorded(20, seed=1).given(np.arange(20) < 5)
    first, again, other = (
        model_for(2.0, epochs=1, latents=4, seed=seed).fit(train).estimate(test) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (15, 30) and first.dtype == np.float32
    assert not np.allclose(first, other)
