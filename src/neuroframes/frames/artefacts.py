"""Frames that look like artefacts.

A frame is compared with the measured frames next to it, two on either side. The mean squared difference over
vertices is divided by the usual one: the median of all pairs of measured frames as far apart, and where these
are few no less than that of nearer ones. It is also divided by how many times the usual amplitude the frames
next to it have: a stretch that is large throughout is no artefact. An artefact differs from all four, a frame
beside one from that one alone: the second smallest ratio counts, and the second smallest amplitude.
"""

import numpy as np
from numpy.typing import NDArray

from neuroframes.frames.prior import SAMPLE

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

ON_EITHER_SIDE = 2  # measured frames on either side
MANY_TIMES = 7.0  # the usual squared difference: chosen on the odd people of docs/prior.md
FEWEST = 16  # measured frames


def suspicious(frames: Float32, measured: Mask) -> Mask:
    """Measured frames that look like artefacts, shape (K,).

    These stand alone or two by two. Of three or more that are alike the inner ones differ from none of their
    neighbours and are not found; nor are artefacts so many that they are the usual frames.

    Parameters
    ----------
    frames : array, shape (K, V), z-scored; what stands at missing frames isn't read
    measured : array, shape (K,)
    """
    found, rows = np.zeros(len(measured), bool), np.flatnonzero(measured)
    if len(rows) < FEWEST:
        return found
    values = frames[rows, :: max(1, frames.shape[1] // SAMPLE)].astype(np.float64)
    apart = [rows[step:] - rows[:-step] for step in range(1, ON_EITHER_SIDE + 1)]
    usual, nearer = np.zeros(len(measured)), 0.0
    for distance in np.unique(np.concatenate(apart)):
        later, earlier = np.isin(rows, rows + distance), np.isin(rows + distance, rows)
        differences = np.square(values[later] - values[earlier]).mean(axis=1)
        usual[distance] = median = max(np.median(differences), np.finfo(float).tiny)
        if len(differences) < FEWEST:
            usual[distance] = max(median, nearer)
        else:
            nearer = max(median, nearer)
    amplitude = np.sqrt(np.square(values).mean(axis=1))
    amplitude /= max(np.median(amplitude), np.finfo(float).tiny)
    ratios, around = np.full((2, len(rows), 2 * ON_EITHER_SIDE), np.inf)
    for step, distances in enumerate(apart, 1):
        ratio = np.square(values[step:] - values[:-step]).mean(axis=1) / usual[distances]
        ratios[step:, 2 * step - 2] = ratio
        ratios[:-step, 2 * step - 1] = ratio
        around[step:, 2 * step - 2] = amplitude[:-step]
        around[:-step, 2 * step - 1] = amplitude[step:]
    ratios /= np.maximum(np.sort(around, axis=1)[:, 1:2], 1.0)
    # At a run's ends there are two neighbours, of which one may be an artefact.
    rank = np.where(np.isfinite(ratios).sum(axis=1) > ON_EITHER_SIDE, 1, 0)
    found[rows] = np.sort(ratios, axis=1)[np.arange(len(rows)), rank] > MANY_TIMES
    return found
