"""Which prior a run is completed with: its own or that of other people, and how much lead and lag counts.

Measured frames are hidden in gaps like the real ones, each candidate is fitted to what is left, and the one
that comes nearest to the hidden frames is fitted again to all. Of many runs other people's is the better
one, so a run that can't tell them apart takes it: another must come nearer by a standard error over gaps.
The same errors say by which factor c the stated standard deviation is wrong. With n hidden gaps, f the
factor that covers them (see `frames.calibration`), u = `UNSTEADY` and e = u times Student's interval of so
few frames over the normal one,

    c = e (u f / e)^(n / (n + `PRIOR_GAPS`)).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from neuroframes.frames.artefacts import suspicious
from neuroframes.frames.autoencoder import blocks, columns_of
from neuroframes.frames.calibration import FEWEST_HIDDEN, PRIOR_GAPS, hide_alike, runs_of, spread_of
from neuroframes.frames.coupling import coupled, fit_lags, fit_products
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
PriorOf = Callable[[float], FramePrior]  # of the weight of terms between latents

# Runs are not stationary: their gaps are missed by more than hidden frames were. Chosen on the odd people of
# docs/prior.md.
UNSTEADY = 1.06
OWN, OTHERS = "its own", "other people's, adapted to it"
WEIGHTS = {OTHERS: (1.0, 0.5), OWN: (0.5, 0.25, 0.0)}  # of terms between latents


@dataclass(frozen=True)
class Choice:
    """What a run is completed with, and why.

    Attributes
    ----------
    prior : FramePrior
    name : str
    weight : float
        Of terms between latents, from 0 to 1.
    errors : mapping from a candidate's (name, weight) to its squared error on hidden frames, in variances
        Empty where too few frames could be hidden.
    """

    prior: FramePrior
    name: str
    weight: float
    errors: Mapping[tuple[str, float], float]

    def __str__(self) -> str:
        tried = ", ".join(f"{name} x {weight:g}: {e:.3f}" for (name, weight), e in self.errors.items())
        tried = f"; squared error on left-out frames: {tried}" if tried else ""
        return f"prior: {self.name} (terms between latents x {self.weight:g}{tried})"


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
    others = None if population is None else partial(_adapted, population=population, tr=tr)
    _, context = next(iter(windows_in_context(len(frames))))
    hidden = np.zeros(len(frames), bool)
    hidden[context] = hide_alike(measured[context])
    left = measured & ~hidden
    sample = np.arange(0, frames.shape[1], max(1, frames.shape[1] // SAMPLE))
    some = np.asfortranarray(frames[:, sample])
    expected = _spread_of_few(effective_frames(some, measured) if measured.any() else 0.0)
    if hidden.sum() < FEWEST_HIDDEN or left.sum() < FEWEST_MEASURED:
        name, fit, weight = (OWN, own, 0.0) if others is None else (OTHERS, others, 1.0)
        return Choice(replace(fit(frames, measured)(weight), spread=expected), name, weight, {})
    candidates = {OWN: own(some, left)}
    if population is not None:
        candidates = {OTHERS: _adapted(some, left, population=population.at(sample), tr=tr), **candidates}
    misses, by_gap = {}, {}
    for name, prior_of in candidates.items():
        for weight in WEIGHTS[name]:
            candidate = (name, weight)
            misses[candidate] = _missed(
                prior_of(weight), some[context], left[context], hidden[context], times[context]
            )
            by_gap[candidate] = _by_gap(misses[candidate][0], hidden[context])
    name, weight = taken = min(by_gap, key=lambda candidate: by_gap[candidate].mean())
    if population is not None:
        first = next(iter(by_gap))
        excess = by_gap[first] - by_gap[taken]
        if len(excess) < 2 or excess.mean() <= excess.std(ddof=1) / np.sqrt(len(excess)):
            name, weight = taken = first
    # Errors within a gap go together: a factor from few gaps is shrunk towards what is expected.
    n_gaps = len(runs_of(hidden)[0])
    spread = expected * (UNSTEADY * spread_of(*misses[taken]) / expected) ** (n_gaps / (n_gaps + PRIOR_GAPS))
    fit = own if name == OWN or others is None else others
    prior = replace(fit(frames, measured)(weight), spread=spread)
    return Choice(prior, name, weight, {key: float(squares.mean()) for key, squares in by_gap.items()})


def _spread_of_few(n_frames: float) -> float:
    """By how much 90 % intervals widen since mean and variance come from so many independent frames.

    Student's interval for one more value of a normal distribution, over the one with both known.
    """
    n_frames = max(n_frames, 3.0)
    half_width = t.ppf(0.95, n_frames - 1) * np.sqrt((n_frames + 1) / n_frames)
    return float(UNSTEADY * half_width / norm.ppf(0.95))


def _own(
    frames: Float32, measured: Mask, *, tr: float, generator: np.random.Generator, n_latents: int | None
) -> PriorOf:
    """The run's own prior; at weight 0 its latents are independent."""
    n_measured = int(measured.sum())
    n_latents = default_latents(n_measured) if n_latents is None else n_latents
    run = [(slice(0, len(frames)), measured)]
    columns, folds = columns_of(frames), folds_for(n_measured)
    prior = fit_frame_prior(columns, frames.shape[1], run, tr, n_latents, generator, folds)

    @cache
    def products() -> Float:
        return fit_products(prior.encode(frames, measured), measured, prior.latents)

    return lambda weight: (
        replace(prior, latents=coupled(prior.latents, products(), weight)) if weight else prior
    )


def _adapted(frames: Float32, measured: Mask, *, population: Population, tr: float) -> PriorOf:
    """Other people's prior, with what the run says of itself."""
    autoencoder, theirs = population.autoencoder, population.total().trusted()
    prior = FramePrior(autoencoder, theirs.together(tr), _rest_of(population.rest_power, tr))
    if measured.sum() < FEWEST_MEASURED:  # too few to say anything of their run
        return lambda weight: prior
    latents = prior.encode(frames, measured)
    own = fit_lags(latents, measured, tr, theirs)
    power = np.empty_like(autoencoder.rest)
    for block in blocks(len(power)):
        rest = frames[measured, block] - autoencoder.decode(latents[measured], block)
        power[block] = np.square(rest).mean(axis=0)
    weight = own.weight
    rest = np.sqrt(weight * power + (1 - weight) * np.square(autoencoder.rest)).astype(np.float32)
    adapted = replace(prior, autoencoder=replace(autoencoder, rest=rest))
    both = own.beside(theirs)
    return lambda weight: replace(adapted, latents=both.together(tr, weight))


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
