"""What the runs of many people say of frames: components of all of them, and sums over each person's frames.

The components, and the size and spectrum of what they leave over, are the group's. What is said of latents
along time is a sum over people in these components, so that leaving a person out is leaving out a term. There
are neither frames of anybody nor components of one person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.coupling import Lags

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Population:
    """Components and sums over frames.

    Attributes
    ----------
    autoencoder : LinearAutoencoder of the group
        0 at vertices of which nothing is known.
    people : mapping from a person's label to Lags in its latents
    rest_power : array, shape (F,)
        Two-sided power of what the latents leave over, 1 a frame.
    tr : float, seconds
    runs : mapping from a person's label to the number of runs
    """

    autoencoder: LinearAutoencoder
    people: Mapping[str, Lags]
    rest_power: Float
    tr: float
    runs: Mapping[str, int]

    @property
    def n_runs(self) -> int:
        return sum(self.runs.values())

    @property
    def n_frames(self) -> float:
        """Measured frames of all people."""
        return sum(lags.frames for lags in self.people.values())

    def total(self) -> Lags:
        """What all people say together."""
        return total(self.people)

    def without(self, person: str) -> "Population":
        """The same components, without the sums of one person.

        Raises
        ------
        InputError
            If nobody is called that, or nobody else is there.
        """
        others = {name: lags for name, lags in self.people.items() if name != person}
        if not others or len(others) == len(self.people):
            raise InputError(f"{person} can't be left out of a prior of {', '.join(self.people)}")
        return replace(self, people=others, runs={name: self.runs[name] for name in others})

    def at(self, vertices: NDArray[np.intp]) -> "Population":
        """The population at some vertices, in that order; at -1 nothing is known."""
        there, own = vertices >= 0, self.autoencoder
        autoencoder = LinearAutoencoder(own.decoder[:, vertices] * there, own.rest[vertices] * there)
        return replace(self, autoencoder=autoencoder)


def total(people: Mapping[str, Lags]) -> Lags:
    """The sums of all people."""
    return reduce(add, people.values())


def merged(one: Population, other: Population) -> Population:
    """Both populations as one.

    Raises
    ------
    InputError
        If they have other components or another TR, or share people, who would count twice.
    """
    ours, theirs = one.autoencoder, other.autoencoder
    if not np.array_equal(ours.decoder, theirs.decoder) or one.tr != other.tr:
        raise InputError(
            "these priors have components of their own, in which sums can't be added; "
            "make one with the --components of the other"
        )
    if both := sorted(one.people.keys() & other.people.keys()):
        raise InputError(f"{', '.join(both)} would count twice; merge priors of different people")
    # A vertex of which a part knows nothing says nothing of the rest's size there.
    weights = np.stack([part.n_frames * (part.autoencoder.rest > 0) for part in (one, other)])
    powers = weights * np.square([ours.rest, theirs.rest])
    rest = np.sqrt(powers.sum(axis=0) / np.maximum(weights.sum(axis=0), 1)).astype(np.float32)
    return Population(
        LinearAutoencoder(ours.decoder, rest),
        {**one.people, **other.people},
        one.rest_power + other.rest_power,
        one.tr,
        {**one.runs, **other.runs},
    )
