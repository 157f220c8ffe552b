"""Draws of the latents of a run given EEG and measured frames, with a learned correction.

The mean depends on what is drawn, and the probability flow is followed in steps (see `diffusion.samplers`).
Without a correction, or where its gate is shut, `frames.filling` draws exactly. A run of any length is drawn
window after window, each given the frames around it that are measured and the frames before it as they were
drawn (see `frames.filling`).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from neuroframes.diffusion.exact import GaussianDenoiser
from neuroframes.diffusion.samplers import Denoise, noise_levels, posterior_flow
from neuroframes.frames.filling import windows_of
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.prior import FramePrior

Float = NDArray[np.float64]
MeanOf = Callable[[slice], tuple[Denoise, int]]

STEPS = 10  # a correction is followed to a few hundredths of a percent (benchmarks/sampler.py)


def draw_latents(
    prior: FramePrior,
    mean_of: MeanOf,
    times: Float,
    known: Float,
    measured: NDArray[np.bool_],
    n_draws: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Draws (S, K, d).

    Parameters
    ----------
    prior : FramePrior
        Its latents are what the mean leaves over.
    mean_of : callable
        From a window of the run to its prior mean, and the steps that it takes to follow it.
    times : array, shape (K,), seconds
    known : array, shape (K, d)
        Latents of the measured frames; what stands at others isn't read.
    measured : array, shape (K,)
    n_draws : int
    generator : numpy.random.Generator
    """
    draws = np.broadcast_to(known, (n_draws, *known.shape)).astype(np.float32)
    for window in windows_of(prior, measured, times):
        context, given = window.context, window.near | window.before
        gaussian = GaussianDenoiser(prior.latents, times[context], FrameMask(given))
        mean, n_steps = mean_of(context)
        shape = (n_draws, len(given), known.shape[1])
        noise = torch.from_numpy(generator.standard_normal(shape, np.float32))
        y = torch.from_numpy(draws[:, context][:, given])
        drawn = posterior_flow(gaussian, mean, y, noise, noise_levels(n_steps))
        draws[:, np.arange(context.start, context.stop)[window.rows]] = drawn[:, window.rows].numpy()
    return draws
