"""Whether what people compute from frames comes out of an estimate as it does out of measured frames.

Measured frames X (K, V) of test runs and completed or reconstructed ones Y go through the same analysis f,
and f(Y) is compared with f(X):

    fc_similarity            correlations between parcels (`similarity.fc_similarity`)
    network_r                mean course of each network
    event_r                  average around the events of a type
    rsa_conditions           which types of events have patterns that are alike
    rsa_stretches            which stretches of 10 s have

Beside a score stands its ceiling, what f of measured frames has with f of other measured frames: of a half
of the runs, or of another run. r of two halves is brought to their whole length by
2 r / (1 + r) (Spearman 1910; Brown 1910). Of what repeats, even a perfect estimate has the ceiling's square
root at most, since the measured frames have noise; what happens once may lift an estimate above that, since
it is of the same moments as they are.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from neuroframes.evaluation.events import event_averages, event_onsets
from neuroframes.evaluation.metrics import standardised
from neuroframes.evaluation.similarity import fc_similarity, region_means

Array = NDArray[np.float64]
Frames = Sequence[NDArray[np.floating]]  # one (K, V) array a segment
Mask = Sequence[NDArray[np.bool_]]

STRETCH = 10.0  # seconds
SAME = 1e-3  # by which features of what is shown again may differ
FEWEST_PATTERNS = 4  # three have three pairs, too few to be ranked


def network_r(truth: Frames, prediction: Frames, scored: Mask, *, labels: NDArray[np.integer]) -> float:
    """Pearson r of each network's mean course along the scored frames of all segments, averaged over these.

    A constant prediction gets 0; networks whose truth is constant are left out. Ceiling: r of runs in which
    the same is shown; a single run has none, since no moment is measured twice.

    The trap: the global signal is in every network.

    Parameters
    ----------
    truth, prediction : list of array, shape (K, V)
    scored : list of array, shape (K,)
    labels : array, shape (V,)
        Number of each value's network; -1 belongs to none.

    Returns
    -------
    float, NaN where no network's truth varies
    """
    x, y = (np.concatenate(region_means(frames, labels, scored)) for frames in (truth, prediction))
    return _mean(_r(x, y))


def representational_similarity(truth: Array, prediction: Array, *, apart: int = 1) -> float:
    """Spearman r of the dissimilarities, 1 - r, of all pairs of patterns (Kriegeskorte et al. 2008).

    doi:10.3389/neuro.06.004.2008. Patterns whose truth is constant or not finite are left out; a constant
    prediction has r 0 with all others, and dissimilarities that are all the same get 0.

    The trap: neighbours in time are alike without any stimulus.

    Parameters
    ----------
    truth, prediction : array, shape (n, V)
    apart : int
        Pairs whose places differ by less are left out.

    Returns
    -------
    float, NaN of fewer than 4 patterns, or where the truth's dissimilarities are all the same
    """
    x, y = standardised(truth.T), standardised(prediction.T, truth.T)
    varying = x.any(axis=0)
    if varying.sum() < FEWEST_PATTERNS:
        return np.nan
    pairs = np.triu_indices(varying.sum(), apart)
    # Equal but for rounding, as patterns of a mean frame are, is equal.
    a, b = ((1 - z[:, varying].T @ z[:, varying])[pairs].round(6) for z in (x, y))
    if np.ptp(a) == 0:
        return np.nan
    return float(spearmanr(a, b).statistic) if np.ptp(b) else 0.0


def stretches(frames: Frames, used: Mask, tr: float) -> Array:
    """Mean of the frames in use of each whole stretch of 10 s that has any; shape (n, V)."""
    n = max(1, round(STRETCH / tr))
    means = [
        part[start:stop][mask[start:stop]].mean(axis=0)
        for part, mask in zip(frames, used, strict=True)
        for start, stop in pairwise(range(0, len(part) + 1, n))
        if mask[start:stop].any()
    ]
    return np.array(means, np.float64).reshape(-1, frames[0].shape[1])


def rsa_stretches(truth: Frames, prediction: Frames, used: Mask, *, tr: float) -> float:
    """`representational_similarity` of stretches of 10 s but neighbours; its ceiling is as `network_r`'s."""
    return representational_similarity(*(stretches(of, used, tr) for of in (truth, prediction)), apart=2)


def of_repeats(
    measure: Callable[[Frames, Frames, Mask], float], truth: Frames, used: Mask, shown: Frames
) -> float:
    """Mean of a measure over pairs of segments with the same shown at the same frames; NaN without any."""
    values = [
        measure([truth[i]], [truth[j]], [used[i] & used[j]])
        for i, j in combinations(range(len(truth)), 2)
        if shown[i].shape == shown[j].shape
        and np.allclose(shown[i], shown[j], atol=SAME)
        and np.ptp(shown[i], axis=0).any()
    ]
    return _mean(np.array(values))


def spearman_brown(r: float) -> float:
    """r between wholes, of that between their halves; of a negative one the size is brought up alike."""
    return 2 * r / (1 + abs(r))


def preservation_scores(
    truth: Frames,
    prediction: Frames,
    scored: Mask,
    measured: Mask,
    *,
    tr: float,
    parcels: NDArray[np.integer],
    networks: NDArray[np.integer] | None = None,
    shown: Frames | None = None,
    stimulus: Sequence[str] = (),
) -> dict[str, float]:
    """Each measure and its ceiling, over parcels.

    Parameters
    ----------
    truth, prediction : list of array, shape (K, V), z-units
        Complete sequences, one a segment: the frames that were given are in both.
    scored : list of array, shape (K,)
        What correlations between parcels and courses are of.
    measured : list of array, shape (K,)
        What averages and patterns are of: they need what is beside the scored frames.
    tr : float, seconds
    parcels : array, shape (V,)
        As of `cortex.regions.parcels`: a number from 0, or -1 for none.
    networks : array, shape (V,)
        Alike; without them each parcel is one.
    shown : list of array, shape (K, F), and stimulus, the F names
        As of `event_onsets`; NaN where nothing is.

    Returns
    -------
    dict of float
        "network_r", "event_r, kind=circle" ..., and "network_r, ceiling" ... What can't be said has no entry:
        without `shown` there are no events, and courses and stretches have a ceiling only where runs repeat.
    """
    x, y = (region_means(frames, parcels) for frames in (truth, prediction))
    each = np.arange(x[0].shape[1])
    of_stretches = partial(rsa_stretches, tr=tr)
    of_networks = partial(network_r, labels=each if networks is None else networks)
    first, second = (x, y) if networks is None else (truth, prediction)
    found = {
        "fc_similarity": fc_similarity(x, y, scored, each),
        "fc_similarity, ceiling": _of_halves(x, scored),
        "network_r": of_networks(first, second, scored),
        "rsa_stretches": of_stretches(x, y, measured),
    }
    if shown is not None:
        shown = [np.nan_to_num(of) for of in shown]
        found["network_r, ceiling"] = of_repeats(of_networks, first, scored, shown)
        found["rsa_stretches, ceiling"] = of_repeats(of_stretches, x, measured, shown)
        onsets, names = event_onsets(shown, stimulus)
        found |= _event_scores(x, y, measured, onsets, names, tr)
    return {name: float(value) for name, value in found.items() if not np.isnan(value)}


def _event_scores(
    truth: Frames, prediction: Frames, used: Mask, onsets: Mask, names: Sequence[str], tr: float
) -> dict[str, float]:
    if not names:
        return {}
    # Not of odd and even events: in one fit, what is wrong with the constant is wrong with both.
    halves = [[mask & (np.arange(len(mask)) < len(mask) // 2) for mask in used]]
    halves += [[mask & ~early for mask, early in zip(used, halves[0], strict=True)]]
    fits = ((truth, used), (prediction, used), *((truth, half) for half in halves))
    whole, estimate, *of_halves = (
        event_averages(frames, onsets, rows, tr).reshape(len(names), -1) for frames, rows in fits
    )
    found = {
        "rsa_conditions": representational_similarity(whole, estimate),
        "rsa_conditions, ceiling": spearman_brown(representational_similarity(*of_halves)),
    }
    pairs = ((whole, estimate), of_halves)
    for name, r, ceiling in zip(names, *(_r(a.T, b.T) for a, b in pairs), strict=True):
        found |= {f"event_r, {name}": r, f"event_r, {name}, ceiling": spearman_brown(ceiling)}
    return found


def _of_halves(courses: Frames, scored: Mask) -> float:
    """FC similarity of the first and the last half of the scored frames, brought to their whole length."""
    rows = np.concatenate([of[mask] for of, mask in zip(courses, scored, strict=True)])
    half, each = len(rows) // 2, np.arange(rows.shape[1])
    if half < 3:  # two frames correlate by 1 or -1
        return np.nan
    return spearman_brown(fc_similarity([rows[:half]], [rows[-half:]], [np.ones(half, bool)], each))


def _r(truth: NDArray[np.floating], prediction: NDArray[np.floating]) -> Array:
    """r of columns; 0 where the prediction is constant, NaN where the truth is, or isn't finite."""
    x, y = standardised(truth), standardised(prediction, truth)
    return np.where(x.any(axis=0), (x * y).sum(axis=0), np.nan)


def _mean(values: Array) -> float:
    """Of those that aren't NaN; NaN of none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
