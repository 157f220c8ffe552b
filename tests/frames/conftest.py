from collections.abc import Callable

import numpy as np
import pytest

from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.partial import Between
from neuroframes.frames.posterior import square_root
from neuroframes.frames.prior import FramePrior
from neuroframes.frames.temporal import N_FFT, TemporalCovariance

TR = 0.8


def make_covariance(
    n_latents: int, n_groups: int = 1, floor: float = 1e-3, seed: int = 0
) -> TemporalCovariance:
    """Low-pass spectra of different widths and variances; `floor` is the white part of each group."""
    generator = np.random.default_rng(seed)
    frequency = np.arange(N_FFT // 2 + 1) / (N_FFT * TR)
    corner = 0.05 * (1 + np.arange(n_groups))[:, None]
    power = 1 / (1 + (frequency / corner) ** 4)
    power[:, [0, -1]] /= 2  # the others stand for two of a two-sided spectrum
    power *= (1 - floor) / power.sum(axis=1, keepdims=True)
    group = np.sort(np.arange(n_latents) % n_groups)
    return TemporalCovariance(
        power, np.full(n_groups, floor), group, generator.uniform(0.5, 2, n_latents), TR
    )


def make_prior(n_vertices: int, n_latents: int, n_groups: int = 2, seed: int = 0) -> FramePrior:
    """A prior whose rest has the standard deviation that some independent noise has outside the latents."""
    generator = np.random.default_rng(seed)
    decoder = generator.standard_normal((n_latents, n_vertices)).astype(np.float32)
    outside = outside_of(decoder)
    rest = np.sqrt(np.diagonal(outside * generator.uniform(0.2, 1, n_vertices) @ outside).clip(0))
    rest_covariance = make_covariance(1, floor=0.01)
    rest_covariance = TemporalCovariance(
        rest_covariance.power[:, ::-1] * 0.2 + rest_covariance.power * 0.8,
        rest_covariance.noise,
        np.zeros(1, int),
        np.ones(1),
        TR,
    )
    autoencoder = LinearAutoencoder(decoder, rest.astype(np.float32))
    return FramePrior(autoencoder, make_covariance(n_latents, n_groups, seed=seed), rest_covariance)


def drawn_frames(prior: FramePrior, times: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One draw of the prior, shape (K, V), the rest out of the latents' reach."""
    frames = square_root(prior.rest.kernel(0, times)) @ Between.of(prior).draw_rest(len(times), generator)
    for g, latents in prior.latents.groups():
        normal = generator.standard_normal((len(times), len(latents)))
        z = square_root(prior.latents.kernel(g, times)) @ normal * np.sqrt(prior.latents.variance[latents])
        frames += z @ prior.autoencoder.decoder[latents]
    return frames.astype(np.float32)


def outside_of(decoder: np.ndarray) -> np.ndarray:
    """I - D+ D, shape (V, V)."""
    decoder = decoder.astype(np.float64)
    return np.eye(decoder.shape[1]) - np.linalg.pinv(decoder) @ decoder


@pytest.fixture(scope="session")
def covariance_of() -> Callable[..., TemporalCovariance]:
    return make_covariance


@pytest.fixture(scope="session")
def prior_of() -> Callable[..., FramePrior]:
    return make_prior


@pytest.fixture(scope="session")
def outside() -> Callable[[np.ndarray], np.ndarray]:
    return outside_of


@pytest.fixture(scope="session")
def drawn() -> Callable[..., np.ndarray]:
    return drawn_frames
