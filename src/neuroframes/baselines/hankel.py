"""Structured low-rank matrix completion: missing frames that leave a block Hankel matrix low in rank.

With x_t the frames (P,), H(X) has the columns (x_t, x_t+1, .., x_t+L-1), stacked: shape (L P, K - L + 1).
Where series obey a linear recurrence its rank is low. Split into two variables,

    minimise over Z, and X at the missing frames,   |H(X) - Z|^2 / 2 + lambda |Z|_*

by turns: Z has the singular values of H(X) less lambda, X the mean of the entries of Z that stand for it. So
Balachandrasekaran et al. (PMC8934405) recover censored frames; here measured frames are kept, and there is no
slice timing. L and lambda, a share of the largest singular value, have the least error on measured frames
hidden in gaps like those of the run.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from neuroframes.baselines.interpolation import MeanFrame
from neuroframes.frames.calibration import hide_alike
from neuroframes.recording.segments import Segment

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

DEPTHS = (8, 16)  # L
SHARES = (0.2, 0.14, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)  # of the largest singular value, for lambda
TOLERANCE = 3e-3  # of the missing frames, by which a turn changes them at the end
MOST_TURNS = 60


def lifted(frames: Float, depth: int) -> Float:
    """H(X), shape (L P, K - L + 1)."""
    windows = np.lib.stride_tricks.sliding_window_view(frames, depth, axis=0)  # (K - L + 1, P, L)
    return windows.transpose(2, 1, 0).reshape(-1, len(windows))


def averaged(matrix: Float, depth: int) -> Float:
    """Frames (K, P) as means of the entries that stand for them: the pseudo-inverse of H."""
    width = matrix.shape[1]
    blocks = matrix.reshape(depth, -1, width)
    frames, count = np.zeros((width + depth - 1, blocks.shape[1])), np.zeros((width + depth - 1, 1))
    for lag, block in enumerate(blocks):
        frames[lag : lag + width] += block.T
        count[lag : lag + width] += 1
    return frames / count


def shrunk(matrix: Float, threshold: float) -> Float:
    """The matrix with its singular values less a threshold, none below 0."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    # From the small Gram matrix, which is precise enough for the singular values that are kept.
    values, vectors = eigh(wide @ wide.T, subset_by_value=(threshold**2, np.inf))
    kept = (vectors * (1 - threshold / np.sqrt(values))) @ (vectors.T @ wide)
    return kept if wide is matrix else kept.T


def path(frames: Float, measured: Mask, depth: int) -> Iterator[Float]:
    """Frames (K, P) with the missing ones completed, for one lambda after another."""
    frames = np.where(measured[:, None], frames, 0)
    largest = float(np.linalg.norm(lifted(frames, depth), 2))
    for share in SHARES:
        for _ in range(MOST_TURNS):
            new = averaged(shrunk(lifted(frames, depth), share * largest), depth)[~measured]
            change = np.linalg.norm(new - frames[~measured])
            frames[~measured] = new
            if change <= TOLERANCE * np.linalg.norm(new):
                break
        yield frames


class Hankel(MeanFrame):
    """Completion by a block Hankel matrix of low rank; the training mean where nothing is measured."""

    name = "Hankel completion"
    reads_frames = True

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        measured = segment.measured
        if not measured.any() or measured.all():
            return super().estimate(segment)
        frames = (segment.frames - self.mean_).astype(np.float64)
        near = measured & ~hide_alike(measured)
        depths = sorted({min(depth, len(frames)) for depth in DEPTHS})
        tried = {
            (depth, number): np.sum((completed - frames)[measured] ** 2)
            for depth in depths
            for number, completed in enumerate(path(frames, near, depth))
        }
        depth, number = min(tried, key=lambda chosen: tried[chosen])
        completed = next(islice(path(frames, measured, depth), number, None))
        return (completed[~measured] + self.mean_).astype(np.float32)
