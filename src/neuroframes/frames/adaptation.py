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
from typing import Any

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
    FramePosterior,
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
OWN, OTHERS, EEG = "its own", "other people's, adapted to it", "other people's with EEG, adapted to it"
WEIGHTS = {OTHERS: (1.0, 0.5), OWN: (0.5, 0.25, 0.0), EEG: (1.0, 0.5)}  # of terms between latents


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is said of a run's latents without a look at its frames.

    Attributes
    ----------
    mean : array, shape (K, d), in the population's latents
    rest : Population of what such predictions of other people leave over
    """

    mean: Float
    rest: Population


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
    eeg: Prediction | None = None,
    known: dict[Any, Any] | None = None,
) -> Choice:
    """The prior of a run, from its measured frames and perhaps other people's.

    Where there is a prediction from EEG, other people's prior with it is the one that must be beaten.

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
    eeg : Prediction of the population's latents
        Of the prior `EEG` the latents are those that the prediction leaves over.
    known : dict
        What other calls with the same frames and population found without EEG; it is added to.
    """
    known = {} if known is None else known
    measured = measured & ~suspicious(frames, measured)
    fits: dict[str, Callable[..., PriorOf]] = {
        OWN: partial(_own, tr=tr, seed=int(generator.integers(2**32)), n_latents=n_latents)
    }
    if population is not None:
        fits[OTHERS] = partial(_adapted, population=population, tr=tr)
    if eeg is not None:
        fits[EEG] = partial(_adapted, population=eeg.rest, tr=tr, mean=eeg.mean)

    def once(name: str, what: object, found: Callable[[], Any]) -> Any:
        if name == EEG:
            return found()
        if (name, what) not in known:
            known[name, what] = found()
        return known[name, what]

    _, context = next(iter(windows_in_context(len(frames))))
    hidden = np.zeros(len(frames), bool)
    hidden[context] = hide_alike(measured[context])
    left = measured & ~hidden
    sample = np.arange(0, frames.shape[1], max(1, frames.shape[1] // SAMPLE))
    some = np.asfortranarray(frames[:, sample])
    # Without a measured frame nothing is z-scored by a few of them: units are those of the population.
    expected = _spread_of_few(effective_frames(some, measured)) if measured.any() else 1.0
    if hidden.sum() < FEWEST_HIDDEN or left.sum() < FEWEST_MEASURED:
        name = [*fits][-1]
        weight = 0.0 if name == OWN else 1.0
        return Choice(replace(fits[name](frames, measured)(weight), spread=expected), name, weight, {})
    # The likeliest first.
    candidates = {} if eeg is None else {EEG: fits[EEG](some, left, at=sample)}
    if population is not None:
        candidates[OTHERS] = once(OTHERS, "some", lambda: fits[OTHERS](some, left, at=sample))
    candidates[OWN] = once(OWN, "some", lambda: fits[OWN](some, left))
    near, there = left[context], hidden[context]

    def given(name: str, weight: float) -> FramePosterior:
        prior = candidates[name](weight)
        latents = prior.encode(some[context], near)[near]
        mean = eeg.mean[context] if eeg is not None and name == EEG else None
        return replace(prior, spread=1.0).given(times[context], FrameMask(near), latents, mean)

    def missed(name: str, weight: float) -> Float32:
        return some[context][there] - given(name, weight).mean(some[context][near], every, there)

    every = slice(None)
    errors, by_gap = {}, {}
    for candidate in ((name, weight) for name in candidates for weight in WEIGHTS[name]):
        errors[candidate] = once(*candidate, partial(missed, *candidate))
        by_gap[candidate] = _by_gap(errors[candidate], there)
    name, weight = taken = min(by_gap, key=lambda candidate: by_gap[candidate].mean())
    if population is not None:
        first = next(iter(by_gap))
        excess = by_gap[first] - by_gap[taken]
        if len(excess) < 2 or excess.mean() <= excess.std(ddof=1) / np.sqrt(len(excess)):
            name, weight = taken = first
    # Errors within a gap go together: a factor from few gaps is shrunk towards what is expected.
    n_gaps = len(runs_of(hidden)[0])
    std = once(name, ("std", weight), lambda: given(*taken).std(every, there))
    missed_by = UNSTEADY * spread_of(errors[taken], std) / expected
    spread = expected * missed_by ** (n_gaps / (n_gaps + PRIOR_GAPS))
    prior = replace(once(name, "all", lambda: fits[name](frames, measured))(weight), spread=spread)
    return Choice(prior, name, weight, {key: float(squares.mean()) for key, squares in by_gap.items()})


def _spread_of_few(n_frames: float) -> float:
    """By how much 90 % intervals widen since mean and variance come from so many independent frames.

    Student's interval for one more value of a normal distribution, over the one with both known.
    """
    n_frames = max(n_frames, 3.0)
    half_width = t.ppf(0.95, n_frames - 1) * np.sqrt((n_frames + 1) / n_frames)
    return float(UNSTEADY * half_width / norm.ppf(0.95))


def _own(frames: Float32, measured: Mask, *, tr: float, seed: int, n_latents: int | None) -> PriorOf:
    """The run's own prior; at weight 0 its latents are independent."""
    n_measured = int(measured.sum())
    n_latents = default_latents(n_measured) if n_latents is None else n_latents
    run = [(slice(0, len(frames)), measured)]
    columns, folds = columns_of(frames), folds_for(n_measured)
    generator = np.random.default_rng(seed)  # of each fit, whichever was asked for before
    prior = fit_frame_prior(columns, frames.shape[1], run, tr, n_latents, generator, folds)

    @cache
    def products() -> Float:
        return fit_products(prior.encode(frames, measured), measured, prior.latents)

    return lambda weight: (
        replace(prior, latents=coupled(prior.latents, products(), weight)) if weight else prior
    )


def _adapted(
    frames: Float32,
    measured: Mask,
    *,
    population: Population,
    tr: float,
    mean: Float | None = None,
    at: NDArray[np.intp] | None = None,
) -> PriorOf:
    """Other people's prior, with what the run says of itself; of latents less their `mean` where it is given.

    `at` are the population's vertices that the frames have, by default all.
    """
    population = population if at is None else population.at(at)
    autoencoder, theirs = population.autoencoder, population.total().trusted()
    prior = prior_of(population, tr)
    if measured.sum() < FEWEST_MEASURED:  # too few to say anything of their run
        return lambda weight: prior
    latents = prior.encode(frames, measured)
    power = np.empty_like(autoencoder.rest)
    for block in blocks(len(power)):
        rest = frames[measured, block] - autoencoder.decode(latents[measured], block)
        power[block] = np.square(rest).mean(axis=0)
    own = fit_lags(latents if mean is None else latents - mean, measured, tr, theirs)
    weight = own.weight
    rest = np.sqrt(weight * power + (1 - weight) * np.square(autoencoder.rest)).astype(np.float32)
    adapted = replace(prior, autoencoder=replace(autoencoder, rest=rest))
    both = own.beside(theirs)
    return lambda weight: replace(adapted, latents=both.together(tr, weight))


def prior_of(population: Population, tr: float) -> FramePrior:
    """The prior of a run of which nothing is known."""
    rest = TemporalCovariance.of_power(population.rest_power[None], np.zeros(1, int), np.ones(1), tr)
    return FramePrior(population.autoencoder, population.total().trusted().together(tr), rest)


def _by_gap(errors: Float32, hidden: Mask) -> Float:
    """Mean squared error of each hidden gap, times its share of the hidden frames and their number."""
    starts, lengths = runs_of(hidden)
    squares = np.square(errors).mean(axis=1)
    return np.add.reduceat(squares, np.cumsum(lengths) - lengths) * (len(starts) / lengths.sum())
