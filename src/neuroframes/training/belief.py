"""In which gaps EEG is believed: from left-out predictions, and not where a gain may be chance.

Frames are hidden in gaps of several lengths, and filled with and without what EEG says of them. Over
stretches of time, or over people, the squared error must fall by more than chance (one-sided t-test, 5 %), in
gaps of one length and in all longer ones. Where nothing is measured EEG is all that there is.
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


def least_gap(
    units: Iterable[Sequence[Run]],
    without: TemporalCovariance,
    with_eeg: TemporalCovariance,
    importance: Float,
) -> float:
    """The shortest gap, in frames, in which EEG is believed; inf if in none.

    Parameters
    ----------
    units : iterable of sequences of (latents (K, d), measured (K,), prediction (K, d)), frames a TR apart
        Stretches, or people, whose gains are compared; predictions that the latents had no part in.
    without, with_eeg : TemporalCovariance of the latents, and of what predictions leave over
    importance : array, shape (d,), what a latent's squared error counts for
    """
    units, least = [*units], np.inf
    for gap, between in reversed(MASKS):
        gains = []
        for runs in units:
            errors = np.zeros(2)
            for z, measured, m in runs:
                given = measured & (np.arange(len(z)) % (gap + between) < between)
                times, hidden = without.tr * np.arange(len(z), dtype=np.float64), measured & ~given
                for number, (prior, mean) in enumerate(((without, None), (with_eeg, m))):
                    found = posterior(prior, times, FrameMask(given), z[given], mean).mean
                    errors[number] += (np.square(found - z)[hidden] @ importance).sum()
            if errors[0] > 0:
                gains.append(1 - errors[1] / errors[0])
        if len(gains) < 2:
            break
        error = np.std(gains, ddof=1) / np.sqrt(len(gains))
        if np.mean(gains) <= t.ppf(0.95, len(gains) - 1) * error:
            break
        least = float(gap)
    return least
