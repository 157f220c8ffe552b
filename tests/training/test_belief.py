"""In which gaps EEG is believed."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroframes.frames.temporal import fit_temporal_covariance, octave_groups
from neuroframes.training.belief import (
    MASKS,
    N_DRAWS,
    STRETCH,
    least_gap,
    least_gap_by_draws,
    said,
    stretches,
)

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


# Draws of latents that EEG says nothing of


def short(generator, share=0.0):
    """A run of 72 frames, and a prediction that holds so much of it."""
    z, other = lfilter([1], [1, -0.8], generator.standard_normal((2, 72, 1)), axis=1)
    return [(z, np.ones(72, bool), share * z + 0.3 * other)]


@pytest.fixture(scope="module")
def prior():
    measured = np.ones(K, bool)
    return fit_temporal_covariance([(latents(8)[:, :1], measured)], TR, octave_groups(1))


def test_in_gaps_of_any_length_what_says_nothing_is_believed_less_often_than_promised(prior):
    generator, believed = np.random.default_rng(0), []
    for _ in range(200):
        drawn = (short(generator) for _ in range(N_DRAWS))
        believed.append(least_gap_by_draws(short(generator), drawn, prior, np.ones(1)) < np.inf)
    assert 0 < np.mean(believed) < 0.05


def test_what_says_more_than_all_draws_is_believed_and_draws_are_asked_for_as_needed(prior):
    generator, asked = np.random.default_rng(2), []

    def draws():
        for _ in range(N_DRAWS):
            asked.append(short(generator))
            yield asked[-1]

    assert least_gap_by_draws(short(generator, 0.9), draws(), prior, np.ones(1)) == MASKS[0][0]
    assert len(asked) == N_DRAWS
    assert least_gap_by_draws(short(generator, -0.9), draws(), prior, np.ones(1)) == np.inf
    assert len(asked) == N_DRAWS
