"""E2fGAN (Roos, Fukuda and Cap 2025): E2fNet as the generator G of an adversarial pair.

    L_D = (BCE(D(y), 1) + BCE(D(G(x)), 0)) / 2
    L_G = BCE(D(G(x)), 1) + (1 - SSIM) / 2 + MSE / 2

The discriminator D takes frames y as the authors' takes volumes: maps of 64 x 64, vertices in their order,
filled up with zeros. Real frames come before it as m + (y - m) D+ D, within reach of G's head, or it would
tell them by what no G can give.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroframes.baselines.e2fnet import SIDE, E2FNet, scheduled, ssim_mse
from neuroframes.baselines.network import NetworkTraining, TrainingFrames, VertexNetwork


class E2FGan(E2FNet):
    """E2FNet trained against a discriminator, which isn't part of what predicts.

    Parameters
    ----------
    width : int, a multiple of 8
        As E2FNet's; the discriminator has a quarter and a half of it.
    **settings
        See `NetworkBaseline`.
    """

    name = "E2FGAN"

    def training(self, network: VertexNetwork, data: TrainingFrames) -> NetworkTraining:
        return AdversarialTraining(self, network, data)


class AdversarialTraining(NetworkTraining):
    """One step of the discriminator, then one of the generator, on the same batch."""

    def __init__(self, baseline: E2FGan, network: VertexNetwork, data: TrainingFrames) -> None:
        super().__init__(baseline, network, data)
        self.automatic_optimization = False
        self.discriminator = Discriminator(len(network.mean), baseline.width)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, frames = batch
        optimizers: Any = self.optimizers()
        schedules: Any = self.lr_schedulers()
        fake, real = self.network(x), self.within_reach(frames)
        # Detached: the discriminator's loss must not reach the generator.
        loss = (bce(self.discriminator(real), 1) + bce(self.discriminator(fake.detach()), 0)) / 2
        self.descend(optimizers[1], loss)
        loss = bce(self.discriminator(fake), 1) + ssim_mse(fake, frames)
        self.descend(optimizers[0], loss)
        for schedule in schedules:
            schedule.step()
        return loss.detach()

    def within_reach(self, frames: Tensor) -> Tensor:
        """Projection of frames (B, V) onto the head's components."""
        return self.network.mean + self.network.encode(frames) @ self.network.components

    def descend(self, optimizer: Any, loss: Tensor) -> None:
        """One clipped step."""
        optimizer.zero_grad()  # the other's step left gradients here too
        self.manual_backward(loss)
        self.configure_gradient_clipping(optimizer)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        """Generator's, discriminator's; one cosine over the whole training."""
        steps = self.baseline.epochs * max(1, len(self.data.fit) // self.baseline.batch)
        return tuple(
            scheduled(module.parameters(), self.baseline.learning_rate, steps)
            for module in (self.network, self.discriminator)
        )


class Discriminator(nn.Module):
    """Frames (B, V) to logits (B,) of being real.

    Parameters
    ----------
    n_vertices : int
    width : int
    """

    def __init__(self, n_vertices: int, width: int) -> None:
        super().__init__()
        # Zeros at the end fill the last map.
        self.missing = -n_vertices % SIDE**2
        slices, quarter, half = (n_vertices + self.missing) // SIDE**2, width // 4, width // 2
        layers: list[nn.Module] = [nn.Conv2d(slices, quarter, 4, 2, 1), nn.LeakyReLU(0.2)]
        for inputs, outputs in ((quarter, quarter), (quarter, half), (half, half)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(half, 1, 4))

    def forward(self, frames: Tensor) -> Tensor:
        maps = functional.pad(frames, (0, self.missing)).unflatten(1, (-1, SIDE, SIDE))
        return self.layers(maps).flatten()


def bce(logits: Tensor, real: float) -> Tensor:
    """Binary cross-entropy (BCE) with 1 for real, 0 for fake."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))
