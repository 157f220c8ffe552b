"""In which gaps EEG is believed: from left-out predictions, and not where a gain may be chance.

Frames are hidden in gaps of several lengths, and filled with and without what EEG says of them. The
squared error must fall by more than chance (5 %), in gaps of one length and in all longer ones. EEG tells
most in long gaps, so these are tested first, and the first that fails ends it: then the chance that EEG
which says nothing is believed in gaps of any length is that of the first test alone (a fixed sequence,
Maurer, Hothorn & Lehmacher 1995).

* One person: each block is predicted by a fit to the others, so their gains rise and fall together, and
  penalties are chosen on the same frames. The spread of gains says nothing of chance then. Instead,
  latents are drawn from their covariance, of which EEG says nothing, and predicted in the same way. The
  gain must be above those of all 39 draws: each of 40 that are alike is the highest once in 40 times. That
  is half of 5 %, as draws are a little tamer than frames, whose spectrum is known but roughly.
* People: the mean of their gains must be above 0 (one-sided t-test).

Where nothing is measured EEG is all that there is.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.frames.temporal import TemporalCovariance

Float = NDArray[np.float64]
Run = tuple[Float, NDArray[np.bool_], Float]

MASKS = ((1, 8), (2, 8), (4, 8), (8, 8), (16, 8), (18, 2))  # frames of a gap, and measured ones between two
STRETCH = 256  # frames
N_DRAWS = 39


def stretches(runs: Iterable[Run]) -> list[Run]:
    """Runs cut into stretches of time."""
    return [
        (z[start : start + STRETCH], measured[start : start + STRETCH], m[start : start + STRETCH])
        for z, measured, m in runs
        for start in range(0, len(z) - STRETCH // 4, STRETCH)
    ]


def said(gap: float) -> str:
    """What `least_gap` means."""
    if np.isinf(gap):
        return "EEG isn't believed beside measured frames"
    return f"EEG is believed in gaps of {gap:g} frames or more"


def gain(
    mask: tuple[int, int],
    runs: Iterable[Run],
    without: TemporalCovariance,
    with_eeg: TemporalCovariance,
    importance: Float,
) -> float:
    """By which share EEG lowers the squared error in gaps, below 0 where it raises it.

    Parameters
    ----------
    mask : of `MASKS`
    runs : iterable of (latents (K, d), measured (K,), prediction (K, d)), frames a TR apart
        Predictions that the latents had no part in.
    without, with_eeg : TemporalCovariance of the latents, and of what predictions leave over
    importance : array, shape (d,), what a latent's squared error counts for
    """
    (gap, between), errors = mask, np.zeros(2)
    for z, measured, m in runs:
        given = measured & (np.arange(len(z)) % (gap + between) < between)
        times, hidden = without.tr * np.arange(len(z), dtype=np.float64), measured & ~given
        for number, (prior, mean) in enumerate(((without, None), (with_eeg, m))):
            found = posterior(prior, times, FrameMask(given), z[given], mean).mean
            errors[number] += (np.square(found - z)[hidden] @ importance).sum()
    return 1 - errors[1] / errors[0] if errors[0] > 0 else np.nan


def least_gap(
    units: Iterable[Sequence[Run]],
    without: TemporalCovariance,
    with_eeg: TemporalCovariance,
    importance: Float,
) -> float:
    """The shortest gap, in frames, in which EEG is believed of people; inf if in none.

    Parameters
    ----------
    units : iterable of runs of a person, as in `gain`
    without, with_eeg, importance : as in `gain`
    """
    units, least = [*units], np.inf
    for mask in reversed(MASKS):
        each = np.array([gain(mask, runs, without, with_eeg, importance) for runs in units])
        gains = each[np.isfinite(each)]
        if len(gains) < 2:
            break
        error = np.std(gains, ddof=1) / np.sqrt(len(gains))
        if np.mean(gains) <= t.ppf(0.95, len(gains) - 1) * error:
            break
        least = float(mask[0])
    return least


def least_gap_by_draws(
    observed: Sequence[Run], drawn: Iterable[Sequence[Run]], without: TemporalCovariance, importance: Float
) -> float:
    """The shortest gap, in frames, in which EEG is believed of one person; inf if in none.

    Parameters
    ----------
    observed : runs, as in `gain`
    drawn : iterable of the same of `N_DRAWS` draws of latents that EEG says nothing of
        No more are asked for than it takes.
    without, importance : as in `gain`
        The covariance about predictions is taken to be that without them.
    """

    def gains(runs: Sequence[Run], masks: Sequence[tuple[int, int]]) -> Float:
        return np.array([gain(mask, runs, without, without, importance) for mask in masks])

    def first(masks: Sequence[tuple[int, int]], passed: NDArray[np.bool_]) -> Sequence[tuple[int, int]]:
        return masks[: int(np.argmin([*passed, False]))]  # before the first that fails

    longest_first = MASKS[::-1]
    found = gains(observed, longest_first)
    masks = first(longest_first, found > 0)
    for other in drawn if masks else ():
        masks = first(masks, found[: len(masks)] > gains(other, masks))
        if not masks:
            break
    return float(masks[-1][0]) if masks else np.inf
