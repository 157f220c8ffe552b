"""What sets a simulated world apart from one that is linear, stationary and alike in all people: ingredients.

Each has a size, and 0 (of `strength` 1) leaves it out. Each draws from random numbers of its own, so that
whether one is there changes no other.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from numpy.random import Generator, SeedSequence, default_rng

from neuroframes.errors import InputError

Chance = Callable[[str], Generator]  # random numbers by name


@dataclass(frozen=True)
class World:
    """How much there is of each ingredient.

    Attributes
    ----------
    outline : float, mm
        By how much patches of cortex lie elsewhere in each person.
    delay : float, seconds
        By how much haemodynamic responses are later or earlier in each person.
    coupling : float
        Deviation between people of the logarithm of coupling between EEG and BOLD, and of what networks have
        in common.
    strength : float
        Factor of the variance of BOLD that the EEG's sources cause, since others add to the rest. 1 is off.
    gain : float
        Deviation between people of the logarithm of EEG amplitudes.
    waves : float
        Variance of BOLD, in parts of a grayordinate's, that waves over the whole cortex cause.
    propagation : float, seconds
        Deviation between regions of when activity arrives.
    vascular : float, seconds
        Deviation between regions of when blood arrives.
    spectra : float
        Deviation between networks, and between waves, of the logarithm of how fast they change.
    vigilance : float
        1: drowsy hours have less alpha, whose coupling turns round, and larger waves.
    saturation : float
        Deviation of the logarithm of inflow in a balloon model.
    fast : float
        Variance, in the same parts, of noise that is faster than responses, most of it shared by regions.
    jitter : float, seconds
        Deviation of volume triggers.
    bursts : float
        1: heads move as those of 645 people did, in bursts.
    film : float
        Share of activity that EEG doesn't see, in the visual and auditory networks, that the film drives. 0
        in both worlds: it is of recordings that come with their film.
    """

    outline: float = 0.0
    delay: float = 0.0
    coupling: float = 0.0
    strength: float = 1.0
    gain: float = 0.0
    waves: float = 0.0
    propagation: float = 0.0
    vascular: float = 0.0
    spectra: float = 0.0
    vigilance: float = 0.0
    saturation: float = 0.0
    fast: float = 0.0
    jitter: float = 0.0
    bursts: float = 0.0
    film: float = 0.0

    def without(self, ingredients: str) -> "World":
        """This world without the ingredients that are named, with commas between them."""
        names = [name.strip() for name in ingredients.split(",")]
        if unknown := [name for name in names if name not in INGREDIENTS]:
            raise InputError(f"--without {', '.join(unknown)}; choose from {', '.join(INGREDIENTS)}")
        return replace(self, **{name: getattr(LINEAR, name) for name in names})


INGREDIENTS = tuple(field.name for field in fields(World))
DRAWS = (*INGREDIENTS, "sound")  # of the film: no ingredient, since every world has it
LINEAR = World()
# Frozen against docs/simulated.md before any model was scored: change them only with that table, and say so.
LIFELIKE = World(
    outline=6.0,
    delay=0.7,
    coupling=0.7,
    strength=4.5,
    gain=0.3,
    waves=1.0,
    propagation=3.0,
    vascular=1.2,
    spectra=1.2,
    vigilance=1.0,
    saturation=0.15,
    fast=0.8,
    jitter=0.003,
    bursts=1.0,
)
SEEN_FILM = 0.5  # `film` where there is a film


def chance(seed: int, *key: int) -> Chance:
    """Random numbers of each of `DRAWS`: those of a key (run, subject) differ from all others."""

    def of(name: str) -> Generator:
        return default_rng(SeedSequence(seed, spawn_key=(*key, DRAWS.index(name))))

    return of


NO_CHANCE = chance(0)
