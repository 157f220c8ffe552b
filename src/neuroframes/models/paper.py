"""The recipe of Qu, Gao, Wang and Fu (2026, arXiv 2603.24176), as a model to compare with.

Windows of K frames, z-scored per vertex, are drawn by DDIM in the latent of a linear autoencoder, given
the raw EEG of the same length a fixed 4 s earlier. Measured frames y = A x enter by replacement at every
step (InterRecon),

    z <- A+ y + (I - A+ A) z,

with z the estimate of the noise-free latents; the direction of the step follows from the replaced estimate.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.config import PAPER_DRAWS, PaperSettings
from neuroframes.diffusion.samplers import ddim, range_replacement
from neuroframes.diffusion.schedules import alphas_bar, linear_betas
from neuroframes.frames.autoencoder import blocks, columns_of, rows_of
from neuroframes.models.network_model import NetworkModel
from neuroframes.models.paper_network import PaperNetwork
from neuroframes.recording.eeg_windows import eeg_windows
from neuroframes.recording.signal import Signal

Float32 = NDArray[np.float32]
Epsilon = Callable[[Tensor, int], Tensor]


def signal_shares(settings: PaperSettings) -> Tensor:
    """a_t of each diffusion step, shape (steps,), float64."""
    return alphas_bar(linear_betas(settings.steps, settings.first_beta, settings.last_beta))


def draw(
    epsilon: Epsilon,
    noise: Tensor,
    settings: PaperSettings,
    impose: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """DDIM at evenly spaced diffusion steps, the first and the last among them.

    Parameters
    ----------
    epsilon : callable
        Noise in sqrt(a_t) z + sqrt(1 - a_t) n, and t, to n.
    noise : tensor, shape (..., K, d), standard normal
    settings : PaperSettings
    impose : callable, optional
        From z to A+ y + (I - A+ A) z.

    Returns
    -------
    tensor, shape (..., K, d)
    """
    shares = signal_shares(settings)
    steps = torch.linspace(settings.steps - 1, 0, settings.sampling_steps, dtype=torch.float64)
    chosen = steps.round().long()
    # Divided by sqrt(a_t), the process is z + s n, which is what samplers work on.
    sigmas = ((1 - shares) / shares).sqrt()[chosen]
    step_at = dict(zip(sigmas.tolist(), chosen.tolist(), strict=True))

    def estimate(x: Tensor, sigma: float) -> Tensor:
        step = step_at[sigma]
        z = x - sigma * epsilon(x * float(shares[step].sqrt()), step)
        return z.clamp(-settings.clip, settings.clip)

    denoise = estimate if impose is None else range_replacement(estimate, impose)
    start = noise / float(shares[chosen[0]].sqrt())
    return ddim(denoise, start, torch.cat([sigmas, sigmas.new_zeros(1)]))


@dataclass(frozen=True)
class PaperModel(NetworkModel):
    """A network of `PaperSettings`; see `NetworkModel`."""

    preset = "paper"
    format = "neuroframes-model-paper-1"
    settings_class = PaperSettings

    settings: PaperSettings
    network: PaperNetwork

    @property
    def method(self) -> str:
        """What the model does, for sidecars."""
        return (
            "recipe of Qu, Gao, Wang and Fu (2026, arXiv 2603.24176): "
            "mean of DDIM draws in the latent of a linear autoencoder, given raw EEG"
        )

    @property
    def completing(self) -> str:
        return f"{self.method}, measured frames put into every step"

    @staticmethod
    def draws_for(asked: int) -> int:
        return asked or PAPER_DRAWS

    def fill_missing(
        self,
        frames: Float32,
        measured: NDArray[np.bool_],
        eeg: Signal,
        times: NDArray[np.float64],
        generator: np.random.Generator,
        *,
        draws: int = PAPER_DRAWS,
        vertices: NDArray[np.intp] | None = None,
        batch: int = 64,
    ) -> tuple[Float32, Iterator[Float32]]:
        """Put the mean of draws at the missing frames, in place; see `NetworkModel.fill_missing`.

        Windows of K frames tile the run; the last one ends with it, and overlaps the one before if need be.
        They don't know of each other. One draw is a sample; the mean of more nears the posterior mean. The
        standard deviation is that of the draws, which is of the latents alone; 0 of a single one.
        """
        eeg, n_frames = self.hear(eeg), len(frames)
        self.check_grid(times)
        vertices = np.arange(frames.shape[1]) if vertices is None else vertices
        length = min(self.settings.frames, n_frames)
        starts = np.append(np.arange(0, n_frames - length, length), n_frames - length)
        rows = starts[:, None] + np.arange(length)
        device = self.network.decoder.device
        given = torch.zeros(n_frames, len(self.network.decoder), device=device)
        known = torch.from_numpy(measured).to(device)
        given[known] = self._encode(frames, measured, vertices)
        first = times[starts] - self.tr / 2 - self.settings.delay
        windows = eeg_windows(eeg.data, eeg.rate, first, round(length * self.tr * eeg.rate))
        pieces = []
        for these in np.array_split(np.arange(len(starts)), -(-len(starts) // batch)):
            shape = (draws, *rows[these].shape, given.shape[1])
            noise = torch.from_numpy(generator.standard_normal(shape, np.float32)).to(device)
            here = torch.from_numpy(windows[these]).to(device), given[rows[these]], known[rows[these]]
            pieces.append(self._draw(*here, noise))
        drawn = torch.cat(pieces, dim=1)
        twice = drawn.shape[1] * length - n_frames  # frames that the last two windows share
        latents = torch.cat([drawn[:, :-1].flatten(1, 2), drawn[:, -1, twice:]], dim=1)[:, ~known]
        deviation = np.empty((latents.shape[1], len(vertices)), np.float32, order="F")
        mean = latents.mean(dim=0)
        for block in blocks(len(vertices)):
            frames[~measured, block] = self._decode(mean, vertices[block])
            variance = sum(np.square(self._decode(draw - mean, vertices[block])) for draw in latents)
            deviation[:, block] = np.sqrt(variance / max(1, draws - 1))
        return deviation, (self._drawn(draw, frames, measured, vertices) for draw in latents)

    def _drawn(
        self, latents: Tensor, frames: Float32, measured: NDArray[np.bool_], vertices: NDArray[np.intp]
    ) -> Float32:
        drawn = np.array(frames, order="F")
        for block in blocks(len(vertices)):
            drawn[~measured, block] = self._decode(latents, vertices[block])
        return drawn

    @torch.inference_mode()
    def _draw(self, eeg: Tensor, given: Tensor, measured: Tensor, noise: Tensor) -> Tensor:
        """Draws of windows from noise (S, W, K, d); EEG (W, C, N), given (W, K, d), measured (W, K)."""
        tokens = self.network.eeg(eeg)

        def epsilon(x: Tensor, step: int) -> Tensor:
            return self.network.transformer(x, torch.full(x.shape[:1], step, device=x.device), tokens)

        def impose(z: Tensor) -> Tensor:
            return torch.where(measured[..., None], given, z)

        return torch.stack([draw(epsilon, each, self.settings, impose) for each in noise])

    @torch.inference_mode()
    def _encode(self, frames: Float32, measured: NDArray[np.bool_], vertices: NDArray[np.intp]) -> Tensor:
        """Latents (M, d) of the measured frames."""
        columns, encoder = rows_of(columns_of(frames), measured), self.network.encoder
        latents = encoder.new_zeros(int(measured.sum()), encoder.shape[1])
        for block in blocks(len(vertices)):
            x = torch.from_numpy(np.asarray(columns(block), np.float32)).to(encoder.device)
            latents += self.network.encode(x, torch.from_numpy(vertices[block]))
        return latents

    @torch.inference_mode()
    def _decode(self, latents: Tensor, vertices: NDArray[np.intp]) -> Float32:
        """Some vertices of frames (K, v) from latents (K, d)."""
        decoded: Float32 = self.network.decode(latents, torch.from_numpy(vertices)).cpu().numpy()
        return decoded

    @classmethod
    def _untrained(
        cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor], settings: PaperSettings
    ) -> PaperNetwork:
        with torch.device("meta"):
            return build_network(
                settings,
                n_vertices=len(tensors["encoder"]),
                n_latents=len(tensors["decoder"]),
                n_channels=len(about["channels"]),
                samples_per_frame=about["tr"] * about["rate"],
            )


def build_network(
    settings: PaperSettings,
    *,
    n_vertices: int,
    n_latents: int,
    n_channels: int,
    samples_per_frame: float,
) -> PaperNetwork:
    """The network of these settings, of random weights."""
    return PaperNetwork(
        n_vertices,
        n_latents,
        n_channels,
        width=settings.width,
        layers=settings.layers,
        heads=settings.heads,
        samples_per_frame=samples_per_frame,
    )
