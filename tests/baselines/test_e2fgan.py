from copy import deepcopy

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from neuroframes.baselines.e2fgan import Discriminator, E2FGan, bce
from neuroframes.baselines.e2fnet import ssim_mse
from neuroframes.baselines.network import TrainingFrames, VertexNetwork
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal
from neuroframes.training.trainer import run


def recorded(n_frames: int, seed: int) -> Segment:
    """Noise at 30 vertices and in 5 channels, TR 2 s."""
    generator = np.random.default_rng(seed)
    eeg = 1e-5 * generator.standard_normal((5, 200 * n_frames)).astype(np.float32)
    time_in_run, measured = 2.0 * np.arange(n_frames), np.ones(n_frames, bool)
    frames = generator.standard_normal((n_frames, 30)).astype(np.float32)
    return Segment(
        frames,
        time_in_run + 1,
        time_in_run,
        measured,
        None,
        f"run-{seed}",
        eeg=Signal(eeg, 100.0, tuple("ABCDE")),
    )


@pytest.fixture(scope="module")
def train() -> list[Segment]:
    return [recorded(60, 0)]


def small(**settings) -> E2FGan:
    return E2FGan(**{"width": 8, "batch": 8, "epochs": 2, "latents": 4, "accelerator": "cpu", **settings})


def training_of(train):
    model = small()
    model.tr_ = 2.0
    data = TrainingFrames(train, [model.inputs(segment) for segment in train], model.tr_)
    torch.manual_seed(0)
    body, features = model.body(data.batch(data.fit[:1])[0])
    generator = np.random.default_rng(0)
    components = np.linalg.qr(generator.standard_normal((30, 4)))[0].T * [[3], [2], [1], [0.5]]
    mean = generator.standard_normal(30)
    network = VertexNetwork(body, features, mean.astype(np.float32), components.astype(np.float32))
    return model.training(network, data)


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class Batches(Callback):
    def __init__(self):
        self.taken, self.steps = [], []

    def on_train_batch_start(self, trainer, module, batch, *_):
        self.taken.append(batch)
        self.steps.append(trainer.global_step)


class Stop(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")


def test_the_discriminator_has_the_authors_parameters():
    with torch.device("meta"):
        of_volumes = Discriminator(30 * 64**2, 256)
        of_a_cortex = Discriminator(59_412, 256)  # 15 slices, half as many
    assert sum(p.numel() for p in of_volumes.parameters()) == 492_545
    assert sum(p.numel() for p in of_a_cortex.parameters()) == 492_545 - 15 * 64 * 4 * 4


def test_it_sees_vertices_in_their_order():
    discriminator = Discriminator(5000, 8).eval()
    frames = torch.randn(3, 5000)
    maps = torch.zeros(3, 2, 64, 64)
    for vertex in range(5000):
        maps[:, vertex // 4096, vertex % 4096 // 64, vertex % 64] = frames[:, vertex]
    logits = discriminator(frames)
    assert logits.shape == (3,)
    torch.testing.assert_close(logits, discriminator.layers(maps)[:, 0, 0, 0])


def test_real_frames_are_projected_to_within_the_generator_s_reach(train):
    training = training_of(train)
    mean, components = training.network.mean.numpy(), training.network.components.numpy()
    frames = train[0].frames[:6]
    latents = np.linalg.lstsq(components.T, (frames - mean).T, rcond=None)[0].T
    projected = training.within_reach(torch.from_numpy(frames))
    np.testing.assert_allclose(projected, mean + latents @ components, atol=1e-5)
    fake = training.network.decode(torch.randn(6, 64))
    torch.testing.assert_close(training.within_reach(fake), fake)


def test_binary_cross_entropy_by_hand():
    logits = torch.tensor([0.0, 2.0, -1.0])
    probability = 1 / (1 + np.exp(-logits.numpy()))
    assert float(bce(logits, 1)) == pytest.approx(-np.log(probability).mean())
    assert float(bce(logits, 0)) == pytest.approx(-np.log(1 - probability).mean())


def replayed(training, batches, *, leak):
    """The definition's alternation, written out; with `leak`, D keeps its gradients of G's step."""
    network, discriminator = training.network.train(), training.discriminator.train()
    optimizers = [torch.optim.AdamW(part.parameters()) for part in (network, discriminator)]
    norms = []

    def descend(part, optimizer, loss):
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(part.parameters(), 1)))
        optimizer.step()

    for step, (x, frames) in enumerate(batches):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 1e-3 * (step + 1) / 50 * (1 + np.cos(np.pi * step / 6)) / 2
        fake, real = network(x), training.within_reach(frames)
        if not leak:
            discriminator.zero_grad()
        loss = (bce(discriminator(real), 1) + bce(discriminator(fake.detach()), 0)) / 2
        descend(discriminator, optimizers[1], loss)
        assert all(parameter.grad.abs().max() > 0 for parameter in discriminator.parameters())
        discriminator.zero_grad()
        network.zero_grad()
        descend(network, optimizers[0], bce(discriminator(fake), 1) + ssim_mse(fake, frames))
    assert max(norms) > 1
    return weights(training)


def test_training_is_the_definition_s_and_no_gradient_leaks_to_the_discriminator(train, tmp_path):
    training, batches = training_of(train), Batches()
    leaky, clean = deepcopy(training), deepcopy(training)
    trained = run(training, tmp_path, max_epochs=2, accelerator="cpu", callbacks=[batches])
    assert batches.steps == [0, 2, 4, 6, 8, 10]  # both optimisers' steps count
    assert not torch.equal(batches.taken[0][1], batches.taken[3][1])  # another order in each epoch
    for name, tensor in replayed(clean, batches.taken, leak=False).items():
        torch.testing.assert_close(trained[name], tensor, msg=name)
    leaked = replayed(leaky, batches.taken, leak=True)["discriminator.layers.2.weight"]
    assert (leaked - trained["discriminator.layers.2.weight"]).abs().max() > 1e-5


def test_interrupted_training_ends_where_it_would_have_ended(train, tmp_path):
    settings = {"max_epochs": 2, "accelerator": "cpu", "monitor": "r", "checkpoint_every": 1}
    whole = run(training_of(train), tmp_path / "whole", **settings)
    with pytest.raises(RuntimeError):
        run(training_of(train), tmp_path / "cut", callbacks=[Stop()], **settings)
    batches = Batches()
    resumed = run(training_of(train), tmp_path / "cut", callbacks=[batches], **settings)
    assert batches.steps == [6, 8, 10]
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_the_same_seed_gives_the_same_frames(train):
    test = recorded(20, 1).given(np.arange(20) < 5)
    models = [small(seed=seed, epochs=1).fit(train) for seed in (0, 0, 1)]
    first, again, other = (model.estimate(test) for model in models)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (15, 30) and not np.allclose(first, other)
    both = [*models[0].network_.parameters(), *Discriminator(30, 8).parameters()]
    assert models[0].n_parameters == sum(p.numel() for p in both)
