"""The EEG as tokens: log power of learned spatial and temporal filters, in windows whose times are kept.

    eeg_c(t) = sum_lm f_lm(t) (1 + l)^-2 Y_lm(r_c) + noise       field on the head, by ridge on f
    u_v(t) = sum_lm a_vlm f_lm(t)                                virtual channels
    token(t) = GELU(LayerNorm(Linear(log band power of u, log power of temporal convolutions of u)))

A spatial filter acts on the field, as splines on the sphere interpolate it (Perrin et al. 1989), and has no
weight for any one electrode: any channels, in any order, will do. A token is made of the samples of its own
window and no others.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neuroframes.errors import InputError
from neuroframes.recording.band_power import BANDS, check_bands

FLOOR = 1e-18  # V^2/Hz, as in recording.band_power
CLIP = 5.0  # standard deviations, as in models.ridge
NOISE = 1e-2  # variance of a channel's noise, where the field's is 1.3
MEMORY = 100  # batches that the running mean and variance look back on
TOKEN_STEP, TOKEN_WINDOW = 0.8, 2.0  # seconds, between tokens and of the EEG of each
DEGREE = 6  # of the spherical harmonics
AMPLITUDE = 1e-5  # volts, what counts as 1


class Tokens(NamedTuple):
    """EEG tokens.

    Attributes
    ----------
    values : tensor, shape (B, T, w)
    times : tensor, shape (B, T), seconds
        Centre of each token's window; NaN for a token that isn't to be used.
    """

    values: Tensor
    times: Tensor


def real_harmonics(direction: Tensor, degree: int) -> Tensor:
    """Real spherical harmonics at unit vectors (..., 3), shape (..., (degree + 1)^2), mean square 1.

    Polynomials in x, y and z by the recursion of the associated Legendre functions: smooth at the poles.
    """
    x, y, z = direction.unbind(-1)
    legendre: dict[tuple[int, int], Tensor] = {}
    cosine, sine = [torch.ones_like(z)], [torch.zeros_like(z)]
    for m in range(degree + 1):
        legendre[m, m] = torch.full_like(z, math.prod(range(1, 2 * m, 2)))
        for n in range(m + 1, degree + 1):
            before = legendre.get((n - 2, m), torch.zeros_like(z))
            legendre[n, m] = ((2 * n - 1) * z * legendre[n - 1, m] - (n + m - 1) * before) / (n - m)
        cosine.append(x * cosine[m] - y * sine[m])
        sine.append(x * sine[m] + y * cosine[m])
    basis = []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            order = abs(m)
            square = (2 * n + 1) * (2 if m else 1) * math.factorial(n - order) / math.factorial(n + order)
            around = sine[order] if m < 0 else cosine[order]
            basis.append(math.sqrt(square) * legendre[n, order] * around)
    return torch.stack(basis, -1)


def sphere_centre(positions: Tensor, keep: Tensor) -> Tensor:
    """Centre (B, 3) of the sphere through electrodes (C, 3), of those kept (B, C), by least squares."""
    weight = keep / keep.sum(-1, keepdim=True).clamp(min=1)
    mean = weight @ positions
    arm = positions - mean[:, None]
    square = arm.square().sum(-1)
    square = square - (weight * square).sum(-1, keepdim=True)
    scatter = torch.einsum("bc,bci,bcj->bij", weight, arm, arm)
    moment = torch.einsum("bc,bci->bi", weight * square, arm) / 2
    # A thousandth of ridge: electrodes in a plane leave the centre in that plane.
    ridge = 1e-3 * scatter.diagonal(dim1=-2, dim2=-1).sum(-1) + 1e-12
    scatter = scatter + ridge[:, None, None] * torch.eye(3, dtype=scatter.dtype, device=scatter.device)
    return mean + torch.linalg.solve_ex(scatter, moment[..., None])[0][..., 0]


def log_band_power(
    signals: Tensor,
    rate: float,
    bands: Mapping[str, tuple[float, float]],
    length: int,
    hop: int,
    floor: float,
) -> Tensor:
    """Log of the mean periodogram over each band in Hann windows: `recording.band_power`, differentiable.

    Parameters
    ----------
    signals : tensor, shape (..., N)
    rate : float, Hz
    length, hop : int, samples
    floor : float, units of `signals` squared, a hertz

    Returns
    -------
    tensor, shape (..., T, len(bands)); window i starts at sample i * hop
    """
    window = torch.hann_window(length, dtype=signals.dtype, device=signals.device)
    # Edges of bands are compared in float64: in float32, 8 Hz may lie below 8 Hz.
    frequency = torch.fft.rfftfreq(length, 1 / rate, dtype=torch.float64, device=signals.device)
    inside = torch.stack([(frequency >= low) & (frequency < high) for low, high in bands.values()], dim=1)
    band_mean = (inside / inside.sum(dim=0)).to(signals.dtype) / (rate * window.square().sum())
    spectrum = torch.view_as_real(torch.fft.rfft(signals.unfold(-1, length, hop) * window))
    power = spectrum.flatten(-2).square() @ band_mean.repeat_interleave(2, dim=0)
    return power.clamp(min=floor).log()


class RunningStandardisation(nn.Module):
    """Features (..., F) less their running mean, over their running spread, clipped.

    Unlike batch normalisation, the statistics are those of evaluation in training too.
    """

    centre: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("variance", torch.ones(n_features))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        if self.training:
            self._update(features.detach().flatten(0, -2).float())
        standard = (features - self.centre) * (self.variance + 1e-6).rsqrt()
        return standard.clamp(-CLIP, CLIP)

    @torch.no_grad()
    def _update(self, rows: Tensor) -> None:
        """Mean over all batches at first, then over the last `MEMORY` or so."""
        self.batches += 1
        rate = self.batches.reciprocal().clamp(min=1 / MEMORY)
        self.centre.lerp_(rows.mean(dim=0), rate)
        self.variance.lerp_((rows - self.centre).square().mean(dim=0), rate)


class EEGEncoder(nn.Module):
    """EEG to tokens every `TOKEN_STEP` seconds.

    Temporal filters are separable: each has its own mixture of the virtual channels and its own kernel.
    Kernels are in samples: a model is used at the rate that it was trained at.

    Parameters
    ----------
    width : int
        Of the tokens.
    kernels : tuple of int, samples
    filters : int
        A kernel size.
    n_virtual : int
    bands : mapping from name to (low, high), Hz
    """

    smoothness: Tensor

    def __init__(
        self,
        width: int = 64,
        *,
        kernels: tuple[int, ...] = (3, 7, 15, 31),
        filters: int = 8,
        n_virtual: int = 32,
        bands: Mapping[str, tuple[float, float]] = BANDS,
    ) -> None:
        super().__init__()
        self.kernels, self.filters, self.bands = kernels, filters, dict(bands)
        degrees = torch.cat([torch.full((2 * n + 1,), 1.0 + n) for n in range(DEGREE + 1)])
        self.register_buffer("smoothness", degrees.double().pow(-2), persistent=False)
        self.coefficients = nn.Parameter(torch.randn(n_virtual, len(degrees)) / degrees)
        self.mixing = nn.Parameter(torch.randn(len(kernels) * filters, n_virtual) / math.sqrt(n_virtual))
        self.temporal = nn.ParameterList(torch.randn(filters, 1, k) / math.sqrt(k) for k in kernels)
        self.band_scale = RunningStandardisation(n_virtual * len(bands))
        self.filter_scale = RunningStandardisation(len(kernels) * filters)
        self.scale = nn.Parameter(torch.randn(len(kernels), filters))
        self.attention = nn.MultiheadAttention(filters, num_heads=2, bias=False, batch_first=True)
        self.out = nn.Sequential(
            nn.Linear(n_virtual * len(bands) + len(kernels) * filters, width), nn.LayerNorm(width), nn.GELU()
        )

    def field_weights(self, positions: Tensor, keep: Tensor | None = None) -> Tensor:
        """Weight of each channel in the field's coefficients, float64, shape (B, C, (DEGREE + 1)^2).

        A channel that isn't kept, or whose position isn't finite, has weights 0; B is 1 without `keep`.
        """
        positions = positions.to(self.coefficients.device, torch.float64)
        located = positions.isfinite().all(-1)
        positions = torch.where(located[:, None], positions, 0)
        present = (located[None] if keep is None else keep & located).double()
        direction = functional.normalize(positions - sphere_centre(positions, present)[:, None], dim=-1)
        basis = real_harmonics(direction, DEGREE) * self.smoothness * present[..., None]
        noise = NOISE * torch.eye(len(positions), dtype=basis.dtype, device=basis.device)
        return torch.linalg.solve_ex(basis @ basis.mT + noise, basis)[0]

    def spatial_filters(self, positions: Tensor, keep: Tensor | None = None) -> Tensor:
        """Weights (B, n_virtual, C) of each channel in each virtual channel; B is 1 without `keep`."""
        return self.coefficients @ self.field_weights(positions, keep).mT.to(self.coefficients.dtype)

    @torch.no_grad()
    def initialise_filters(self, positions: NDArray[np.floating], filters: NDArray[np.floating]) -> None:
        """Start from the smoothest filters of the field that fit given filters of channels.

        Parameters
        ----------
        positions : array, shape (C, 3), metres
        filters : array, shape (n, C), n up to n_virtual
            Other virtual channels stay as they are.
        """
        weights = self.field_weights(torch.as_tensor(positions))[0].cpu().numpy()
        # What the electrodes hardly see stays 0, rather than be blown up between them.
        fitted = torch.as_tensor(filters @ np.linalg.pinv(weights.T, rcond=1e-3))
        self.coefficients[: len(fitted)].copy_(fitted)

    def forward(
        self,
        eeg: Tensor,
        rate: float,
        positions: Tensor,
        start: Tensor,
        keep: Tensor | None = None,
        keep_bands: Tensor | None = None,
    ) -> Tokens:
        """Tokens of the EEG.

        Parameters
        ----------
        eeg : tensor, shape (B, C, N), volts
        rate : float, Hz
        positions : tensor, shape (C, 3), metres, in head coordinates
            A channel whose position isn't finite counts as dropped.
        start : tensor, shape (B,), seconds
            Time of the first sample.
        keep : tensor of bool, shape (B, C)
            Channels that are present; by default all.
        keep_bands : tensor of bool, shape (B, len(bands))
            Bands whose power counts; by default all.

        Raises
        ------
        InputError
            If a band lies above Nyquist, or the EEG is shorter than one window.
        """
        check_bands(rate, self.bands)
        length, hop = round(TOKEN_WINDOW * rate), round(TOKEN_STEP * rate)
        if eeg.shape[-1] < length:
            raise InputError(f"EEG lasts {eeg.shape[-1] / rate:.1f} s; a token needs {TOKEN_WINDOW:g} s")
        # Rounded to two digits by mixed precision, strong slow waves would drown gamma.
        with torch.autocast(eeg.device.type, enabled=False):
            filters = self.spatial_filters(positions, keep) / AMPLITUDE
            filters = torch.cat([filters, self.mixing @ filters], dim=1).expand(len(eeg), -1, -1)
            # On a CPU one sequence at a time stays in the cache, which is three times as fast.
            size = 1 if eeg.device.type == "cpu" else len(eeg)
            parts = [
                self.log_powers((w @ x.to(w.dtype)).float(), rate, length, hop)
                for w, x in zip(filters.split(size), eeg.split(size), strict=True)
            ]
        bands, scales = (torch.cat(part) for part in zip(*parts, strict=True))
        scales = self.filter_scale(scales).unflatten(-1, self.scale.shape)
        across = (scales + self.scale).flatten(0, 1)
        across = self.attention(across, across, across, need_weights=False)[0].view_as(scales)
        bands = self.band_scale(bands)
        if keep_bands is not None:
            bands = bands * keep_bands.repeat(1, len(self.coefficients))[:, None]
        values = self.out(torch.cat([bands, (scales + across).flatten(-2)], dim=-1))
        offset = (length // 2 + hop * torch.arange(values.shape[1], device=start.device)) / rate
        return Tokens(values, start[:, None] + offset.to(start.dtype))

    def log_powers(self, signals: Tensor, rate: float, length: int, hop: int) -> tuple[Tensor, Tensor]:
        """Log power of virtual channels in bands and of temporal filters, in windows of `length` samples.

        Parameters
        ----------
        signals : tensor, shape (B, n_virtual + S, N)
            Virtual channels, then one mixture of them for each of S temporal filters.

        Returns
        -------
        tensors, shapes (B, T, n_virtual * bands), band fastest, and (B, T, S)
        """
        floor = FLOOR / AMPLITUDE**2
        virtual, mixed = signals.split([len(self.coefficients), len(self.mixing)], dim=1)
        bands = log_band_power(virtual, rate, self.bands, length, hop, floor).movedim(1, 2).flatten(-2)
        powers = []
        for x, kernel in zip(mixed.split(self.filters, dim=1), self.temporal, strict=True):
            filtered = functional.conv1d(x, kernel, groups=self.filters)
            # Without padding, and windows as much shorter: only samples of the token's own window count.
            powers.append(functional.avg_pool1d(filtered.square(), length - kernel.shape[-1] + 1, hop))
        return bands, torch.cat(powers, dim=1).clamp(min=floor).log().mT
