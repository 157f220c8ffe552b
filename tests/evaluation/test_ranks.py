"""Rank histograms: flat for draws of the truth's own law, and the same for a Gaussian in closed form."""

import numpy as np
import pytest

from neuroframes.evaluation.ranks import gaussian_histogram, rank_histogram, reliability_index

S, SHAPE = 9, (400, 50)


@pytest.mark.parametrize(("spread", "shape"), [(1.0, "flat"), (0.5, "U"), (2.0, "hump")])
def test_draws_and_closed_form_have_the_same_histogram(spread, shape):
    generator = np.random.default_rng(0)
    mean = generator.standard_normal(SHAPE)
    truth = mean + generator.standard_normal(SHAPE)
    drawn = rank_histogram(truth, mean + spread * generator.standard_normal((S, *SHAPE)))
    closed = gaussian_histogram(truth, mean, np.full(SHAPE, spread), S + 1)
    for histogram in (drawn, closed):
        assert histogram.sum() == pytest.approx(1)
        if shape == "flat":
            assert reliability_index(histogram) < 0.03
        else:
            assert reliability_index(histogram) > 0.2
            assert (histogram[[0, -1]].mean() > histogram[4:6].mean()) == (shape == "U")


def test_ranks_are_counted_and_ties_shared():
    truth = np.array([[0.5, 1.0, 9.0, 2.0]])
    draws = np.array([1.0, 2.0, 2.0])[:, None, None] * np.ones((3, 1, 4))
    # Ranks 0, 0 or 1, 3, and 1, 2 or 3.
    np.testing.assert_allclose(rank_histogram(truth, draws), np.array([1.5, 0.5 + 1 / 3, 1 / 3, 4 / 3]) / 4)
    assert reliability_index(np.array([1.0, 0, 0, 0])) == pytest.approx(1.5)
