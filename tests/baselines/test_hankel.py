"""Against the singular value decomposition, and on series that obey a recurrence."""

import numpy as np
import pytest

from neuroframes.baselines.hankel import Hankel, averaged, lifted, shrunk
from neuroframes.baselines.interpolation import Linear


@pytest.mark.parametrize("depth", [1, 3, 12])
def test_a_lifted_run_stands_once_in_each_place(depth):
    frames = np.random.default_rng(0).standard_normal((12, 2))
    matrix = lifted(frames, depth)
    assert matrix.shape == (2 * depth, 13 - depth)
    for column in range(13 - depth):
        np.testing.assert_array_equal(matrix[:, column], frames[column : column + depth].ravel())
    np.testing.assert_allclose(averaged(matrix, depth), frames)


@pytest.mark.parametrize("shape", [(20, 8), (8, 20)])
def test_singular_values_are_less_by_the_threshold(shape):
    matrix = np.random.default_rng(1).standard_normal(shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    expected = (left * np.maximum(values - values[3], 0)) @ right
    np.testing.assert_allclose(shrunk(matrix, values[3]), expected, atol=1e-6)


def test_what_obeys_a_recurrence_is_recovered_from_little(segment_of):
    generator, times = np.random.default_rng(2), np.arange(200)
    waves = np.stack([part(f * times) for f in (0.31, 0.73) for part in (np.sin, np.cos)], axis=1)
    segment = segment_of(waves @ generator.standard_normal((4, 6)))
    starts = np.cumsum(generator.integers(12, 30, 8))
    given = segment.given(~np.isin(np.arange(200), np.add.outer(starts, np.arange(6))))
    truth = segment.frames[~given.measured]
    errors = [np.square(kind().fit([given]).estimate(given) - truth).mean() for kind in (Hankel, Linear)]
    assert errors[0] < 0.02 * errors[1]
