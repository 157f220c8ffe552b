from dataclasses import replace

import numpy as np
import pytest
import torch

from neuroframes.baselines.cnn_tc import CnnTc, Transcoder, at_times
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


@pytest.fixture(scope="module")
def fitted(with_eeg):
    return CnnTc(batch=8, epochs=4).fit([with_eeg[0]])


def test_eeg_is_averaged_by_a_hann_window_of_four_trs(with_eeg):
    eeg = with_eeg[0].eeg
    times = np.array([-0.8, 0.0, 1.234, 100.0, eeg.duration - 0.01, eeg.duration + 0.8])
    offset = np.arange(-160, 161)  # 100 Hz, 2 TR on either side
    weight = 1 + np.cos(np.pi * offset / 160)
    padded = np.pad(eeg.data.astype(float), ((0, 0), (300, 300)), mode="reflect")
    for time, value in zip(times, at_times(eeg, times, TR), strict=True):
        window = padded[:, round(time * eeg.rate) + 300 + offset]
        np.testing.assert_allclose(value, window @ weight / weight.sum(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("tr", [0.8, 2.16])
def test_what_lies_above_the_trs_nyquist_frequency_does_not_pass(tr):
    at = np.arange(0, 200, 0.01)
    frequencies = np.array([0.05, 0.5, 0.6, 0.8, 1.0, 1.3, 10]) / tr  # Nyquist is 0.5 / TR
    eeg = Signal(np.sin(2 * np.pi * np.outer(frequencies, at)).astype(np.float32), 100, tuple("abcdefg"))
    amplitude = np.abs(at_times(eeg, np.arange(50, 150, 0.05), tr)).max(axis=0)
    assert amplitude[0] > 0.97
    assert (amplitude[1:] < 0.03).all()


def test_inputs_end_at_the_frame(with_eeg):
    train, test = with_eeg
    model = CnnTc(length=5)
    model.tr_ = TR
    model.prepare([train])
    rows = np.array([0, 3, 150])
    x = model.inputs(test)(rows).numpy()
    assert x.shape == (3, 5, 6)
    for row, steps in zip(rows, x, strict=True):
        expected = at_times(test.eeg, test.times[row] - TR * np.arange(4, -1, -1), TR) / model.scale_
        np.testing.assert_allclose(steps, expected, rtol=1e-5, atol=1e-6)
    on_training = model.inputs(train)(np.arange(400))[:, -1]
    np.testing.assert_allclose(on_training.std(dim=0, correction=0), 1, rtol=1e-4)


def test_inputs_never_look_at_frames(with_eeg):
    train, test = with_eeg
    blind = [replace(segment, frames=np.full_like(segment.frames, np.nan)) for segment in with_eeg]
    once, again = CnnTc(), CnnTc()
    for model, segment in zip((once, again), (train, blind[0]), strict=True):
        model.tr_ = TR
        model.prepare([segment])
    rows = np.arange(200)
    assert torch.equal(once.inputs(test)(rows), again.inputs(blind[1])(rows))


def test_a_flat_channel_is_zero(with_eeg):
    flat = replace(with_eeg[0], eeg=replace(with_eeg[0].eeg, data=0 * with_eeg[0].eeg.data))
    model = CnnTc()
    model.tr_ = TR
    model.prepare([flat])
    assert (model.inputs(flat)(np.arange(400)) == 0).all()


@pytest.mark.parametrize(("length", "n_channels"), [(1, 64), (20, 30)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_parameters_and_shapes(length, n_channels, kernel):
    network = Transcoder(length, n_channels, 16, nonlinear=kernel == 3)
    assert network(normal(2, length, n_channels)).shape == (2, 256)
    assert count(network.spread) == 256 * n_channels + 256
    assert count(network.wide) == kernel**3 * length * 16 * length + 16 * length
    assert count(network.narrow) == kernel**3 * 16 * length * length + length
    assert count(network.along_time) == kernel * 256 * 256 + 256
    assert count(network) == sum(map(count, network.children()))


def test_with_the_authors_output_it_has_the_published_size():
    # One frame, T = 1: 31.7 million, nearly all of them in the output layer left out here.
    assert round((count(Transcoder(1, 64, 16, False)) + (256 + 1) * VOXELS) / 1e6, 1) == 31.7


def test_it_is_affine_and_the_variant_is_not():
    x, y = normal(2, 3, 9, 5)
    for nonlinear in (False, True):
        network = Transcoder(9, 5, 4, nonlinear)
        with torch.no_grad():
            gap = network(x) + network(y) - network(x + y) - network(0 * x)
        assert (gap.abs().max() < 1e-5) != nonlinear


def test_it_is_the_chain_of_matrices():
    """Kernels of 1: a matrix along values, two along steps, one along values; at the last step."""
    network, x = Transcoder(4, 3, 2, False).double(), normal(1, 4, 3).double()
    matrix = {name: layer.weight.flatten(1) for name, layer in network.named_children() if count(layer)}
    bias = {name: layer.bias for name, layer in network.named_children() if count(layer)}
    values = x[0] @ matrix["spread"].T + bias["spread"]
    for name in ("wide", "narrow"):
        values = matrix[name] @ values + bias[name][:, None]
    expected = matrix["along_time"] @ values[-1] + bias["along_time"]
    torch.testing.assert_close(network(x)[0], expected)


@pytest.mark.parametrize("nonlinear", [False, True])
def test_the_loss_is_the_mean_absolute_error_and_reaches_every_parameter(nonlinear):
    model = CnnTc(nonlinear=nonlinear, filters=2)
    x, frames = normal(2, 6, 5), normal(2, 7, seed=1)
    body, features = model.body(x)
    network = VertexNetwork(body, features, np.zeros(7, np.float32), np.eye(3, 7, dtype=np.float32))
    loss = model.loss(network, x, frames)
    assert loss.item() == pytest.approx(np.abs((network(x) - frames).detach().numpy()).mean(), rel=1e-5)
    loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(("nonlinear", "n_read"), [(False, 1), (True, 2)])
def test_weights_of_steps_that_are_not_read_have_no_gradient(nonlinear, n_read):
    """The last step counts: of the second Conv3D's outputs the Conv1D reads one, or two with kernels of 3."""
    network = Transcoder(6, 5, 2, nonlinear)
    network(normal(3, 6, 5)).square().sum().backward()
    for parameter in (network.narrow.weight, network.narrow.bias):
        read = parameter.grad.flatten(1).abs().amax(dim=1) if parameter.ndim > 1 else parameter.grad.abs()
        assert (read[:-n_read] == 0).all() and (read[-n_read:] > 0).all()
    taps = network.along_time.weight.grad.abs().amax(dim=(0, 1))
    assert (taps > 0).tolist() == ([True, True, False] if nonlinear else [True])  # behind the last is padding


def test_it_finds_a_slow_potential(with_eeg, fitted):
    _, test = with_eeg
    nothing = np.zeros(200, bool)
    frames = fitted.estimate(test.given(nothing))
    # A third of what drives the frames is linear in the EEG; the mean frame has r = 0.
    assert score(test.frames, frames, ~nothing)["whole"]["temporal_r"] > 0.2
    assert fitted.length_ == 26  # 20 s and the frame's own
    assert fitted.n_parameters == count(fitted.network_)


def test_the_same_seed_gives_the_same_frames(with_eeg):
    train, test = with_eeg
    given = test.given(np.arange(200) < 50)
    once, again = (
        CnnTc(nonlinear=True, length=3, filters=1, batch=32, epochs=1).fit([train]).estimate(given)
        for _ in range(2)
    )
    assert once.shape == (150, 20)
    assert np.array_equal(once, again)


def test_names_and_training_of_the_definition():
    assert (CnnTc().name, CnnTc(nonlinear=True).name) == ("CNN-TC", "CNN-TC, ReLU")
    assert (CnnTc().epochs, CnnTc().batch, CnnTc().learning_rate) == (10, 2, 1e-3)


def test_without_eeg_it_says_so(with_eeg, fitted):
    with pytest.raises(InputError, match="CNN-TC needs EEG"):
        CnnTc().fit([replace(with_eeg[0], eeg=None)])
    with pytest.raises(InputError, match="CNN-TC needs EEG"):
        fitted.estimate(replace(with_eeg[1], eeg=None).given(np.zeros(200, bool)))
