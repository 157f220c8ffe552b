"""The prior over haemodynamic responses: what it spans, and that ridge on the basis is ridge under it."""

import numpy as np
import pytest
from scipy.stats import gamma

from neuroframes.models.response import SHARE, response_basis, response_of
from neuroframes.models.ridge import Ridge

LAGS = np.arange(0, 20.4, 0.8)


def glover(peak, width=1.0, lags=LAGS):
    shape = 6 / width
    return gamma.pdf(lags, shape, scale=peak / (shape - 1)) - gamma.pdf(lags, 16, scale=(peak + 10) / 15) / 6


def unexplained(basis, response):
    """Share of a response's energy outside the basis."""
    residual = response - basis @ np.linalg.lstsq(basis, response, rcond=None)[0]
    return np.sum(residual**2) / np.sum(response**2)


@pytest.mark.parametrize("tr", [0.5, 0.8, 1.0, 2.0])
def test_columns_are_orthogonal_and_fall_off(tr):
    lags = np.arange(0, 20 + tr / 2, tr)
    basis = response_basis(lags)
    gram = basis.T @ basis
    assert np.allclose(gram, np.diag(np.diag(gram)), atol=1e-9 * len(lags))
    assert np.all(np.diff(np.diag(gram)) < 0)
    assert SHARE * 1.04 < np.trace(gram) / len(lags) < 1.06
    assert basis.shape[1] == 7  # whatever the TR


@pytest.mark.parametrize("peak", [3.0, 4.3, 5.0, 6.6, 8.0, 9.0])
@pytest.mark.parametrize("width", [0.8, 0.9, 1.2, 1.3])
def test_responses_lie_in_its_span(peak, width):
    assert unexplained(response_basis(LAGS), glover(peak, width)) < 0.01


def test_what_no_response_looks_like_is_left_out():
    basis = response_basis(LAGS)
    alternating = (-1.0) ** np.arange(len(LAGS))
    assert unexplained(basis, alternating) > 0.95
    # Under the prior N(0, B B'), a response is far likelier than its mirror image in time.
    response = glover(5.0)

    def energy(shape):
        return np.sum(np.linalg.lstsq(basis, shape, rcond=None)[0] ** 2) / np.sum((basis.T @ shape) ** 2)

    assert energy(response) < 0.01 * energy(response[::-1])


def test_ridge_on_the_basis_is_ridge_on_all_lags_under_the_prior():
    generator, basis = np.random.default_rng(0), response_basis(LAGS)
    at_lags = generator.standard_normal((80, len(LAGS), 3))
    targets, penalty = generator.standard_normal((80, 2)), 5.0
    filtered = np.einsum("klf,lr->krf", at_lags, basis).reshape(80, -1)
    ridge = Ridge(filtered, 0)
    # The posterior mean with weights ~ N(0, B B') for each feature and noise of variance `penalty`.
    kernel = np.einsum("klf,lm,jmf->kj", at_lags, basis @ basis.T, at_lags)
    expected = kernel @ np.linalg.solve(kernel + penalty * np.eye(80), targets)
    assert np.allclose(filtered @ (ridge.right @ ridge.coefficients(targets, penalty)), expected)


@pytest.mark.parametrize("tr", [0.5, 0.8, 2.0])
def test_a_free_response_has_no_delay_that_is_likelier(tr):
    lags, basis = response_of("free", tr)
    assert np.array_equal(lags, np.arange(0, 20 + tr / 2, tr))
    variance = np.square(basis).sum(axis=1)
    assert variance.mean() == pytest.approx(SHARE, abs=0.011) and np.ptp(variance) < 0.3
    for peak in (3.0, 9.0):
        assert unexplained(basis, glover(peak, lags=lags)) < 0.05
        assert unexplained(basis, glover(peak, lags=lags)[::-1]) < 0.05
    same, peaked = response_of("haemodynamic", tr)
    assert np.array_equal(lags, same) and np.array_equal(peaked, response_basis(lags))


@pytest.mark.parametrize(("tr", "beside"), [(0.8, 2), (2.0, 2), (3.0, 1), (6.0, 0)])
def test_what_is_convolved_already_has_lags_around_0_that_reach_no_further_than_5_s(tr, beside):
    lags, basis = response_of("convolved", tr)
    assert np.allclose(lags, tr * np.arange(-beside, beside + 1))
    assert np.allclose(basis @ basis.T, (basis @ basis.T)[::-1, ::-1])  # neither side is likelier
