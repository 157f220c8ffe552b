"""The learned correction of the prior's mean: a diffusion transformer over frames that attends to EEG tokens.

    delta = F(x / sqrt(1 + s^2), s, m, y, EEG),   x = z + s n

Time enters as differences in seconds only. Between frames i and j a head's logits are lowered by
slope |t_i - t_j|; between a frame and a token by (t_frame - t_token - delay)^2 / (2 spread^2), where each
head learns its haemodynamic delay. With a head of zeros, as initialised, delta is 0.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroframes.models.eeg_encoder import Tokens

EARLIEST, LATEST = 25.0, 5.0  # seconds that a token may lie before a frame, and after it
LOG_LEVELS = 5.0  # |log s| from 0.01 to 100 stays below this; infinity is put there


class Attention(nn.Module):
    """Multi-head attention with a bias for each head.

    Parameters
    ----------
    width, source_width : int
    heads : int
    optional : bool
        Add a key of zeros whose value is zero: a query may attend to nothing, and must where all is masked.
    """

    def __init__(self, width: int, source_width: int, heads: int, *, optional: bool = False) -> None:
        super().__init__()
        self.heads, self.optional = heads, optional
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(source_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, queries: Tensor, source: Tensor, bias: Tensor) -> Tensor:
        """From queries (B, Q, w), source (B, S, w') and bias (B, H, Q, S) to (B, Q, w)."""
        query = self.query(queries).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(source).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.optional:
            both = functional.pad(both, (0, 0, 0, 1))
            bias = functional.pad(bias, (0, 1))
        key, value = both.unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.out(mixed.transpose(1, 2).flatten(-2))


class FrameBias(nn.Module):
    """-slope |t_i - t_j|, shape (B, H, Q, Q), from differences of time (B, Q, Q), seconds."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.log_slope = nn.Parameter(torch.linspace(math.log(0.5), math.log(0.02), heads))  # per second

    def forward(self, lag: Tensor) -> Tensor:
        return -self.log_slope.exp()[:, None, None] * lag.abs()[:, None]


class TokenBias(nn.Module):
    """-(t_frame - t_token - delay)^2 / (2 spread^2), shape (B, H, Q, T), -inf out of reach."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.delay = nn.Parameter(torch.linspace(2.0, 12.0, heads))  # seconds
        self.log_spread = nn.Parameter(torch.full((heads,), math.log(2.0)))

    def forward(self, lag: Tensor) -> Tensor:
        lag = lag[:, None]
        within = (lag <= EARLIEST) & (lag >= -LATEST)
        # A NaN that is masked only afterwards would still reach the gradient of the delay.
        off = torch.where(within, lag, 0) - self.delay[:, None, None]
        bias = -(off / self.log_spread.exp()[:, None, None]).square() / 2
        return bias.masked_fill(~within, -torch.inf)


class DenoiserBlock(nn.Module):
    """Self-attention over frames, cross-attention to EEG tokens, perceptron, under adaptive LayerNorm."""

    def __init__(self, width: int, heads: int, token_width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)
        self.modulation = _modulation(width, 9)
        self.frame_bias, self.token_bias = FrameBias(heads), TokenBias(heads)
        self.frames = Attention(width, width, heads)
        self.eeg = Attention(width, token_width, heads, optional=True)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width, bias=False)
        )

    def forward(
        self, h: Tensor, level: Tensor, between: Tensor, behind: Tensor | None, tokens: Tensor | None
    ) -> Tensor:
        """From h (B, Q, w), level (B, w), lags between frames (B, Q, Q) and behind tokens (B, Q, T)."""
        first, second, third = self.modulation(level)[:, None].chunk(3, dim=-1)
        x, gate = self._modulated(h, first)
        h = h + gate * self.dropout(self.frames(x, x, self.frame_bias(between)))
        if tokens is not None and behind is not None:
            x, gate = self._modulated(h, second)
            h = h + gate * self.dropout(self.eeg(x, tokens, self.token_bias(behind)))
        x, gate = self._modulated(h, third)
        return h + gate * self.dropout(self.perceptron(x))

    def _modulated(self, h: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale, gate = modulation.chunk(3, dim=-1)
        return self.norm(h) * (1 + scale) + shift, 1 + gate


def _modulation(width: int, n: int) -> nn.Sequential:
    """Shifts, scales and gates, nearly the identity at first: for delta = 0 a head of zeros is enough."""
    linear = nn.Linear(width, n * width)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.SiLU(), linear)


class NoiseLevel(nn.Module):
    """Embedding (B, w) of the noise level s (B,): sines of log s, the same for all s beyond `LOG_LEVELS`."""

    frequency: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequency = torch.linspace(math.log(0.1), math.log(3.0), width // 2).exp()
        self.register_buffer("frequency", frequency, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * (width // 2), width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigma: Tensor) -> Tensor:
        angle = sigma.log().clamp(-LOG_LEVELS, LOG_LEVELS)[:, None] * self.frequency
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=-1))


class Denoiser(nn.Module):
    """Correction of the prior's mean.

    Parameters
    ----------
    n_latents : int
    width, depth, heads : int
    token_width : int
        Of the EEG tokens.
    dropout : float
    """

    def __init__(
        self, n_latents: int, width: int, depth: int, heads: int, token_width: int, dropout: float
    ) -> None:
        super().__init__()
        self.inputs = nn.Linear(3 * n_latents + 1, width)
        self.level = NoiseLevel(width)
        self.blocks = nn.ModuleList(DenoiserBlock(width, heads, token_width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = _modulation(width, 2)
        self.head = nn.Linear(width, n_latents)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        times: Tensor,
        mean: Tensor,
        given: Tensor,
        measured: Tensor,
        tokens: Tokens | None = None,
    ) -> Tensor:
        """delta, shape (B, K, d).

        Parameters
        ----------
        x : tensor, shape (B, K, d)
            Noised latents; where sigma is infinite they aren't looked at.
        sigma : tensor, shape (B,), units of the latents
        times : tensor, shape (B, K), seconds
        mean : tensor, shape (B, K, d)
            Prior mean.
        given : tensor, shape (B, K, d)
            Latents of measured frames, 0 elsewhere.
        measured : tensor of bool, shape (B, K)
        tokens : Tokens, on the clock of `times`
            None without EEG.
        """
        sigma = sigma.to(x.dtype)
        level = sigma[:, None, None]
        scaled = torch.where(level.isinf(), 0, x) / (1 + level.square()).sqrt()
        h = self.inputs(torch.cat([scaled, mean, given, measured[..., None].to(x.dtype)], dim=-1))
        embedding = self.level(sigma)
        # Differences first, in the precision of the times: float32 is too coarse for hours squared.
        between = (times[:, :, None] - times[:, None]).to(x.dtype)
        behind = None if tokens is None else (times[:, :, None] - tokens.times[:, None]).to(x.dtype)
        values = None if tokens is None else tokens.values
        for block in self.blocks:
            h = block(h, embedding, between, behind, values)
        shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=-1)
        h = self.norm(h) * (1 + scale) + shift
        return self.head(h)
