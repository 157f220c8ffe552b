"""Measurements of a sequence of frames.

y = A x with x of K frames. A+ is the pseudo-inverse; P = I - A+ A projects onto what A cannot
see, so A+ y + P x agrees with y and keeps x everywhere else.

Operators along time are one M x K matrix that acts on every vertex (or latent) alike. They
commute with a linear autoencoder, which acts along the other axis.
"""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError

Array = NDArray[np.floating]


class Measurement(ABC):
    """A linear measurement with an exact pseudo-inverse."""

    @abstractmethod
    def apply(self, x: Array) -> Array:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Array) -> Array:
        """A^T y."""

    @abstractmethod
    def pinv(self, y: Array) -> Array:
        """A+ y: the smallest x with the smallest ||A x - y||."""

    def null(self, x: Array) -> Array:
        """P x = x - A+ A x: the part of x that A cannot see."""
        return x - self.pinv(self.apply(x))

    def impose(self, x: Array, y: Array) -> Array:
        """A+ y + P x: the closest point to x that agrees with y."""
        return x + self.pinv(y - self.apply(x))


class AlongTime(Measurement):
    """y = A x, x of shape (K, ...) and y of shape (M, ...), for any M x K matrix.

    Parameters
    ----------
    matrix : array, shape (M, K)
        Singular values below `max(M, K) * eps` times the largest count as zero.
    """

    def __init__(self, matrix: Array) -> None:
        self.matrix = np.asarray(matrix, np.float64)

    @cached_property
    def _pinv(self) -> NDArray[np.float64]:
        cutoff = max(self.matrix.shape) * np.finfo(np.float64).eps
        return np.asarray(np.linalg.pinv(self.matrix, rcond=cutoff), np.float64)

    def apply(self, x: Array) -> Array:
        return _times(self.matrix, x)

    def adjoint(self, y: Array) -> Array:
        return _times(self.matrix.T, y)

    def pinv(self, y: Array) -> Array:
        return _times(self._pinv, y)


class Mask(Measurement):
    """Some entries of x are measured, y holds their values. Exact to the bit: it only copies.

    Parameters
    ----------
    measured : array of bool, over the leading axes of x
    """

    def __init__(self, measured: NDArray[np.bool_]) -> None:
        self.measured = np.asarray(measured, bool)

    def apply(self, x: Array) -> Array:
        return x[self.measured]

    def adjoint(self, y: Array) -> Array:
        x = np.zeros((*self.measured.shape, *y.shape[1:]), y.dtype)
        x[self.measured] = y
        return x

    def pinv(self, y: Array) -> Array:
        return self.adjoint(y)

    def impose(self, x: Array, y: Array) -> Array:
        completed = x.copy()
        completed[self.measured] = y
        return completed


class FrameMask(Mask, AlongTime):
    """Some frames are measured, the others are not: `measured` has shape (K,)."""

    @cached_property
    def matrix(self) -> NDArray[np.float64]:  # type: ignore[override]
        return np.eye(len(self.measured))[self.measured]


class SamplingTimes(AlongTime):
    """Frames sampled at irregular times, by linear interpolation on the frame grid.

    Parameters
    ----------
    frame_times : array, shape (K,), seconds, increasing
    sample_times : array, shape (M,), seconds

    Raises
    ------
    InputError
        If a sample lies outside the frames' span, or there are fewer than two frames.
    """

    def __init__(self, frame_times: Array, sample_times: Array) -> None:
        if len(frame_times) < 2:
            raise InputError(f"{len(frame_times)} frames are no grid to sample on; give at least 2")
        outside = ~((sample_times >= frame_times[0]) & (sample_times <= frame_times[-1]))
        if outside.any():
            raise InputError(
                f"{outside.sum()} of {len(sample_times)} samples lie outside the frames' span "
                f"{frame_times[0]:g} to {frame_times[-1]:g} s; extend the frame grid to cover them"
            )
        left = np.clip(np.searchsorted(frame_times, sample_times, "right") - 1, 0, len(frame_times) - 2)
        weight = (sample_times - frame_times[left]) / (frame_times[left + 1] - frame_times[left])
        matrix = np.zeros((len(sample_times), len(frame_times)))
        rows = np.arange(len(sample_times))
        matrix[rows, left] = 1 - weight
        matrix[rows, left + 1] += weight
        super().__init__(matrix)


class Averaging(AlongTime):
    """Each measured frame is the mean of `factor` consecutive ones: a TR `factor` times as long.

    Parameters
    ----------
    n_frames : int
        K, a multiple of `factor`.
    factor : int
    """

    def __init__(self, n_frames: int, factor: int) -> None:
        if factor < 1 or n_frames % factor:
            raise InputError(f"{n_frames} frames can't be averaged by {factor}; give a multiple of {factor}")
        self.factor = factor
        super().__init__(np.repeat(np.eye(n_frames // factor), factor, axis=1) / factor)

    def apply(self, x: Array) -> Array:
        return x.reshape(-1, self.factor, *x.shape[1:]).mean(axis=1)

    def adjoint(self, y: Array) -> Array:
        return np.repeat(y, self.factor, axis=0) / self.factor

    def pinv(self, y: Array) -> Array:
        return np.repeat(y, self.factor, axis=0)


def _times(matrix: NDArray[np.float64], x: Array) -> Array:
    """matrix @ x over the first axis, in x's own precision."""
    precision = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(np.float64)
    return np.tensordot(matrix.astype(precision, copy=False), x, axes=1)
