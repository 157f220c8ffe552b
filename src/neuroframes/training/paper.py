"""Training of the paper's recipe: reconstruction and diffusion losses of windows, jointly.

    z = E x,    loss = mean |x - D z|^2 / V + mean |n - eps(sqrt(a_t) z + sqrt(1 - a_t) n, t, EEG)|^2 / d

Everything random follows from the seed and the step, so that training which goes on from a checkpoint ends
where it would have ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from neuroframes.errors import InputError
from neuroframes.models.paper import PaperModel, signal_shares
from neuroframes.models.paper_network import PaperNetwork
from neuroframes.models.settings import PaperSettings
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import eeg_windows
from neuroframes.training.data import checksum, principal_components, window_starts
from neuroframes.training.part import TrainingPart
from neuroframes.training.trainer import Training, seed_of

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
    def of(cls, segments: Sequence[Segment], tr: float, settings: PaperSettings) -> "TrainingWindows":
        """Windows that overlap by half within each stretch of measured frames.

        Raises
        ------
        InputError
            If no stretch is as long as a window.
        """
        rows, windows, offset = [], [], 0
        for segment in segments:
            eeg = segment.eeg_for(PaperModel.name)
            starts = window_starts(segment.measured, settings.frames)
            if len(starts):
                first = segment.times[starts] - tr / 2 - settings.delay
                length = round(settings.frames * tr * eeg.rate)
                windows.append(eeg_windows(eeg.data, eeg.rate, first, length))
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


class PaperTraining(Training):
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
        super().__init__(settings, seed)
        self.network = network
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
        generator = self.generator(self.global_rank + 1, device=which.device)
        reconstruction, diffusion = self.losses(which, generator)
        self.log_dict({"reconstruction": reconstruction, "diffusion": diffusion}, prog_bar=True)
        return reconstruction + diffusion

    def train_dataloader(self) -> DataLoader[int]:
        """The windows in an order of this epoch: the trainer asks anew at each."""
        # Shuffled here: a loader that shuffles gives another order whenever it is started again.
        generator = np.random.default_rng(seed_of(self.seed, self.global_step))
        windows: Any = generator.permutation(len(self.windows.rows)).tolist()
        return DataLoader(windows, self.settings.batch)


def fit_paper(
    part: TrainingPart, settings: PaperSettings, *, state: Path, seed: int = 0, **options: Any
) -> PaperModel:
    """Train on a training part; goes on where an interrupted training left its state.

    Parameters
    ----------
    part : TrainingPart, with EEG
    settings : PaperSettings
    state : Path
        Folder for the state of training; to be removed once the model is written.
    seed : int
    **options
        Of `training.trainer.run`: accelerator, devices, precision, progress, callbacks, checkpoint_every.

    Raises
    ------
    InputError
        If there is no EEG, no window can be cut, or the state is another training's.
    KeyboardInterrupt
        If interrupted; the last state stays.
    """
    segments, tr = part.segments, part.origin.tr
    signals = [segment.eeg_for(PaperModel.name) for segment in segments]
    rate = signals[0].rate
    windows = TrainingWindows.of(segments, tr, settings)
    network = start_network(segments, windows, settings, rate * tr, seed)
    training = PaperTraining(network, windows, settings, seed)
    # Some vertices tell other data as well as all of them, in no time.
    sample = windows.frames[:: max(1, len(windows.frames) // 64)].contiguous()
    data = [sample.numpy(), windows.rows.numpy(), *(signal.data for signal in signals)]
    training.trained(state, {"tr": tr, "data": [checksum(array) for array in data]}, **options)
    return PaperModel(settings, network, part.origin, rate)


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
        sizes = len(windows.frames), autoencoder.n_latents, windows.eeg.shape[1]
        network = PaperNetwork(settings, *sizes, samples_per_frame)
    network.set_autoencoder(torch.from_numpy(autoencoder.encoder), torch.from_numpy(autoencoder.decoder))
    spread, centre = torch.std_mean(windows.eeg, dim=(0, 2))
    network.eeg.centre.copy_(centre)
    network.eeg.spread.copy_(torch.where(spread > 0, spread, 1))
    return network
