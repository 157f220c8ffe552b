import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from neuroframes.baselines.cnn_tag import (
    AttentionGraph,
    CnnTag,
    RandomFourierFeatures,
    ResidualBlock,
    magnitudes,
    pooled,
    sparsemax,
)
from neuroframes.baselines.network import VertexNetwork
from neuroframes.errors import InputError
from neuroframes.evaluation.metrics import score
from neuroframes.recording.signal import Signal

TR = 0.8
VOXELS = 64 * 64 * 30  # the authors' output


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network_of(model, x, n_vertices=7):
    """With components that are orthogonal, but not of one length, as the head's are."""
    body, features = model.body(x)
    generator = np.random.default_rng(0)
    components = np.linalg.qr(generator.standard_normal((n_vertices, 3)))[0].T * [[3], [2], [1]]
    mean = generator.standard_normal(n_vertices)
    network = VertexNetwork(body, features, mean.astype(np.float32), components.astype(np.float32))
    model.training(network, None)
    return network


def nearest_on_simplex(scores):
    """Euclidean projection by bisection on the threshold."""
    low, high = scores.min() - 1, scores.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(scores - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(scores - low, 0)


def test_sparsemax_is_the_projection_onto_the_simplex():
    scores = torch.cat([0.1 * normal(20, 9), normal(20, 9), 5 * normal(20, 9), torch.zeros(1, 9)]).double()
    projected = sparsemax(scores)
    expected = np.stack([nearest_on_simplex(row) for row in scores.numpy()])
    np.testing.assert_allclose(projected.numpy(), expected, atol=1e-12)
    assert (projected == 0).any()
    torch.testing.assert_close(projected, sparsemax(scores + 3))
    assert torch.autograd.gradcheck(sparsemax, normal(3, 6).double().requires_grad_())


@pytest.mark.parametrize(("rate", "tr"), [(100, 0.8), (250, 2.16), (200, 2.0)])
def test_magnitudes_are_those_of_the_window_that_ends_at_the_time(rate, tr):
    data = np.random.default_rng(0).standard_normal((3, 40 * rate))
    ends = 10 + tr * np.arange(4)
    n_samples = round(2.16 * rate)
    size = max(n_samples, 268)
    wave = np.exp(-2j * np.pi * np.outer(np.arange(1, 135), np.arange(n_samples)) / size)
    for end, found in zip(ends, magnitudes(Signal(data, rate, ("a", "b", "c")), ends), strict=True):
        stop = round(end * rate) + 1
        expected = np.abs(data[:, stop - n_samples : stop] @ wave.T)
        expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
        assert found.shape == (3, 134)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_beyond_its_ends_the_recording_is_mirrored(with_eeg):
    eeg = with_eeg[0].eeg
    ends = np.array([-1.0, 0.5, eeg.duration + 5])
    longer = replace(eeg, data=np.pad(eeg.data, ((0, 0), (1000, 1000)), mode="reflect"))
    np.testing.assert_array_equal(magnitudes(eeg, ends), magnitudes(longer, ends + 10))


def test_bins_are_the_same_frequencies_at_any_rate():
    for rate in (250, 1000):
        at = np.arange(0, 10, 1 / rate)
        data = np.stack([np.sin(2 * np.pi * 43 / 2.16 * at), 0.1 * np.sin(2 * np.pi * 90 / 2.16 * at)])
        (found,) = magnitudes(Signal(data, rate, ("a", "b")), np.array([8.0]))
        assert found[0, 42] == pytest.approx(1)
        assert found[1, 89] == pytest.approx(1)


def test_where_channels_are_alike_magnitudes_are_zero(with_eeg):
    eeg = with_eeg[0].eeg
    for alike in (eeg.data[:1], np.repeat(eeg.data[:1], 5, axis=0)):
        found = magnitudes(replace(eeg, data=alike, channels=("a",) * len(alike)), np.array([20.0]))
        assert (found == 0).all()


def test_inputs_end_at_the_frame_and_never_look_at_frames(with_eeg):
    _, test = with_eeg
    model = CnnTag()
    model.tr_ = TR
    rows = np.array([0, 3, 150])
    x = model.inputs(test)(rows)
    assert x.shape == (3, 10, 6, 134)
    for row, steps in zip(rows, x, strict=True):
        expected = magnitudes(test.eeg, test.times[row] - TR * np.arange(9, -1, -1))
        np.testing.assert_allclose(steps, expected, atol=1e-6)
    blind = replace(test, frames=np.full_like(test.frames, np.nan))
    assert torch.equal(model.inputs(blind)(rows), x)


def test_pooling_is_the_maximum_of_two_by_two():
    x = normal(2, 3, 5, 6, 4)
    assert torch.equal(pooled(x), nn.functional.max_pool3d(x, (2, 2, 1), stride=1))
    assert torch.equal(pooled(x[:, :, :1]), nn.functional.max_pool3d(x[:, :, :1], (1, 2, 1), stride=1))


def test_a_block_is_its_definition():
    block = ResidualBlock((20, 30, 5), 1, (7, 7, 2), (2, 2, 1)).eval()
    for seed, norm in enumerate((block.strided_norm, block.second_norm)):
        norm.running_mean.copy_(normal(norm.num_features, seed=seed))
        norm.running_var.copy_(1 + normal(norm.num_features, seed=9 + seed) ** 2)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)

    def normalised(x, norm, part=slice(None)):
        affine = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return nn.functional.batch_norm(x, *(values[part] for values in affine))

    def branch(part):
        first = nn.functional.conv3d(x, block.strided.weight[part], block.strided.bias[part], (2, 2, 1))
        return normalised(nn.functional.max_pool3d(first, (2, 2, 1), 1), block.strided_norm, part)

    x = normal(2, 1, 20, 30, 5)
    left = nn.functional.conv3d(branch(slice(4)).relu(), block.second.weight, block.second.bias, padding=1)
    left, right = normalised(left, block.second_norm).relu(), branch(slice(4, 8))
    torch.testing.assert_close(block(x), torch.relu(left + right))
    assert block(x).shape == (2, 4, *block.shape)


def test_random_fourier_features_have_mean_and_scale_of_a_quarter_turn():
    layer, z = RandomFourierFeatures(200), normal(5, 200)
    angle = z.numpy() @ layer.directions.numpy() / math.sqrt(100) + layer.phases.numpy()
    angle -= angle.mean(axis=1, keepdims=True)
    angle *= np.pi / 2 / angle.std(axis=1, keepdims=True)
    np.testing.assert_allclose(layer(z).detach(), np.cos(angle + np.pi / 2), atol=1e-4)
    assert [name for name, _ in layer.named_parameters()] == ["log_scale"]


@pytest.mark.parametrize("n_channels", [1, 5, 16, 30, 64])
@pytest.mark.parametrize("length", [1, 10])
def test_any_number_of_channels_and_trs(n_channels, length):
    graph = AttentionGraph(length, n_channels, 12, fourier=True)
    z, attention = graph.encode(normal(2, length, n_channels, 134))
    assert z.shape == (2, 12)
    assert attention.shape == (2, n_channels, n_channels)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(2, n_channels))
    assert graph.project(z, attention).shape == (2, 12)


def test_attention_mixes_channels_and_scales_features():
    graph, x = AttentionGraph(10, 6, 12, fourier=False).eval(), normal(2, 10, 6, 134)
    z, attention = graph.encode(x)
    for sample, weights, latent in zip(x, attention, z, strict=True):
        flat = np.moveaxis(sample.numpy(), 0, -1).reshape(6, 1340)
        scores = flat @ graph.relation.detach().numpy().T
        expected = np.stack([nearest_on_simplex(row) for row in scores])
        np.testing.assert_allclose(weights.detach(), expected, atol=1e-4)
        attended = torch.from_numpy((expected @ flat).reshape(1, 1, 6, 134, 10).astype(np.float32))
        torch.testing.assert_close(
            graph.dense(graph.blocks(attended).flatten())[None], latent[None], atol=1e-4, rtol=1e-3
        )
    expected = graph.projection(z) * (attention.flatten(1) @ graph.style.weight.T)
    torch.testing.assert_close(graph(x), expected)


def test_parameters_are_the_definition_s():
    graph = AttentionGraph(10, 64, 343, fourier=True)
    first, second = graph.blocks
    assert (first.shape, second.shape) == ((19, 19, 9), (6, 6, 8))
    assert graph.relation.numel() == 64 * 1340
    for block, n_in, kernel in ((first, 1, 7 * 37 * 2), (second, 4, 7 * 7 * 2)):
        assert count(block.strided) == 2 * (kernel * n_in * 4 + 4)  # of two branches
        assert count(block.second) == 27 * 4 * 4 + 4
        assert count(block.strided_norm) + count(block.second_norm) == 3 * 2 * 4
    assert count(graph.dense) == 4 * 6 * 6 * 8 * 343 + 343
    assert count(graph.style) == 64 * 64 * 343
    assert count(AttentionGraph(10, 64, 343, fourier=False).projection) == 343 * 343 + 343
    # With the authors' output layer, left out here, and drawn numbers that no training changes: 44.3 million.
    drawn = graph.projection.directions.numel() + graph.projection.phases.numel()
    assert round((count(graph) + drawn + (343 + 1) * VOXELS) / 1e6, 1) == 44.3


@pytest.mark.parametrize("fourier", [True, False])
def test_the_loss_is_three_terms_and_reaches_every_parameter(fourier):
    model, x, frames = CnnTag(fourier=fourier, width=11), normal(3, 10, 6, 134), normal(3, 7, seed=1)
    network = network_of(model, x).eval()
    z = network.body.encode(x)[0].detach().numpy()
    mean, components = network.mean.numpy(), network.components.numpy()
    encoder = network.frame_encoder[0]
    latents = np.linalg.lstsq(components.T, (frames.numpy() - mean).T)[0].T
    other = latents @ encoder.weight.detach().numpy().T + encoder.bias.detach().numpy()
    cosine = (z * other).sum(axis=1) / np.linalg.norm(z, axis=1) / np.linalg.norm(other, axis=1)
    error = np.abs((network(x) - frames).detach().numpy()).mean()
    penalty = sum(
        parameter.square().sum().item()
        for block in network.body.blocks
        for layer in (block.strided, block.second)
        for parameter in (layer.weight, layer.bias)
    )
    expected = error + 1 - cosine.mean() + 4.396e-4 * penalty
    assert model.loss(network, x, frames).item() == pytest.approx(expected, rel=1e-5)
    model.loss(network.train(), x, frames).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_the_encoder_of_frames_has_no_part_in_prediction():
    model, x = CnnTag(width=11), normal(3, 10, 6, 134)
    network = network_of(model, x).eval()
    before = network(x)
    for parameter in network.frame_encoder.parameters():
        parameter.data.fill_(np.nan)
    assert torch.equal(network(x), before)


@pytest.fixture(scope="module")
def fitted(with_eeg):
    return CnnTag(width=32, latents=8, batch=8, epochs=4, learning_rate=1e-2).fit([with_eeg[0]])


def test_it_finds_amplitudes(with_eeg, fitted):
    _, test = with_eeg
    nothing = np.zeros(200, bool)
    frames = fitted.estimate(test.given(nothing))
    # Two thirds of what drives the frames are amplitudes; the mean frame has r = 0.
    assert score(test.frames, frames, ~nothing)["whole"]["temporal_r"] > 0.25
    assert fitted.n_parameters == count(fitted.network_)


def test_the_same_seed_gives_the_same_frames(with_eeg):
    train, test = with_eeg
    given = test.given(np.arange(200) < 50)
    once, again = (
        CnnTag(length=3, width=8, batch=32, epochs=1).fit([train]).estimate(given) for _ in range(2)
    )
    assert once.shape == (150, 20)
    assert np.array_equal(once, again)


def test_training_is_the_definition_s():
    assert (CnnTag().name, CnnTag().epochs, CnnTag().batch) == ("CNN-TAG", 10, 4)
    assert CnnTag().learning_rate == 2.98e-3


def test_without_eeg_it_says_so(with_eeg, fitted):
    with pytest.raises(InputError, match="CNN-TAG needs EEG"):
        CnnTag().fit([replace(with_eeg[0], eeg=None)])
    with pytest.raises(InputError, match="CNN-TAG needs EEG"):
        fitted.estimate(replace(with_eeg[1], eeg=None).given(np.zeros(200, bool)))
