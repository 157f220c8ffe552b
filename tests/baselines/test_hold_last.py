import numpy as np

from neuroframes.baselines import HoldLast


def test_it_equals_a_loop_that_never_looks_ahead(smooth):
    train, test = smooth
    measured = np.random.default_rng(3).random(300) < 0.4
    measured[[0, 1, 2, -1]] = False
    given = test.given(measured)
    frames = given.completed(HoldLast().fit([train]).estimate(given))
    held = train.frames.mean(axis=0)
    for frame in range(300):
        held = test.frames[frame] if measured[frame] else held
        np.testing.assert_allclose(frames[frame], held, atol=1e-6)


def test_weights_are_one_or_nothing():
    known, missing = np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    expected = [[0, 0], [1, 0], [1, 0], [0, 1], [0, 1]]
    np.testing.assert_array_equal(HoldLast().weights(known, missing), expected)
