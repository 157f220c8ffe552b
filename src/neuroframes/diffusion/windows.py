"""Windows that overlap, for recordings of any length.

Each window weighs a frame by a raised cosine of its place within the window, over the sum of all windows' at
that frame: weights are smooth and sum to 1. What each window agrees on, such as a measured frame, the
blend keeps.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuroframes.errors import InputError


@dataclass(frozen=True)
class Windows:
    """K frames cut into windows of one length.

    Attributes
    ----------
    slices : tuple of slice, length W
    weights : tensor, shape (W, length), float64
    """

    slices: tuple[slice, ...]
    weights: Tensor

    @classmethod
    def over(cls, n_frames: int, length: int, overlap: int) -> "Windows":
        """Windows that overlap by `overlap` frames or a little more, to end with the last frame.

        A run shorter than a window is one window.

        Raises
        ------
        InputError
            If `overlap` isn't between 0 and `length` - 1, or there are no frames.
        """
        if not (n_frames > 0 and 0 <= overlap < length):
            raise InputError(
                f"{n_frames} frames can't be cut into windows of {length} that overlap by {overlap}; "
                "give at least one frame and an overlap from 0 to the window's length - 1"
            )
        length = min(length, n_frames)
        n_windows = 1 + -(-(n_frames - length) // max(1, length - overlap))
        starts = np.linspace(0, n_frames - length, n_windows).astype(int).tolist()
        taper = torch.sin(torch.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length).square()
        slices = tuple(slice(start, start + length) for start in starts)
        total = torch.zeros(n_frames, dtype=torch.float64)
        for window in slices:
            total[window] += taper
        return cls(slices, torch.stack([taper / total[window] for window in slices]))

    def blend(self, pieces: Iterable[Tensor]) -> Tensor:
        """Weighted sum of what the windows say.

        Parameters
        ----------
        pieces : iterable of W tensors of shape (..., length, d), in the order of `slices`
            For a function over windows, `(function(window) for window in windows.slices)`; for a batch of
            them, a tensor of shape (W, ..., length, d).

        Returns
        -------
        tensor, shape (..., K, d)
        """
        blended = None
        for window, weights, piece in zip(self.slices, self.weights, pieces, strict=True):
            if blended is None:
                blended = piece.new_zeros((*piece.shape[:-2], self.slices[-1].stop, piece.shape[-1]))
            blended[..., window, :] += weights.to(piece)[:, None] * piece
        assert blended is not None
        return blended
