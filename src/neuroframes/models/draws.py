"""Draws of the latents of a run from their posterior given EEG and measured frames.

Without a correction, or where its gate is shut, they are the Gaussian posterior's, exactly. With one, the
mean depends on what is drawn, and the probability flow is followed in steps (see `diffusion.samplers`). A run
of any length is drawn in windows with the frames around them that inform them; noise is that of the run, so
windows agree where they meet.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.diffusion.gaussian import GaussianDenoiser
from neuroframes.diffusion.samplers import Denoise, posterior_flow
from neuroframes.diffusion.schedules import karras_sigmas
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.prior import windows_in_context
from neuroframes.frames.temporal import TemporalCovariance
from neuroframes.models.gaussian import GaussianModel, Heard

Float = NDArray[np.float64]
MeanOf = Callable[[slice], tuple[Denoise, int]]

STEPS = 10  # a correction is followed to a few hundredths of a percent (benchmarks/sampler.py)


def draw_latents(
    prior: TemporalCovariance,
    mean_of: MeanOf,
    times: Float,
    seen: Float,
    measured: NDArray[np.bool_],
    n_draws: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Draws (S, K, d).

    Parameters
    ----------
    prior : TemporalCovariance
        Of what the mean leaves over.
    mean_of : callable
        From a window of the run to its prior mean, and the steps that it takes to follow it: `fixed` or
        `learned`.
    times : array, shape (K,), seconds
    seen : array, shape (K, d)
        Latents of the measured frames; what stands at others isn't read.
    measured : array, shape (K,)
    n_draws : int
    generator : numpy.random.Generator
    """
    noise = generator.standard_normal((n_draws, len(times), seen.shape[1]), np.float32)
    draws = np.empty_like(noise)
    for core, context in windows_in_context(len(times)):
        known = measured[context]
        gaussian = GaussianDenoiser.of(prior, times[context], FrameMask(known))
        mean, n_steps = mean_of(context)
        drawn = posterior_flow(
            gaussian,
            mean,
            torch.from_numpy(seen[context][known]),
            torch.from_numpy(noise[:, context]),
            karras_sigmas(n_steps),
        )
        draws[:, core] = drawn[:, core.start - context.start : core.stop - context.start].numpy()
    return draws


def fixed(mean: Float) -> MeanOf:
    """A prior mean (K, d) that depends on nothing that is drawn: one step is exact."""

    def of(window: slice) -> tuple[Denoise, int]:
        values = torch.from_numpy(mean[window])
        return lambda x, sigma: values, 1

    return of


def learned(
    model: GaussianModel, heard: Heard, clock: Float, seen: Float, measured: NDArray[np.bool_]
) -> MeanOf:
    """The mean as the EEG and the learned correction have it; clock (K,), seconds on the EEG's."""
    correction, mean_at = model.correction, partial(model.eeg, heard.power)
    if correction is None or heard.tokens is None:
        return fixed(mean_at(clock))

    def of(window: slice) -> tuple[Denoise, int]:
        mean = torch.from_numpy(mean_at(clock[window]))
        query = correction.query(clock[window], mean_at, seen[window], measured[window])

        def corrected(x: Tensor, sigma: float) -> Tensor:
            return mean + correction.shift(query, heard.tokens, query.on_grid(x), sigma).cpu()

        return corrected, STEPS

    return of
