"""NeuroBOLT-like (Li et al. 2024, arXiv 2410.05341): a transformer over raw EEG, another over its spectra.

    x (C, N)                             the 16 s of EEG before a frame, 200 Hz, centred, in 100 microvolts
    patches (C, 16, 200) --convolutions--> tokens + channel + second --transformer--> mean u (h)
    |FFT| in windows of 100, 200, 400, 800 samples --to (C, N / 100, h) each, sum--> + channel + time
        --linear attention--> mean v (h)
    features = u + v

The first is LaBraM (Jiang et al. 2024, arXiv 2405.18765), here without its pretrained weights; the second is
the authors' own. Linear attention is softmax(q) (softmax(k)' v), of q's features and of k's tokens (Shen et
al. 2021, arXiv 1812.01243): its cost grows with the number of tokens, not with its square.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW

from neuroframes.baselines.network import Inputs, NetworkBaseline, VertexNetwork, stepped
from neuroframes.errors import InputError
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import eeg_windows

RATE = 200  # Hz
PATCH = 200  # samples
UNIT = 1e-4  # volts
WINDOWS = (100, 200, 400, 800)  # samples, of the spectra
FILTERS = 8  # of the patches' convolutions; 25 steps of them are 200 features
LARGEST_FACTOR = 512  # of a change of rate
DROPOUT = 0.1
SPECTRAL_DROPOUT = 0.2
DROPPED_PATHS = 0.1  # in the last layer; fewer before
STD = 0.02  # of the first weights
WEIGHT_DECAY = 0.05
WARM_UP = 0.25  # of the training: 5 of 20 epochs


@dataclass(kw_only=True, eq=False)
class NeuroBolt(NetworkBaseline):
    """Raw EEG and its multi-scale spectra, a transformer each.

    Parameters
    ----------
    depth, heads : int
        Layers of the transformer over patches, and their heads.
    spectral_depth, spectral_heads : int
        Those of the transformer over spectra.
    width : int
        h, a multiple of both numbers of heads.
    seconds : int
        Of EEG before a frame.
    **settings
        See `NetworkBaseline`.
    """

    name = "NeuroBOLT-like"

    epochs: int = 20
    batch: int = 16
    learning_rate: float = 3e-4
    depth: int = 12
    heads: int = 10
    spectral_depth: int = 4
    spectral_heads: int = 8
    width: int = 200
    seconds: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        heads = self.heads, self.spectral_heads
        if any(self.width % n for n in heads):
            raise InputError(
                f"the width is {self.width}; expected a multiple of {heads[0]} and of {heads[1]}"
            )

    def inputs(self, segment: Segment) -> Inputs:
        """EEG (B, C, N) up to frames, at 200 Hz, each channel less its mean there.

        Before its start the recording goes on as its mirror image.

        Raises
        ------
        InputError
            If there is no EEG.
        """
        signal = segment.eeg_for(self.name)
        data, rate = signal.data, float(signal.rate)
        if rate != RATE:
            ratio = Fraction(RATE / rate).limit_denominator(LARGEST_FACTOR)
            data = resample_poly(data, ratio.numerator, ratio.denominator, axis=1, padtype="reflect")
            rate *= float(ratio)
        length = self.seconds * RATE

        def inputs(rows: NDArray[np.int64]) -> Tensor:
            windows = torch.from_numpy(eeg_windows(data, rate, segment.times[rows], length, -length) / UNIT)
            return windows - windows.mean(dim=-1, keepdim=True)

        return inputs

    def body(self, example: Tensor) -> tuple[nn.Module, int]:
        sizes = example.shape[1], self.seconds, self.width
        patches = PatchTransformer(*sizes, self.depth, self.heads)
        spectra = SpectralTransformer(*sizes, self.spectral_depth, self.spectral_heads)
        return Sum(patches, spectra), self.width

    def optimizer(self, network: VertexNetwork, steps_per_epoch: int) -> Any:
        """AdamW; the learning rate rises linearly for a quarter of the training, then falls down a cosine."""
        steps = self.epochs * steps_per_epoch
        rising = WARM_UP * steps

        def factor(step: int) -> float:
            if step < rising:
                return (step + 1) / (rising + 1)
            return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2

        # Neither embeddings nor biases nor norms decay.
        groups: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, parameter in network.named_parameters():
            groups[name.endswith("weight") and parameter.ndim > 1].append(parameter)
        optimizer = AdamW(
            [{"params": group, "weight_decay": WEIGHT_DECAY * decays} for decays, group in groups.items()],
            lr=self.learning_rate,
        )
        return stepped(optimizer, factor)


class Sum(nn.Module):
    """What several networks make of the same input, added up."""

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).sum(dim=0)


class PatchTransformer(nn.Module):
    """EEG (B, C, N) to features (B, h), by way of a token for each channel and second."""

    def __init__(self, n_channels: int, seconds: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *_convolved(1, kernel_size=(1, 15), stride=(1, 8), padding=(0, 7)),  # to 25 steps a patch
            *_convolved(FILTERS, kernel_size=(1, 3), padding=(0, 1)),
            *_convolved(FILTERS, kernel_size=(1, 3), padding=(0, 1)),
        )
        features = PATCH // 8 * FILTERS
        self.embed = nn.Identity() if width == features else nn.Linear(features, width)
        self.channels, self.seconds, self.token = (
            nn.Parameter(nn.init.trunc_normal_(torch.empty(size, width), std=STD))
            for size in (n_channels, seconds, 1)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.Sequential()
        for dropped in np.linspace(0, DROPPED_PATHS, depth):
            for branch in ([NormedAttention(width, heads)], _mlp(width)):
                end = (nn.Dropout(DROPOUT), Gain(width), DropPath(dropped))
                self.layers.append(Residual(nn.LayerNorm(width), *branch, *end))
        self.norm = nn.LayerNorm(width)
        self.apply(initialise)
        with torch.no_grad():  # or the sum of all branches would grow with the depth
            for number, layer in enumerate(self.layers):
                last = [module for module in layer.modules() if isinstance(module, nn.Linear)][-1]
                last.weight /= math.sqrt(2 * (number // 2 + 1))

    def forward(self, x: Tensor) -> Tensor:
        filtered = self.convolutions(x.view(len(x), 1, -1, PATCH))  # (B, 8, C seconds, 25)
        tokens = self.embed(filtered.permute(0, 2, 3, 1).flatten(2))
        tokens = tokens + (self.channels[:, None] + self.seconds).flatten(0, 1)
        tokens = torch.cat([self.token.expand(len(x), 1, -1), tokens], dim=1)
        tokens = self.layers(self.dropout(tokens))
        return self.norm(tokens[:, 1:].mean(dim=1))


class SpectralTransformer(nn.Module):
    """EEG (B, C, N) to features (B, h), by way of a token for each channel and 0.5 s."""

    position: Tensor

    def __init__(self, n_channels: int, seconds: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        n_samples = seconds * RATE
        n_times = n_samples // WINDOWS[0]
        self.windows = [window for window in WINDOWS if window <= n_samples]
        self.frequencies = nn.ModuleList(nn.Linear(window // 2 + 1, width) for window in self.windows)
        self.times = nn.ModuleList(nn.Linear(n_samples // window, n_times) for window in self.windows)
        self.channels = nn.Parameter(torch.randn(n_channels, width))
        feature = torch.arange(width)
        angle = torch.arange(n_times)[:, None] / 10_000 ** (feature // 2 * 2 / width)
        self.register_buffer("position", torch.sin(angle + feature % 2 * math.pi / 2))
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.Sequential()
        for _ in range(depth):
            attention = LinearAttention(width, heads), nn.Dropout(SPECTRAL_DROPOUT)
            self.layers.append(Residual(nn.LayerNorm(width), *attention))
            self.layers.append(Residual(nn.LayerNorm(width), *_mlp(width)))
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.channels[:, None] + self.position
        for window, frequencies, times in zip(self.windows, self.frequencies, self.times, strict=True):
            whole = x[..., x.shape[-1] % window :].unflatten(-1, (-1, window))
            tokens = tokens + times(frequencies(torch.fft.rfft(whole).abs()).mT).mT
        return self.layers(self.dropout(tokens).flatten(1, 2)).mean(dim=1)


class SelfAttention(nn.Module, ABC):
    """Multi-head attention of tokens (B, n, h)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.into(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(self.attend(q, k, v).transpose(1, 2).flatten(2))

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Values of queries, all (B, heads, n, h / heads)."""


class NormedAttention(SelfAttention):
    """softmax(q k') v with q and k normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.q_norm, self.k_norm = nn.LayerNorm(width // heads), nn.LayerNorm(width // heads)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)


class LinearAttention(SelfAttention):
    """softmax(q) (softmax(k)' v), of q's features and of k's tokens."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q.softmax(dim=-1) / math.sqrt(q.shape[-1]) @ (k.softmax(dim=-2).mT @ v)


class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Gain(nn.Module):
    """Each feature times a number, 0.1 at first (Touvron et al. 2021, arXiv 2103.17239)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class DropPath(nn.Dropout):
    """Drops a residual branch of some frames as a whole (Huang et al. 2016, arXiv 1603.09382)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x.new_ones(len(x), 1, 1))


def initialise(module: nn.Module) -> None:
    """Small weights, no biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _convolved(inputs: int, **shape: Any) -> list[nn.Module]:
    return [nn.Conv2d(inputs, FILTERS, **shape), nn.GroupNorm(4, FILTERS), nn.GELU()]


def _mlp(width: int) -> list[nn.Module]:
    return [nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)]
