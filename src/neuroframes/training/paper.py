"""Training of the paper's recipe: reconstruction and diffusion losses of windows, jointly.

    z = E x,    loss = mean |x - D z|^2 / V + mean |n - eps(sqrt(a_t) z + sqrt(1 - a_t) n, t, EEG)|^2 / d

Everything random follows from the seed and the step, so that training which goes on from a checkpoint ends
where it would have ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from neuroframes.config import PaperSettings
from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import LinearAutoencoder, fit_autoencoder
from neuroframes.models.paper import build_network, signal_shares
from neuroframes.models.paper_network import PaperNetwork
from neuroframes.recording.eeg_windows import eeg_windows
from neuroframes.recording.segments import Segment
from neuroframes.training.run import run, seed_of

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TrainingWindows:
    """Windows of K measured frames and the EEG of each.

    Attributes
    ----------
    frames : tensor, shape (V, n), all frames of the training part, each vertex's series contiguous
    rows : tensor of int, shape (W, K), the frames of each window
    eeg : tensor, shape (W, C, N_w), volts
    """

    frames: Tensor
    rows: Tensor
    eeg: Tensor

    @classmethod
    def of(
        cls,
        segments: Sequence[Segment],
        eeg: Sequence[Float32],
        rate: float,
        tr: float,
        settings: PaperSettings,
    ) -> "TrainingWindows":
        """Windows that overlap by half within each stretch of measured frames.

        Raises
        ------
        InputError
            If no stretch is as long as a window.
        """
        rows, windows, offset = [], [], 0
        for segment, samples in zip(segments, eeg, strict=True):
            starts = window_starts(segment.measured, settings.frames)
            if len(starts):
                first = segment.times[starts] - tr / 2 - settings.delay
                windows.append(eeg_windows(samples, rate, first, round(settings.frames * tr * rate)))
                rows.append(offset + starts[:, None] + np.arange(settings.frames))
            offset += len(segment.frames)
        if not rows:
            raise InputError(
                f"no {settings.frames} consecutive frames of the training part are all measured; "
                "train on a longer recording, or censor less"
            )
        frames = torch.cat([torch.from_numpy(segment.frames.T) for segment in segments], dim=1)
        return cls(frames, torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(windows)))

    def to(self, device: torch.device) -> "TrainingWindows":
        return TrainingWindows(self.frames.to(device), self.rows.to(device), self.eeg.to(device))


def window_starts(measured: NDArray[np.bool_], length: int) -> NDArray[np.int64]:
    """First frames of windows, half a window apart, that hold no censored frame.

    Parameters
    ----------
    measured : array, shape (K,)
    length : int
    """
    edges = np.flatnonzero(np.diff(measured.astype(np.int8), prepend=0, append=0))
    starts: list[int] = []
    for begin, end in edges.reshape(-1, 2):
        if end - begin >= length:
            starts += range(begin, end - length, max(1, length // 2))
            starts.append(end - length)
    return np.array(starts, np.int64)


def checksum(array: NDArray[Any]) -> int:
    """CRC-32 of an array's bytes, to tell data of one training from those of another."""
    return crc32(np.ascontiguousarray(array).data)


class PaperTraining(lightning.LightningModule):
    """One optimisation step of the recipe.

    Parameters
    ----------
    network : PaperNetwork
    windows : TrainingWindows
    settings : PaperSettings
    seed : int
    """

    signal: Tensor  # sqrt(a_t), (steps,)
    noise: Tensor  # sqrt(1 - a_t), (steps,)

    def __init__(
        self, network: PaperNetwork, windows: TrainingWindows, settings: PaperSettings, seed: int
    ) -> None:
        super().__init__()
        self.network, self.settings, self.seed = network, settings, seed
        # No buffer: it would be saved with each checkpoint and sent to every device at every step.
        self.windows = windows
        shares = signal_shares(settings)
        self.register_buffer("signal", shares.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - shares).sqrt().float(), persistent=False)

    def on_fit_start(self) -> None:
        self.windows = self.windows.to(self.device)

    def losses(self, which: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Reconstruction's and diffusion's, of windows (B,)."""
        network, device = self.network, which.device
        frames = self.windows.frames[:, self.windows.rows[which].flatten()].T
        z = network.encode(frames)
        reconstruction = functional.mse_loss(network.decode(z), frames)
        z = (z if self.settings.joint else z.detach()).unflatten(0, (len(which), -1))
        step = torch.randint(self.settings.steps, which.shape, generator=generator, device=device)
        noise = torch.randn(z.shape, generator=generator, device=device)
        x = self.signal[step, None, None] * z + self.noise[step, None, None] * noise
        predicted = network.transformer(x, step, network.eeg(self.windows.eeg[which]))
        return reconstruction, functional.mse_loss(predicted, noise)

    def training_step(self, which: Tensor) -> Tensor:
        random_seed = seed_of(self.seed, self.global_step, self.global_rank + 1)
        generator = torch.Generator(which.device).manual_seed(random_seed)
        reconstruction, diffusion = self.losses(which, generator)
        self.log_dict({"reconstruction": reconstruction, "diffusion": diffusion}, prog_bar=True)
        return reconstruction + diffusion

    def train_dataloader(self) -> DataLoader[int]:
        """The windows in an order of this epoch: the trainer asks anew at each."""
        # By the step: the epoch's number isn't settled yet where training goes on. Shuffled here, since a
        # loader that shuffles gives another order whenever it is started again.
        generator = np.random.default_rng(seed_of(self.seed, self.global_step))
        windows: Any = generator.permutation(len(self.windows.rows)).tolist()
        return DataLoader(windows, self.settings.batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(
            self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )


def fit_paper(
    segments: Sequence[Segment],
    eeg: Sequence[Float32],
    rate: float,
    tr: float,
    settings: PaperSettings,
    *,
    checkpoints: Path,
    seed: int = 0,
    checkpoint_every: int = 10,
    accelerator: str = "auto",
    devices: int | str = 1,
    precision: Any = "32-true",
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
) -> PaperNetwork:
    """Train on segments of the training part; goes on where an interrupted training left its state.

    Parameters
    ----------
    segments : sequence of Segment
    eeg : sequence of arrays, shape (C, N), volts, one a segment
        The EEG of its whole run; sample n is at n / rate seconds.
    rate : float, Hz
    tr : float, seconds
    settings : PaperSettings
    checkpoints : Path
        Folder for the state of training; to be removed once the model is written.
    seed : int
    checkpoint_every : int, epochs
    accelerator, devices, precision : see `lightning.Trainer`
    progress : bool
        Show a bar.
    callbacks : sequence of lightning Callback

    Raises
    ------
    InputError
        If no window can be cut, or the state is another training's.
    KeyboardInterrupt
        If interrupted; the last state stays.
    """
    windows = TrainingWindows.of(segments, eeg, rate, tr, settings)
    network = start_network(segments, windows, settings, rate * tr, seed)
    training = PaperTraining(network, windows, settings, seed)
    sample = windows.frames[:: max(1, len(windows.frames) // 64)].contiguous()
    weights = run(
        training,
        checkpoints,
        max_epochs=settings.epochs,
        of={
            "settings": settings.to_json(),
            "seed": seed,
            "tr": tr,
            "data": [checksum(part) for part in (sample.numpy(), windows.rows.numpy(), *eeg)],
        },
        accelerator=accelerator,
        devices=devices,
        precision=precision,
        progress=progress,
        callbacks=callbacks,
        checkpoint_every=checkpoint_every,
    )
    training.load_state_dict(weights)
    return network.cpu().eval()


def start_network(
    segments: Sequence[Segment],
    windows: TrainingWindows,
    settings: PaperSettings,
    samples_per_frame: float,
    seed: int,
) -> PaperNetwork:
    """Principal components of the measured frames as the autoencoder, everything else random.

    Latents start at unit variance, which is what the noise is scaled to.
    """
    autoencoder = principal_components(segments, settings.latents, np.random.default_rng(seed))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = build_network(
            settings,
            n_vertices=len(windows.frames),
            n_latents=autoencoder.n_latents,
            n_channels=windows.eeg.shape[1],
            samples_per_frame=samples_per_frame,
        )
    network.set_autoencoder(torch.from_numpy(autoencoder.encoder), torch.from_numpy(autoencoder.decoder))
    spread, centre = torch.std_mean(windows.eeg, dim=(0, 2))
    network.eeg.centre.copy_(centre)
    network.eeg.spread.copy_(torch.where(spread > 0, spread, 1))
    return network


def principal_components(
    segments: Sequence[Segment], n_latents: int, generator: np.random.Generator
) -> LinearAutoencoder:
    """The autoencoder to start from."""

    def columns(block: slice) -> Float32:
        return np.concatenate([segment.frames[segment.measured, block] for segment in segments])

    return fit_autoencoder(columns, segments[0].frames.shape[1], n_latents, generator)[0]
