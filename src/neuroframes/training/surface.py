"""Training of the surface model: hidden frames of windows from EEG and the others.

    loss = mean over hidden frames of (x - x^)^2 + w mean (x^_{k+1} - x^_k)^2

Every window of a step gets a mask of its own. Validated is temporal r on a block of the training part, a gap
away from the rest: of windows from EEG alone, and across a gap in their middle.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from neuroframes.errors import InputError
from neuroframes.models.denoiser import EARLIEST
from neuroframes.models.settings import SurfaceSettings
from neuroframes.models.surface import SurfaceModel
from neuroframes.models.surface_network import SpatiotemporalNeuralFrames, TemporalCoherence
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import eeg_windows
from neuroframes.training.data import (
    blocks_of,
    checksum,
    mean_r,
    principal_components,
    random_masks,
    window_starts,
)
from neuroframes.training.part import TrainingPart
from neuroframes.training.trainer import Training, seed_of

Float32 = NDArray[np.float32]

MASKS = 64  # patterns of known frames that training draws from; a quarter is EEG alone
VALIDATION_VERTICES = 512  # evenly spread; on which r is validated


class SurfaceWindows:
    """Windows of K measured frames of the training part, to fit to and to validate on, and the EEG of each.

    Parameters
    ----------
    segments : sequence of Segment, with EEG
    length : int, K
    margin : int
        Frames between the block that is validated on and the rest.
    n_samples : int
        Of a window's EEG.

    Attributes
    ----------
    fit, validation : array of int, shape (W, 2), segment and first frame of each window
    fitted : list of Segment, measured where frames are fitted to

    Raises
    ------
    InputError
        If either has no window.
    """

    def __init__(self, segments: Sequence[Segment], length: int, margin: int, n_samples: int) -> None:
        self.segments, self.length, self.n_samples = segments, length, n_samples
        edges = np.cumsum([0, *(len(segment.frames) for segment in segments)])
        for parts in blocks_of(int(edges[-1]), margin):
            fit, validation = (
                [s.measured & part.numpy()[a:b] for s, a, b in zip(segments, edges, edges[1:], strict=False)]
                for part in parts
            )
            self.fit, self.validation = self._starts(fit), self._starts(validation)[::2]
            if len(self.fit) and len(self.validation):
                self.fitted = [replace(s, measured=mask) for s, mask in zip(segments, fit, strict=True)]
                return
        raise InputError(
            f"{edges[-1]} frames of the training part hold no {length} consecutive measured ones to fit to "
            f"and as many to validate on, {margin} frames apart; train on a longer recording, or censor less"
        )

    def _starts(self, usable: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
        found = [(i, at) for i, mask in enumerate(usable) for at in window_starts(mask, self.length)]
        return np.array(found, np.int64).reshape(-1, 2)

    def batch(self, windows: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """EEG (B, C, N) and frames (B, V, K)."""
        eeg, frames = [], []
        for number, start in windows:
            segment = self.segments[number]
            signal, begin = segment.eeg_for(SurfaceModel.name), segment.times[[start]] - EARLIEST
            eeg.append(eeg_windows(signal.data, signal.rate, begin, self.n_samples)[0])
            frames.append(segment.frames[start : start + self.length].T)
        return torch.from_numpy(np.stack(eeg)), torch.from_numpy(np.stack(frames))

    def digest(self) -> list[int]:
        """What tells these data from others."""
        every = max(1, self.segments[0].frames.shape[1] // 64)
        frames = [segment.frames[:, ::every] for segment in self.segments]
        eeg = [segment.eeg_for(SurfaceModel.name).data for segment in self.segments]
        parts: list[NDArray[Any]] = [self.fit, self.validation, *frames, *eeg]
        return [checksum(part) for part in parts]


class SurfaceTraining(Training):
    """One optimisation step, and r on what is held back.

    Parameters
    ----------
    network : SpatiotemporalNeuralFrames
    windows : SurfaceWindows
    settings : SurfaceSettings
    seed : int
    """

    def __init__(
        self,
        network: SpatiotemporalNeuralFrames,
        windows: SurfaceWindows,
        settings: SurfaceSettings,
        seed: int,
    ) -> None:
        super().__init__(settings, seed)
        self.network, self.windows = network, windows
        # A window of which nothing is hidden has no loss.
        masks = random_masks(MASKS, settings.frames, np.random.default_rng(seed))
        self.masks = torch.from_numpy(masks[~masks.all(axis=1)])
        position = torch.arange(settings.frames)
        ends = (position < settings.frames // 4) | (position >= 3 * settings.frames // 4)
        self.validation_masks = [torch.zeros_like(ends), ends]
        self.vertices = slice(None, None, -(-len(network.place) // VALIDATION_VERTICES))
        self.validated: list[list[list[Tensor]]] = [[] for _ in self.validation_masks]

    def loss(self, eeg: Tensor, frames: Tensor, known: Tensor) -> Tensor:
        """Of EEG (B, C, N), frames (B, V, K) and which of them are shown (B, K)."""
        x = self.network(eeg, known, frames)
        hidden = (~known)[:, None].expand_as(x)
        error = (x - frames).square()[hidden].mean()
        return error + self.settings.smoothness * TemporalCoherence.roughness(x)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        eeg, frames = batch
        which = torch.randint(len(self.masks), (len(eeg),), generator=self.generator(self.global_rank + 1))
        loss = self.loss(eeg, frames, self.masks[which].to(self.device))
        self.log("loss", loss, prog_bar=True, batch_size=len(eeg))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        eeg, frames = batch
        for mask, kept in zip(self.validation_masks, self.validated, strict=True):
            x = self.network(eeg, mask.to(self.device).expand(len(eeg), -1), frames)
            hidden = (values[:, self.vertices][..., ~mask] for values in (frames, x))
            kept.append([values.mT.flatten(0, 1).double() for values in hidden])

    def on_validation_epoch_end(self) -> None:
        r = []
        for kept in self.validated:
            truth, estimate = (torch.cat(parts) for parts in zip(*kept, strict=True))
            r.append(mean_r(truth, estimate, torch.full_like(truth[0], 1 / truth.shape[1])))
            kept.clear()
        self.log("r", torch.stack(r).mean().float(), prog_bar=True, sync_dist=True)

    def train_dataloader(self) -> DataLoader[Any]:
        generator = np.random.default_rng(seed_of(self.seed, self.global_step))
        return self._loader(generator.permutation(self.windows.fit))

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.windows.validation)

    def _loader(self, windows: NDArray[np.int64]) -> DataLoader[Any]:
        listed: Any = windows.tolist()
        return DataLoader(listed, self.settings.batch, collate_fn=self.windows.batch)


def fit_surface(
    part: TrainingPart,
    settings: SurfaceSettings,
    *,
    state: Path,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> SurfaceModel:
    """Train on a training part; goes on where an interrupted training left its state.

    Parameters
    ----------
    part : TrainingPart, with EEG, on a space with a mesh
    settings : SurfaceSettings
    state : Path
        For the state of training; to be removed once the model is written.
    seed : int
    callbacks : sequence of lightning Callback
    **options
        Of `training.trainer.run`: accelerator, devices, precision, progress.

    Raises
    ------
    InputError
        If the space has no mesh, a band lies above Nyquist, no window can be cut, or the state is another's.
    """
    origin, segments = part.origin, part.segments
    eeg = segments[0].eeg_for(SurfaceModel.name)
    network = SpatiotemporalNeuralFrames.for_space(
        origin.space,
        channels=eeg.channels,
        rate=eeg.rate,
        tr=origin.tr,
        positions=origin.positions,
        bands=origin.bands,
        seed=seed,
        **settings.to_json(),
    )
    margin = int(np.ceil(origin.split.gap / origin.tr))
    windows = SurfaceWindows(segments, settings.frames, margin, network.n_samples)
    autoencoder = principal_components(windows.fitted, settings.embedding, np.random.default_rng(seed))
    with torch.no_grad():  # vertices that vary together start out alike
        patterns = torch.from_numpy(autoencoder.decoder.T)
        network.embedding[:, : patterns.shape[1]] = patterns / patterns.std(dim=0)
    training = SurfaceTraining(network, windows, settings, seed)
    place = [checksum(array.numpy()) for array in (network.positions, network.graph.indices)]
    of = {"tr": origin.tr, "gap": origin.split.gap, "bands": dict(origin.bands), "place": place}
    training.trained(
        state,
        of | {"data": windows.digest()},
        monitor="r",
        checkpoint_every=1,
        callbacks=[*callbacks, EarlyStopping("r", mode="max", patience=settings.patience)],
        **options,
    )
    return SurfaceModel(settings, network, origin, eeg.rate)
