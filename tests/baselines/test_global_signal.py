import numpy as np

from neuroframes.baselines.global_signal import GlobalSignal


def test_it_is_the_regression_of_each_vertex_on_the_mean_over_vertices(smooth):
    train, test = smooth
    model = GlobalSignal().fit([train])
    course = train.frames.mean(axis=1).astype(float)
    basis = np.stack([np.ones(600), course], axis=1)
    coefficients = np.linalg.lstsq(basis, train.frames.astype(float), rcond=None)[0]
    expected = coefficients[0] + np.outer(test.frames.mean(axis=1), coefficients[1])
    np.testing.assert_allclose(model.estimate(test.given(np.zeros(300, bool))), expected, atol=1e-4)
    assert model.n_parameters == 2 * 40
