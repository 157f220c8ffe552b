"""E2fNet (Roos, Fukuda and Cap 2025): a U-Net on spectra of the 20 repetition times before a frame.

    x_icf = |FFT of channel c in window i| at bin f = 1 .. 249, z-scored across channels    (20, C, 249)
    features = mean over 8 x 8 squares of decoder(U-Net(bicubic(encoder(x))))               (w / 8, 8, 8)
    loss = (1 - SSIM) / 2 + MSE / 2
    SSIM = (2 m m' + c1) (2 cov + c2) / ((m^2 + m'^2 + c1) (var + var' + c2))

m, var and cov are those of a frame and its estimate over all vertices: a cortex is no image that a window
could slide over. c1 = (0.01 L)^2 and c2 = (0.03 L)^2, L the range of the data: 6 for z-scored frames, since
99.7 % of a Gaussian's values lie within 3 standard deviations.

A window is the TR, as the authors have it, or 500 samples where the TR has fewer: those have 249 bins between
0 and the Nyquist frequency.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW

from neuroframes.baselines.network import Inputs, NetworkBaseline, VertexNetwork, spectra, stepped
from neuroframes.errors import InputError
from neuroframes.recording.segments import Segment

STEPS = 20  # repetition times before a frame
BINS = 249
SIDE = 64  # of the square maps
POOLED = 8  # side of the map that the head takes
WARM_UP = 50  # optimisation steps
RESTART = 10  # epochs
DATA_RANGE = 6.0  # L


@dataclass(kw_only=True, eq=False)
class E2FNet(NetworkBaseline):
    """Spectra of the last 20 repetition times through a convolutional encoder, a U-Net and a decoder.

    Parameters
    ----------
    width : int, a multiple of 8
        Of the U-Net; encoder and decoder have an eighth, a quarter and a half of it.
    **settings
        See `NetworkBaseline`.
    """

    name = "E2FNet"
    clip = 1.0

    epochs: int = 50
    batch: int = 32
    learning_rate: float = 1e-3
    width: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 8 or self.width % 8:
            raise InputError(f"the width is {self.width}; expected a multiple of 8")

    def inputs(self, segment: Segment) -> Inputs:
        """Spectra (B, 20, C, 249) of the repetition times before frames, the latest last.

        Raises
        ------
        InputError
            If there is no EEG, or a single channel.
        """
        eeg = segment.eeg_for(self.name)
        if len(eeg.data) < 2:
            raise InputError(
                f"{segment.run}: {self.name} compares channels but the EEG has one; use EEG of at least 2"
            )
        n = max(round(self.tr_ * eeg.rate), 2 * (BINS + 1))
        return self.history(lambda t: spectra(eeg, t - self.tr_ / 2, n, -n, BINS), segment, STEPS)

    def body(self, example: Tensor) -> tuple[nn.Module, int]:
        return Generator(example.shape[2], self.width), self.width // 8 * POOLED**2

    def loss(self, network: VertexNetwork, x: Tensor, frames: Tensor) -> Tensor:
        return ssim_mse(network(x), frames)

    def optimizer(self, network: VertexNetwork, steps_per_epoch: int) -> Any:
        """AdamW whose learning rate restarts every 10 epochs."""
        return scheduled(network.parameters(), self.learning_rate, RESTART * steps_per_epoch)


def ssim_mse(estimate: Tensor, frames: Tensor) -> Tensor:
    """(1 - SSIM) / 2 + MSE / 2 of frames (B, V), averaged over them."""
    c1, c2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
    means = estimate.mean(dim=1), frames.mean(dim=1)
    x, y = (part - mean[:, None] for part, mean in zip((estimate, frames), means, strict=True))
    luminance = (2 * means[0] * means[1] + c1) / (means[0].square() + means[1].square() + c1)
    structure = (2 * (x * y).mean(dim=1) + c2) / ((x.square() + y.square()).mean(dim=1) + c2)
    error = functional.mse_loss(estimate, frames)
    return (1 - (luminance * structure).mean() + error) / 2


def scheduled(parameters: Iterable[nn.Parameter], learning_rate: float, period: int) -> dict[str, Any]:
    """AdamW, its learning rate down a cosine every `period` steps, after a linear warm-up."""

    def factor(step: int) -> float:
        return min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * (step % period) / period)) / 2

    return stepped(AdamW(parameters, lr=learning_rate), factor)


class Generator(nn.Module):
    """Spectra (B, 20, C, 249) to features (B, w / 8 * 64)."""

    resize: Tensor

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__()
        eighth, quarter, half = width // 8, width // 4, width // 2
        along = {"kernel_size": (1, 5), "stride": (1, 2), "padding": (0, 3)}  # the frequencies: 249, 126, 64
        self.encoder = nn.Sequential(
            *_convolved(STEPS, eighth, **along),
            *_convolved(eighth, quarter, **along),
            *_convolved(quarter, half),
            nn.Conv2d(half, width, 3, padding=1),
        )
        # Only channels are resized, 64 frequencies are there: as a matrix, whose gradient is deterministic.
        one = torch.eye(n_channels)[None, None]
        resize = functional.interpolate(one, (SIDE, n_channels), mode="bicubic")[0, 0]
        self.register_buffer("resize", resize)
        self.unet = UNet(width)
        self.decoder = nn.Sequential(
            *_convolved(width, half), *_convolved(half, quarter), *_convolved(quarter, eighth)
        )
        self.pool = nn.Sequential(nn.AvgPool2d(SIDE // POOLED), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.decoder(self.unet(self.resize @ self.encoder(x))))


def _convolved(inputs: int, outputs: int, **shape: Any) -> Sequence[nn.Module]:
    shape = shape or {"kernel_size": 3, "padding": 1}
    return nn.Conv2d(inputs, outputs, **shape), nn.BatchNorm2d(outputs), nn.ReLU()


class UNet(nn.Module):
    """Maps (B, w, 64, 64) to such maps: the U-Net of diffusion models (Ho et al. 2020) at timestep 0.

    Two levels, one residual block each on the way down and two on the way up, attention between.
    """

    timestep: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("timestep", (torch.arange(width) < width // 2).float())  # cosines, sines of 0
        self.embedding = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width), nn.SiLU()
        )
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.up = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.fine_down, self.coarse_down = ResidualBlock(width, width), ResidualBlock(width, width)
        self.before, self.after = ResidualBlock(width, width), ResidualBlock(width, width)
        self.norm = _norm(width)
        self.attention = nn.MultiheadAttention(width, num_heads=width // 8, batch_first=True)
        self.coarse_up = nn.ModuleList(ResidualBlock(2 * width, width) for _ in range(2))
        self.fine_up = nn.ModuleList(ResidualBlock(2 * width, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        time = self.embedding(self.timestep)
        fine = [self.first(x)]
        fine.append(self.fine_down(fine[0], time))
        coarse = [self.down(fine[1])]
        coarse.append(self.coarse_down(coarse[0], time))
        x = self.before(coarse[1], time)
        tokens = self.norm(x).flatten(2).mT
        x = x + self.attention(tokens, tokens, tokens, need_weights=False)[0].mT.view_as(x)
        x = self.after(x, time)
        for block in self.coarse_up:
            x = block(torch.cat([x, coarse.pop()], dim=1), time)
        x = self.up(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
        for block in self.fine_up:
            x = block(torch.cat([x, fine.pop()], dim=1), time)
        return self.last(x)


class ResidualBlock(nn.Module):
    """Two normalised convolutions, shifted by the embedded timestep (4 w,), around a shortcut."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.into = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, width, 3, padding=1))
        self.shift = nn.Linear(4 * width, width)
        self.out = nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.shortcut = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        shortcut: Tensor = self.shortcut(x)
        return shortcut + self.out(self.into(x) + self.shift(time)[:, None, None])


def _norm(width: int) -> nn.GroupNorm:
    """32 groups at the authors' width of 256."""
    return nn.GroupNorm(max(1, width // 8), width)
