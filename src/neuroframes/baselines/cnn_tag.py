"""CNN-TAG: topographic attention graphs (Calhas and Henriques 2022, arXiv 2203.03481).

    X (C, 134 x 10)                      magnitudes of the EEG's spectrum in each of 10 TRs
    W = sparsemax(X A'),  X <- W X       topographic attention; A (C, 1340) is learnt
    X --residual blocks, Dense--> z_x (343)
    features = p(z_x) * (U vec W)        p: random Fourier features (TAFP) or a Dense layer (TALP)

In training a frame y has a latent too, z_y = dropout(E y), and the loss is
|predicted - y| + 1 - cos(z_x, z_y) + 4.4e-4 |convolutions|^2.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neuroframes.baselines.network import (
    Inputs,
    NetworkBaseline,
    NetworkTraining,
    TrainingFrames,
    VertexNetwork,
    spectra,
)
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

SPECTRUM_WINDOW = 2.16  # seconds: the authors' TR, so that bins are 0.46 Hz apart
BINS = 134  # from 0.46 to 62 Hz
WEIGHT_DECAY = 4.396e-4
KERNELS = ((7, 37, 2), (7, 7, 2))  # channels, bins, TRs
STRIDES = ((3, 5, 1), (2, 2, 1))
FILTERS = 4
DROPOUT = 0.5


def sparsemax(scores: Tensor) -> Tensor:
    """The nearest point of the simplex, along the last axis (Martins and Astudillo 2016, algorithm 1).

    With z sorted, largest first, the k largest are kept while 1 + k z_k > z_1 + ... + z_k.
    """
    ordered = scores.sort(dim=-1, descending=True).values
    n = scores.shape[-1]
    total = ordered @ ordered.new_ones(n, n).triu()  # torch's cumulative sum isn't deterministic on a GPU
    rank = torch.arange(1, n + 1, device=scores.device)
    kept = (1 + rank * ordered > total).sum(dim=-1, keepdim=True)
    return (scores - (total.gather(-1, kept - 1) - 1) / kept).clamp(min=0)


def magnitudes(eeg: Signal, ends: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spectra of the 2.16 s up to some times, z-scored across channels at each bin.

    Bins are the same frequencies whatever the TR, at rates of 125 Hz and more. Slower EEG is padded with
    zeros, so that as many bins reach up to its Nyquist frequency.

    Parameters
    ----------
    eeg : Signal
    ends : array, shape (K,), seconds
        Beyond its ends the recording goes on as its mirror image.

    Returns
    -------
    array, shape (K, C, 134)
    """
    n_samples = round(SPECTRUM_WINDOW * eeg.rate)
    return spectra(eeg, ends, n_samples, 1 - n_samples, BINS)


def pooled(x: Tensor) -> Tensor:
    """Maximum over 2 x 2 channels and bins, stride 1; torch's own has no deterministic gradient on a GPU."""
    for axis in (2, 3):
        if (n := x.shape[axis]) > 1:
            x = torch.maximum(x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1))
    return x


class ResidualBlock(nn.Module):
    """relu(left + right): two convolutions on the left, one on the right, (B, n_in, C, bins, TRs) to fewer.

    The first convolution of both branches is one with twice the filters, which takes half the time.

    Parameters
    ----------
    shape : tuple of int, (C, bins, TRs) of the input
        An axis shorter than the kernel shortens the kernel.
    n_in : int
    kernel, stride : tuple of int, along channels, bins, TRs

    Attributes
    ----------
    shape : tuple of int, of the output
    """

    def __init__(
        self, shape: tuple[int, ...], n_in: int, kernel: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        super().__init__()
        fitting: Any = tuple(map(min, kernel, shape))
        step: Any = stride
        self.strided = nn.Conv3d(n_in, 2 * FILTERS, fitting, step)
        self.strided_norm = nn.BatchNorm3d(2 * FILTERS)
        self.second = nn.Conv3d(FILTERS, FILTERS, 3, padding="same")
        self.second_norm = nn.BatchNorm3d(FILTERS)
        channels, bins, trs = ((n - k) // s + 1 for n, k, s in zip(shape, fitting, stride, strict=True))
        self.shape = (max(channels - 1, 1), max(bins - 1, 1), trs)  # after pooling

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.strided_norm(pooled(self.strided(x))).chunk(2, dim=1)
        left = self.second_norm(self.second(left.relu())).relu()
        return (left + right).relu()


class RandomFourierFeatures(nn.Module):
    """cos(pi/2 + pi/2 LayerNorm(z R / s + b)), R and b as drawn, Gaussian and uniform; s is learnt."""

    directions: Tensor
    phases: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(width, width))
        self.register_buffer("phases", 2 * math.pi * torch.rand(width))
        self.log_scale = nn.Parameter(torch.tensor(math.log(width / 2) / 2))

    def forward(self, z: Tensor) -> Tensor:
        angle = z @ self.directions / self.log_scale.exp() + self.phases
        return (math.pi / 2 * (1 + functional.layer_norm(angle, angle.shape[-1:]))).cos()


class AttentionGraph(nn.Module):
    """From magnitudes (B, TRs, C, bins) to features (B, width).

    Parameters
    ----------
    length : int, TRs
    n_channels : int, C
    width : int, of z_x and the features
    fourier : bool
        TAFP, or else TALP.
    """

    def __init__(self, length: int, n_channels: int, width: int, fourier: bool) -> None:
        super().__init__()
        self.relation = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_channels, BINS * length)))
        first = ResidualBlock((n_channels, BINS, length), 1, KERNELS[0], STRIDES[0])
        second = ResidualBlock(first.shape, FILTERS, KERNELS[1], STRIDES[1])
        self.blocks = nn.Sequential(first, second)
        self.dense = nn.Linear(FILTERS * math.prod(second.shape), width)
        self.projection = RandomFourierFeatures(width) if fourier else nn.Linear(width, width)
        self.style = nn.Linear(n_channels**2, width, bias=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z_x (B, width) and W (B, C, C)."""
        x = x.permute(0, 2, 3, 1)
        flat = x.flatten(2)
        attention = sparsemax(flat @ self.relation.T)
        attended = (attention @ flat).view(x.shape)[:, None]
        return self.dense(self.blocks(attended).flatten(1)), attention

    def project(self, z: Tensor, attention: Tensor) -> Tensor:
        """Features (B, width) of z_x and W."""
        return self.projection(z) * self.style(attention.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(*self.encode(x))


@dataclass(kw_only=True, eq=False)
class CnnTag(NetworkBaseline):
    """The authors' network up to its output layer, then the common head; see `NetworkBaseline`.

    Parameters
    ----------
    fourier : bool
        Random Fourier features of z_x (TAFP), or else a Dense layer (TALP).
    length : int
        TRs of EEG.
    width : int
        Of z_x, z_y and the features.
    **settings : see `NetworkBaseline`

    Notes
    -----
    The authors' encoder of fMRI is a convolutional network on volumes. Here E is linear, from the latents of
    a frame in the head's components, and like theirs has no part in prediction.
    """

    name = "CNN-TAG"

    epochs: int = 10
    batch: int = 4
    learning_rate: float = 2.98e-3
    fourier: bool = True
    length: int = 10
    width: int = 343

    def inputs(self, segment: Segment) -> Inputs:
        eeg = segment.eeg_for(self.name)
        return self.history(lambda t: magnitudes(eeg, t), segment, self.length)

    def body(self, example: Tensor) -> tuple[nn.Module, int]:
        return AttentionGraph(self.length, example.shape[2], self.width, self.fourier), self.width

    def training(self, network: VertexNetwork, data: TrainingFrames) -> NetworkTraining:
        network.frame_encoder = nn.Sequential(
            nn.Linear(len(network.components), self.width), nn.Dropout(DROPOUT)
        )
        return super().training(network, data)

    def loss(self, network: VertexNetwork, x: Tensor, frames: Tensor) -> Tensor:
        """Mean absolute error, cosine distance of the two latents, and a penalty on convolutions."""
        body: Any = network.body
        z, attention = body.encode(x)
        predicted = network.decode(body.project(z, attention))
        encoded = network.get_submodule("frame_encoder")(network.encode(frames))
        similarity = functional.cosine_similarity(z, encoded)
        penalty = sum(
            parameter.square().sum()
            for layer in body.blocks.modules()
            if isinstance(layer, nn.Conv3d)
            for parameter in layer.parameters()
        )
        return functional.l1_loss(predicted, frames) + 1 - similarity.mean() + WEIGHT_DECAY * penalty
