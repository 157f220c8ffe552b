"""What all networks share: the split for validation, the best epoch, the head."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from neuroframes.baselines.network import NetworkBaseline, NetworkTraining, TrainingFrames, VertexNetwork
from neuroframes.errors import InputError
from neuroframes.recording.band_power import LAST_LAG
from neuroframes.recording.segments import HRF_LENGTH

TR = 0.8
GAP = 50  # frames: 40 s


@dataclass(kw_only=True, eq=False)
class Perceptron(NetworkBaseline):
    """A small network of the EEG at each frame, with dropout, whose validations are written down."""

    name = "perceptron"
    epochs: int = 3
    batch: int = 16
    learning_rate: float = 1e-2

    def inputs(self, segment):
        eeg = segment.eeg_for(self.name)

        def at(times):
            return 1e5 * eeg.data[:, np.round(times * eeg.rate).astype(int)].T

        return self.history(at, segment, 1)

    def body(self, example):
        layers = nn.Flatten(), nn.Linear(example[0].numel(), 8), nn.ReLU(), nn.Dropout(0.2)
        return nn.Sequential(*layers), 8

    def training(self, network, data):
        self.data, self.validated = data, []
        baseline = self

        class Recorded(NetworkTraining):
            def on_validation_epoch_end(self):
                super().on_validation_epoch_end()
                baseline.validated.append(float(self.trainer.callback_metrics["r"]))

        return Recorded(self, network, data)


def every_r(truth, estimate):
    return [np.corrcoef(*pair)[0, 1] for pair in zip(truth.T, estimate.T, strict=True)]


def test_a_gap_lies_between_what_is_fitted_and_what_is_validated(with_eeg):
    assert pytest.approx(LAST_LAG + HRF_LENGTH) == GAP * TR
    train, _ = with_eeg
    censored = replace(train, measured=np.arange(400) % 7 != 0)
    data = TrainingFrames([censored], [lambda rows: torch.zeros(len(rows))], TR)
    assert data.validation[-1] == 398  # 399 is censored
    assert data.validation[0] - data.fit[-1] > GAP
    numbers = np.concatenate([data.fit, data.validation])
    assert censored.measured[numbers].all()
    left_out = np.setdiff1d(np.flatnonzero(censored.measured), numbers)
    assert len(left_out) == censored.measured[data.fit[-1] + 1 : data.validation[0]].sum()
    assert len(data.validation) == pytest.approx(0.2 * censored.measured.sum(), abs=1)
    (fitted,) = data.fitted
    np.testing.assert_array_equal(np.flatnonzero(fitted.measured), data.fit)


def test_batches_pair_each_frame_with_its_own_input(with_eeg):
    segments = list(with_eeg)
    inputs = [
        lambda rows, first=10 * number: torch.from_numpy(rows + first) for number in range(len(segments))
    ]
    data = TrainingFrames(segments, inputs, TR)
    x, frames = data.batch(np.array([401, 3, 400, 0]))
    assert x.tolist() == [3, 0, 11, 10]
    expected = np.concatenate([segments[0].frames[[3, 0]], segments[1].frames[[1, 0]]])
    assert np.array_equal(frames, expected)


def test_too_short_a_training_part_is_refused(with_eeg):
    train, _ = with_eeg
    fields = ("frames", "times", "time_in_run", "measured")
    short = replace(train, **{name: getattr(train, name)[:60] for name in fields})
    with pytest.raises(InputError, match="60 frames can't be split .* gap of 50 frames"):
        Perceptron().fit([short])


def test_frames_are_the_mean_and_the_head_times_the_components():
    generator = np.random.default_rng(0)
    mean, components = (generator.standard_normal(s).astype(np.float32) for s in (7, (3, 7)))
    network = VertexNetwork(nn.Linear(4, 5), 5, mean, components)
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    features = network.body(x)
    latents = features @ network.head.weight.T + network.head.bias
    expected = mean + latents.detach().numpy() @ components
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert {name for name, _ in network.named_parameters()} == {
        f"{part}.{kind}" for part in ("body", "head") for kind in ("weight", "bias")
    }


def test_latents_are_the_least_squares_ones():
    generator = np.random.default_rng(0)
    mean, frames = generator.standard_normal(7), generator.standard_normal((2, 7))
    components = np.linalg.qr(generator.standard_normal((7, 3)))[0].T * [[3], [2], [1]]
    network = VertexNetwork(nn.Identity(), 3, mean.astype(np.float32), components.astype(np.float32))
    expected = np.linalg.lstsq(components.T, (frames - mean).T, rcond=None)[0].T
    np.testing.assert_allclose(network.encode(torch.from_numpy(frames).float()), expected, atol=1e-5)


@pytest.mark.parametrize("size", ["epochs", "batch", "latents"])
def test_sizes_below_one_are_refused(size):
    with pytest.raises(InputError, match=f"perceptron: {size} 0; expected at least 1"):
        Perceptron(**{size: 0})


def test_other_channels_than_in_training_are_refused(with_eeg):
    train, test = with_eeg
    model = Perceptron(epochs=1).fit([train])
    fewer = replace(test, eeg=replace(test.eeg, data=test.eeg.data[:5], channels=test.eeg.channels[:5]))
    with pytest.raises(InputError, match="EEG of 5 channels; perceptron was trained on 6"):
        model.estimate(fewer.given(np.zeros(200, bool)))


def test_the_best_epoch_is_kept(with_eeg):
    train, _ = with_eeg
    model = Perceptron(epochs=6, learning_rate=0.3).fit([train])
    rows = model.data.validation
    estimate = model.estimate(train.given(np.zeros(400, bool)))[rows]
    best = max(model.validated)
    assert len(model.validated) == 6
    assert model.validated[-1] < best
    assert np.mean(every_r(train.frames[rows], estimate)) == pytest.approx(best, abs=1e-4)


def test_the_same_seed_gives_the_same_frames(with_eeg):
    train, test = with_eeg
    given = test.given(np.arange(200) % 3 == 0)
    once, again, other = (Perceptron(epochs=2, seed=seed).fit([train]).estimate(given) for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.allclose(once, other)
    assert once.shape == (133, 20) and once.dtype == np.float32


def test_frames_of_a_segment_are_those_of_its_own_rows(with_eeg):
    train, test = with_eeg
    measured = np.arange(200) % 3 == 0
    model = Perceptron(epochs=1).fit([train])
    every = model.estimate(test.given(np.zeros(200, bool)))
    np.testing.assert_allclose(model.estimate(test.given(measured)), every[~measured], atol=1e-5)
    assert model.fill(test).mean.shape == (0, 20)


def test_components_come_from_the_fitted_frames_and_parameters_are_counted(with_eeg):
    train, _ = with_eeg
    measured = np.arange(400) % 5 != 0
    frames = np.where(measured[:, None], train.frames, np.nan)
    model = Perceptron(epochs=1, latents=3).fit([replace(train, frames=frames, measured=measured)])
    fitted = train.frames[model.data.fit]
    np.testing.assert_allclose(model.network_.mean.cpu(), fitted.mean(axis=0), atol=1e-6)
    values = fitted - fitted.mean(axis=0)
    leading = np.linalg.svd(values)[2][:3]
    components = model.network_.components.cpu().numpy()
    angles = np.linalg.svd(leading @ np.linalg.qr(components.T)[0])[1]
    np.testing.assert_allclose(angles, 1, atol=1e-3)
    assert model.n_parameters == (6 * 8 + 8) + (8 * 3 + 3)
