"""A small simulated recording with store and model, a training part of arrays, and synthetic CIFTI runs."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from nibabel.cifti2 import BrainModelAxis
from scipy.ndimage import gaussian_filter1d

from neuroframes.cli import main
from neuroframes.commands.prior import prior
from neuroframes.commands.train import train
from neuroframes.cortex.mesh import cortical_vertices, surface
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.model import Origin
from neuroframes.models.population import PopulationModel
from neuroframes.recording.band_power import log_band_power
from neuroframes.recording.bold import write_bold
from neuroframes.recording.prepare import prepare
from neuroframes.recording.segments import Part, Segment, Split
from neuroframes.recording.signal import Signal
from neuroframes.recording.simulate import simulate
from neuroframes.recording.store import Store, StoredRun
from neuroframes.training.part import TrainingPart

TR = 0.8

# `pytest --hypothesis-profile thorough` tries ten thousand examples of each property.
for profile, n_examples in (("quick", 25), ("thorough", 10_000)):
    settings.register_profile(
        profile,
        max_examples=n_examples,
        derandomize=profile == "quick",
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("quick")


@dataclass(frozen=True)
class Recording:
    """A simulated BIDS data set, its store, and a model trained on runs 1 and 2 of its 3."""

    root: Path
    store: Path
    model: Path

    def eeg(self, run: int) -> Path:
        return self.root / f"sub-01/eeg/sub-01_task-movie_run-{run}_eeg.vhdr"

    def bold(self, run: int, hemisphere: str = "L") -> Path:
        stem = f"sub-01_task-movie_run-{run}_hemi-{hemisphere}_space-fsaverage5_bold.func.gii"
        return self.root / "derivatives/fmriprep/sub-01/func" / stem

    def confounds(self, run: int) -> Path:
        stem = f"sub-01_task-movie_run-{run}_desc-confounds_timeseries.tsv"
        return self.root / "derivatives/fmriprep/sub-01/func" / stem


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Recording:
    """3 runs of 120 frames at a TR of 1 s, 16 channels, strongly coupled, every eighth fsaverage5 vertex."""
    folder = tmp_path_factory.mktemp("recording")
    root = simulate(
        folder / "bids",
        minutes=6,
        runs=3,
        tr=1.0,
        space="fsaverage5",
        channels=16,
        snr=8.0,
        seed=1,
        linear=True,
    )
    for half in root.glob("derivatives/fmriprep/sub-01/func/*_bold.func.gii"):
        image = nib.load(half)
        for array in image.darrays:
            array.data = array.data[::8]
            array.dims = list(array.data.shape)
        nib.save(image, half)
    (store,) = prepare(root, folder / "stores", progress=False)
    train([store], out=folder / "model", preset="gaussian")
    return Recording(root, store, folder / "model")


@pytest.fixture(scope="session")
def patch() -> tuple[TrainingPart, Segment]:
    """A training part of two runs, to which every method can be fitted, and a third run to test on.

    70, 70 and 40 frames at a TR of 2 s on a patch of 50 vertices of fsLR-32k; 6 channels at 100 Hz. Three
    slow signals drive the amplitude of two channels each, and 6 s later the frames. A few are censored. Three
    other people have a run of 60 frames.
    """
    tr, rate, n_vertices, channels = 2.0, 100.0, 50, ("F3", "F4", "C3", "C4", "P3", "P4")
    bands = {"alpha": (8.0, 13.0), "beta": (13.0, 30.0)}
    sphere, cortex = surface("fsLR-32k", "sphere", "L")[0], cortical_vertices("fsLR-32k", "L")
    vertex = np.sort(cortex[np.argsort(-sphere[cortex, 2])[:n_vertices]])  # around the top
    space = CorticalSpace.from_axis(BrainModelAxis.from_surface(vertex, len(sphere), name="CortexLeft"))
    generator = np.random.default_rng(0)
    place = sphere[vertex] / sphere[vertex].std(axis=0)
    patterns = np.sin(place @ generator.standard_normal((3, 3)))  # smooth across the patch
    patterns /= np.sqrt(np.square(patterns).sum(axis=1, keepdims=True))

    def run(name: str, n_frames: int) -> Segment:
        times = 12.0 + tr * np.arange(n_frames)
        at = np.arange(round((times[-1] + 10) * rate)) / rate
        signals = gaussian_filter1d(generator.standard_normal((3, len(at))), 3 * rate)
        signals /= signals.std(axis=1, keepdims=True)
        eeg = generator.standard_normal((6, len(at))) * np.exp(np.repeat(signals, 2, axis=0))
        eeg = 1e-5 * (eeg - eeg.mean(axis=0)).astype(np.float32)
        frames = np.array([np.interp(times - 6, at, signal) for signal in signals]).T @ patterns.T
        frames += 0.5 * generator.standard_normal(frames.shape)
        frames -= frames.mean(axis=0)
        measured = ~np.isin(np.arange(n_frames), (0, 31, 32))
        return Segment(
            np.asfortranarray(frames, np.float32),
            times,
            times - times[0],
            measured,
            log_band_power(eeg, rate, bands),
            name,
            Signal(eeg, rate, channels),
            generator.standard_normal((n_frames, 6)),
        )

    segments, test = [run("run-1", 70), run("run-2", 70)], run("run-3", 40)
    split = Split((Part("run-1", 0, 70), Part("run-2", 0, 70)), (Part("run-3", 0, 40),), 40.0)
    scale = np.ones(n_vertices, np.float32)
    eeg_settings = {"rate": rate, "l_freq": 0.5, "reference": "average"}
    directions = generator.standard_normal((6, 3))
    positions = 0.09 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    origin = Origin(space, tr, scale, split, channels, eeg_settings, bands, positions=positions)
    others = [replace(run(f"other-{n}", 60), person=f"sub-{n}") for n in range(3)]
    return TrainingPart(origin, segments, others=others), test


@pytest.fixture(scope="session")
def cifti_space() -> CorticalSpace:
    """100 + 80 cortical grayordinates and 20 voxels."""
    mask = np.zeros((4, 5, 3), bool)
    mask[:, :, 1] = True
    axis = BrainModelAxis.from_surface(np.arange(0, 200, 2), 220, name="CortexLeft")
    axis += BrainModelAxis.from_surface(np.arange(80), 220, name="CortexRight")
    return CorticalSpace.from_axis(axis + BrainModelAxis.from_mask(mask, affine=np.eye(4), name="brain_stem"))


@pytest.fixture(scope="session")
def smooth_frames() -> Callable[..., np.ndarray]:
    """Draw frames (K, V) as BOLD has them: five slow signals in common, a slow rest, drift, noise."""

    def draw(n_frames: int, n_vertices: int, seed: int = 0, tr: float = TR) -> np.ndarray:
        rng = np.random.default_rng(seed)
        shared = gaussian_filter1d(rng.standard_normal((n_frames + 40, 5)), 2.0 / tr, axis=0)[20:-20]
        own = gaussian_filter1d(rng.standard_normal((n_frames + 40, n_vertices)), 2.0 / tr, axis=0)[20:-20]
        signal = shared / shared.std() @ rng.standard_normal((5, n_vertices)) / np.sqrt(5)
        signal += 0.5 * own / own.std() + 0.15 * rng.standard_normal((n_frames, n_vertices))
        signal += np.linspace(-1, 1, n_frames)[:, None] * rng.standard_normal(n_vertices)
        scale = 10 ** rng.uniform(0, 2, n_vertices)
        return np.asfortranarray(10_000 + scale * signal, np.float32)

    return draw


@pytest.fixture(scope="session")
def learned() -> Callable[..., PopulationModel]:
    """The command `prior`, in this process: starting others takes seconds."""

    def here(function, jobs, **_) -> list[str]:
        failed = []
        for job in jobs:
            try:
                function(job)
            except InputError as error:
                failed.append(f"{job}: {error}")
        return failed

    def learn(*arguments, **options) -> PopulationModel:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("neuroframes.evaluation.jobs.run_here", here)
            return prior(*arguments, **options)

    return learn


@dataclass(frozen=True)
class People:
    """Runs of some people as tables of parcels, and a prior of them."""

    runs: list[Path]
    prior: Path

    def of(self, person: str) -> list[Path]:
        return [path for path in self.runs if path.name.startswith(f"{person}_")]


@pytest.fixture(scope="session")
def people(tmp_path_factory, learned) -> People:
    """Four people, the last with two runs, of 160 frames at a TR of 2 s and 24 parcels."""
    folder, generator = tmp_path_factory.mktemp("people"), np.random.default_rng(2)
    patterns, runs = generator.standard_normal((3, 24)), []
    for name in ("sub-01_run-1", "sub-02_run-1", "sub-03_run-1", "sub-04_run-1", "sub-04_run-2"):
        signals = gaussian_filter1d(generator.standard_normal((200, 3)), 2, axis=0)[20:-20]
        signals[2:, 1] += signals[:-2, 0]
        frames = signals / signals.std(axis=0) @ patterns + 0.5 * generator.standard_normal((160, 24))
        runs.append(folder / f"{name}_bold.npz")
        np.savez(runs[-1], bold=100 + frames, tr=2.0)
    learned(runs, out=folder / "prior", latents=6)
    return People(runs, folder / "prior")


@pytest.fixture
def run_of(tmp_path, cifti_space, smooth_frames) -> Callable[..., Path]:
    """Write a CIFTI run; returns its path. Frames are `smooth_frames` unless passed as `data`."""

    def write(
        n_frames: int = 200, *, name: str = "run", tr: float = TR, data: np.ndarray | None = None
    ) -> Path:
        data = smooth_frames(n_frames, cifti_space.V) if data is None else data
        path = tmp_path / f"sub-01_task-{name}_bold.dtseries.nii"
        return write_bold(path, data, cifti_space, tr=tr, overwrite=True)[0]

    return write


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with size and time of change: what a failed command must leave alone."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        if path.is_file()
        else (0, 0)
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch) -> Iterator[Callable[..., str]]:
    """Run a command that must fail: exit code 2, one line of error, nothing written. Returns the line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert main([os.fspath(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        error = printed.err.strip().splitlines()[-1]
        assert error.startswith("neuroframes: error: ")
        assert contents(tmp_path) == before
        return error

    yield run


@pytest.fixture(scope="session")
def store_of() -> Callable[..., Store]:
    """A person's store in memory, whose parcels follow the alpha power of three places, 6 s later.

    Of a person's number, channels, and positions of the electrodes.
    """

    def of(number: int, channels, positions, n_frames: int = 120, tr: float = 2.0, rate: int = 64) -> Store:
        generator, n_samples = np.random.default_rng(number), round(n_frames * tr * rate)
        envelopes = gaussian_filter1d(generator.standard_normal((3, n_samples)), 3 * rate, axis=1)
        envelopes /= envelopes.std(axis=1, keepdims=True)
        phase = 20 * np.pi * np.arange(n_samples) / rate + 0.05 * generator.standard_normal(
            (3, n_samples)
        ).cumsum(1)
        noise = generator.standard_normal((30, n_samples))
        places = np.random.default_rng(1).standard_normal((33, 3))
        places *= 0.065 / np.linalg.norm(places, axis=1, keepdims=True)
        lead = 1 / np.linalg.norm(positions[:, None] - np.add(places, [0, 0, 0.04]), axis=2)
        eeg = 1e-7 * lead @ np.concatenate([3 * np.exp(0.7 * envelopes) * np.sin(phase), noise])
        times = tr * (np.arange(n_frames) + 0.5)
        late = np.stack([np.interp(times - 6, np.arange(n_samples) / rate, of) for of in envelopes], axis=1)
        bold = late @ np.random.default_rng(2).standard_normal((3, 20))
        bold += generator.standard_normal(bold.shape)
        group = {
            "bold": np.asfortranarray(bold, np.float32),
            "eeg": (eeg - eeg.mean(axis=0)).astype(np.float32),
        }
        run = StoredRun("rest", tr, times, np.zeros(n_frames, bool), None, rate, {}, group)
        settings = {"rate": rate, "l_freq": None, "reference": "average", "gradient": False}
        space = CorticalSpace.from_parcels(20)
        electrodes = tuple(channels), positions
        return Store(Path(f"sub-{number}.zarr"), f"{number}", space, *electrodes, (), rate, settings, (run,))

    return of
