"""What models are fitted to: the training part of a recording, and where it comes from."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, overload

import numpy as np

from neuroframes.errors import InputError
from neuroframes.models.model import Origin
from neuroframes.models.ridge import Standardisation
from neuroframes.recording.band_power import check_bands
from neuroframes.recording.montage import Electrodes, spelled_as
from neuroframes.recording.segments import Part, Segment, Split, load_segments
from neuroframes.recording.store import Store

logger = logging.getLogger(__name__)

EEG_SETTINGS = ("rate", "l_freq", "reference", "gradient")  # of a store, with which other EEG is to be read
FEWEST_CHANNELS = 8


@dataclass(frozen=True)
class TrainingPart:
    """What every method is fitted to.

    Attributes
    ----------
    origin : Origin
    segments : sequence of Segment
        Of one person, with one scale; or of several, each z-scored by itself and perhaps read when asked for.
    own : bool
        The only segment is the very run that is to be filled.
    others : sequence of Segment
        Runs of other people, of the same vertices and TR, each detrended and z-scored by itself.
    several : bool
        Segments are of several people.
    """

    origin: Origin
    segments: Sequence[Segment]
    own: bool = False
    others: Sequence[Segment] = ()
    several: bool = False


def read_training_part(
    store: Store, split: Split, bands: Mapping[str, tuple[float, float]], electrodes: Electrodes | None = None
) -> TrainingPart:
    """Read the training part of a split; with EEG of some `electrodes`, by default all of the store's.

    Raises
    ------
    InputError
        If one model can't serve all runs: they differ in TR or EEG rate, or the rate is too low for a band.
    """
    # Before anything is read, which takes minutes.
    if store.features:
        bands = {}
    else:
        check_bands(min(run.eeg_rate for run in store.runs), bands)
    for what, values in (
        ("TR", {round(run.tr, 4) for run in store.runs}),
        ("EEG rate", {run.eeg_rate for run in store.runs}),
    ):
        if len(values) > 1:
            raise InputError(
                f"{store.path.name}: runs differ in {what} ({sorted(values)}); "
                "prepare them into stores of their own"
            )
    logger.info("reading %d parts of %s", len(split.train), store.path.name)
    electrodes = store.electrodes if electrodes is None else electrodes
    segments, scale = load_segments(store, split.train, bands, electrodes=electrodes)
    settings = {name: store.settings[name] for name in (() if store.features else EEG_SETTINGS)}
    of_eeg = electrodes.channels, settings, bands, store.features, electrodes.positions
    origin = Origin(store.space, store.runs[0].tr, scale, split, *of_eeg, store.subject)
    return TrainingPart(origin, segments)


class PeopleSegments(Sequence[Segment]):
    """Runs of people, each detrended and z-scored by itself, as its band power is, and read when asked for.

    Parameters
    ----------
    stores : sequence of Store
    bands : mapping from name to (low, high), Hz
    electrodes : Electrodes
        Of the EEG, as of `Store.eeg_of`.
    parts : sequence of Part
        Of a single store; by default whole runs.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        bands: Mapping[str, tuple[float, float]],
        electrodes: Electrodes,
        parts: Sequence[Part] = (),
    ) -> None:
        self._bands, self._electrodes = bands, electrodes
        self._runs = [
            (store, part)
            for store in stores
            for part in parts or [Part(run.name, 0, len(run.frame_times)) for run in store.runs]
        ]

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, number: int) -> Segment: ...
    @overload
    def __getitem__(self, number: slice) -> list[Segment]: ...
    def __getitem__(self, number: int | slice) -> Segment | list[Segment]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        store, part = self._runs[number]
        (segment,), _ = load_segments(store, [part], self._bands, electrodes=self._electrodes)
        power, person = segment.power, f"sub-{store.subject}"
        assert power is not None
        standard = replace(power, values=Standardisation.of(power.values)(power.values))
        return replace(segment, power=standard, person=person, run=f"{person} {part.run}")


def log_interpolated(store: Store, electrodes: Electrodes) -> None:
    """Say how many of a model's channels a store has by interpolation alone."""
    if lacking := {*electrodes.channels} - {*spelled_as(store.channels, electrodes.channels)}:
        brought = "%s: %d of %d channels are interpolated at their positions"
        logger.info(brought, store.path.name, len(lacking), len(electrodes.channels))


def check_alike(
    store: Store, tr: float, features: Sequence[str], settings: Mapping[str, Any], what: str
) -> None:
    """Raise InputError where a store has another TR, other features or EEG settings than `what`."""
    if bool(store.features) != bool(features):
        kind = {True: "features of each frame", False: "raw EEG"}
        raise InputError(
            f"{store.path.name} has {kind[bool(store.features)]}, but {what} {kind[bool(features)]}; "
            "prepare all people alike"
        )
    trs = sorted({round(run.tr, 4) for run in store.runs})
    for name, here, there in (
        ("TR", trs, [round(tr, 4)]),
        ("features", list(store.features), list(features)),
        *((name, store.settings[name], value) for name, value in settings.items()),
    ):
        if here != there:
            raise InputError(
                f"{store.path.name}: {name} {here}, but {what} has {there}; prepare all people alike"
            )


def read_people(
    stores: Sequence[Store], bands: Mapping[str, tuple[float, float]], electrodes: Electrodes | None = None
) -> TrainingPart:
    """The stores of several people as one training part, of which nothing is held out.

    `electrodes` are by default those of the store with the fewest, less those that another store neither has
    by name nor can be interpolated at.

    Raises
    ------
    InputError
        If somebody is there twice, stores differ in space, TR or how EEG was read, or too few electrodes are
        left.
    """
    first = stores[0]
    subjects = [store.subject for store in stores]
    if twice := [name for name in subjects if subjects.count(name) > 1]:
        raise InputError(f"sub-{twice[0]} is in two of the stores; pass each person once")
    settings = {name: first.settings[name] for name in (() if first.features else EEG_SETTINGS)}
    for store in stores:
        first.space.check_same(store.space, store.path.name)
        check_alike(store, first.runs[0].tr, first.features, settings, first.path.name)
        if not first.features:
            check_bands(min(run.eeg_rate for run in store.runs), bands)
    if electrodes is None:
        electrodes = _electrodes_of_all(stores)
        for store in stores:
            log_interpolated(store, electrodes)
    n_channels = len(electrodes.channels)
    if not first.features and n_channels < FEWEST_CHANNELS:
        raise InputError(
            f"the stores have {n_channels} EEG channels in common, by name or by electrode positions, at "
            f"least {FEWEST_CHANNELS} are needed; add electrodes.tsv and prepare again, rename channels, or "
            "leave out the person whose montage is another"
        )
    scale = np.ones(first.space.V, np.float32)
    of_eeg = electrodes.channels, settings, bands, first.features, electrodes.positions
    origin = Origin(first.space, first.runs[0].tr, scale, Split((), (), 0.0), *of_eeg)
    return TrainingPart(origin, PeopleSegments(stores, bands, electrodes), several=len(stores) > 1)


def _electrodes_of_all(stores: Sequence[Store]) -> Electrodes:
    """Those of the store with the fewest that all others have or can be interpolated at."""
    each = [store.electrodes for store in stores]

    def usable(of: Electrodes) -> Electrodes:
        found = reduce(Electrodes.within, each, of)
        return found if len(found.channels) == len(of.channels) else usable(found)

    return min(map(usable, each), key=lambda found: len(found.channels))
