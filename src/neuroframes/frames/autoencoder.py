"""The linear autoencoder of frames: X = Z D + rest.

Z (K, d) are whitened latents, D (d, V) the decoder. The encoder is its exact pseudo-inverse,
D+ = D^T (D D^T)^-1, so encode(decode(z)) = z. Encoding acts along vertices and
measurements act along time, so the two commute.

The decoder is a truncated principal component analysis, by randomised range finding (Halko,
Martinsson and Tropp 2011) over blocks of vertices: K x V never has to be in memory at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError

Float32 = NDArray[np.float32]
Columns = Callable[[slice], Float32]

BLOCK = 4096  # vertices; 27,000 frames of them are 442 MB
OVERSAMPLING = 16
POWER_ITERATIONS = 3
RANK_CUTOFF = 1e-10  # of the largest eigenvalue of D D^T


@dataclass(frozen=True)
class LinearAutoencoder:
    """Decoder and its exact pseudo-inverse.

    Attributes
    ----------
    decoder : array, shape (d, V)
        Strongest first; latents of the frames it was fitted on have unit variance.
    rest : array, shape (V,)
        Standard deviation of what the latents leave over, at each vertex.
    """

    decoder: Float32
    rest: Float32

    @property
    def n_latents(self) -> int:
        return len(self.decoder)

    @property
    def importance(self) -> NDArray[np.float64]:
        """Squared norm of the decoder's rows, shape (d,): what an error in a latent costs on the cortex."""
        return np.square(self.decoder, dtype=np.float64).sum(axis=1)

    @cached_property
    def encoder(self) -> Float32:
        """D+, shape (V, d)."""
        decoder = self.decoder.astype(np.float64)
        # Of few vertices the decoder may have lower rank than latents.
        inverse = np.linalg.pinv(decoder @ decoder.T, RANK_CUTOFF, hermitian=True)
        return (inverse @ decoder).T.astype(np.float32)

    def encode(self, columns: Columns) -> NDArray[np.float64]:
        """Latents (K, d) of frames given by columns."""
        latents = np.zeros((columns(slice(0, 0)).shape[0], self.n_latents))
        for block in blocks(len(self.encoder)):
            latents += columns(block).astype(np.float32, copy=False) @ self.encoder[block]
        return latents

    def decode(
        self, latents: NDArray[np.floating], block: slice | NDArray[np.integer] = slice(None)
    ) -> Float32:
        """Frames (K, v) of the vertices in `block`."""
        return latents.astype(np.float32) @ self.decoder[:, block]


def columns_of(frames: Float32) -> Columns:
    """Frames (K, V) in memory, by blocks of vertices."""
    return lambda block: frames[:, block]


def rows_of(columns: Columns, rows: NDArray[np.bool_] | NDArray[np.integer]) -> Columns:
    """Some of the frames, in order; along contiguous time series, several times faster than indexing."""
    index = np.flatnonzero(rows) if rows.dtype == bool else rows
    return lambda block: np.take(columns(block).T, index, axis=1).T


def blocks(n_vertices: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices that cover the vertices in order."""
    for start in range(0, n_vertices, size):
        yield slice(start, min(start + size, n_vertices))


def fit_autoencoder(
    columns: Columns, n_vertices: int, n_latents: int, generator: np.random.Generator
) -> tuple[LinearAutoencoder, NDArray[np.float64]]:
    """Principal components of frames whose vertices have mean 0.

    Parameters
    ----------
    columns : callable
        From a slice of vertices to the frames there, shape (K, v) float32.
    n_vertices : int
    n_latents : int
        At most what the frames' rank allows; fewer come back where it is lower.
    generator : numpy.random.Generator

    Returns
    -------
    LinearAutoencoder, and the latents of the frames it was fitted on, shape (K, d)

    Raises
    ------
    InputError
        If every frame is 0.
    """
    n_frames = columns(slice(0, 1)).shape[0]
    width = min(n_latents + OVERSAMPLING, n_frames, n_vertices)
    basis = np.linalg.qr(generator.standard_normal((n_frames, width)).astype(np.float32))[0]
    for _ in range(POWER_ITERATIONS):
        product = np.zeros_like(basis)
        for block in blocks(n_vertices):
            x = columns(block)
            product += x @ (x.T @ basis)
        basis = np.linalg.qr(product)[0]
    projected = np.empty((width, n_vertices), np.float32)
    total = np.empty(n_vertices)
    gram = np.zeros((width, width))
    for block in blocks(n_vertices):
        x = columns(block)
        projected[:, block] = basis.T @ x
        gram += projected[:, block].astype(np.float64) @ projected[:, block].T
        total[block] = np.einsum("kv,kv->v", x, x, dtype=np.float64)
    values, vectors = np.linalg.eigh(gram)
    if values[-1] <= 0:
        raise InputError("the frames are constant at every vertex; nothing can be fitted to them")
    strongest = np.argsort(values)[::-1][:n_latents]
    # Weaker ones would drown in the rounding of the strongest when encoded in single precision.
    strongest = strongest[values[strongest] > values[-1] * width * np.finfo(np.float32).eps]
    rotation = vectors[:, strongest].astype(np.float32)
    decoder = rotation.T @ projected / np.sqrt(np.float32(n_frames))
    latents = basis @ rotation * np.sqrt(np.float32(n_frames))
    rest = np.sqrt(np.maximum(total / n_frames - np.square(decoder, dtype=np.float64).sum(axis=0), 0.0))
    return LinearAutoencoder(decoder, rest.astype(np.float32)), latents.astype(np.float64)
