"""Networks of the literature: what each maps the EEG to is its own, the way to vertices is common.

    EEG --inputs--> (B, ...) --network--> features (B, h) --head--> frames (B, V) = m + (W f + b) D

D (d, V) are the principal components of the frames that are fitted to, fixed, and m their mean. None of the
authors defines a head on a cortical surface: theirs end in a volume of their own recordings. All epochs are
run; that with the highest r on the last fifth of the training part, a gap away from the rest, counts.
"""

import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import rfft
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from neuroframes.baselines.interface import Baseline, repetition_time, training_mean
from neuroframes.errors import InputError
from neuroframes.models.device import default_device
from neuroframes.recording.segments import LEAST_GAP, Segment
from neuroframes.recording.signal import Signal, window_samples
from neuroframes.training.data import mean_r, principal_components
from neuroframes.training.trainer import SeedEachStep, run, seed_of

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Inputs = Callable[[NDArray[np.int64]], Tensor]  # some frames' rows (B,) to the network's input (B, ...)

VALIDATED = 0.2  # of the training part, at its end
PREDICTED = 64  # frames at once, at least
VALIDATION_VERTICES = 512  # evenly spread; on which r is validated


class VertexNetwork(nn.Module):
    """A network with the common head.

    Parameters
    ----------
    body : Module, from input (B, ...) to features (B, h)
    features : int, h
    mean : array, shape (V,)
    components : array, shape (d, V)
    """

    mean: Tensor
    components: Tensor

    def __init__(self, body: nn.Module, features: int, mean: Float32, components: Float32) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(features, len(components))
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("components", torch.from_numpy(components))

    def forward(self, x: Tensor) -> Tensor:
        """Frames (B, V)."""
        return self.decode(self.body(x))

    def decode(self, features: Tensor) -> Tensor:
        """Frames (B, V) of features (B, h)."""
        return self.mean + self.head(features) @ self.components

    def encode(self, frames: Tensor) -> Tensor:
        """Latents (B, d) of frames (B, V); by the pseudo-inverse, since components are orthogonal."""
        return (frames - self.mean) @ self.components.T / self.components.square().sum(dim=1)


@dataclass(kw_only=True, eq=False)
class NetworkBaseline(Baseline):
    """Base of the networks, none of which has a way to take measured frames in.

    Parameters
    ----------
    epochs : int
        All are run; the best by validation counts.
    batch : int, frames
    learning_rate : float
    latents : int
        d of the head; fewer where the frames have a lower rank.
    accelerator : str
        As Lightning's, for training and prediction.
    progress : bool
        Show a bar.
    seed : int

    Raises
    ------
    InputError
        If epochs, batch or latents are below 1.
    """

    needs_eeg = True
    reads_frames = False
    n_parameters = 0  # that training changes; set by `fit`
    clip: ClassVar[float | None] = None  # the largest norm of the gradient

    epochs: int
    batch: int
    learning_rate: float
    latents: int = 64
    accelerator: str = "auto"
    progress: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "latents"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"{self.name}: {name} {value}; expected at least 1")

    @abstractmethod
    def inputs(self, segment: Segment) -> Inputs:
        """What makes the network's input of some frames of a segment; it must not look at the frames."""

    @abstractmethod
    def body(self, example: Tensor) -> tuple[nn.Module, int]:
        """The network for inputs like `example` (1, ...), before the head, and how many features it gives."""

    def history(
        self, series: Callable[[Float], NDArray[np.floating]], segment: Segment, length: int
    ) -> Inputs:
        """Inputs (B, length, ...), one step a TR up to each frame, of what `series` has at times (T,)."""
        before = segment.times[0] - self.tr_ * np.arange(length - 1, 0, -1)
        values = series(np.concatenate([before, segment.times]))
        features, steps = torch.from_numpy(values.astype(np.float32, copy=False)), torch.arange(length)

        def inputs(rows: NDArray[np.int64]) -> Tensor:
            return features[torch.from_numpy(rows)[:, None] + steps]

        return inputs

    def prepare(self, train: Sequence[Segment]) -> None:
        """Learn what `inputs` standardises by, from the training part; nothing by default."""

    def loss(self, network: VertexNetwork, x: Tensor, frames: Tensor) -> Tensor:
        """What a step of training lowers, of inputs (B, ...) and frames (B, V)."""
        return nn.functional.mse_loss(network(x), frames)

    def optimizer(self, network: VertexNetwork, steps_per_epoch: int) -> Any:
        """What `LightningModule.configure_optimizers` may return; Adam by default."""
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate)

    def training(self, network: VertexNetwork, data: "TrainingFrames") -> "NetworkTraining":
        """How it is trained; for those that need more than a loss."""
        return NetworkTraining(self, network, data)

    def fit(self, train: Sequence[Segment]) -> Self:
        """Train on the measured frames of the training segments.

        Raises
        ------
        InputError
            If a segment has no EEG, or the training part is too short to validate on.
        """
        self.tr_ = repetition_time(train)
        self.n_channels_ = len(train[0].eeg_for(self.name).data)
        self.prepare(train)
        data = TrainingFrames(train, [self.inputs(segment) for segment in train], self.tr_)
        mean = training_mean(data.fitted)
        autoencoder = principal_components(data.fitted, self.latents, np.random.default_rng(self.seed), mean)
        # First weights come from PyTorch's global generator, which must not be left changed.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            body, features = self.body(data.batch(data.fit[:1])[0])
            network = VertexNetwork(body, features, mean, autoencoder.decoder)
            training = self.training(network, data)
        self.n_parameters = sum(p.numel() for p in training.parameters() if p.requires_grad)
        with tempfile.TemporaryDirectory() as folder:
            best = run(
                training,
                Path(folder),
                max_epochs=self.epochs,
                monitor="r",
                accelerator=self.accelerator,
                progress=self.progress,
                callbacks=[SeedEachStep(self.seed)],
                checkpoint_every=self.epochs,
            )
        training.load_state_dict(best)
        self.network_ = network.to("cpu" if self.accelerator == "cpu" else default_device()).eval()
        return self

    @torch.inference_mode()
    def estimate(self, segment: Segment) -> Float32:
        """As `Baseline.estimate`.

        Raises
        ------
        InputError
            If there is no EEG, or it has another number of channels than in training.
        """
        if (n_channels := len(segment.eeg_for(self.name).data)) != self.n_channels_:
            raise InputError(
                f"{segment.run}: EEG of {n_channels} channels; {self.name} was trained on "
                f"{self.n_channels_}: give it the same ones"
            )
        inputs, device = self.inputs(segment), self.network_.mean.device
        rows = np.flatnonzero(~segment.measured)
        estimate = np.empty((len(rows), len(self.network_.mean)), np.float32)
        size = max(self.batch, PREDICTED)
        for some in (slice(first, first + size) for first in range(0, len(rows), size)):
            estimate[some] = self.network_(inputs(rows[some]).to(device)).cpu().numpy()
        return estimate


class TrainingFrames:
    """Measured frames of the training part and their inputs, by one number each.

    Parameters
    ----------
    segments : sequence of Segment
    inputs : sequence of callables, one a segment
    tr : float, seconds

    Attributes
    ----------
    fit, validation : array of int, numbers of the frames to fit to and to validate on, a gap apart
    fitted : list of Segment, measured where frames are fitted to
    """

    def __init__(self, segments: Sequence[Segment], inputs: Sequence[Inputs], tr: float) -> None:
        self.segments, self.inputs = segments, inputs
        self.starts = np.cumsum([0, *(len(segment.times) for segment in segments)])
        measured = np.flatnonzero(np.concatenate([segment.measured for segment in segments]))
        border = int(len(measured) * (1 - VALIDATED))
        self.validation = measured[border:]
        gap = int(np.ceil(LEAST_GAP / tr))
        self.fit = measured[:border][measured[:border] < measured[border] - gap]
        if not len(self.fit):
            raise InputError(
                f"{len(measured)} frames can't be split into a part to fit to, a gap of {gap} frames, and a "
                "part to validate on; train on a longer recording"
            )
        masks = np.split(np.isin(np.arange(self.starts[-1]), self.fit), self.starts[1:-1])
        self.fitted = [replace(s, measured=mask) for s, mask in zip(segments, masks, strict=True)]

    def batch(self, numbers: NDArray[np.integer]) -> tuple[Tensor, Tensor]:
        """Inputs (B, ...) and frames (B, V), by segment: in another order than `numbers` where they mix."""
        where = np.searchsorted(self.starts, numbers, side="right") - 1
        inputs, frames = [], []
        for number in np.unique(where):
            rows = np.asarray(numbers)[where == number] - self.starts[number]
            inputs.append(self.inputs[number](rows))
            frames.append(torch.from_numpy(self.segments[number].frames[rows]))
        return torch.cat(inputs), torch.cat(frames)


class NetworkTraining(lightning.LightningModule):
    """One optimisation step, and r on what is held back."""

    def __init__(self, baseline: NetworkBaseline, network: VertexNetwork, data: TrainingFrames) -> None:
        super().__init__()
        self.baseline, self.network, self.data = baseline, network, data
        self.vertices = slice(None, None, -(-len(network.mean) // VALIDATION_VERTICES))
        self.validated: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.baseline.loss(self.network, *batch)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        x, frames = batch
        self.validated.append((self.network(x)[:, self.vertices], frames[:, self.vertices]))

    def on_validation_epoch_end(self) -> None:
        predicted, truth = (torch.cat(part).double() for part in zip(*self.validated, strict=True))
        self.validated.clear()
        self.log("r", mean_r(truth, predicted, torch.full_like(truth[0], 1 / truth.shape[1])))

    def train_dataloader(self) -> "DataLoader[Any]":
        generator = np.random.default_rng(seed_of(self.baseline.seed, self.global_step))
        return self._loader(generator.permutation(self.data.fit))

    def val_dataloader(self) -> "DataLoader[Any]":
        return self._loader(self.data.validation)

    def _loader(self, numbers: NDArray[np.integer]) -> "DataLoader[Any]":
        count = max(1, len(numbers) // self.baseline.batch)
        batches: Any = np.array_split(numbers, count)
        return DataLoader(batches, batch_size=None, collate_fn=self.data.batch)  # type: ignore[arg-type]

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        self.clip_gradients(optimizer, self.baseline.clip, "norm")

    def configure_optimizers(self) -> Any:
        return self.baseline.optimizer(self.network, max(1, len(self.data.fit) // self.baseline.batch))


def spectra(eeg: Signal, start: Float, n_samples: int, first: int, n_bins: int) -> Float32:
    """Magnitudes of the Fourier transform in windows, z-scored across channels at each bin.

    Parameters
    ----------
    eeg : Signal of C channels
    start : array, shape (T,), seconds
    n_samples, first : int
        Where windows lie, as in `recording.signal`; padded with zeros to twice as many samples as bins.
    n_bins : int, F, from the first one above 0 on

    Returns
    -------
    array, shape (T, C, F)
        0 where channels are alike.
    """
    samples = window_samples(eeg.data.shape[1], eeg.rate, start, n_samples, first)
    values = np.empty((len(samples), len(eeg.data), n_bins), np.float32)
    for value, sample in zip(values, samples, strict=True):  # one at a time: windows overlap
        window = eeg.data[:, sample].astype(np.float64)
        magnitude = np.abs(rfft(window, max(n_samples, 2 * n_bins))[:, 1 : n_bins + 1])
        mean, deviation = magnitude.mean(axis=0), magnitude.std(axis=0)
        # Where channels are alike they differ by rounding.
        value[:] = (magnitude - mean) / np.where(deviation > 1e-6 * mean, deviation, np.inf)
    return values


def stepped(optimizer: Optimizer, factor: Callable[[int], float]) -> dict[str, Any]:
    """For `configure_optimizers`: the learning rate times a factor of the step."""
    schedule = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
    return {"optimizer": optimizer, "lr_scheduler": schedule}
