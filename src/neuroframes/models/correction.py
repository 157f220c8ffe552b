"""The learned correction of the backbone: networks that take EEG, and a gate on what each of them says.

    m~ = m + mean over members i of gate_i(s, whether frames are measured)_g * delta_i(x, s, m, y, EEG)

Exact conditioning on measurements and noise does the rest (see `diffusion.exact`): whatever delta is, the
result agrees with the measurements. A member's gate is 0 where its own validation found no gain, and was 0
before any: a member that harms is shut, and shuts no other.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neuroframes.diffusion.windows import Windows
from neuroframes.models.denoiser import EARLIEST, LATEST, Denoiser
from neuroframes.models.eeg_encoder import TOKEN_STEP, TOKEN_WINDOW, EEGEncoder, Tokens
from neuroframes.models.settings import CorrectionSettings
from neuroframes.recording.signal import Signal

Float = NDArray[np.float64]
Bands = Mapping[str, tuple[float, float]]

# Noise levels of the gate: linear in log s between them, the last for all beyond.
LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
PIECE = 64  # tokens encoded at once
ON_GRID = 0.05  # TR
DRIFT = 0.01  # by which the scanner's clock may differ from the model's TR


class Member(nn.Module):
    """One network: an encoder of EEG and a denoiser."""

    def __init__(self, settings: CorrectionSettings, n_latents: int, bands: Bands) -> None:
        super().__init__()
        width, n_virtual = settings.width, settings.virtual_channels
        self.encoder = EEGEncoder(width, filters=settings.filters, n_virtual=n_virtual, bands=bands)
        self.denoiser = Denoiser(n_latents, width, settings.depth, settings.heads, width, settings.dropout)


@dataclass(frozen=True)
class Query:
    """What a correction is asked for: frames on the model's grid, and what is known of them.

    Attributes
    ----------
    times : array, shape (n,), seconds on the EEG clock, the TR apart, at least a window
    mean : array, shape (n, d), of the prior
    given : array, shape (n, d), latents of measured frames, 0 elsewhere
    measured : array, shape (n,)
    position : array, shape (K,), where the frames asked for lie, counted in frames of the grid
    """

    times: Float
    mean: Float
    given: Float
    measured: NDArray[np.bool_]
    position: Float

    def on_grid(self, values: Tensor) -> Tensor:
        """Values (S, K, d) of the frames asked for on the grid (S, n, d), elsewhere the mean.

        Where several are nearest to one point of the grid, it has the nearest of them.
        """
        rows = np.rint(self.position).astype(int)
        by_distance = np.lexsort((np.abs(self.position - rows), rows))
        rows, first = np.unique(rows[by_distance], return_index=True)
        spread = torch.as_tensor(self.mean, dtype=values.dtype, device=values.device).repeat(
            len(values), 1, 1
        )
        spread[:, rows] = values[:, by_distance[first]]
        return spread

    def at_frames(self, values: Tensor) -> Tensor:
        """Values (..., n, d) on the grid, interpolated at the frames asked for (..., K, d)."""
        position = torch.as_tensor(self.position, device=values.device)
        left = position.long().clamp(max=values.shape[-2] - 2)
        weight = (position - left).to(values.dtype)[:, None]
        return torch.lerp(values[..., left, :], values[..., left + 1, :], weight)


def grid_of(times: Float, tr: float, shortest: int) -> tuple[Float, Float]:
    """The model's grid around frames at `times` (K,), at least `shortest` long, and their positions on it.

    Frames that are the TR apart but for `DRIFT` take the grid with them, or a long run would leave it.
    """
    step = (times[-1] - times[0]) / max(1, len(times) - 1)
    tr = step if abs(step / tr - 1) < DRIFT else tr
    n_inside = int(np.ceil((times[-1] - times[0]) / tr - ON_GRID)) + 1
    before = max(0, shortest - n_inside) // 2
    n = max(shortest, n_inside)
    grid = times[0] + tr * (np.arange(n) - before)
    position = (times - grid[0]) / tr
    near = np.rint(position)
    return grid, np.clip(np.where(np.abs(position - near) < ON_GRID, near, position), 0, n - 1)


class Correction(nn.Module):
    """Members and their gates.

    Parameters
    ----------
    settings : CorrectionSettings
    bands : dict from name to (low, high), Hz
    group : array of int, shape (d,)
    positions : array, shape (C, 3), metres
    tr : float, seconds
    rate : float, Hz, of the EEG: the encoders' kernels are in samples
    """

    gate: Tensor  # (members, levels, 2, G): without and with measured frames
    group: Tensor
    positions: Tensor

    def __init__(
        self,
        settings: CorrectionSettings,
        bands: Bands,
        group: NDArray[np.int64],
        positions: NDArray[np.floating],
        tr: float,
        rate: float,
    ) -> None:
        super().__init__()
        self.settings, self.bands, self.tr, self.rate = settings, dict(bands), tr, rate
        self.members = nn.ModuleList(Member(settings, len(group), bands) for _ in range(settings.members))
        self.register_buffer("gate", torch.zeros(settings.members, len(LEVELS), 2, int(group.max()) + 1))
        self.register_buffer("group", torch.as_tensor(group))
        self.register_buffer("positions", torch.as_tensor(positions, dtype=torch.float64))

    @property
    def networks(self) -> list[Member]:
        return [member for member in self.members if isinstance(member, Member)]

    @torch.no_grad()
    def tokens(self, eeg: Signal) -> list[Tokens]:
        """Tokens of a whole recording, one set a member, in pieces that memory holds."""
        device = self.gate.device
        hop, length = round(TOKEN_STEP * eeg.rate), round(TOKEN_WINDOW * eeg.rate)
        n_tokens = (eeg.data.shape[1] - length) // hop + 1
        found = []
        for member in self.networks:
            pieces = []
            for first in range(0, n_tokens, PIECE):
                last = min(first + PIECE, n_tokens)
                part = torch.as_tensor(eeg.data[:, first * hop : (last - 1) * hop + length], device=device)
                start = torch.tensor([first * hop / eeg.rate], dtype=torch.float64, device=device)
                pieces.append(member.encoder(part[None], eeg.rate, self.positions, start))
            values, times = (torch.cat(part, dim=1) for part in zip(*pieces, strict=True))
            found.append(Tokens(values, times))
        return found

    def query(
        self,
        times: Float,
        mean_at: Callable[[Float], Float],
        latents: Float | None = None,
        measured: NDArray[np.bool_] | None = None,
    ) -> Query:
        """Put frames at `times` (K,) on the model's grid, of at least a window.

        Measured frames off the grid aren't shown to the networks; exact conditioning knows them anyway.
        """
        grid, position = grid_of(times, self.tr, self.settings.frames)
        mean = mean_at(grid)
        given, known = np.zeros_like(mean), np.zeros(len(grid), bool)
        if latents is not None and measured is not None:
            on_grid = np.flatnonzero(measured & (position == np.rint(position)))
            rows = position[on_grid].astype(int)
            given[rows], known[rows] = latents[on_grid], True
        return Query(grid, mean, given, known, position)

    def gate_at(self, sigma: float, measured: bool) -> Tensor:
        """Gate of each member on each latent, shape (members, d)."""
        position = np.interp(np.log(min(sigma, LEVELS[-1])), np.log(LEVELS), np.arange(len(LEVELS)))
        left = min(int(position), len(LEVELS) - 2)
        below, above = self.gate[:, left, int(measured)], self.gate[:, left + 1, int(measured)]
        return torch.lerp(below, above, float(position) - left)[:, self.group]

    @torch.no_grad()
    def shift(
        self, query: Query, tokens: list[Tokens], x: Tensor | None = None, sigma: float = np.inf
    ) -> Tensor:
        """Gated delta at the frames asked for, shape (S, K, d), float64, on the correction's device.

        Parameters
        ----------
        query : Query
        tokens : list of Tokens, one a member, batch of one
        x : tensor, shape (S, n, d), noised latents on the grid, on any device; None where sigma is infinite
        sigma : float
        """
        gates = torch.stack([self.gate_at(sigma, among) for among in (False, True)])
        n, device = len(query.times), self.gate.device
        if not gates.any():
            shape = (1 if x is None else len(x), len(query.position), len(self.group))
            return torch.zeros(shape, dtype=torch.float64, device=device)
        cut = Windows.over(n, self.settings.frames, self.settings.frames // 2)
        frames = torch.arange(n, device=device)
        rows = torch.stack([frames[window] for window in cut.slices])
        known = query.times, query.mean.astype(np.float32), query.given.astype(np.float32), query.measured
        times, mean, given, measured = (torch.as_tensor(part, device=device)[rows] for part in known)
        gate = gates[measured.any(dim=1).long()][:, :, None]
        near = [_around(part, times) for part in tokens]
        draws = torch.zeros_like(mean)[None] if x is None else x.to(device, torch.float32)[:, rows]
        level = torch.full((len(rows),), sigma, device=device)
        deltas = []
        for draw in draws:
            parts = [
                member.denoiser(draw, level, times, mean, given, measured, around)
                for member, around in zip(self.networks, near, strict=True)
            ]
            deltas.append(cut.blend((gate * torch.stack(parts, dim=1)).mean(dim=1).double()))
        return query.at_frames(torch.stack(deltas))

    def save(self, folder: Path) -> None:
        """Write `correction.safetensors` and `correction.json` into a folder."""
        state = {name: tensor.contiguous().cpu() for name, tensor in self.state_dict().items()}
        save_file(state, folder / "correction.safetensors")
        about = {"settings": self.settings.to_json(), "bands": self.bands, "tr": self.tr, "rate": self.rate}
        (folder / "correction.json").write_text(json.dumps(about, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, onto the CPU."""
        about = json.loads((folder / "correction.json").read_text())
        state = load_file(folder / "correction.safetensors")
        bands = {name: (low, high) for name, (low, high) in dict(about["bands"]).items()}
        settings = CorrectionSettings(**about["settings"])
        with torch.random.fork_rng(devices=[]):
            group, positions = (state[name].numpy() for name in ("group", "positions"))
            correction = cls(settings, bands, group, positions, about["tr"], about["rate"])
        correction.load_state_dict(state)
        return correction.eval()


def _around(tokens: Tokens, times: Tensor) -> Tokens:
    """The tokens within reach of each window (W, K), filled up with times of NaN."""
    own = tokens.times[0]
    first = torch.searchsorted(own, times[:, 0] - EARLIEST)
    last = torch.searchsorted(own, times[:, -1] + LATEST, right=True)
    index = first[:, None] + torch.arange(int((last - first).max()), device=own.device)
    inside = index < last[:, None]
    index = index.clamp(max=len(own) - 1)
    return Tokens(tokens.values[0][index], torch.where(inside, own[index], torch.nan))
