from collections.abc import Callable

import numpy as np
import pytest

from neuroframes.frames.temporal import TemporalCovariance

TR = 0.8


def make_prior(n_latents: int, n_groups: int = 1, floor: float = 1e-3) -> TemporalCovariance:
    """Red spectra of different widths; the latents of a group don't stand next to each other."""
    frequency = np.linspace(0, 0.5 / TR, 1025)
    corner = 0.05 * (1 + np.arange(n_groups))[:, None]
    power = 1 / (1 + (frequency / corner) ** 4)
    power *= (1 - floor) / power.sum(axis=1, keepdims=True)
    variance = np.random.default_rng(0).uniform(0.5, 2, n_latents)
    return TemporalCovariance(power, np.full(n_groups, floor), np.arange(n_latents) % n_groups, variance, TR)


@pytest.fixture(scope="session")
def prior_of() -> Callable[..., TemporalCovariance]:
    return make_prior
