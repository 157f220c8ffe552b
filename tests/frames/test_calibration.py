"""A standard deviation that covers what it says: what is hidden, and the factor found."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from neuroframes.frames.calibration import FEWEST_HIDDEN, HIDDEN_SHARE, calibrated, hide_alike, spread_of
from neuroframes.frames.filling import fill_missing

TR = 0.8


def times_of(n_frames):
    return 100.0 + TR * np.arange(n_frames)


def masks():
    generator = np.random.default_rng(7)
    yield "a few short gaps", np.isin(np.arange(400), [50, 51, 120, 121, 122, 300], invert=True)
    yield "scattered", generator.random(1000) > 0.2
    yield "long gaps", (np.arange(900) // 60) % 3 > 0
    yield "nothing missing", np.ones(300, bool)
    yield "mostly missing", (np.arange(600) % 20) < 5
    yield "every second", np.arange(300) % 2 == 0


MASKS = dict(masks())


@pytest.mark.parametrize("name", MASKS)
def test_hidden_frames_are_measured_and_few(name):
    measured = MASKS[name]
    hidden = hide_alike(measured)
    assert hidden.dtype == bool and hidden.shape == measured.shape
    assert not np.any(hidden & ~measured)
    longest = max(len(part) for part in "".join("x" if m else " " for m in ~measured).split() or ["x"])
    # The last gap to be hidden may exceed the budget.
    assert hidden.sum() <= HIDDEN_SHARE * measured.sum() + max(longest, 5)
    assert np.array_equal(hidden, hide_alike(measured))
    if name not in ("every second", "mostly missing"):
        assert hidden.sum() >= FEWEST_HIDDEN


@pytest.mark.parametrize("name", ["a few short gaps", "long gaps", "nothing missing"])
def test_hidden_gaps_are_as_long_as_real_ones(name):
    measured = MASKS[name]

    def lengths(mask):
        return {len(part) for part in "".join("x" if m else " " for m in mask).split()}

    hidden = hide_alike(measured)
    real = lengths(~measured) or {1}
    assert lengths(hidden) and lengths(hidden) <= real
    assert measured[hidden].all() and (measured & ~hidden).sum() >= 0.8 * measured.sum()


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_calibration_finds_by_how_much_the_deviation_is_wrong(prior_of, drawn, factor):
    prior = prior_of(12, 3)
    generator = np.random.default_rng(8)
    frames = drawn(prior, times_of(700), generator)
    wrong = replace(
        prior,
        latents=replace(prior.latents, variance=prior.latents.variance * factor**2),
        autoencoder=replace(prior.autoencoder, rest=prior.autoencoder.rest * np.float32(factor)),
    )
    measured = generator.random(700) > 0.15
    right = calibrated(wrong, frames, measured, times_of(700))
    assert right.spread == pytest.approx(1 / factor, rel=0.15)
    estimate, std = fill_missing(right, frames, measured, times_of(700))
    covered = np.abs(estimate - frames[~measured]) <= 1.645 * std
    assert covered.mean() == pytest.approx(0.9, abs=0.04)


def test_calibration_needs_enough_frames_to_hide(prior_of):
    prior = prior_of(12, 3)
    frames = np.zeros((30, 12), np.float32)
    assert calibrated(prior, frames, np.arange(30) % 2 == 0, times_of(30)) is prior


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_spread_makes_intervals_cover_what_they_say(level):
    generator = np.random.default_rng(6)
    stds = generator.uniform(0.5, 2, 20_000)
    errors = generator.standard_t(4, 20_000) * stds
    spread = spread_of(errors, stds, level)
    half = norm.ppf(0.5 + level / 2)
    assert np.mean(np.abs(errors) <= half * spread * stds) == pytest.approx(level, abs=1e-3)
    assert spread_of(generator.standard_normal(20_000) * stds, stds) == pytest.approx(1, abs=0.03)
