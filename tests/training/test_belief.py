"""In which gaps EEG is believed."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroframes.frames.temporal import fit_temporal_covariance, octave_groups
from neuroframes.training.belief import MASKS, STRETCH, least_gap, said, stretches

TR, D, K = 2.0, 3, 1024


def latents(seed):
    white = np.random.default_rng(seed).standard_normal((K + 100, D))
    return lfilter([1], [1, -0.8], white, axis=0)[100:] * 0.6


def found(prediction, z):
    """`least_gap` where this much of z is predicted."""
    measured, group = np.ones(K, bool), octave_groups(D)
    without, with_eeg = (fit_temporal_covariance([(x, measured)], TR, group) for x in (z, z - prediction))
    units = [[run] for run in stretches([(z, measured, prediction)])]
    return least_gap(units, without, with_eeg, np.ones(D))


def test_a_run_is_cut_into_stretches():
    lengths = [len(z) for z, _, _ in stretches([(np.zeros((n, 1)),) * 3 for n in (600, 300, 50)])]
    assert lengths == [STRETCH, STRETCH, 88, STRETCH]


@pytest.mark.parametrize("seed", range(3))
def test_what_says_nothing_is_never_believed(seed):
    z = latents(seed)
    assert found(0.5 * latents(seed + 100), z) == np.inf


def test_the_more_is_said_the_shorter_the_gaps():
    z, other = latents(5), latents(6)
    gaps = [found(share * (share * z + np.sqrt(1 - share**2) * other), z) for share in (0.95, 0.5, 0.0)]
    assert gaps == sorted(gaps) and gaps[0] == MASKS[0][0] and gaps[2] == np.inf


def test_one_stretch_alone_may_be_chance():
    z, measured = latents(7)[:STRETCH], np.ones(STRETCH, bool)
    prior = fit_temporal_covariance([(z, measured)], TR, octave_groups(D))
    assert least_gap([[(z, measured, z)]], prior, prior, np.ones(D)) == np.inf


def test_no_gap_is_infinitely_long():
    assert said(8.0) == "EEG is believed in gaps of 8 frames or more"
    assert said(np.inf) == "EEG isn't believed beside measured frames"
