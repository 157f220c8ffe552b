"""How far samplers are from the exact posterior of a correlated Gaussian prior.

    python benchmarks/sampler.py [--frames 60] [--latents 8] > table.md

The denoiser is exact, so that what is left is the sampler's error. A cell is the relative error, in %, of the
draws' mean / standard deviation over unmeasured frames. The flow of a Gaussian is linear: noise whose sample
mean and covariance are exactly 0 and I gives the moments of infinitely many draws. In the last column the
prior is a mixture of two such Gaussians, whose means the measurements don't tell apart; the reference is
the same noise after 300 steps of the posterior flow.

The posterior flow spends its first evaluation at s = inf; the others start from noise alone. Range
replacement is the paper's: y is put into the estimate of a denoiser that doesn't know it.

Levels run from 100 to 0.01, even in log s; in rows that say so, even in s^(1/7) (Karras et al. 2022, eq. 5).
"""

import argparse
import math
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.diffusion.exact import GaussianDenoiser
from neuroframes.diffusion.samplers import (
    HIGHEST,
    LOWEST,
    Denoise,
    ddim,
    noise_levels,
    posterior_flow,
    range_replacement,
)
from neuroframes.frames.measurement import AlongTime, Averaging, FrameMask, SamplingTimes
from neuroframes.frames.posterior import posterior
from neuroframes.frames.temporal import TemporalCovariance, octave_groups

TR = 0.8
EVALUATIONS = (10, 25)
APART = 0.6  # half the distance of the means, in standard deviations of a latent; 4 of the posterior's
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]  # mean and standard deviation, each (K, d)


def red_prior(n_latents: int) -> TemporalCovariance:
    """Spectra that fall with the fourth power of frequency, later groups of latents at higher ones."""
    group = octave_groups(n_latents)
    frequency = np.linspace(0, 0.5 / TR, 2049)
    corner = 0.03 * (1 + np.unique(group))[:, None]
    power = 1 / (1 + (frequency / corner) ** 4)
    floor = 1e-3
    power *= (1 - floor) / power.sum(axis=1, keepdims=True)
    return TemporalCovariance(power, np.full(len(power), floor), group, np.ones(n_latents), TR)


def operators(times: NDArray[np.float64]) -> dict[str, AlongTime]:
    frame = np.arange(len(times))
    return {
        "every other frame": FrameMask(frame % 2 == 0),
        "gaps of 8": FrameMask(frame % 12 < 4),
        "ends only": FrameMask((frame == 0) | (frame == len(frame) - 1)),
        "a sample every 3.2 s": SamplingTimes(times, times[:-1:4] + 0.3),
        "means over 4 s": Averaging(len(times), 5),
    }


def exact_noise(n_frames: int, n_latents: int) -> Tensor:
    """Standard normal (S, K, d) with exact first and second moments."""
    n_draws, generator = 4 * n_frames, torch.Generator().manual_seed(0)
    half = torch.randn(n_latents, n_draws // 2, n_frames, dtype=torch.float64, generator=generator)
    white = torch.linalg.qr(torch.cat([half, -half], dim=1)).Q
    return math.sqrt(n_draws) * white.permute(1, 2, 0)


def moments(draws: Tensor) -> Moments:
    return draws.numpy().mean(axis=0), draws.numpy().std(axis=0)


def errors(draws: Tensor, exact: Moments) -> str:
    rows = exact[1].max(axis=1) > 1e-6
    pairs = zip(moments(draws), exact, strict=True)
    relative = (np.linalg.norm((a - b)[rows]) / np.linalg.norm(b[rows]) for a, b in pairs)
    return " / ".join(f"{100 * error:.1f}" for error in relative)


def karras_levels(n_steps: int) -> Tensor:
    """Noise levels even in s^(1/7), then 0."""
    ramp = torch.linspace(0, 1, n_steps, dtype=torch.float64)
    levels = (HIGHEST ** (1 / 7) * (1 - ramp) + LOWEST ** (1 / 7) * ramp) ** 7
    return torch.cat([levels, ramp.new_zeros(1)])


def second_order(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), second order; one evaluation a step.

    The estimate is extrapolated in t from the last two to the middle of the step.

    Parameters and what is returned are those of `ddim`.
    """
    before, last_width = x, math.inf
    for now, then in pairwise(sigmas.tolist()):
        estimate = denoise(x, now)
        # To level 0 the step is infinite in t: its end is the estimate itself.
        width = math.log(now / then) if then > 0 else 0.0
        ahead = estimate + width / (2 * last_width) * (estimate - before)
        x = ahead + then / now * (x - ahead)
        before, last_width = estimate, width
    return x


class Problem:
    """Equally likely prior means, `shift` and -`shift` of what A cannot see, and measurements of a draw."""

    def __init__(
        self, prior: TemporalCovariance, times: NDArray[np.float64], operator: AlongTime, shift: Tensor
    ) -> None:
        nothing = FrameMask(np.zeros(len(times), bool))
        none = np.zeros((0, len(prior.group)))
        z = posterior(prior, times, nothing, none).draw(np.random.default_rng(0))
        self.y, self.none = torch.as_tensor(operator.apply(z)), torch.as_tensor(none)
        self.given, self.free = (GaussianDenoiser(prior, times, each) for each in (operator, nothing))
        self.zero = torch.zeros_like(shift)
        self.shift = self.given(shift, math.inf, shift, torch.zeros_like(self.y))
        self.exact = posterior(prior, times, operator, self.y.numpy())
        matrix, pinv = torch.as_tensor(operator.matrix), torch.as_tensor(operator.pinv(np.eye(len(self.y))))
        self.replaced = range_replacement(self._prior_denoiser, lambda x: x + pinv @ (self.y - matrix @ x))

    def _mean(self, known: GaussianDenoiser, y: Tensor, x: Tensor, sigma: float) -> Tensor:
        """The prior's mean expected of x and y: D is linear in it."""
        if math.isinf(sigma):
            return torch.zeros_like(x)
        # (C + s^2)^-1 (x - mu) is (x - D) / s^2.
        precise = (x - known(x, sigma, self.zero, y)) / sigma**2
        return torch.tanh((precise * self.shift).sum(dim=(-2, -1), keepdim=True)) * self.shift

    def corrected_mean(self, x: Tensor, sigma: float) -> Tensor:
        return self._mean(self.given, self.y, x, sigma)

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        return self.given(x, sigma, self.corrected_mean(x, sigma), self.y)

    def _prior_denoiser(self, x: Tensor, sigma: float) -> Tensor:
        return self.free(x, sigma, self._mean(self.free, self.none, x, sigma), self.none)

    def flow(self, noise: Tensor, n_evaluations: int) -> Tensor:
        sigmas = noise_levels(n_evaluations - 1)
        return posterior_flow(self.given, self.corrected_mean, self.y, noise, sigmas)


SAMPLERS: dict[str, Callable[[Problem, Tensor, int], Tensor]] = {
    "DDIM": lambda case, noise, n: ddim(case.denoise, 100 * noise, noise_levels(n)),
    "DPM-Solver++(2M)": lambda case, noise, n: second_order(case.denoise, 100 * noise, noise_levels(n)),
    "DPM-Solver++(2M), s^(1/7)": lambda case, noise, n: second_order(
        case.denoise, 100 * noise, karras_levels(n)
    ),
    "posterior flow": lambda case, noise, n: case.flow(noise, n),
    "DDIM, range replacement": lambda case, noise, n: ddim(case.replaced, 100 * noise, noise_levels(n)),
}


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--frames", type=int, default=60, help="a multiple of 5")
    parser.add_argument("--latents", type=int, default=8)
    options = parser.parse_args()
    times, prior = TR * np.arange(options.frames), red_prior(options.latents)
    noise = exact_noise(options.frames, options.latents)
    cycles = np.outer(times, 0.01 * (1 + np.arange(options.latents)))
    shift = torch.as_tensor(APART * np.cos(2 * np.pi * cycles))
    measurements = operators(times)
    cases = {name: Problem(prior, times, operator, 0 * shift) for name, operator in measurements.items()}
    exact = {name: (case.exact.mean, case.exact.std) for name, case in cases.items()}
    mixture = "two means, gaps of 8"
    cases[mixture] = Problem(prior, times, measurements["gaps of 8"], shift)
    exact[mixture] = moments(cases[mixture].flow(noise, 301))
    print(f"| sampler | evaluations | {' | '.join(cases)} |")
    print("| --- | ---: |" + " ---: |" * len(cases))
    for (name, sampler), n in product(SAMPLERS.items(), EVALUATIONS):
        cells = [errors(sampler(case, noise, n), exact[key]) for key, case in cases.items()]
        print(f"| {name} | {n} | {' | '.join(cells)} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
