"""Draws against the exact posterior of a correlated Gaussian prior.

The flow of a Gaussian is linear, so that noise whose sample mean and covariance are exactly 0 and I gives
draws whose moments are those of infinitely many: no Monte-Carlo error.
"""

import math
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch

from neuroframes.diffusion.exact import GaussianDenoiser
from neuroframes.diffusion.samplers import ddim, noise_levels, posterior_flow, range_replacement
from neuroframes.frames.measurement import Averaging, FrameMask, SamplingTimes
from neuroframes.frames.posterior import posterior

second_order = run_path(str(Path(__file__).parents[2] / "benchmarks/sampler.py"))["second_order"]

K, D, S = 30, 4, 200
TIMES = 0.8 * np.arange(K)
OPERATORS = {
    "gaps": FrameMask(np.isin(np.arange(K) % 10, [0, 1, 2, 7])),
    "ends only": FrameMask(np.isin(np.arange(K), [0, K - 1])),
    "SamplingTimes": SamplingTimes(TIMES, TIMES[:-1:4] + 0.3),
    "Averaging": Averaging(K, 5),
}


def start(denoise, noise, sigma):
    """E[z | y] + s n: from s n alone, a direction of variance L would lose sqrt(L) / s of its mean."""
    return denoise(torch.zeros_like(noise), math.inf) + sigma * noise


def levels_down_to(lowest, n_steps):
    """From 100, even in log s, then 0."""
    return torch.cat(
        [100 * (lowest / 100) ** torch.linspace(0, 1, n_steps, dtype=torch.float64), torch.zeros(1)]
    )


class Problem:
    """Measurements of one sequence, its exact posterior and denoisers with and without them."""

    def __init__(self, prior, operator):
        generator = np.random.default_rng(0)
        nothing = FrameMask(np.zeros(K, bool))
        z = posterior(prior, TIMES, nothing, np.zeros((0, D))).draw(generator)
        mean = torch.as_tensor(0.3 * generator.standard_normal((K, D)))
        self.operator, self.y = operator, operator.apply(z)
        self.exact = posterior(prior, TIMES, operator, self.y, mean.numpy())
        self.unmeasured = self.exact.std.max(axis=1) > 1e-6
        given, free = (GaussianDenoiser(prior, TIMES, a) for a in (operator, nothing))
        y = torch.as_tensor(self.y)
        self.given, self.measurements, self.mean = given, y, mean
        self.denoise = lambda x, sigma: given(x, sigma, mean, y)
        self.replaced = range_replacement(
            lambda x, sigma: free(x, sigma, mean, y[:0]), lambda x: torch.as_tensor(self._impose(x.numpy()))
        )

    def _impose(self, draws):
        return self.operator.impose(draws.swapaxes(0, 1), self.y[:, None]).swapaxes(0, 1)

    def errors(self, draws):
        """Of the draws' mean and standard deviation, relative, over unmeasured frames."""
        rows, draws = self.unmeasured, draws.numpy()
        pairs = ((draws.mean(axis=0), self.exact.mean), (draws.std(axis=0), self.exact.std))
        return [np.linalg.norm((a - b)[rows]) / np.linalg.norm(b[rows]) for a, b in pairs]


@pytest.fixture(params=OPERATORS)
def problem(request, prior_of):
    return Problem(prior_of(D, 2), OPERATORS[request.param])


@pytest.fixture(scope="module")
def noise():
    """Standard normal (S, K, D) whose sample mean is 0 and whose sample covariance of frames is I."""
    half = torch.randn(S // 2, D, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = torch.cat([half, -half]).transpose(0, 1)
    white = [math.sqrt(S) * torch.linalg.qr(latent).Q for latent in both]
    return torch.stack(white, dim=-1)


@pytest.mark.parametrize(("n_steps", "allowed"), [(25, 0.015), (10, 0.06)])
def test_second_order_draws_are_the_posterior_s(problem, noise, n_steps, allowed):
    sigmas = noise_levels(n_steps)
    for x in (start(problem.denoise, noise, 100.0), 100.0 * noise):
        mean, std = problem.errors(second_order(problem.denoise, x, sigmas))
        assert mean <= 0.02 and std <= allowed


def test_ddim_draws_are_the_posterior_s_too_but_less_so(problem, noise):
    x, sigmas = start(problem.denoise, noise, 100.0), noise_levels(25)
    first, second = (problem.errors(sampler(problem.denoise, x, sigmas)) for sampler in (ddim, second_order))
    assert first[0] <= 0.02 and 2 * second[1] < first[1] <= 0.15


@pytest.mark.parametrize("n_steps", [1, 2, 10])
def test_the_posterior_flow_of_a_fixed_mean_is_exact(problem, noise, n_steps):
    draws = posterior_flow(
        problem.given, lambda x, sigma: problem.mean, problem.measurements, noise, noise_levels(n_steps)
    )
    assert max(problem.errors(draws)) <= 1e-6
    # Each draw is where the noise it began with belongs, whatever the number of steps.
    expected = problem.given.draw(noise, 0.0, problem.mean, problem.measurements)
    assert torch.allclose(draws, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_posterior_flow_agrees_with_the_measurements_whatever_the_correction(problem, noise, dtype):
    calls = []

    def corrected(x, sigma):
        calls.append((x.dtype, sigma))
        return problem.mean.to(dtype) + (x / (1 + x.abs())).flip(-2)

    sigmas = noise_levels(4)
    draws = posterior_flow(problem.given, corrected, problem.measurements, noise[:5].to(dtype), sigmas)
    assert draws.dtype == dtype and calls == [(dtype, s) for s in [math.inf, *sigmas[:-1].tolist()]]
    tolerance = 1e-9 if dtype == torch.float64 else 1e-6
    for draw in draws.double().numpy():
        difference = problem.operator.apply(draw) - problem.y
        assert np.linalg.norm(difference) <= tolerance * np.linalg.norm(problem.y)


class Mixture:
    """Two prior means, m and -m, equally likely; its denoiser is that of the mean E[m | x, y]."""

    def __init__(self, prior, operator):
        ramp = np.linspace(0, 3, K)[:, None]
        self.mean = torch.as_tensor(0.4 * np.cos(ramp * (1 + np.arange(D))))
        self.y = torch.zeros(len(operator.matrix), D, dtype=torch.float64)
        self.given = GaussianDenoiser(prior, TIMES, operator)
        self.apart = 2 * self.given(self.mean, math.inf, self.mean, self.y)

    def corrected_mean(self, x, sigma):
        if math.isinf(sigma):
            return torch.zeros_like(x)
        # y = 0 favours neither: log odds are (mu_1 - mu_2)^T (C + s^2 I)^-1 x, the latter (x - D) / s^2.
        zero = torch.zeros_like(self.mean)
        precise = (x - self.given(x, sigma, zero, self.y)) / sigma**2
        odds = (precise * self.apart).sum(dim=(-2, -1), keepdim=True)
        return torch.tanh(odds / 2) * self.mean

    def denoise(self, x, sigma):
        return self.given(x, sigma, self.corrected_mean(x, sigma), self.y)


def test_the_posterior_flow_is_of_second_order_and_nearer_than_any_other(prior_of, noise):
    mixture = Mixture(prior_of(D, 2), OPERATORS["gaps"])

    def flow(n_steps):
        sigmas = noise_levels(n_steps)
        return posterior_flow(mixture.given, mixture.corrected_mean, mixture.y, noise[:50], sigmas)

    exact = flow(400)
    start_at = mixture.given.draw(noise[:50], 100.0, torch.zeros_like(mixture.mean), mixture.y)
    exact_too = second_order(mixture.denoise, start_at, levels_down_to(1e-4, 400))
    assert (exact - exact_too).norm() < 1e-3 * exact.norm()
    errors = [float((flow(n) - exact).norm()) for n in (10, 20, 40)]
    assert (np.log2(np.divide(errors[:-1], errors[1:])) > 1.8).all()
    other = second_order(mixture.denoise, start_at, noise_levels(10))
    assert 2 * errors[0] < float((other - exact).norm())


@pytest.mark.parametrize("n_steps", [25, 100])
def test_range_replacement_draws_are_not(problem, noise, n_steps):
    # Means over 4 s say less of their neighbours than frames do, and there is less to lose.
    lost = 0.09 if isinstance(problem.operator, Averaging) else 0.2
    x, sigmas = start(problem.replaced, noise, 100.0), noise_levels(n_steps)
    for sampler in (ddim, second_order):
        draws = sampler(problem.replaced, x, sigmas)
        assert np.allclose(problem.operator.apply(draws.numpy()[0]), problem.y, atol=1e-9)
        assert problem.errors(draws)[0] > lost


@pytest.mark.parametrize("sampler", [ddim, second_order])
def test_every_draw_agrees_with_the_measurements(problem, noise, sampler):
    draws = sampler(problem.denoise, start(problem.denoise, noise[:5], 100.0), noise_levels(10))
    for draw in draws.numpy():
        assert np.linalg.norm(problem.operator.apply(draw) - problem.y) <= 1e-9 * np.linalg.norm(problem.y)


def test_started_at_the_posterior_mean_nothing_of_it_is_lost(problem, noise):
    x, sigmas = start(problem.denoise, noise, 100.0), noise_levels(5)
    for sampler in (ddim, second_order):
        assert problem.errors(sampler(problem.denoise, x, sigmas))[0] < 1e-9


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (second_order, 2)])
def test_the_error_falls_with_the_sampler_s_order(sampler, order):
    # One latent of unit variance: the flow takes x at level s to x / sqrt(1 + s^2).
    errors = []
    for n_steps in (50, 100, 200):
        sigmas = levels_down_to(1e-3, n_steps)
        x = torch.full((1, 1), 100.0, dtype=torch.float64)
        draw = sampler(lambda x, sigma: x / (1 + sigma**2), x, sigmas)
        errors.append(abs(float(draw) - 100 / math.hypot(1, 100)))
    observed = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.allclose(observed, order, atol=0.2)


@pytest.mark.parametrize("sampler", [ddim, second_order])
def test_a_denoiser_that_is_certain_is_followed(sampler):
    target = torch.arange(6.0).reshape(3, 2)
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    draws = sampler(lambda x, sigma: target.expand_as(x), 100 * x, noise_levels(1))
    assert torch.equal(draws, target.expand_as(x))


@pytest.mark.parametrize("sampler", [ddim, second_order])
def test_each_step_is_one_evaluation(sampler):
    levels = []

    def denoise(x, sigma):
        levels.append(sigma)
        return x / (1 + sigma**2)

    sigmas = noise_levels(4)
    sampler(denoise, torch.ones(1, 1), sigmas)
    assert levels == sigmas[:-1].tolist()


@pytest.mark.parametrize("n_steps", [1, 2, 25])
def test_levels_fall_evenly_in_log_s_and_then_to_0(n_steps):
    sigmas = noise_levels(n_steps)
    assert sigmas.shape == (n_steps + 1,) and (sigmas.diff() < 0).all()
    assert sigmas[0] == pytest.approx(100.0) and sigmas[-1] == 0
    if n_steps > 1:
        assert sigmas[-2] == pytest.approx(0.01)
    assert torch.allclose(sigmas[:-1].log().diff().diff(), torch.zeros(1, dtype=torch.float64), atol=1e-9)
