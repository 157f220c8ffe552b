from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuroframes.baselines.network import VertexNetwork
from neuroframes.baselines.neurobolt import (
    DropPath,
    LinearAttention,
    NeuroBolt,
    NormedAttention,
    PatchTransformer,
    SpectralTransformer,
)
from neuroframes.errors import InputError
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

SMALL = {"depth": 2, "heads": 2, "spectral_depth": 1, "spectral_heads": 2, "width": 16}
SETTINGS = SMALL | {"seconds": 4, "epochs": 1, "batch": 32, "latents": 4, "accelerator": "cpu"}


def body_of(n_channels: int, seconds: int, **sizes) -> nn.Module:
    torch.manual_seed(0)
    return NeuroBolt(seconds=seconds, **sizes).body(torch.empty(1, n_channels, 200 * seconds))[0]


def recorded(rate: float, wave) -> Segment:
    """60 s of EEG of 2 channels that follow `wave`, in volts of seconds, and frames at 1, 3 .. 59 s."""
    at = np.arange(round(60 * rate)) / rate
    eeg = Signal(np.stack([wave(at), -wave(at)]).astype(np.float32), rate, ("A", "B"))
    times = np.arange(1, 60, 2.0)
    return Segment(np.zeros((30, 5), np.float32), times, times - 1, np.ones(30, bool), None, "run", eeg)


def test_it_has_the_authors_parameters():
    with torch.device("meta"):
        body = body_of(26, 16)
    count = sum(p.numel() for p in body.parameters())
    # Theirs embeds the 128 channels of its pretrained part and the summary token, and ends in one region.
    assert count == 7_886_184 == 7_906_985 - (129 - 26) * 200 - 201


@pytest.mark.parametrize(("n_channels", "seconds"), [(3, 4), (5, 1), (2, 7)])
def test_features_have_the_width(n_channels, seconds):
    body = body_of(n_channels, seconds, **SMALL)
    assert body(torch.randn(2, n_channels, 200 * seconds)).shape == (2, 16)


def test_gradients_reach_every_parameter():
    network = VertexNetwork(
        body_of(3, 4, **SMALL), 16, np.zeros(20, np.float32), np.eye(4, 20, dtype=np.float32)
    )
    NeuroBolt().loss(network, torch.randn(4, 3, 800), torch.randn(4, 20)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_attention_equals_loops_over_queries():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 7, 5)
    normed, linear = NormedAttention(20, 4).attend(q, k, v), LinearAttention(20, 4).attend(q, k, v)
    for frame, head, query in np.ndindex(2, 4, 7):
        one, keys, values = q[frame, head, query], k[frame, head], v[frame, head]
        scores = nn.functional.layer_norm(keys, (5,)) @ nn.functional.layer_norm(one, (5,)) / 5**0.5
        torch.testing.assert_close(normed[frame, head, query], scores.softmax(0) @ values)
        weights = keys.softmax(0) @ one.softmax(0) / 5**0.5
        torch.testing.assert_close(linear[frame, head, query], weights @ values)


@pytest.mark.parametrize("along", ["channels", "seconds"])
def test_patches_are_known_by_their_channel_and_second_alone(along):
    torch.manual_seed(0)
    network = PatchTransformer(4, 3, 16, 2, 2).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, order = torch.randn(2, 4, 3, 200), torch.randperm(4 if along == "channels" else 3)
    expected = network(x.flatten(2))
    shuffled = x[:, order] if along == "channels" else x[:, :, order]
    assert not torch.allclose(network(shuffled.flatten(2)), expected, atol=1e-4)
    embedding = getattr(network, along)
    embedding.data = embedding.data[order]
    torch.testing.assert_close(network(shuffled.flatten(2)), expected, atol=1e-5, rtol=1e-4)


def test_spectra_are_short_time_fourier_transforms_of_four_lengths():
    torch.manual_seed(0)
    network = SpectralTransformer(3, 5, 16, 1, 2).eval()
    network.layers, x = nn.Identity(), torch.randn(2, 3, 1000)
    position = np.array([[step / 10_000 ** (f // 2 / 8) + f % 2 * np.pi / 2 for f in range(16)]
                         for step in range(10)])  # fmt: skip
    tokens = network.channels.mean(0) + torch.from_numpy(np.sin(position)).float().mean(0)
    for n, window in enumerate((100, 200, 400, 800)):
        used = x[..., -(1000 // window * window) :].flatten(0, 1)
        spectra = torch.stft(
            used, window, hop_length=window, window=torch.ones(window), center=False, return_complex=True
        )
        embedded = network.times[n](network.frequencies[n](spectra.abs().mT).mT)  # (6, 16, 10)
        tokens = tokens + embedded.mean(-1).unflatten(0, (2, 3)).mean(1)
    torch.testing.assert_close(network(x), tokens, atol=1e-4, rtol=1e-4)


def test_a_dropped_path_is_dropped_for_a_whole_frame():
    torch.manual_seed(0)
    path, x = DropPath(0.25), torch.ones(2000, 3, 4)
    kept = path(x)
    assert torch.equal(kept, kept[:, :1, :1].expand_as(x))
    torch.testing.assert_close(kept.unique(), torch.tensor([0, 4 / 3]))
    assert (kept == 0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(path.eval()(x), x)


def test_inputs_are_the_seconds_before_each_frame():
    segment = recorded(200.0, lambda t: 1e-5 * t)
    rows = np.array([20, 3, 0])
    x = NeuroBolt(**SETTINGS).inputs(segment)(rows)
    assert x.shape == (3, 2, 800) and x.dtype == torch.float32 and x.is_contiguous()
    for row, frame in enumerate((20, 3)):
        stop = round(segment.times[frame] * 200)
        before = 1e4 * segment.eeg.data[:, stop - 800 : stop].astype(float)
        np.testing.assert_allclose(x[row], before - before.mean(axis=1, keepdims=True), atol=1e-5)
    mirrored = (
        1e4 * np.pad(segment.eeg.data, ((0, 0), (600, 0)), mode="reflect")[:, :800]
    )  # frame 0 is at 1 s
    np.testing.assert_allclose(x[2], mirrored - mirrored.mean(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("rate", [100.0, 500.0, 1024.0])
def test_other_rates_are_resampled(rate):
    def wave(t):
        return 1e-4 * np.sin(2 * np.pi * 9 * t)

    rows = np.arange(5, 25)
    expected = NeuroBolt(**SETTINGS).inputs(recorded(200.0, wave))(rows)
    torch.testing.assert_close(
        NeuroBolt(**SETTINGS).inputs(recorded(rate, wave))(rows), expected, atol=0.01, rtol=0
    )


def test_neither_frames_nor_later_eeg_are_looked_at():
    noise = np.random.default_rng(0).standard_normal(12_000)
    segment, rows = recorded(200.0, lambda t: noise), np.arange(30)
    x = NeuroBolt(**SETTINGS).inputs(segment)(rows)
    later = segment.eeg.data.copy()
    later[:, 6200:] = 0  # from 31 s on, where frame 15 is
    other = replace(
        segment, frames=np.full_like(segment.frames, np.nan), eeg=replace(segment.eeg, data=later)
    )
    cut = NeuroBolt(**SETTINGS).inputs(other)(rows)
    assert torch.equal(cut[:16], x[:16]) and not torch.equal(cut[16], x[16])


def test_weights_alone_decay_and_the_rate_rises_and_falls():
    body = body_of(3, 4, **SMALL)
    network = VertexNetwork(body, 16, np.zeros(5, np.float32), np.eye(4, 5, dtype=np.float32))
    configured = NeuroBolt(epochs=20).optimizer(network, 10)
    decaying, others = configured["optimizer"].param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.05, 0)
    weights = {m.weight for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    assert set(decaying["params"]) == weights
    assert set(others["params"]) == set(network.parameters()) - weights
    rates = []
    for _ in range(200):
        rates.append(decaying["lr"])
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    assert np.argmax(rates) == 50 and rates[50] == pytest.approx(3e-4)
    assert (np.diff(rates[:51]) > 0).all() and (np.diff(rates[50:]) < 0).all() and rates[-1] < 1e-6


def test_the_same_seed_gives_the_same_frames(with_eeg):
    train, test = with_eeg
    measured = np.arange(len(test.times)) % 3 == 0
    model = NeuroBolt(**SETTINGS).fit([train])
    given = test.given(measured)
    frames = model.estimate(given)
    assert frames.shape == ((~measured).sum(), 20)
    assert np.array_equal(NeuroBolt(**SETTINGS).fit([train]).estimate(given), frames)
    assert not np.array_equal(NeuroBolt(**SETTINGS, seed=1).fit([train]).estimate(given), frames)
    hidden = replace(given, frames=np.where(measured[:, None], test.frames, np.nan))
    assert np.array_equal(model.estimate(hidden), frames)
    head = (16 + 1) * 4
    assert model.n_parameters == sum(p.numel() for p in model.network_.body.parameters()) + head


def test_what_it_cannot_do_without_it_says(with_eeg):
    with pytest.raises(InputError, match="NeuroBOLT-like needs EEG; there is none"):
        NeuroBolt().fit([replace(with_eeg[0], eeg=None)])
    with pytest.raises(InputError, match="the width is 100; expected a multiple of 10 and of 8"):
        NeuroBolt(width=100)
