"""The networks of Qu, Gao, Wang and Fu (2026): frames by diffusion in a linear latent, given raw EEG.

    frames (K, V)  -- E -->  z (K, d)  -- D -->  frames        linear both ways, no bias
    EEG (C, N)     -- temporal convolutions -->  tokens (T, w)
    eps(sqrt(a) z + sqrt(1 - a) n, t, tokens)                  transformer over the K frames

What the paper leaves open is as in the diffusion transformer it builds on (Peebles and Xie 2023): adaLN-zero
on the step, MLPs four times as wide, sinusoidal codes of time.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroframes.models.settings import PaperSettings

STRIDE, KERNEL = 4, 7  # of each of the three convolutions of the EEG
TOKEN = STRIDE**3  # samples between EEG tokens
STEP_CODE = 256  # width of the diffusion step's code before its MLP


def code(position: Tensor, width: int) -> Tensor:
    """Sinusoids of a position, whole or not (Vaswani et al. 2017, section 3.5); (...,) to (..., width)."""
    half = width // 2
    rate = torch.exp(-math.log(10_000) / half * torch.arange(half, device=position.device))
    angle = position[..., None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class RawEEGEncoder(nn.Module):
    """Three strided convolutions of the standardised EEG: a token every 64 samples.

    Parameters
    ----------
    n_channels : int
    width : int
    samples_per_frame : float
        TR times rate: tokens and frames share one clock, counted in frames from the window's first.
    """

    centre: Tensor  # (C,) mean of each channel, volts
    spread: Tensor  # (C,) standard deviation

    def __init__(self, n_channels: int, width: int, samples_per_frame: float) -> None:
        super().__init__()
        self.width, self.samples_per_frame = width, samples_per_frame
        sizes = (n_channels, width // 4, width // 2, width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(n_in, n_out, KERNEL, STRIDE, KERNEL // 2) for n_in, n_out in pairwise(sizes)
        )
        self.norm = nn.LayerNorm(width)
        self.register_buffer("centre", torch.zeros(n_channels))
        self.register_buffer("spread", torch.ones(n_channels))

    def forward(self, eeg: Tensor) -> Tensor:
        """Tokens (B, T, w) of windows (B, C, N), volts; T = N / 64, rounded up."""
        x = (eeg - self.centre[:, None]) / self.spread[:, None]
        # No normalisation in between: the amplitude is what bears on the frames.
        for convolution in self.convolutions:
            x = functional.gelu(convolution(x))
        at = torch.arange(x.shape[-1], device=x.device) * (TOKEN / self.samples_per_frame) - 0.5
        return self.norm(x.mT) + code(at, self.width)


class PaperBlock(nn.Module):
    """Self-attention, cross-attention to the EEG, MLP; the first and last scaled and gated by the step."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_self, self.before_mlp = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.before_cross = nn.LayerNorm(width)
        self.self_attention, self.cross_attention = (
            nn.MultiheadAttention(width, heads, batch_first=True) for _ in range(2)
        )
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, step: Tensor, tokens: Tensor) -> Tensor:
        """x (B, K, w), step (B, w), tokens (B, T, w) to (B, K, w)."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(step)[:, None].chunk(6, dim=-1)
        h = self.before_self(x) * (1 + scale) + shift
        x = x + gate * self.self_attention(h, h, h, need_weights=False)[0]
        x = x + self.cross_attention(self.before_cross(x), tokens, tokens, need_weights=False)[0]
        return x + mlp_gate * self.mlp(self.before_mlp(x) * (1 + mlp_scale) + mlp_shift)


class FrameTransformer(nn.Module):
    """eps(x_t, t, EEG tokens) of K frames, any K."""

    def __init__(self, n_latents: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(n_latents, width)
        self.step = nn.Sequential(nn.Linear(STEP_CODE, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(PaperBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_latents)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, step: Tensor, tokens: Tensor) -> Tensor:
        """Noise (B, K, d) in x (B, K, d) at steps (B,), given tokens (B, T, w)."""
        h = self.project(x) + code(torch.arange(x.shape[1], device=x.device), self.width)
        condition = self.step(code(step, STEP_CODE))
        for block in self.blocks:
            h = block(h, condition, tokens)
        return self.head(self.norm(h))


class PaperNetwork(nn.Module):
    """All that is trained.

    Parameters
    ----------
    settings : PaperSettings
    n_vertices, n_latents, n_channels : int
    samples_per_frame : float
    """

    def __init__(
        self,
        settings: PaperSettings,
        n_vertices: int,
        n_latents: int,
        n_channels: int,
        samples_per_frame: float,
    ) -> None:
        super().__init__()
        # Stored times sqrt(V), so that its entries are about 1 whatever V is. Stored as it is, Adam's first
        # step of 1e-4 on each of 91,282 entries would move every latent by several standard deviations.
        self.encoder = nn.Parameter(torch.randn(n_vertices, n_latents))
        self.decoder = nn.Parameter(torch.randn(n_latents, n_vertices) / math.sqrt(n_latents))
        self.eeg = RawEEGEncoder(n_channels, settings.width, samples_per_frame)
        self.transformer = FrameTransformer(n_latents, settings.width, settings.layers, settings.heads)

    def encode(self, frames: Tensor, block: slice | Tensor = slice(None)) -> Tensor:
        """Latents (..., d) of frames (..., V), or what the vertices in `block` add to them."""
        return frames @ self.encoder[block] / math.sqrt(len(self.encoder))

    def decode(self, latents: Tensor, block: slice | Tensor = slice(None)) -> Tensor:
        """Frames (..., V) of latents (..., d), or their vertices in `block`."""
        return latents @ self.decoder[:, block]

    @torch.no_grad()
    def set_autoencoder(self, encoder: Tensor, decoder: Tensor) -> None:
        """Start from an encoder (V, d) and a decoder (d, V)."""
        self.encoder.copy_(encoder * math.sqrt(len(encoder)))
        self.decoder.copy_(decoder)
