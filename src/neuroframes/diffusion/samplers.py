"""Samplers: from noise to a draw, along the probability flow

    dx/ds = (x - D(x, s)) / s,    D(x, s) = E[z | x = z + s n, y],

in the variables of Karras et al. (2022): x = z + s n, with s from large to 0, and t = -log s where steps are
taken in t. A denoiser is any callable `denoise(x, s)`. Levels end in 0, so that a draw is the denoiser's last
estimate, and agrees with the measurements as it does. Divided by sqrt(a_t), a variance-preserving
x_t = sqrt(a_t) z + sqrt(1 - a_t) n is such an x, at s_t = sqrt((1 - a_t) / a_t).

Where D is a Gaussian denoiser of a corrected mean, `posterior_flow` is the sampler to use: it solves the
Gaussian's part of the flow exactly. The others know nothing of D.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from neuroframes.diffusion.exact import GaussianDenoiser

Denoise = Callable[[Tensor, float], Tensor]

LOWEST, HIGHEST = 0.01, 100.0  # noise levels, in units of the latents


def noise_levels(n_steps: int) -> Tensor:
    """Noise levels from 100 to 0.01 that are even in log s, then 0.

    At equal steps they lead nearer to the exact posterior than those of Karras et al. (2022, eq. 5), even in
    s^(1/7) (benchmarks/sampler.py).

    Returns
    -------
    tensor, shape (n_steps + 1,), float64, decreasing
    """
    ramp = torch.linspace(0, 1, n_steps, dtype=torch.float64)
    return torch.cat([HIGHEST * (LOWEST / HIGHEST) ** ramp, ramp.new_zeros(1)])


def posterior_flow(
    gaussian: GaussianDenoiser, corrected_mean: Denoise, measurements: Tensor, noise: Tensor, sigmas: Tensor
) -> Tensor:
    """Draws with D(x, s) = E[z | x, y] of a Gaussian whose prior mean is corrected_mean(x, s); second order.

    Between levels the flow of a fixed mean is solved exactly. The mean is extrapolated in t from the last two
    to the middle of the step, as in DPM-Solver++(2M). Where it doesn't depend on x and s, draws are exact at
    any number of steps.

    n steps take n + 1 evaluations of the mean, the first at s = inf. Besides these, S draws take
    4 S d K^2 floating-point operations a step, in double precision, and factors of K^2 numbers a group:
    frames of a whole run are tractable in one piece.

    Parameters
    ----------
    gaussian : GaussianDenoiser of K frames, d latents
    corrected_mean : callable, from x (..., K, d) and s to the prior's mean, shape (..., K, d) or (K, d)
    measurements : tensor, shape (..., M, d)
    noise : tensor, shape (..., K, d), standard normal
    sigmas : tensor, shape (n + 1,), decreasing to 0

    Returns
    -------
    tensor, shape (..., K, d), of `noise`'s precision
    """
    levels = sigmas.tolist()
    before = corrected_mean(torch.zeros_like(noise), math.inf)
    x, last_width = gaussian.draw(noise.double(), levels[0], before, measurements), math.inf
    for now, then in pairwise(levels):
        mean = corrected_mean(x.to(noise.dtype), now)
        width = math.log(now / then) if then > 0 else 0.0
        ahead = mean + width / (2 * last_width) * (mean - before)
        x = gaussian.flow(x, now, then, ahead, measurements)
        before, last_width = mean, width
    return x.to(noise.dtype)


def ddim(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """Deterministic DDIM (Song, Meng and Ermon 2021), first order; one evaluation a step.

    Parameters
    ----------
    denoise : callable
    x : tensor, shape (..., K, d), at the level sigmas[0]
    sigmas : tensor, shape (n + 1,), decreasing to 0

    Returns
    -------
    tensor, shape (..., K, d)
    """
    for now, then in pairwise(sigmas.tolist()):
        estimate = denoise(x, now)
        x = estimate + then / now * (x - estimate)
    return x


def range_replacement(denoise: Denoise, impose: Callable[[Tensor], Tensor]) -> Denoise:
    """A+ y + (I - A+ A) D: measured frames put into an estimate that doesn't know them.

    Every draw agrees with the measurements, and none of them inform their neighbours: where frames
    are correlated, the draws are not those of the posterior.

    Parameters
    ----------
    denoise : callable, of the prior
    impose : callable, from x to A+ y + (I - A+ A) x
    """
    return lambda x, sigma: impose(denoise(x, sigma))
