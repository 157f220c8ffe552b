"""Draws of latents: those of the exact posterior, agreeing with what was measured, without seams."""

import numpy as np
import pytest
import torch

from neuroframes.diffusion.exact import GaussianDenoiser
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.filling import draw_exactly
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.frames.prior import FramePrior
from neuroframes.frames.temporal import LONGEST_WINDOW, TemporalCovariance, octave_groups
from neuroframes.models import draws as module
from neuroframes.models.draws import draw_latents

D, TR = 6, 0.8
MASKS = {
    "nothing": lambda k: np.zeros(k, bool),
    "gaps of 8": lambda k: np.arange(k) % 16 < 8,
    "all but one": lambda k: np.arange(k) != k // 2,
}


def fixed(mean):
    """A prior mean (K, d) that depends on nothing that is drawn: one step is exact."""
    values = torch.from_numpy(mean)
    return lambda window: (lambda x, sigma: values[window], 1)


def flowing(prior, times, known, measured, mean, n_draws, generator):
    return draw_latents(prior, fixed(mean), times, known, measured, n_draws, generator)


DRAWN = {"exactly": draw_exactly, "by the flow": flowing}


def frame_prior():
    """Of latents with red spectra, in two groups."""
    frequency = np.linspace(0, 0.5 / TR, 257)
    power = np.stack([1 / (1 + (frequency / corner) ** 2) for corner in (0.02, 0.05)])
    power /= power.sum(axis=1, keepdims=True) / 0.95
    latents = TemporalCovariance(power, np.full(2, 0.05), octave_groups(D), np.linspace(1, 0.3, D), TR)
    autoencoder = LinearAutoencoder(np.eye(D, dtype=np.float32), np.zeros(D, np.float32))
    return FramePrior(autoencoder, latents, latents)


@pytest.mark.parametrize("drawn", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize("mask", MASKS)
def test_moments_are_those_of_the_exact_posterior(mask, drawn):
    k, prior, generator = 40, frame_prior(), np.random.default_rng(0)
    times, measured = TR * np.arange(k), MASKS[mask](40)
    known, mean = generator.standard_normal((2, k, D))
    got = drawn(prior, times, known, measured, mean, 3000, generator)
    exact = posterior(prior.latents, times, FrameMask(measured), known[measured], mean)
    assert np.abs(got[:, measured] - known[measured]).max(initial=0) < 1e-5
    got = got[:, ~measured].astype(np.float64)
    # Standard errors of a mean and of a deviation over 3,000 draws are .018 and .013 of the deviation.
    mean, std = exact.mean[~measured], exact.std[~measured]
    assert np.all(np.abs(got.mean(axis=0) - mean) <= 0.09 * std)
    np.testing.assert_allclose(got.std(axis=0), std, rtol=0.07)


def test_windows_of_a_long_run_meet_without_a_seam():
    k, prior, generator = 2 * LONGEST_WINDOW + 300, frame_prior(), np.random.default_rng(1)
    times, measured = TR * np.arange(k), np.arange(k) % 40 < 4
    known = generator.standard_normal((k, D))
    mean_of = fixed(np.zeros((k, D)))
    got = draw_latents(prior, mean_of, times, known, measured, 4, np.random.default_rng(2))
    step = np.sqrt(np.square(np.diff(got, axis=1)).mean(axis=(0, 2)))
    hidden = ~measured[1:] & ~measured[:-1]
    edges = np.linspace(0, k, len(range(0, k, LONGEST_WINDOW)) + 1).astype(int)[1:-1]
    assert np.all(step[edges - 1] < 1.5 * np.quantile(step[hidden], 0.99))


def test_a_mean_that_depends_on_what_is_drawn_is_followed():
    """Two answers that nothing measured tells apart: draws take one or the other."""
    k, prior = 30, frame_prior()
    times, measured = TR * np.arange(k), np.arange(k) < 5
    apart = np.zeros((k, D))
    apart[:, 0] = 2.0 * np.clip((np.arange(k) - 8) / 6, 0, 1)
    shift, gaussian = torch.from_numpy(apart), GaussianDenoiser(prior.latents, times, FrameMask(measured))

    def mean_of(window):
        def corrected(x, sigma):
            """Towards the mean that x is nearer to."""
            if np.isinf(sigma):
                return torch.zeros_like(shift)
            zero, y = torch.zeros_like(shift), torch.zeros(5, D, dtype=torch.float64)
            middle = gaussian(zero, np.inf, zero, y)
            either = gaussian(shift, np.inf, shift, y) - middle
            side = ((x.double() - middle) * either).sum(dim=(-2, -1), keepdim=True)
            return torch.tanh(side / (1 + sigma**2)) * shift

        return corrected, 20

    got = draw_latents(prior, mean_of, times, np.zeros((k, D)), measured, 200, np.random.default_rng(3))
    np.testing.assert_allclose(got[:, measured], 0, atol=1e-6)
    late = got[:, 20:, 0].mean(axis=1)
    assert (late > 0.5).mean() > 0.3 and (late < -0.5).mean() > 0.3


def test_the_seed_decides():
    k, prior = 30, frame_prior()
    arguments = (prior, fixed(np.zeros((k, D))), TR * np.arange(k), np.zeros((k, D)), np.zeros(k, bool), 2)
    one, same, other = (draw_latents(*arguments, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other) and module.STEPS >= 10
