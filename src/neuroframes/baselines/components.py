"""Principal components of frames, and the rest: for methods that can't take all vertices.

    X = Z D + R

with D of `frames.autoencoder`. Of few vertices all components are taken, and R is 0.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.autoencoder import LinearAutoencoder, columns_of, fit_autoencoder
from neuroframes.frames.prior import default_latents
from neuroframes.recording.segments import Segment

FEW = 200  # vertices of which no component is left out


def fit_components(segments: Sequence[Segment], seed: int) -> LinearAutoencoder:
    """Components of the measured frames of segments: all of few vertices, else one for eight frames."""
    frames = np.concatenate([segment.frames[segment.measured] for segment in segments])
    few = frames.shape[1] <= FEW
    number = frames.shape[1] if few else default_latents(len(frames))
    return fit_autoencoder(columns_of(frames), frames.shape[1], number, np.random.default_rng(seed))[0]


def split(autoencoder: LinearAutoencoder, segment: Segment) -> tuple[NDArray[np.float64], Segment]:
    """Components (K, d), 0 where nothing is measured, and the segment with what they leave over."""
    frames = np.where(segment.measured[:, None], segment.frames, 0)
    latents = autoencoder.encode(columns_of(frames))
    return latents, replace(segment, frames=frames - autoencoder.decode(latents))
