"""What the learned correction is trained on: frames, the EEG around them, and which frames are hidden."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.frames.autoencoder import LinearAutoencoder, fit_autoencoder
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.frames.prior import windows_in_context
from neuroframes.frames.temporal import TemporalCovariance
from neuroframes.models.denoiser import EARLIEST, LATEST
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import eeg_windows

if TYPE_CHECKING:
    from neuroframes.training.backbone import Backbone

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

BLOCKS = 5  # of the training part, one of which a member is validated on
PEOPLE = 3  # that a block of whole people has, or so
EMPTY_MASKS = 16  # patterns of measured frames in which nothing is measured


@dataclass(frozen=True)
class TrainingData:
    """Latents of the training part, one row a frame, and the EEG that they are explained by.

    Attributes
    ----------
    z, mean : tensor, shape (n, d)
        Latents, censored ones filled by their posterior mean, and their left-out prediction from EEG.
    scored : tensor of bool, shape (n,)
    times : tensor, shape (n,), seconds on the run's EEG clock
    segment, person : tensor of int, shape (n,)
    eeg : list of array, shape (C, N), volts, one a segment, of its whole run
    rate : float, Hz
    importance : tensor, shape (d,), sums to 1
    """

    z: Tensor
    mean: Tensor
    scored: Tensor
    times: Tensor
    segment: Tensor
    person: Tensor
    eeg: list[NDArray[np.float32]]
    rate: float
    importance: Tensor

    @classmethod
    def of(cls, segments: Sequence[Segment], backbone: "Backbone") -> "TrainingData":
        filled = [
            _filled(z, segment.measured, m, backbone.with_eeg)
            for segment, z, m in zip(segments, backbone.latents, backbone.left_out, strict=True)
        ]
        signals = [segment.eeg for segment in segments if segment.eeg is not None]
        people = [segment.person for segment in segments]
        # What a latent costs on the cortex, which is where errors count.
        importance = torch.as_tensor(backbone.prior.autoencoder.importance, dtype=torch.float32)

        def joined(arrays: Sequence[NDArray[Any]], dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.concatenate(arrays), dtype=dtype)

        return cls(
            joined(filled, torch.float32),
            joined(backbone.left_out, torch.float32),
            joined([segment.measured for segment in segments], torch.bool),
            joined([segment.times for segment in segments], torch.float64),
            joined([np.full(len(s.times), number) for number, s in enumerate(segments)], torch.int64),
            joined([np.full(len(s.times), people.index(s.person)) for s in segments], torch.int64),
            [signal.data for signal in signals],
            signals[0].rate,
            importance / importance.sum(),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrainingData":
        """Itself: averaging weights copies the whole module, and an hour of EEG needn't be there twice."""
        return self

    def digest(self) -> list[int]:
        """What tells these data from others."""
        return [checksum(part.numpy()) for part in (self.z, self.mean, self.times)]

    def starts(self, among: Tensor, length: int, hop: int) -> Tensor:
        """First frames of windows of `length` in one segment, all `among` (n,), `hop` apart."""
        found = []
        for number in range(len(self.eeg)):
            rows = torch.nonzero(among & (self.segment == number))[:, 0]
            if len(rows) >= length:
                first = rows[: len(rows) - length + 1]
                whole = rows[length - 1 :] - first == length - 1
                found.append(first[whole][::hop])
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)

    def eeg_around(self, starts: Tensor, duration: float) -> tuple[Tensor, Tensor, Tensor]:
        """EEG (B, C, N) of windows at `starts` (B,), when it begins (B,), and the recording's ends (B, 2).

        From `EARLIEST` before the first frame to `LATEST` after the last, also where that is beyond an end.
        """
        n = round((EARLIEST + duration + LATEST) * self.rate)
        begin = self.times[starts] - EARLIEST
        runs = [self.eeg[number] for number in self.segment[starts].tolist()]
        windows = [
            eeg_windows(eeg, self.rate, [at], n)[0] for eeg, at in zip(runs, begin.tolist(), strict=True)
        ]
        ends = torch.tensor([[0.0, eeg.shape[1] / self.rate] for eeg in runs], dtype=torch.float64)
        return torch.from_numpy(np.stack(windows)), (begin * self.rate).round() / self.rate, ends


def _filled(z: Float, measured: Mask, mean: Float, prior: TemporalCovariance) -> Float:
    """Latents (K, d) with those of censored frames at their posterior mean."""
    filled, times = z.copy(), prior.tr * np.arange(len(z), dtype=np.float64)
    for core, around in () if measured.all() else windows_in_context(len(z)):
        known = measured[around]
        guess = posterior(prior, times[around], FrameMask(known), z[around][known], mean[around]).mean
        at = core.start + np.flatnonzero(~measured[core])
        filled[at] = guess[at - around.start]
    return filled


def random_masks(n_masks: int, n_frames: int, generator: np.random.Generator) -> Mask:
    """Patterns of measured frames (P, K): none, gaps, every n-th, the ends, random ones."""
    masks = np.zeros((n_masks, n_frames), bool)
    position = np.arange(n_frames)
    for number in range(min(EMPTY_MASKS, n_masks), n_masks):
        kind = generator.integers(4)
        if kind == 0:  # gaps as long as the stretches between them, or half as long
            gap = int(generator.integers(1, 17))
            period = gap + int(generator.integers(max(1, gap // 2), 2 * gap + 1))
            masks[number] = (position + generator.integers(period)) % period >= gap
        elif kind == 1:
            every = int(generator.integers(2, 21))
            masks[number] = (position + generator.integers(every)) % every == 0
        elif kind == 2:  # measured up to here, or from here
            edge = int(generator.integers(4, n_frames - 4))
            masks[number] = position < edge if generator.random() < 0.5 else position >= edge
        else:
            masks[number] = generator.random(n_frames) < generator.uniform(0.05, 0.95)
    return masks


def blocks_of(n_frames: int, margin: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames to fit to and to validate on (n,), the last block first; `margin` frames lie between them."""
    row = torch.arange(n_frames)
    for block in reversed(range(BLOCKS)):
        low, high = n_frames * block // BLOCKS, n_frames * (block + 1) // BLOCKS
        yield (row < low - margin) | (row >= high + margin), (row >= low) & (row < high)


def blocks_of_people(person: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames (n,) to fit to, and those of whole people to validate on, by each frame's person (n,)."""
    people = person.unique()
    for block in people.tensor_split(min(max(len(people) // PEOPLE, 2), BLOCKS)):
        validation = torch.isin(person, block)
        yield ~validation, validation


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


def principal_components(
    segments: Sequence[Segment], n_latents: int, generator: np.random.Generator, mean: Float32 | None = None
) -> LinearAutoencoder:
    """Of the measured frames of segments, less `mean` (V,) where it is given."""

    def columns(block: slice) -> Float32:
        frames = np.concatenate([segment.frames[segment.measured, block] for segment in segments])
        return frames if mean is None else frames - mean[block]

    return fit_autoencoder(columns, segments[0].frames.shape[1], n_latents, generator)[0]


def mean_r(truth: Tensor, estimate: Tensor, importance: Tensor) -> Tensor:
    """Correlation in time of each latent (n, d), weighted by what it costs on the cortex."""
    truth, estimate = truth - truth.mean(dim=0), estimate - estimate.mean(dim=0)
    norm = (truth.square().sum(dim=0) * estimate.square().sum(dim=0)).sqrt().clamp(min=1e-12)
    return ((truth * estimate).sum(dim=0) / norm) @ importance.to(truth.device)
