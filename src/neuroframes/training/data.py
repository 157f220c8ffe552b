"""What the learned correction is trained on: frames, the EEG around them, and which frames are hidden."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.frames.prior import windows_in_context
from neuroframes.frames.temporal import TemporalCovariance
from neuroframes.models.denoiser import EARLIEST, LATEST
from neuroframes.models.gaussian import Backbone
from neuroframes.recording.eeg_windows import eeg_windows
from neuroframes.recording.segments import Segment

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCKS = 5  # of the training part, one of which a member is validated on
ALONE = 16  # patterns of measured frames in which nothing is measured


@dataclass(frozen=True)
class TrainingData:
    """Latents of the training part, one row a frame, and the EEG that they are explained by.

    Attributes
    ----------
    z, mean : tensor, shape (n, d)
        Latents, censored ones filled by their posterior mean, and their left-out prediction from EEG.
    scored : tensor of bool, shape (n,)
    times : tensor, shape (n,), seconds on the run's EEG clock
    segment : tensor of int, shape (n,)
    eeg : list of array, shape (C, N), volts, one a segment, of its whole run
    rate : float, Hz
    importance : tensor, shape (d,), sums to 1
    """

    z: Tensor
    mean: Tensor
    scored: Tensor
    times: Tensor
    segment: Tensor
    eeg: list[NDArray[np.float32]]
    rate: float
    importance: Tensor

    @classmethod
    def of(cls, segments: Sequence[Segment], backbone: Backbone) -> "TrainingData":
        filled = [
            _filled(z, segment.measured, m, backbone.with_eeg)
            for segment, z, m in zip(segments, backbone.latents, backbone.left_out, strict=True)
        ]
        signals = [segment.eeg for segment in segments if segment.eeg is not None]
        importance = torch.as_tensor(backbone.prior.autoencoder.importance, dtype=torch.float32)

        def joined(arrays: Sequence[NDArray[Any]], dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.concatenate(arrays), dtype=dtype)

        return cls(
            joined(filled, torch.float32),
            joined(backbone.left_out, torch.float32),
            joined([segment.measured for segment in segments], torch.bool),
            joined([segment.times for segment in segments], torch.float64),
            joined([np.full(len(s.times), number) for number, s in enumerate(segments)], torch.int64),
            [signal.data for signal in signals],
            signals[0].rate,
            importance / importance.sum(),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrainingData":
        """Itself: averaging weights copies the whole module, and an hour of EEG needn't be there twice."""
        return self

    def digest(self) -> list[int]:
        """What tells these data from others."""
        return [crc32(part.numpy().tobytes()) for part in (self.z, self.mean, self.times)]

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
    for number in range(min(ALONE, n_masks), n_masks):
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
