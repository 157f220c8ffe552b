"""CineBrain on a small tree of the release's shape: what is read, when it was acquired, and refusals."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from neuroframes.cortex.regions import regions
from neuroframes.cortex.space import CorticalSpace
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.datasets import cinebrain
from neuroframes.recording.eeg import read_eeg
from neuroframes.recording.prepare import prepare
from neuroframes.recording.store import open_store

TR, K, V = 0.8, 24, 18_946  # frames a run
STARTS = (10.1, 6.0)  # of the films of two runs, seconds since the first volume


def person(root: Path, label: str, *, tables: bool = True, frames: bool = True, unit: float = 1e-5) -> Path:
    """Two runs of frames and EEG; row n of a segment is an 11 Hz rhythm of n + 1 times `unit`."""
    folder = root / f"sub-{label}"
    for name in ("visual_audio", "eeg_02", "beh_data"):
        (folder / name).mkdir(parents=True)
    generator = np.random.default_rng(int(label))
    samples = np.arange(800) / 1000
    for i in range(2 * K):
        if frames:
            np.save(folder / f"visual_audio/{i}.npy", generator.standard_normal(V))
        wave = unit * np.arange(1, 70)[:, None] * np.sin(2 * np.pi * 11 * (samples + TR * i))
        np.save(folder / f"eeg_02/{i}.npy", wave + unit * generator.standard_normal((69, 800)))
    for run, start in enumerate(STARTS, 1):
        if tables:
            text = f"videoStartTime,videoStopTime\n{start},{start + K * TR + 0.01}\n"
            (folder / f"beh_data/sub_{label}_{run}.csv").write_text(text)
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """sub-0005 is sub-0001."""
    root = tmp_path_factory.mktemp("cinebrain")
    shutil.copytree(person(root, "0001"), root / "sub-0005")
    return root


@pytest.fixture(scope="module")
def out(released, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    prepare(released, folder, dataset="cinebrain", subject="sub-0001", rate=100, progress=False)
    return folder


def test_frames_and_eeg_as_released(released, out):
    store = open_store(out / "sub-0001.zarr")
    assert (store.subject, store.space.V, store.channels) == ("0001", V, tuple(cinebrain.CHANNELS))
    assert [run.name for run in store.runs] == ["task-film_run-1", "task-film_run-2"]
    for number, (run, start) in enumerate(zip(store.runs, STARTS, strict=True)):
        frames = [np.load(released / f"sub-0001/visual_audio/{number * K + i}.npy") for i in range(K)]
        np.testing.assert_allclose(run.bold(), frames[: len(run.frame_times)], rtol=1e-6)
        # The volume that a frame is, by the release's own rule; its middle on the EEG's clock.
        volume = int((start + 4) / TR) + 1 + np.arange(len(run.frame_times))
        np.testing.assert_allclose(run.frame_times, volume * TR - start + TR / 2, atol=1e-3)
        assert run.frame_times[-1] <= K * TR < run.frame_times[-1] + TR
        assert run.eeg().shape == (64, K * 80)
        assert zarr.open_group(run.group.folder).attrs["scanner"]["drift"] == pytest.approx(0, abs=100)


def test_the_grayordinates_are_whole_areas(out):
    bold = read_bold(next(out.glob("cinebrain/derivatives/cinebrain/sub-0001/func/*run-01*")))
    assert bold.space.name == "fsLR-32k" and (bold.tr, bold.space.V) == (TR, V)
    for name in ("V1", "visual"):
        assert len(regions(bold.space)[name]) == len(regions(CorticalSpace.fs_lr_32k())[name])
    assert len(regions(bold.space)["auditory"]) < len(regions(CorticalSpace.fs_lr_32k())["auditory"])


def test_a_series_counts_where_there_is_one(tmp_path, cifti_space):
    folder = person(tmp_path / "in", "0001", frames=False)
    data = np.random.default_rng(0).standard_normal((60, cifti_space.V))
    (folder / "dtseries").mkdir()
    for run in (1, 2):
        name = f"sub-0001_task-shape_run-{run}_space-fsLR_den-91k_bold.dtseries.nii"
        write_bold(folder / "dtseries" / name, run * data, cifti_space, tr=TR)
    (path,) = prepare(tmp_path / "in", tmp_path / "out", dataset="cinebrain", rate=100, progress=False)
    for number, (run, start) in enumerate(zip(open_store(path).runs, STARTS, strict=True), 1):
        volume = int(np.ceil(start / TR)) + np.arange(len(run.frame_times))  # the first within the film
        np.testing.assert_allclose(run.bold(), number * data[volume], rtol=1e-6)
        np.testing.assert_allclose(run.frame_times, volume * TR - start + TR / 2, atol=1e-3)


def test_without_tables_runs_are_of_18_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(cinebrain, "RUN_FRAMES", K)
    first, second = cinebrain._runs(person(tmp_path, "0001", tables=False))
    assert [path.name for path in second[1][:2]] == [f"{K}.npy", f"{K + 1}.npy"] and len(first[0]) == K
    data, _, onset = cinebrain._frames(*second)
    assert onset == pytest.approx(4.4)
    assert len(data) == K - 5  # the EEG ends before the others


def test_microvolts_are_known_by_their_size(tmp_path):
    read = []
    for name, unit in (("volts", 1e-5), ("microvolts", 10.0)):
        segments = sorted((person(tmp_path / name, "0001", frames=False, unit=unit) / "eeg_02").iterdir())
        cinebrain._write_eeg(tmp_path / f"{name}.vhdr", segments, TR * np.arange(K))
        read.append(read_eeg(tmp_path / f"{name}.vhdr", rate=100).data)
    np.testing.assert_allclose(read[1], read[0], atol=1e-7)


def test_one_person_under_two_numbers_is_refused(released, refused):
    said = refused("prepare", released, "--dataset", "cinebrain", "--out", "out")
    assert "the BOLD of sub-0005 is bit-identical to that of sub-0001: they are one person" in said


def broken(folder: Path, case: str) -> None:
    if case == "no frames":
        shutil.rmtree(folder / "visual_audio")
    elif case == "a gap":
        (folder / "eeg_02/7.npy").unlink()
    elif case == "too few":
        (folder / f"eeg_02/{2 * K - 1}.npy").unlink()
    elif case == "cut off":
        (folder / "visual_audio/3.npy").write_bytes((folder / "visual_audio/3.npy").read_bytes()[:500])
    elif case == "another mask":
        np.save(folder / "visual_audio/3.npy", np.zeros(8405))
    elif case == "table":
        (folder / "beh_data/sub_0001_2.csv").write_text("onset\n1\n")
    elif case == "text":
        (folder / "beh_data/sub_0001_2.csv").write_text("videoStartTime,videoStopTime\nx,y\n")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no frames", "48 segments of EEG (eeg_02), 0 frames (visual_audio); expected 48 of each for 2 runs"),
        ("a gap", "7.npy is missing, but later ones are there; unpack the archive again"),
        ("too few", "47 segments of EEG (eeg_02), 48 frames (visual_audio); expected 48 of each for 2 runs"),
        ("cut off", "3.npy can't be read"),
        ("another mask", "3.npy: an array of (8405,); expected (18946,)"),
        ("table", "sub_0001_2.csv: no videoStartTime and videoStopTime"),
        ("text", "sub_0001_2.csv: no videoStartTime and videoStopTime (could not convert"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, refused, case, message):
    broken(person(tmp_path / "in", "0001"), case)
    said = refused("prepare", tmp_path / "in", "--dataset", "cinebrain", "--out", tmp_path / "out")
    assert message in said


def test_another_folder_is_refused(tmp_path, refused):
    said = refused("prepare", tmp_path, "--dataset", "cinebrain", "--subject", "0007", "--out", "out")
    assert "no folder sub-0007; pass the one that CineBrain lies in" in said
