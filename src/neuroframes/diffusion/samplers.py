"""Samplers: from noise to a draw, along the probability flow

    dx/ds = (x - D(x, s)) / s,    D(x, s) = E[z | x = z + s n, y],

in the variables of Karras et al. (2022), with t = -log s where steps are taken in t. A denoiser is any
callable `denoise(x, s)`. Levels decrease and end in 0, so that a draw is the denoiser's last
estimate, and agrees with the measurements as it does.

Where D is a Gaussian denoiser of a corrected mean, `posterior_flow` is the sampler to use: it solves the
Gaussian's part of the flow exactly. The others know nothing of D.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from neuroframes.diffusion.gaussian import GaussianDenoiser

Denoise = Callable[[Tensor, float], Tensor]
Progress = Callable[[int, int], None]  # steps done, of how many


def posterior_flow(
    gaussian: GaussianDenoiser,
    corrected_mean: Denoise,
    measurements: Tensor,
    noise: Tensor,
    sigmas: Tensor,
    progress: Progress | None = None,
) -> Tensor:
    """Draws with D(x, s) = E[z | x, y] of a Gaussian whose prior mean is corrected_mean(x, s); second order.

    Between levels the flow of a fixed mean is solved exactly. The mean is extrapolated in t from the last two
    to the middle of the step, as in `second_order`. Where it doesn't depend on x and s, draws are exact at
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
    progress : callable, after each step

    Returns
    -------
    tensor, shape (..., K, d), of `noise`'s precision
    """
    levels = sigmas.tolist()
    before = corrected_mean(torch.zeros_like(noise), math.inf)
    x, last_width = gaussian.draw(noise.double(), levels[0], before, measurements), math.inf
    for i, (now, then) in enumerate(pairwise(levels), 1):
        mean = corrected_mean(x.to(noise.dtype), now)
        width = math.log(now / then) if then > 0 else 0.0
        ahead = mean + width / (2 * last_width) * (mean - before)
        x = gaussian.flow(x, now, then, ahead, measurements)
        before, last_width = mean, width
        if progress is not None:
            progress(i, len(levels) - 1)
    return x.to(noise.dtype)


def start(denoise: Denoise, noise: Tensor, sigma: float) -> Tensor:
    """E[z | y] + s n: where the flow starts.

    From s n alone, a direction of variance L would lose sqrt(L) / s of its mean.

    Parameters
    ----------
    denoise : callable that can be evaluated at s = inf
    noise : tensor, shape (..., K, d), standard normal
    sigma : float, the first noise level
    """
    return denoise(torch.zeros_like(noise), float("inf")) + sigma * noise


def ddim(denoise: Denoise, x: Tensor, sigmas: Tensor, progress: Progress | None = None) -> Tensor:
    """Deterministic DDIM (Song, Meng and Ermon 2021), first order; one evaluation a step.

    Parameters
    ----------
    denoise : callable
    x : tensor, shape (..., K, d), at the level sigmas[0]
    sigmas : tensor, shape (n + 1,), decreasing to 0
    progress : callable, after each step

    Returns
    -------
    tensor, shape (..., K, d)
    """
    levels = sigmas.tolist()
    for i, (now, then) in enumerate(pairwise(levels), 1):
        estimate = denoise(x, now)
        x = estimate + then / now * (x - estimate)
        if progress is not None:
            progress(i, len(levels) - 1)
    return x


def second_order(denoise: Denoise, x: Tensor, sigmas: Tensor, progress: Progress | None = None) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), second order; one evaluation a step.

    The estimate is extrapolated in t from the last two to the middle of the step.

    Parameters
    ----------
    as in `ddim`

    Returns
    -------
    tensor, shape (..., K, d)
    """
    levels = sigmas.tolist()
    before, last_width = x, math.inf
    for i, (now, then) in enumerate(pairwise(levels), 1):
        estimate = denoise(x, now)
        # To level 0 the step is infinite in t: its end is the estimate itself.
        width = math.log(now / then) if then > 0 else 0.0
        ahead = estimate + width / (2 * last_width) * (estimate - before)
        x = ahead + then / now * (x - ahead)
        before, last_width = estimate, width
        if progress is not None:
            progress(i, len(levels) - 1)
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
