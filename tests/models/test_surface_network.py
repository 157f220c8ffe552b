"""The surface model's parts against references: a GCN, per-vertex arithmetic, and exact measurements."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional

from neuroframes.cortex.mesh import surface
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.measurement import Averaging, FrameMask, SamplingTimes
from neuroframes.models import surface_network
from neuroframes.models.denoiser import EARLIEST, LATEST
from neuroframes.models.settings import SurfaceSettings
from neuroframes.models.surface_network import (
    CorticalVertexDecoder,
    GraphConvolution,
    NullSpaceCompleter,
    SpatiotemporalNeuralFrames,
    SurfaceGraphEncoder,
    TemporalCoherence,
    normalised,
)

B, C, V, K, RATE, TR = 2, 6, 30, 10, 32.0, 1.0
SMALL = SurfaceSettings(width=16, embedding=3, virtual_channels=4, filters=2, hidden=3)
BANDS = {"alpha": (8.0, 13.0)}


def mesh(seed=0):
    """A random symmetric graph (V, V) without loops, with one vertex apart."""
    upper = np.triu(np.random.default_rng(seed).random((V, V)) < 0.15, 1).astype(np.float32)
    upper[:, 7] = upper[7] = 0
    return csr_array(upper + upper.T)


@pytest.fixture
def network():
    """Of random weights, also where they start at zero."""
    indices, values = normalised(mesh())
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        network = SpatiotemporalNeuralFrames(
            SMALL,
            indices=indices,
            values=values,
            place=torch.randn(V, 4, generator=generator),
            positions=0.1 * functional.normalize(torch.randn(C, 3, generator=generator), dim=1),
            bands=BANDS,
            tr=TR,
            rate=RATE,
        )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return network.eval()


def inputs(seed=1):
    """EEG (B, C, N) and frames (B, V, K)."""
    generator = torch.Generator().manual_seed(seed)
    n = round((EARLIEST + (K - 1) * TR + LATEST) * RATE)
    eeg = 1e-5 * torch.randn(B, C, n, generator=generator)
    return eeg, torch.randn(B, V, K, generator=generator)


def test_the_normalised_adjacency_is_that_of_kipf_and_welling():
    indices, values = normalised(mesh())
    with_loops = mesh().toarray() + np.eye(V)
    root = with_loops.sum(axis=1) ** -0.5
    dense = torch.sparse_coo_tensor(indices, values, (V, V), check_invariants=True).to_dense()
    np.testing.assert_allclose(dense, root[:, None] * with_loops * root, rtol=1e-6)
    order = indices[0] * V + indices[1]
    assert (order.diff() > 0).all()  # as coalesced tensors have them


@pytest.mark.filterwarnings("ignore")  # of torch_geometric's own imports
def test_graph_convolutions_equal_torch_geometrics():
    reference = pytest.importorskip("torch_geometric.nn").GCNConv
    indices, values = normalised(mesh())
    edges = torch.from_numpy(np.stack(mesh().nonzero())).long()
    graph = torch.sparse_coo_tensor(indices, values, (V, V), is_coalesced=True, check_invariants=False)
    x = torch.randn(B, V, 5, requires_grad=True)
    ours, theirs = GraphConvolution(5, 7), reference(5, 7)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict({"lin.weight": ours.linear.weight, "bias": ours.bias})
    expected = torch.stack([theirs(each, edges) for each in x])
    torch.testing.assert_close(ours(x, graph), expected)
    weight = torch.randn(B, V, 7)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours(x, graph), expected)]
    torch.testing.assert_close(*gradients)

    encoder = SurfaceGraphEncoder(indices, values, 5, 4, 6)
    layers = []
    for convolution in encoder.convolutions:
        nn.init.normal_(convolution.bias)
        layers.append(reference(6, 6))
        layers[-1].load_state_dict({"lin.weight": convolution.linear.weight, "bias": convolution.bias})
    eeg = torch.randn(B, 4)
    assert len(layers) == 3
    for sample in range(B):
        h = encoder.vertex(x[sample]) + encoder.eeg(eeg[sample])
        for layer in layers:
            h = h + functional.gelu(layer(h, edges))
        torch.testing.assert_close(encoder(x, eeg)[sample], h)


def test_the_decoder_is_a_perceptron_whose_last_layer_the_eeg_scales():
    with torch.device("meta"):
        sizes = [tuple(layer.weight.shape) for layer in CorticalVertexDecoder().perceptron[::3]]
        assert (*sizes, CorticalVertexDecoder().out.weight.shape) == ((1024, 512), (512, 1024), (1, 512))
    decoder = CorticalVertexDecoder((4, 6, 5, 1), 3)
    h, eeg = torch.randn(B, V, 4), torch.randn(B, K, 3)
    frames = decoder(h, eeg)
    first, norm, _, second, again, _ = decoder.perceptron
    for sample, vertex, frame in ((0, 0, 0), (1, 29, 9), (1, 3, 4)):
        hidden = functional.gelu(norm(first(h[sample, vertex])))
        hidden = functional.gelu(again(second(hidden)))
        expected = decoder.out(hidden * (1 + decoder.expand(eeg[sample, frame])))
        torch.testing.assert_close(frames[sample, vertex, frame], expected[0])


def test_blocks_change_neither_values_nor_gradients(network, monkeypatch):
    (eeg, frames), known = inputs(), torch.rand(B, K, generator=torch.Generator().manual_seed(0)) < 0.5
    found = []
    for size in (surface_network.CACHED, 8):
        monkeypatch.setattr(surface_network, "CACHED", size)
        x = network(eeg, known, frames)
        gradients = torch.autograd.grad(x.square().sum(), list(network.parameters()))
        found.append((x.detach(), gradients))
    (whole, expected), (blocks, gradients) = found
    torch.testing.assert_close(blocks, whole)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-3)


def test_known_frames_are_exact_to_the_bit_and_hidden_ones_are_not_read(network):
    eeg, frames = inputs()
    known = torch.zeros(B, K, dtype=torch.bool)
    known[0, [0, 3, 4]] = known[1, [9]] = True
    x = network(eeg, known, frames)
    assert torch.equal(x.mT[known], frames.mT[known])
    assert not torch.isclose(x.mT[~known], frames.mT[~known]).any()
    blank = torch.where(known[:, None], frames, torch.nan)
    assert torch.equal(network(eeg, known, blank), x)
    numbers = torch.tensor([1, 8])
    x = network(eeg, numbers, frames[..., numbers])
    assert torch.equal(x[..., numbers], frames[..., numbers])


def test_numbers_masks_and_operators_say_the_same(network):
    eeg, frames = inputs()
    numbers = torch.tensor([2, 5, 6])
    mask = torch.isin(torch.arange(K), numbers)
    expected = network(eeg, numbers, frames[..., numbers])
    assert torch.equal(network(eeg, mask.expand(B, K), frames), expected)
    assert torch.equal(network(eeg, FrameMask(mask.numpy()), frames[..., numbers]), expected)
    nothing = network(eeg, torch.zeros(0, dtype=torch.int64), frames[..., :0])
    assert torch.equal(network(eeg, torch.zeros(B, K, dtype=torch.bool), frames), nothing)


@pytest.mark.parametrize(
    "operator",
    [
        Averaging(K, 5),
        SamplingTimes(np.arange(10.0), np.array([0.3, 2.5, 2.7, 8.0])),
        SamplingTimes(np.arange(10.0), np.array([2.5, 2.5001, 8.0])),
    ],
    ids=["averaging", "sampling times", "sampling times that nearly coincide"],
)
def test_any_linear_sampling_is_agreed_with(network, operator):
    eeg, frames = inputs()
    y = torch.from_numpy(operator.apply(frames.movedim(2, 0).numpy())).movedim(0, 2)
    x = network(eeg, operator, y)
    error = torch.from_numpy(operator.apply(x.detach().movedim(2, 0).numpy())).movedim(0, 2) - y
    assert error.norm() <= 1e-5 * y.norm()
    completer, free = NullSpaceCompleter(), torch.randn(B, V, K)
    # The reference acts along the first axis, in double precision.
    expected = operator.impose(free.double().movedim(2, 0).numpy(), y.double().movedim(2, 0).numpy())
    with torch.autocast("cpu"):
        completed = completer(free, operator, y)
    torch.testing.assert_close(completed.movedim(2, 0), torch.from_numpy(expected).float())
    share = np.diag(np.linalg.pinv(operator.matrix) @ operator.matrix).copy()
    torch.testing.assert_close(completer.share(operator, free), torch.from_numpy(share).float().expand(B, -1))


def test_what_is_known_must_fit_the_frames(network):
    eeg, frames = inputs()
    mask = torch.arange(K) % 3 == 0
    assert torch.equal(network(eeg, mask, frames), network(eeg, mask.expand(B, K), frames))
    for known, given, expected in (
        (mask[:9], frames, "a mask of 2 samples' 10 frames, and as many frames"),
        (mask.expand(3, K), frames, "a mask of 2 samples' 10 frames"),
        (mask, frames[..., mask], "a mask of 2 samples' 10 frames"),
        (torch.tensor([1, 10]), frames[..., :2], "2 numbers of frames, from 0 to 9"),
        (torch.tensor([-1, 2]), frames[..., :2], "2 numbers of frames, from 0 to 9"),
        (torch.tensor([[1, 2]]), frames[..., :2], "2 numbers of frames"),
        (torch.tensor([1, 2]), frames[..., :3], "3 numbers of frames"),
        (torch.tensor([1.0, 2.0]), frames[..., :2], "2 numbers of frames"),
        (Averaging(K, 5), frames[..., :3], r"an operator \(3, 10\)"),
        (Averaging(12, 6), frames[..., :2], r"an operator \(2, 10\)"),
    ):
        with pytest.raises(InputError, match=f"expected {expected}"):
            network(eeg, known, given)


def test_coherence_starts_as_nothing_and_is_an_lstm_of_each_vertex():
    coherence = TemporalCoherence(3)
    x, share = torch.randn(B, V, K), torch.rand(B, K)
    assert torch.equal(coherence(x, share), x)
    assert (coherence.lstm.num_layers, coherence.lstm.bidirectional) == (2, True)
    nn.init.normal_(coherence.head.weight)
    series = torch.stack([x[1, 4], share[1]], dim=1)
    expected = x[1, 4] + coherence.head(coherence.lstm(series)[0])[:, 0]
    torch.testing.assert_close(coherence(x, share)[1, 4], expected)
    torch.testing.assert_close(
        TemporalCoherence.roughness(x), sum((x[..., k + 1] - x[..., k]).square().mean() for k in range(9)) / 9
    )


def test_gradients_reach_every_parameter(network):
    eeg, frames = inputs()
    known = torch.zeros(B, K, dtype=torch.bool)
    known[0, ::3] = True
    network.train()(eeg, known, frames).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_samples_of_a_batch_know_nothing_of_each_other(network):
    eeg, frames = inputs()
    known = torch.zeros(B, K, dtype=torch.bool)
    known[:, 2] = True
    both = network(eeg, known, frames)
    alone = torch.cat([network(eeg[i : i + 1], known[i : i + 1], frames[i : i + 1]) for i in range(B)])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)


def test_frames_attend_to_the_eeg_around_them_alone(network):
    """From 25 s before a frame to 5 s after it: what the attention lets through."""
    eeg, _ = inputs()
    share = torch.zeros(B, K)
    before = network.frame_features(eeg, share)
    late = eeg.clone()
    late[..., round((EARLIEST + LATEST + 2.0) * RATE) :] *= 3  # beyond the reach of frames 0 and 1
    changed = (network.frame_features(late, share) - before).abs().amax(dim=(0, 2)) > 1e-6
    assert not changed[0] and changed[4:].all()
    assert network.n_samples == eeg.shape[-1]


@pytest.fixture(scope="module")
def on_fsaverage5():
    """As a user makes one; a few channels, out of order, in whatever case."""

    def make(**options):
        sizes = {"width": 8, "embedding": 2, "virtual_channels": 3, "filters": 2, "hidden": 2}
        given = {"channels": ["Oz", "CZ", "Fz", "Pz", "T7"], "rate": 200.0, "tr": 0.8, "frames": 12}
        return SpatiotemporalNeuralFrames.for_space("fsaverage5", **given | sizes | options)

    return make


def test_a_network_of_a_standard_cortex_and_cap(on_fsaverage5):
    network, again, other = on_fsaverage5(), on_fsaverage5(), on_fsaverage5(seed=1)
    generator = torch.Generator().manual_seed(0)
    eeg = 1e-5 * torch.randn(1, 5, network.n_samples, generator=generator)
    frames = torch.randn(1, 20_484, 3, generator=generator)
    known = torch.tensor([0, 4, 11])
    with torch.no_grad():
        x, same, another = (each.eval()(eeg, known, frames) for each in (network, again, other))
    assert x.shape == (1, 20_484, 12) and x.isfinite().all()
    assert torch.equal(x[..., known], frames)
    assert torch.equal(x, same) and not torch.allclose(x, another)
    x_of, y_of, z_of = network.positions.T
    assert y_of.argmin() == 0 and y_of.argmax() == 2 and z_of.argmax() == 1 and x_of.argmin() == 4
    assert 0.05 < network.positions.norm(dim=1).max() < 0.2  # metres


def test_making_a_network_takes_no_random_number_of_others(on_fsaverage5):
    before = torch.get_rng_state()
    positions = 0.1 * np.eye(3)
    network = on_fsaverage5(channels=["E1", "E2", "E3"], positions=positions)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(network.positions, positions, rtol=1e-6)


def test_places_are_directions_on_the_sphere_and_hemispheres(on_fsaverage5):
    place = on_fsaverage5().place
    torch.testing.assert_close(place[:, :3].norm(dim=1), torch.ones(20_484))
    at = surface("fsaverage5", "sphere", "R")[0]
    np.testing.assert_allclose(place[10_242:, :3], at / np.linalg.norm(at, axis=1, keepdims=True), atol=1e-6)
    assert (place[:10_242, 3] == -1).all() and (place[10_242:, 3] == 1).all()


def test_what_no_network_can_be_made_for_is_refused(on_fsaverage5):
    for wrong, message in (
        ({"channels": ["Fz", "E7", "Up"]}, "2 of 3 channels have no standard position .E7, Up.; .* 10-05"),
        ({"rate": 128.0}, "nothing above 64 Hz, but the bands gamma"),
        ({"frames": 4}, "frames 4; expected at least 10"),
    ):
        with pytest.raises(InputError, match=message):
            on_fsaverage5(**wrong)
    for space, message in (
        ("MNI", "unknown space 'MNI'; expected one of fsLR, fsaverage5"),
        (CorticalSpace.from_counts({"L": 40_962}), "no surface mesh for the space 'fsaverage6'"),
    ):
        with pytest.raises(InputError, match=message):
            SpatiotemporalNeuralFrames.for_space(space, channels=["Fz"], rate=200.0, tr=0.8)


def test_bands_above_nyquist_are_refused(network):
    network.encoder.bands = {"gamma": (30.0, 100.0)}
    eeg, frames = inputs()
    with pytest.raises(InputError, match="gamma"):
        network(eeg, torch.zeros(B, K, dtype=torch.bool), frames)


def test_settings_are_the_sketchs_and_are_checked():
    settings = SurfaceSettings()
    assert (settings.frames, settings.width, settings.filters) == (10, 512, 64)
    assert (settings.learning_rate, settings.smoothness) == (1e-4, 0.1)
    for wrong, message in (
        ({"frames": 9}, "^frames 9; expected at least 10"),
        ({"width": 100}, "--width 100 with 4 heads; expected a multiple of 8$"),
        ({"hidden": 0}, "^hidden 0; expected at least 1"),
        ({"filters": 3}, "^filters 3; expected an even number"),
        ({"smoothness": -1.0}, "^smoothness -1.0; expected at least 0$"),
        ({"epochs": 0}, "--epochs 0; expected at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            SurfaceSettings(**wrong)
