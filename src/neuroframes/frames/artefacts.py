"""Frames that look like artefacts.

A frame is compared with the measured frames next to it, two on either side. The mean squared difference over
vertices is divided by the median one of frames as far apart. An artefact differs from all of them, a frame
beside one from that one alone: the second smallest of the four ratios counts.
"""

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.prior import SAMPLE

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

NEIGHBOURS = 2  # measured frames on either side
MANY_TIMES = 7.0  # the usual squared difference: chosen on the odd people of docs/prior.md
FEWEST = 16  # measured frames


def suspicious(frames: Float32, measured: Mask) -> Mask:
    """Measured frames that look like artefacts, shape (K,).

    Parameters
    ----------
    frames : array, shape (K, V), z-scored; what stands at missing frames isn't read
    measured : array, shape (K,)
    """
    found, rows = np.zeros(len(measured), bool), np.flatnonzero(measured)
    if len(rows) < FEWEST:
        return found
    values = frames[rows, :: max(1, frames.shape[1] // SAMPLE)].astype(np.float64)
    ratios = np.full((len(rows), 2 * NEIGHBOURS), np.inf)
    for step in range(1, NEIGHBOURS + 1):
        difference = np.square(values[step:] - values[:-step]).mean(axis=1)
        apart = rows[step:] - rows[:-step]
        for distance in np.unique(apart):
            alike = apart == distance
            usual = np.median(difference[alike]) if alike.sum() >= FEWEST else np.median(difference)
            difference[alike] /= max(float(usual), np.finfo(float).tiny)
        ratios[step:, 2 * step - 2] = difference
        ratios[:-step, 2 * step - 1] = difference
    # At a run's ends there are two neighbours, of which one may be an artefact.
    rank = np.where(np.isfinite(ratios).sum(axis=1) > NEIGHBOURS, 1, 0)
    found[rows] = np.sort(ratios, axis=1)[np.arange(len(rows)), rank] > MANY_TIMES
    return found
