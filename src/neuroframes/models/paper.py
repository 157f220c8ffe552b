"""The recipe of Qu, Gao, Wang and Fu (2026, arXiv 2603.24176), as a model to compare with.

Windows of K frames, z-scored per vertex, are drawn by DDIM in the latent of a linear autoencoder, given
the raw EEG of the same length a fixed 4 s earlier. Measured frames y = A x enter by replacement at every
step (InterRecon),

    z <- A+ y + (I - A+ A) z,

with z the estimate of the noise-free latents; the direction of the step follows from the replaced estimate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.diffusion.samplers import ddim, range_replacement
from neuroframes.frames.autoencoder import blocks, columns_of, rows_of
from neuroframes.models.model import Estimate, Origin
from neuroframes.models.network_model import NetworkModel, all_vertices
from neuroframes.models.paper_network import PaperNetwork
from neuroframes.models.settings import PAPER_DRAWS, PaperSettings
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import eeg_windows

Float32 = NDArray[np.float32]
Epsilon = Callable[[Tensor, int], Tensor]


def signal_shares(settings: PaperSettings) -> Tensor:
    """a_t, the share of the variance that is signal after each step (Ho et al. 2020, eq. 4); (steps,)."""
    betas = torch.linspace(settings.first_beta, settings.last_beta, settings.steps, dtype=torch.float64)
    return torch.cumprod(1 - betas, dim=0)


def draw(
    epsilon: Epsilon, noise: Tensor, settings: PaperSettings, impose: Callable[[Tensor], Tensor] | None = None
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
    """A network of `PaperSettings`; see `NetworkModel`.

    Its estimate is the mean of draws, of `PAPER_DRAWS` by default, and the standard deviation is theirs.
    """

    name = "paper's recipe"
    format = "neuroframes-model-paper-2"
    states_deviation = draws = True
    settings_class = PaperSettings

    settings: PaperSettings
    network: PaperNetwork

    def describe(self, segment: Segment) -> str:
        given = ", measured frames put into every step" if segment.measured.any() else ""
        return (
            "recipe of Qu, Gao, Wang and Fu (2026, arXiv 2603.24176): "
            f"mean of DDIM draws in the latent of a linear autoencoder, given raw EEG{given}"
        )

    def fill(
        self,
        segment: Segment,
        *,
        draws: int = 0,
        generator: np.random.Generator | None = None,
        batch: int = 64,
    ) -> Estimate:
        """As `Model.fill`; `batch` windows are worked on at once.

        Windows of K frames tile the run; the last one ends with it, and overlaps the one before if need be.
        They don't know of each other. One draw is a sample; the mean of more nears the posterior mean. The
        standard deviation is that of the draws, which is of the latents alone; 0 of a single one.
        """
        eeg, measured = self.check_segment(segment), segment.measured
        n_draws = draws or PAPER_DRAWS
        generator = np.random.default_rng(0) if generator is None else generator
        vertices, n_frames = all_vertices(segment), len(measured)
        length = min(self.settings.frames, n_frames)
        # The last window ends with the run, wherever that makes it start.
        starts = np.append(np.arange(0, n_frames - length, length), n_frames - length)
        rows = starts[:, None] + np.arange(length)
        device = self.network.decoder.device
        given = torch.zeros(n_frames, len(self.network.decoder), device=device)
        known = torch.from_numpy(measured).to(device)
        given[known] = self._encode(segment.frames, measured, vertices)
        # Times are those of centres: a window's EEG begins half a TR before, and is as long as its frames.
        first = segment.times[starts] - self.origin.tr / 2 - self.settings.delay
        windows = eeg_windows(eeg.data, eeg.rate, first, round(length * self.origin.tr * eeg.rate))
        pieces = []
        for these in np.array_split(np.arange(len(starts)), -(-len(starts) // batch)):
            shape = (n_draws, *rows[these].shape, given.shape[1])
            noise = torch.from_numpy(generator.standard_normal(shape, np.float32)).to(device)
            here = torch.from_numpy(windows[these]).to(device), given[rows[these]], known[rows[these]]
            pieces.append(self._draw(*here, noise))
        drawn = torch.cat(pieces, dim=1)
        twice = drawn.shape[1] * length - n_frames  # frames that the last two windows share
        latents = torch.cat([drawn[:, :-1].flatten(1, 2), drawn[:, -1, twice:]], dim=1)[:, ~known]
        mean, std = self._moments(latents, vertices)
        return Estimate(mean, std, (self._decode(draw, vertices) for draw in latents))

    def _moments(self, latents: Tensor, vertices: NDArray[np.intp]) -> tuple[Float32, Float32]:
        """Mean and standard deviation (M, V) of draws of the latents (S, M, d)."""
        shape, centre = (latents.shape[1], len(vertices)), latents.mean(dim=0)
        mean, std = np.empty(shape, np.float32, order="F"), np.empty(shape, np.float32, order="F")
        for block in blocks(len(vertices)):
            mean[:, block] = self._decode(centre, vertices[block])
            # Decoding is linear: what draws of the latents are off by, decoded, is what frames are off by.
            variance = sum(np.square(self._decode(draw - centre, vertices[block])) for draw in latents)
            std[:, block] = np.sqrt(variance / max(1, len(latents) - 1))
        return mean, std

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
        return self.network.decode(latents, torch.from_numpy(vertices)).cpu().numpy()

    @classmethod
    def _untrained(
        cls, settings: PaperSettings, origin: Origin, rate: float, tensors: Mapping[str, Tensor]
    ) -> PaperNetwork:
        sizes = len(tensors["encoder"]), len(tensors["decoder"]), len(origin.channels)
        with torch.device("meta"):
            return PaperNetwork(settings, *sizes, origin.tr * rate)
