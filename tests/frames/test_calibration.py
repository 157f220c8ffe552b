"""A standard deviation that covers what it says: what is hidden, and the factor found."""

import numpy as np
import pytest
from scipy.stats import norm

from neuroframes.frames.calibration import FEWEST_HIDDEN, HIDDEN_SHARE, hide_alike, spread_of


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


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_spread_makes_intervals_cover_what_they_say(level):
    generator = np.random.default_rng(6)
    stds = generator.uniform(0.5, 2, 20_000)
    errors = generator.standard_t(4, 20_000) * stds
    spread = spread_of(errors, stds, level)
    half = norm.ppf(0.5 + level / 2)
    assert np.mean(np.abs(errors) <= half * spread * stds) == pytest.approx(level, abs=1e-3)
    assert spread_of(generator.standard_normal(20_000) * stds, stds) == pytest.approx(1, abs=0.03)
