"""Noise levels.

x = z + s n, with s from large to 0. Divided by sqrt(a_t), a variance-preserving
x_t = sqrt(a_t) z + sqrt(1 - a_t) n is such an x, at s_t = sqrt((1 - a_t) / a_t).
"""

import math

import torch
from torch import Tensor


def karras_sigmas(
    n_steps: int, sigma_min: float = 0.01, sigma_max: float = 100.0, rho: float = math.inf
) -> Tensor:
    """Noise levels that are even in log s or s^(1/rho), then 0 (Karras et al. 2022, eq. 5).

    Parameters
    ----------
    n_steps : int
    sigma_min, sigma_max : float, the last level before 0 and the first
    rho : float
        The larger, the more levels are low; inf is even in log s, which is nearer the exact posterior than
        Karras' 7 at equal steps (benchmarks/sampler.py).

    Returns
    -------
    tensor, shape (n_steps + 1,), float64, decreasing
    """
    ramp = torch.linspace(0, 1, n_steps, dtype=torch.float64)
    if math.isinf(rho):
        levels = sigma_max * (sigma_min / sigma_max) ** ramp
    else:
        levels = (sigma_max ** (1 / rho) * (1 - ramp) + sigma_min ** (1 / rho) * ramp) ** rho
    return torch.cat([levels, ramp.new_zeros(1)])


def linear_betas(n: int = 1000, first: float = 1e-4, last: float = 2e-2) -> Tensor:
    """Variances of the noise added at each step (Ho et al. 2020, section 4), shape (n,), float64."""
    return torch.linspace(first, last, n, dtype=torch.float64)


def alphas_bar(betas: Tensor) -> Tensor:
    """a_t, the share of the variance that is signal after each step (Ho et al. 2020, eq. 4), shape (n,)."""
    return torch.cumprod(1 - betas, dim=0)
