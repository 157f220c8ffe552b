"""Events: when they begin, and what frames are like after them.

An event of type t begins at frame k where onsets[k, t]. Frame k is a constant of its segment plus the sum
over types and lags l of h[t, l] onsets[k - l, t]: h are the finite impulse responses.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroframes.recording.features import CATEGORY

Frames = Sequence[NDArray[np.floating]]  # one (K, V) array a segment
Mask = Sequence[NDArray[np.bool_]]

AFTER = 20.0  # seconds after an event that its average takes in: the haemodynamic response
FEWEST_EVENTS = 4  # of a type, so that halves of the runs have some


def event_onsets(shown: Frames, stimulus: Sequence[str]) -> tuple[list[NDArray[np.bool_]], list[str]]:
    """Where events of each type begin, of what is shown at each frame.

    Parameters
    ----------
    shown : list of array, shape (K, F)
    stimulus : sequence of str, length F
        Those named `kind=circle` are types of events, 1 while one lasts.

    Returns
    -------
    onsets : list of array, shape (K, T)
        What a segment begins with began at an unknown time: it is no event.
    names : list of str
        Types that have at least 4 events.
    """
    columns = [i for i, name in enumerate(stimulus) if CATEGORY in name]
    on = [of[:, columns] > 0.5 for of in shown]
    begin = [of & ~np.concatenate([of[:1], of[:-1]]) for of in on]
    enough = np.sum([of.sum(axis=0) for of in begin], axis=0) >= FEWEST_EVENTS
    names = [stimulus[column] for column, often in zip(columns, enough, strict=True) if often]
    return [of[:, enough] for of in begin], names


def event_averages(frames: Frames, onsets: Mask, used: Mask, tr: float) -> NDArray[np.float64]:
    """Average around the events of each type: the finite impulse responses h.

    By least squares, so that responses which overlap are separated (Dale 1999, Hum Brain Mapp 8:109). What
    goes on from before a segment is not modelled.

    Parameters
    ----------
    frames : list of array, shape (K, V)
    onsets : list of array, shape (K, T)
        Where an event of each type begins.
    used : list of array, shape (K,)
        Frames to fit to.
    tr : float, seconds

    Returns
    -------
    array, shape (T, L, V), of lags 0, tr ... up to 20 s
        NaN throughout for types that the design doesn't tell from others.
    """
    n_types, n_lags = onsets[0].shape[1], int(AFTER / tr + 1e-6) + 1
    rows, values = [], []
    for number, (part, of, mask) in enumerate(zip(frames, onsets, used, strict=True)):
        design = np.zeros((len(of), n_types, n_lags))
        for lag in range(min(n_lags, len(of))):
            design[lag:, :, lag] = of[: len(of) - lag]
        constant = np.tile(np.arange(len(frames)) == number, (len(of), 1))
        rows.append(np.hstack([design.reshape(len(of), n_types * n_lags), constant])[mask])
        values.append(part[mask])
    design, shape = np.concatenate(rows), (n_types, n_lags, frames[0].shape[1])
    if design.shape[1] > len(design):
        return np.full(shape, np.nan)
    gram = design.T @ design  # of whole numbers: exact, and quicker than the design's own pseudo-inverse
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    averages = (inverse @ (design.T @ np.concatenate(values)))[: n_types * n_lags].reshape(shape)
    # What is told from all else has a row of the identity in A+ A.
    told = np.isclose((inverse * gram).sum(axis=1), 1)[: n_types * n_lags]
    return np.where(told.reshape(n_types, n_lags).all(axis=1)[:, None, None], averages, np.nan)
