"""Gaussian denoisers against dense float64 solves of the joint Gaussian of latents, x and measurements."""

import math

import numpy as np
import pytest
import torch

from neuroframes.diffusion.exact import GaussianDenoiser, MaskedGaussianDenoisers
from neuroframes.frames.measurement import AlongTime, Averaging, FrameMask, SamplingTimes
from neuroframes.frames.posterior import posterior

K, D, G = 12, 5, 2
TIMES = 5.0 + 0.8 * np.arange(K)
SIGMAS = [0.01, 0.5, 3.0, 100.0]
GENERATOR = np.random.default_rng(0)
MASKS = {
    "none": np.zeros(K, bool),
    "some": np.isin(np.arange(K), [0, 1, 2, 5, 9, 10]),
    "all but few": ~np.isin(np.arange(K), [4, 5]),
    "all": np.ones(K, bool),
}
OPERATORS = {f"FrameMask of {name}": FrameMask(mask) for name, mask in MASKS.items()} | {
    "SamplingTimes": SamplingTimes(TIMES, TIMES[:-1:3] + 0.3),
    "Averaging": Averaging(K, 3),
    "rank-deficient": AlongTime(GENERATOR.standard_normal((6, 3)) @ GENERATOR.standard_normal((3, K))),
}


@pytest.fixture(params=OPERATORS)
def operator(request):
    return OPERATORS[request.param]


def normal(*shape, seed=1):
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(shape))


def measured_by(operator, seed=2):
    return torch.as_tensor(operator.apply(normal(K, D, seed=seed).numpy()))


def distance(got, expected):
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("with_mean", [False, True], ids=["centred", "prior mean"])
def test_without_x_it_is_the_posterior_mean(prior_of, operator, with_mean):
    prior = prior_of(D, G)
    mean = normal(K, D) * with_mean
    y = measured_by(operator)
    denoiser = GaussianDenoiser(prior, TIMES, operator)
    expected = torch.as_tensor(posterior(prior, TIMES, operator, y.numpy(), mean.numpy()).mean)
    for got in (denoiser(mean, math.inf, mean, y), denoiser(normal(K, D, seed=3), math.inf, mean, y)):
        assert torch.linalg.norm(got - expected) <= 1e-5 * max(1.0, expected.norm())


@pytest.mark.parametrize("sigma", SIGMAS)
def test_it_is_the_conditional_mean_of_the_joint_gaussian(prior_of, operator, sigma):
    prior = prior_of(D, G)
    covariance = sum(
        np.kron(prior.kernel(prior.group[j], TIMES), prior.variance[j] * np.diag(np.eye(D)[j]))
        for j in range(D)
    )
    mean, x, y = normal(K, D), normal(K, D, seed=3), measured_by(operator)
    # y is observed without noise, x with noise of sigma, scaled so that the solve keeps its digits.
    scale = 1 / max(1, sigma)
    rows = np.vstack([np.kron(operator.matrix, np.eye(D)), scale * np.eye(K * D)])
    noise = np.concatenate([np.zeros(y.numel()), np.full(K * D, (scale * sigma) ** 2)])
    gain = covariance @ rows.T @ np.linalg.pinv(rows @ covariance @ rows.T + np.diag(noise), hermitian=True)
    both = np.concatenate([y.numpy().ravel(), scale * x.numpy().ravel()])
    expected = mean.numpy().ravel() + gain @ (both - rows @ mean.numpy().ravel())
    got = GaussianDenoiser(prior, TIMES, operator)(x, sigma, mean, y)
    assert distance(got, torch.as_tensor(expected.reshape(K, D))) <= 1e-5


@pytest.mark.parametrize("sigma", [0.0, *SIGMAS, math.inf])
@pytest.mark.parametrize("floor", [1e-3, 1e-11])
def test_it_agrees_with_the_measurements(prior_of, operator, sigma, floor):
    # Measurements as rough as white noise, of which a smooth prior knows next to nothing.
    y = measured_by(operator)
    got = GaussianDenoiser(prior_of(D, G, floor), TIMES, operator)(
        normal(K, D, seed=3), sigma, normal(K, D), y
    )
    assert got.isfinite().all()
    again = torch.as_tensor(operator.apply(got.numpy()))
    assert torch.linalg.norm(again - y) <= 1e-7 * y.norm()


def test_it_agrees_with_the_measurements_at_length(prior_of):
    times = 0.8 * np.arange(300)
    operator = SamplingTimes(times, np.repeat(times[:-1:2] + 0.3, 2))
    y = torch.as_tensor(operator.apply(normal(300, D).numpy()))
    denoiser = GaussianDenoiser(prior_of(D, G, 1e-9), times, operator)
    got = denoiser(normal(300, D, seed=2), 0.5, normal(300, D, seed=3), y)
    assert torch.linalg.norm(torch.as_tensor(operator.apply(got.numpy())) - y) <= 1e-7 * y.norm()


def test_what_shifts_the_prior_is_not_seen_by_the_measurements(prior_of, operator):
    denoiser = GaussianDenoiser(prior_of(D, G), TIMES, operator)
    mean, shift, x, y = normal(K, D), normal(K, D, seed=4), normal(K, D, seed=3), measured_by(operator)
    shifts = {s: denoiser(x, s, mean + shift, y) - denoiser(x, s, mean, y) for s in [*SIGMAS, math.inf]}
    for e in shifts.values():
        assert np.abs(operator.apply(e.numpy())).max(initial=0) <= 1e-10
        assert torch.allclose(torch.as_tensor(operator.null(e.numpy())), e, atol=1e-10)
    whole = denoiser(mean + shift, math.inf, mean + shift, y) - denoiser(mean, math.inf, mean, y)
    assert torch.allclose(shifts[math.inf], whole, atol=1e-10)
    norms = torch.stack([e.norm() for e in shifts.values()])
    assert (norms.diff() >= -1e-10).all() and norms[0] <= 0.05 * norms[-1] + 1e-10


def test_the_gradient_through_the_mean(prior_of, operator):
    denoiser = GaussianDenoiser(prior_of(3, G), TIMES, operator)
    x, y = normal(K, 3, seed=3), torch.as_tensor(operator.apply(normal(K, 3, seed=2).numpy()))
    for sigma in (0.3, math.inf):
        mean = normal(K, 3).requires_grad_()
        assert torch.autograd.gradcheck(lambda m, s=sigma: denoiser(x, s, m, y), mean)


def test_leading_axes_are_independent_and_precision_is_the_caller_s(prior_of, operator):
    denoiser = GaussianDenoiser(prior_of(D, G), TIMES, operator)
    x, mean, y = normal(2, 3, K, D).float(), normal(3, K, D, seed=2).float(), measured_by(operator)
    sigma = torch.tensor([0.2, math.inf]).reshape(2, 1, 1, 1)
    together = denoiser(x, sigma, mean, y)
    assert together.dtype == torch.float32 and denoiser(mean, math.inf, mean, y).dtype == torch.float32
    for a in range(2):
        for b in range(3):
            alone = denoiser(x[a, b], float(sigma[a]), mean[b], y)
            assert torch.allclose(together[a, b], alone, rtol=0, atol=1e-6)


@pytest.fixture
def masked(prior_of):
    return MaskedGaussianDenoisers(prior_of(D, G), TIMES, np.stack(list(MASKS.values())))


def batch():
    """Every mask at every sigma: which (B,), x, sigma (B,), mean, frames with NaN where missing."""
    which, sigma = torch.cartesian_prod(torch.arange(len(MASKS)), torch.arange(len(SIGMAS) + 1)).T
    sigma = torch.tensor([*SIGMAS, math.inf])[sigma]
    x, mean, frames = (normal(len(which), K, D, seed=seed).float() for seed in (1, 2, 3))
    frames[~torch.as_tensor(np.stack(list(MASKS.values())))[which]] = math.nan
    return which, x, sigma, mean, frames


def single(prior, which, x, sigma, mean, frames):
    """The same from one `GaussianDenoiser` after the other."""
    found = []
    for b, p in enumerate(which):
        mask = list(MASKS.values())[p]
        denoiser = GaussianDenoiser(prior, TIMES, FrameMask(mask))
        found.append(denoiser(x[b].double(), float(sigma[b]), mean[b].double(), frames[b][mask]))
    return torch.stack(found)


def test_a_batch_of_masks_equals_one_after_the_other(prior_of, masked):
    inputs = batch()
    got = masked(*inputs)
    assert got.dtype == torch.float32
    assert torch.allclose(got.double(), single(prior_of(D, G), *inputs), rtol=0, atol=1e-4)
    measured = masked.measured[inputs[0]]
    assert torch.equal(got[measured], inputs[-1][measured])


def test_a_batch_of_masks_has_the_gradient_of_one_after_the_other(prior_of, masked):
    which, x, sigma, mean, frames = batch()
    weights = normal(*mean.shape, seed=5)
    gradients = []
    for function in (masked, lambda *inputs: single(prior_of(D, G), *inputs)):
        leaf = mean.clone().requires_grad_()
        (function(which, x, sigma, leaf, frames) * weights).sum().backward()
        gradients.append(leaf.grad)
    assert gradients[0].isfinite().all()
    assert torch.allclose(*gradients, rtol=0, atol=1e-4)


def test_mixed_precision_leaves_a_batch_of_masks_alone(masked):
    inputs = batch()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = masked(*inputs)
    assert torch.equal(mixed, masked(*inputs))


def test_the_factors_are_not_saved(masked):
    assert not masked.state_dict()
