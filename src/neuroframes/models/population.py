"""A population prior as a model: what other people's runs say, adapted to the run that is to be filled."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError, counted, listed
from neuroframes.frames.adaptation import EEG, OTHERS, Choice, Prediction, chosen_prior
from neuroframes.frames.artefacts import suspicious
from neuroframes.frames.autoencoder import LinearAutoencoder, columns_of, rows_of
from neuroframes.frames.coupling import Lags
from neuroframes.frames.population import Population, merged, total
from neuroframes.frames.temporal import ON_GRID
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.eeg_ridge import EegRidge
from neuroframes.models.gaussian import (
    CHOSEN,
    DISAGREES,
    RIDGE_FIELDS,
    EegPathway,
    GaussianModel,
    n_parameters,
    stored_correction,
)
from neuroframes.models.model import Estimate, Origin, TrainedModel
from neuroframes.models.stored import Stored, write_stored
from neuroframes.recording.segments import Segment

if TYPE_CHECKING:
    from neuroframes.models.correction import Correction

MOST_KNOWN = 2**29  # bytes of frames whose fits are kept
SAME_TR = 0.01  # of it, by which the TR of a run may differ


@dataclass(frozen=True, eq=False)
class GroupEeg:
    """What EEG says of the latents of people in general.

    Attributes
    ----------
    ridge : EegRidge, of band power that is standardised by run
    channels : ChannelCovariance, or None where EEG comes as features of each frame
        Mean over runs, each of trace 1.
    rest : mapping from a person's label to Lags of what the ridge of the others leaves over
    least_gap, correction : as of EegPathway
        `rest` is what the ridge leaves over with or without a correction.
    change : array, shape (G,)
        Penalty on what one person's weights differ by, for each group of latents; inf: they don't.
    """

    ridge: EegRidge
    channels: ChannelCovariance | None
    rest: Mapping[str, Lags]
    least_gap: float
    change: NDArray[np.float64]
    correction: "Correction | None" = None

    def pathway(self, bands: Mapping[str, tuple[float, float]]) -> EegPathway:
        """Its covariance is that of what the ridge leaves over of people whom it doesn't know."""
        covariance = total(self.rest).trusted().together(self.ridge.tr)
        return EegPathway(self.ridge, covariance, self.channels, bands, self.correction, self.least_gap)


@dataclass(frozen=True)
class AdaptedModel(GaussianModel):
    """The Gaussian model of one run.

    Attributes
    ----------
    note : str, which prior it has, and why
    """

    note: str = ""

    def describe(self, segment: Segment) -> str:
        return f"{super().describe(segment)}; {self.note}"

    def _doubt(self, eeg: EegPathway, segment: Segment, measured: NDArray[np.bool_]) -> str:
        return ""  # it has been settled for this run

    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        # The prior is of the segment's vertices already.
        return super().fill(replace(segment, vertices=None), draws=draws, generator=generator)


def _named(choice: Choice, n_others: int) -> Choice:
    """The choice with a name of the population that is true where it is of one other person, or of none."""
    whose = {0: "the person's own", 1: "one other person's"}.get(n_others, "other people's")
    names = {OTHERS: OTHERS.replace("other people's", whose)}
    errors = {(names.get(name, name), weight): error for (name, weight), error in choice.errors.items()}
    return replace(choice, name=names.get(choice.name, choice.name), errors=errors)


@dataclass(frozen=True)
class PopulationModel(TrainedModel):
    """What `prior` writes.

    Attributes
    ----------
    origin : Origin
        Its scale is 1 at vertices of which the population knows something, 0 elsewhere.
    population : Population
    notes : tuple of str, what was left out when it was made
    eeg : GroupEeg, or None: the population's EEG isn't known
    """

    format = "neuroframes-model-population-4"
    states_deviation = draws = any_time = scaled_by_run = fills_channels = any_montage = True

    origin: Origin
    population: Population
    notes: tuple[str, ...] = ()
    eeg: GroupEeg | None = None
    # What measured frames say without EEG, which is asked again with other EEG of the run, and without.
    _known: dict[Any, tuple[Any, dict[Any, Any]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:  # type: ignore[override]
        if self.eeg is None:
            return "neuroframes population"
        return "neuroframes across people" + " with networks" * (self.eeg.correction is not None)

    @property
    def reads_eeg(self) -> bool:
        return self.eeg is not None

    def without_eeg(self) -> "PopulationModel":
        return replace(self, eeg=None)

    def without_person(self, person: str) -> "PopulationModel":
        people = self.population.people
        label = next((name for name in (person, f"sub-{person}") if name in people), None)
        if label is None:
            raise InputError(f"--leave-out {person}: the prior holds {listed([*people])}; name one of these")
        if self.eeg is not None:
            raise InputError(
                f"--leave-out {person}: what EEG says was learned from all people together; "
                "train a model without that person's store"
            )
        return replace(self, population=self.population.without(label))

    def in_space(self, space: CorticalSpace, what: str) -> "PopulationModel":
        """The prior at the voxels of another volume on its grid; other spaces must be its own."""
        if space.kind != "volume":
            self.origin.space.check_same(space, what)
            return self
        places = space.places_in(self.origin.space, what)
        scale = self.origin.scale[places] * (places >= 0)
        return replace(
            self,
            origin=replace(self.origin, space=space, scale=scale.astype(np.float32)),
            population=self.population.at(places),
        )

    def merged(self, other: "PopulationModel") -> "PopulationModel":
        """Both as one; see `frames.population.merged`."""
        if self.eeg is not None or other.eeg is not None:
            raise InputError("models with EEG can't be merged; train one from all stores")
        return replace(
            self, population=merged(self.population, other.population), notes=self.notes + other.notes
        )

    def for_run(self, segment: Segment) -> AdaptedModel:
        """As `TrainedModel.for_run`: its own measured frames and the population, weighed.

        Raises
        ------
        InputError
            If its frames aren't a TR of the population apart.
        """
        population, people = self.population, self.population.people
        if segment.vertices is not None:
            population = population.at(segment.vertices)
        rows, tr = self._grid(segment)
        pathway, prediction, doubt = None, None, "it promises nothing certain beside these frames"
        eeg = self._pathway
        given = None if eeg is None else eeg.eeg_of(segment)
        frames, measured, times = segment.frames, segment.measured[rows], segment.times[rows]
        if len(rows) < len(frames):
            frames = np.take(frames.T, rows, axis=1).T
        if self.eeg is not None and eeg is not None and given is not None and eeg.believed(segment):
            trusted = measured & ~suspicious(frames, measured)
            known = population.autoencoder.encode(rows_of(columns_of(frames), trusted))
            if eeg.agrees(given, times[trusted], known):
                pathway = eeg
                prediction = Prediction(eeg.mean(given, times), replace(population, people=self.eeg.rest))
            else:
                doubt = DISAGREES
        choice = chosen_prior(
            frames,
            measured,
            segment.time_in_run[rows],
            tr,
            np.random.default_rng(0),
            population,
            eeg=prediction,
            known=self._known_of(segment),
        )
        if pathway is not None:
            pathway = pathway.about(choice.prior.latents) if choice.name == EEG else None
        own = segment.person in people
        choice = _named(choice, len(people) - own)
        whose = f", {segment.person}, whose run this is{', among them' * (len(people) > 1)}" if own else ""
        note = f"{choice}; a population of {counted(len(people), 'person', 'people')}{whose}"
        if given is not None and pathway is None:
            note += f"; the EEG isn't used, since {doubt}"
        return AdaptedModel(self.origin, choice.prior, pathway, note=note)

    def _known_of(self, segment: Segment) -> dict[Any, Any]:
        # What the key has the address of is kept, so that it is never another's.
        of = self.population, segment.frames, segment.vertices
        while len(self._known) >= max(1, MOST_KNOWN // max(1, segment.frames.nbytes)):
            del self._known[next(iter(self._known))]
        key = *map(id, of), segment.measured.tobytes(), segment.time_in_run.tobytes()
        return self._known.setdefault(key, (of, {}))[1]

    @cached_property
    def _pathway(self) -> EegPathway | None:
        """Of runs that nothing adapts; it knows what EEG it has been asked for."""
        return None if self.eeg is None else self.eeg.pathway(self.origin.bands)

    def _grid(self, segment: Segment) -> tuple[NDArray[np.intp], float]:
        """Frames of the segment that are a TR apart, as those that are measured, and that TR in seconds."""
        times, tr = segment.time_in_run, self.origin.tr
        known = times[segment.measured]
        if not len(known):  # there is nothing to adapt to
            return np.arange(len(times)), tr
        step = float(np.diff(known).min()) if len(known) > 1 else tr
        own = step / max(1, round(step / tr))
        position = (times - np.append(known, times[0])[0]) / own
        rows = np.flatnonzero(np.abs(position - np.rint(position)) < ON_GRID)
        regular = np.all(np.diff(np.rint(position[rows])) == 1) and segment.measured[rows].sum() == len(known)
        if abs(own - tr) > SAME_TR * tr or not regular:
            raise InputError(
                f"{segment.run}: frames {step:g} s apart, but the prior's TR is {tr:g} s; "
                "use a prior of this run's TR"
            )
        return rows, own

    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        return self.for_run(segment).fill(segment, draws=draws, generator=generator)

    def describe(self, segment: Segment) -> str:
        return self.for_run(segment).describe(segment)

    @property
    def n_latents(self) -> int:
        return self.population.autoencoder.n_latents

    @property
    def n_parameters(self) -> int:
        return n_parameters(self._tensors(), None if self.eeg is None else self.eeg.correction)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """What is stored as arrays; people are in their order in `model.json`, which has their runs."""
        population = self.population
        tensors: dict[str, NDArray[Any]] = {
            "scale": self.origin.scale,
            "decoder": population.autoencoder.decoder,
            "rest_scale": population.autoencoder.rest,
            "rest_power": population.rest_power,
        }
        tensors |= _stacked("people", population.people)
        if self.eeg is not None:
            tensors |= _stacked("eeg.rest", self.eeg.rest) | {"eeg.least_gap": np.array([self.eeg.least_gap])}
            tensors["eeg.change"] = self.eeg.change
            tensors |= {f"eeg.{part}": getattr(self.eeg.ridge, part) for part in (*RIDGE_FIELDS, "group")}
            if self.eeg.channels is not None:
                tensors["eeg.channel_covariances"] = self.eeg.channels.covariances
        return tensors

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        people = {name: self.population.runs[name] for name in self.population.people}
        about = self.origin.to_json() | {"people": people, "notes": self.notes}
        if self.eeg is not None:
            about |= {name: getattr(self.eeg.ridge, name) for name in CHOSEN}
        learned = None if self.eeg is None else self.eeg.correction
        beside = None if learned is None else learned.save
        write_stored(path, self.format, about, self._tensors(), overwrite=overwrite, beside=beside)

    @classmethod
    def from_stored(cls, stored: Stored) -> "PopulationModel":
        with stored.opened(cls.format):
            about, tensors = stored.about, stored.tensors
            origin = Origin.of(about, tensors["scale"])
            people = _unstacked("people", about["people"], tensors)
            autoencoder = LinearAutoencoder(tensors["decoder"], tensors["rest_scale"])
            population = Population(autoencoder, people, tensors["rest_power"], origin.tr, about["people"])
            found = cls(origin, population, tuple(about["notes"]))
            if "eeg.weights" not in tensors:
                return found
            parts = {part: tensors[f"eeg.{part}"] for part in (*RIDGE_FIELDS, "group")}
            ridge = EegRidge(
                None, **parts, tr=origin.tr, response=about["response"], emphasis=tuple(about["emphasis"])
            )
            channels = None
            if origin.channels:
                covariances = tensors["eeg.channel_covariances"]
                channels = ChannelCovariance(origin.channels, covariances, origin.average)
            rest = _unstacked("eeg.rest", about["people"], tensors)
            settled = float(tensors["eeg.least_gap"][0]), tensors["eeg.change"], stored_correction(stored)
            return replace(found, eeg=GroupEeg(ridge, channels, rest, *settled))


def _stacked(name: str, people: Mapping[str, Lags]) -> dict[str, NDArray[Any]]:
    """Sums of all people as arrays."""
    return {
        f"{name}.{part.name}": np.array([getattr(lags, part.name) for lags in people.values()], np.float64)
        for part in fields(Lags)
    }


def _unstacked(name: str, labels: Iterable[str], tensors: Mapping[str, NDArray[Any]]) -> dict[str, Lags]:
    sums = zip(*(tensors[f"{name}.{part.name}"] for part in fields(Lags)), strict=True)
    return dict(zip(labels, (Lags(*of) for of in sums), strict=True))
