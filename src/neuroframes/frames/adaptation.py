"""Which prior a run is completed with: its own, without or with lead and lag, or that of other people.

Measured frames are hidden in gaps like the real ones, each candidate is fitted to what is left, and the one
that comes nearest to the hidden frames is fitted again to all. Of many runs other people's is the better
one, so a run that can't tell them apart takes it: its own must come nearer by a standard error over gaps.
The same errors say by which factor c the stated standard deviation is wrong. With n hidden gaps, f the
factor that covers them (see `frames.calibration`), u = `UNSTEADY` and e = u times Student's interval of so
few frames over the normal one,

    c = e (u f / e)^(n / (n + `PRIOR_GAPS`)).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from neuroframes.frames.artefacts import suspicious
from neuroframes.frames.autoencoder import blocks, columns_of
from neuroframes.frames.calibration import FEWEST_HIDDEN, PRIOR_GAPS, hide_alike, runs_of, spread_of
from neuroframes.frames.coupling import fit_coupling, fit_lags
from neuroframes.frames.information import effective_frames
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.population import Population
from neuroframes.frames.prior import (
    SAMPLE,
    FramePrior,
    default_latents,
    fit_frame_prior,
    folds_for,
    windows_in_context,
)
from neuroframes.frames.temporal import FEWEST_MEASURED, TemporalCovariance

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Runs are not stationary: their gaps are missed by more than hidden frames were. Chosen on the odd people of
# docs/prior.md.
UNSTEADY = 1.06
OWN, LEADING, OTHERS = "its own", "its own with lead and lag", "other people's, adapted to it"


@dataclass(frozen=True)
class Choice:
    """What a run is completed with, and why.

    Attributes
    ----------
    prior : FramePrior
    name : str
    errors : mapping from a candidate's name to its mean squared error on hidden frames, in variances
        Empty where too few frames could be hidden.
    """

    prior: FramePrior
    name: str
    errors: Mapping[str, float]

    def __str__(self) -> str:
        errors = ", ".join(f"{name} {error:.3f}" for name, error in self.errors.items())
        return f"prior: {self.name}" + (f" (squared error on left-out frames: {errors})" if errors else "")


def chosen_prior(
    frames: Float32,
    measured: Mask,
    times: Float,
    tr: float,
    generator: np.random.Generator,
    population: Population | None = None,
    n_latents: int | None = None,
) -> Choice:
    """The prior of a run, from its measured frames and perhaps other people's.

    Parameters
    ----------
    frames : array, shape (K, V), z-scored; what stands at missing frames isn't read
    measured : array, shape (K,)
        Those that look like artefacts are left out: see `frames.artefacts`.
    times : array, shape (K,), seconds, `tr` apart
    tr : float, seconds
    generator : numpy.random.Generator
    population : Population at the same V vertices
    n_latents : int
        Of the run's own prior; by default as many as its frames support.
    """
    measured = measured & ~suspicious(frames, measured)
    own = partial(_own, tr=tr, generator=generator, n_latents=n_latents)

    def chosen(name: str, spread: float, errors: Mapping[str, float]) -> Choice:
        if population is not None and name == OTHERS:
            prior = _adapted(frames, measured, population, tr)
        else:
            prior = own(frames, measured)
            prior = _leading(prior, frames, measured) if name == LEADING else prior
        return Choice(replace(prior, spread=spread), name, errors)

    _, context = next(iter(windows_in_context(len(frames))))
    hidden = np.zeros(len(frames), bool)
    hidden[context] = hide_alike(measured[context])
    left = measured & ~hidden
    sample = np.arange(0, frames.shape[1], max(1, frames.shape[1] // SAMPLE))
    some = np.asfortranarray(frames[:, sample])
    expected = _spread_of_few(effective_frames(some, measured) if measured.any() else 0.0)
    if hidden.sum() < FEWEST_HIDDEN or left.sum() < FEWEST_MEASURED:
        return chosen(OWN if population is None else OTHERS, expected, {})
    priors = {OWN: own(some, left)}
    priors[LEADING] = _leading(priors[OWN], some, left)
    if population is not None:
        priors[OTHERS] = _adapted(some, left, population.at(sample), tr)
    misses = {
        name: _missed(prior, some[context], left[context], hidden[context], times[context])
        for name, prior in priors.items()
    }
    by_gap = {name: _by_gap(error, hidden[context]) for name, (error, _) in misses.items()}
    errors = {name: float(squares.mean()) for name, squares in by_gap.items()}
    name = min((OWN, LEADING), key=lambda candidate: errors[candidate])
    if population is not None:
        excess = by_gap[OTHERS] - by_gap[name]
        if len(excess) < 2 or excess.mean() <= excess.std(ddof=1) / np.sqrt(len(excess)):
            name = OTHERS
    # Errors within a gap go together: a factor from few gaps is shrunk towards what is expected.
    n_gaps = len(runs_of(hidden)[0])
    spread = expected * (UNSTEADY * spread_of(*misses[name]) / expected) ** (n_gaps / (n_gaps + PRIOR_GAPS))
    return chosen(name, spread, errors)


def _spread_of_few(n_frames: float) -> float:
    """By how much 90 % intervals widen since mean and variance come from so many independent frames.

    Student's interval for one more value of a normal distribution, over the one with both known.
    """
    n_frames = max(n_frames, 3.0)
    half_width = t.ppf(0.95, n_frames - 1) * np.sqrt((n_frames + 1) / n_frames)
    return float(UNSTEADY * half_width / norm.ppf(0.95))


def _own(
    frames: Float32, measured: Mask, *, tr: float, generator: np.random.Generator, n_latents: int | None
) -> FramePrior:
    n_measured = int(measured.sum())
    n_latents = default_latents(n_measured) if n_latents is None else n_latents
    run = [(slice(0, len(frames)), measured)]
    columns, folds = columns_of(frames), folds_for(n_measured)
    return fit_frame_prior(columns, frames.shape[1], run, tr, n_latents, generator, folds)


def _leading(prior: FramePrior, frames: Float32, measured: Mask) -> FramePrior:
    latents = prior.encode(frames, measured)
    return replace(prior, latents=fit_coupling([(latents, measured)], prior.latents))


def _adapted(frames: Float32, measured: Mask, population: Population, tr: float) -> FramePrior:
    """Other people's prior, with what the run says of itself."""
    autoencoder, theirs = population.autoencoder, population.total().trusted()
    prior = FramePrior(autoencoder, theirs.together(tr), _rest_of(population.rest_power, tr))
    if measured.sum() < FEWEST_MEASURED:  # too few to say anything of their run
        return prior
    latents = prior.encode(frames, measured)
    own = fit_lags(latents, measured, tr, theirs)
    power = np.empty_like(autoencoder.rest)
    for block in blocks(len(power)):
        rest = frames[measured, block] - autoencoder.decode(latents[measured], block)
        power[block] = np.square(rest).mean(axis=0)
    weight = own.weight
    rest = np.sqrt(weight * power + (1 - weight) * np.square(autoencoder.rest)).astype(np.float32)
    together = own.beside(theirs).together(tr)
    return replace(prior, autoencoder=replace(autoencoder, rest=rest), latents=together)


def _rest_of(power: Float, tr: float) -> TemporalCovariance:
    return TemporalCovariance.of_power(power[None], np.zeros(1, int), np.ones(1), tr)


def _by_gap(errors: Float32, hidden: Mask) -> Float:
    """Mean squared error of each hidden gap, times its share of the hidden frames and their number."""
    starts, lengths = runs_of(hidden)
    squares = np.square(errors).mean(axis=1)
    return np.add.reduceat(squares, np.cumsum(lengths) - lengths) * (len(starts) / lengths.sum())


def _missed(
    prior: FramePrior, frames: Float32, near: Mask, hidden: Mask, times: Float
) -> tuple[Float32, Float32]:
    """Errors (m, V) at hidden frames, and the standard deviation stated for them."""
    known = prior.encode(frames, near)[near]
    posterior = replace(prior, spread=1.0).given(times, FrameMask(near), known)
    every = slice(None)
    return frames[hidden] - posterior.mean(frames[near], every, hidden), posterior.std(every, hidden)
