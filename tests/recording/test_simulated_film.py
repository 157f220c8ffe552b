"""The film of a simulated recording: decoded again it shows and plays what its events say."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording import simulated_bids as bids
from neuroframes.recording import simulated_signals as signals
from neuroframes.recording.simulate import simulate
from neuroframes.recording.simulated_film import SIDES, TONE, kind_of, picture, tone, write_film
from neuroframes.recording.simulated_sources import NETWORKS, make_sources

SETTINGS: dict[str, Any] = {"minutes": 0.5, "runs": 1, "tr": 1.0, "space": "fsaverage5", "channels": 4}
SETTINGS |= {"parcels": 4, "linear": True, "progress": False}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> dict[str, tuple[Path, pd.DataFrame]]:
    """Data sets of EEG and of features, and the events of their run, by the folder that holds these."""
    root, both = tmp_path_factory.mktemp("film"), {}
    for folder in ("eeg", "func"):
        out = simulate(root / folder, film=True, features=folder == "func", **SETTINGS)
        table = out / "sub-01" / folder / f"{bids.run_stem(1)}_events.tsv"
        both[folder] = out, pd.read_csv(table, sep="\t", na_values="n/a")
    return both


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, height, width) and samples."""
    with av.open(path) as file:
        pictures = np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)])
    with av.open(path) as file:
        return pictures, np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


@pytest.mark.parametrize(("folder", "seconds"), [("eeg", 50), ("func", 30)])
def test_video_shows_and_plays_the_scenes(recordings, folder, seconds):
    out, events = recordings[folder]
    (film,) = events[events["trial_type"] == "film"].itertuples()
    assert (film.onset, film.duration) == (0, seconds)
    pictures, samples = decoded(out / "stimuli" / film.stim_file)
    assert len(pictures) == 5 * seconds and abs(len(samples) / 16_000 - seconds) < 0.1
    scenes = events[events["trial_type"] == "scene"]
    assert len(scenes) >= 2
    for scene in scenes.itertuples():
        assert scene.kind == kind_of(scene.level)
        for number in range(int(np.ceil(5 * scene.onset)), int(5 * (scene.onset + scene.duration))):
            expected = picture(scene.level, number / 5).astype(float)
            assert np.abs(pictures[number] - expected).mean() < 3
        played = np.arange(round(16_000 * (scene.onset + 0.1)), round(16_000 * (scene.onset + 2)))
        loudness = tone(np.full(played.shape, scene.sound), played / 16_000).std()
        assert samples[played].std() == pytest.approx(loudness, rel=0.1)


def test_scenes_stand_at_the_same_times_on_both_clocks(recordings):
    with_eeg, with_features = (events[events["trial_type"] == "scene"] for _, events in recordings.values())
    onset = with_eeg["onset"] - signals.LEAD
    during = (onset >= 0) & (onset < 30)
    np.testing.assert_allclose(onset[during], with_features["onset"], atol=0.003)
    told = ["level", "sound", "kind"]
    assert with_eeg[during][told].to_numpy().tolist() == with_features[told].to_numpy().tolist()


def test_a_film_changes_bold_alone(recordings, tmp_path):
    out, events = recordings["eeg"]
    plain, undriven = simulate(tmp_path / "plain", **SETTINGS), tmp_path / "undriven"
    simulate(undriven, film=True, without="film", **SETTINGS)
    files = {path.relative_to(plain) for path in plain.rglob("*") if path.is_file()}
    new = {path.relative_to(out) for path in out.rglob("*") if path.is_file()} - files
    assert new == {Path("stimuli", f"{bids.run_stem(1)}.mp4")}
    table = Path("sub-01", "eeg", f"{bids.run_stem(1)}_events.tsv")
    for file in files - {table}:
        assert (plain / file).read_bytes() == (undriven / file).read_bytes(), file
    differing = {file for file in files if (plain / file).read_bytes() != (out / file).read_bytes()}
    described = [folder / "dataset_description.json" for folder in (Path(), Path("derivatives", "fmriprep"))]
    assert {file.parts[0] for file in differing - {table, *described}} == {"derivatives", "truth"}
    assert not [file for file in differing if "eeg" in file.parts and file != table]
    without = events[events["trial_type"] != "film"].drop(columns=["kind", "stim_file"])
    pd.testing.assert_frame_equal(
        pd.read_csv(plain / table, sep="\t"), without.reset_index(drop=True), check_dtype=False
    )


def test_the_same_scenes_give_the_same_bytes(tmp_path):
    scenes = np.array([[-3.0, 0.2, 1.0], [1.5, -2.0, -0.3]])
    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / name, scenes, 3.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_shapes_are_terciles_of_equal_area_that_always_move():
    levels = np.random.default_rng(0).normal(size=3000)
    kinds, counts = np.unique([kind_of(level) for level in levels], return_counts=True)
    assert {*kinds} == {*SIDES} and counts.min() > 900
    assert kind_of(-1) == "triangle" and kind_of(0) == "square" and kind_of(1) == "circle"
    for level in (-4, -1, 0, 1, 4):
        area = (picture(level, 0.3) > picture(level, 0.3).min()).sum()
        assert area == pytest.approx(np.pi * 16**2, rel=0.03)
        assert all((picture(level, t) != picture(level, t + 0.2)).any() for t in np.arange(0, 9, 0.2))
    means = [picture(level, 0.0).mean() for level in np.linspace(-2.5, 2.5, 9)]
    assert (np.diff(means) > 10).all()
    assert TONE < 16_000 / 2 and np.abs(tone(np.array([9.0]), np.array([1 / 1760]))) < 1


def test_sight_and_sound_are_independent_and_drive_networks_of_their_own():
    sources = make_sources(np.random.default_rng(0), CorticalSpace.fsaverage5(), 4)
    clock = signals.Clock.of_run(100, 2.0, 250.0)
    subject = signals.make_subject(np.random.default_rng(1), clock)
    _, sight, sound = subject.scenes.T
    assert np.ptp(sight) > 1 and np.ptp(sound) > 1 and abs(np.corrcoef(sight, sound)[0, 1]) < 0.6
    before = signals.band_envelopes(np.random.default_rng(2), sources, subject)
    auditory = sources.network == NETWORKS.index("auditory")
    for column, driven in ((1, ~auditory), (2, auditory)):
        scenes = subject.scenes.copy()
        scenes[:, column] *= -1
        other = replace(subject, scenes=scenes)
        after = signals.band_envelopes(np.random.default_rng(2), sources, other)
        np.testing.assert_array_equal((before != after).any(axis=(0, 2)), driven)


def test_without_the_package_nothing_is_written(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("neuroframes.errors.find_spec", lambda name: None if name == "av" else find(name))
    with pytest.raises(InputError, match=r"--film .* av; pip install 'neuroframes\[decoding\]'"):
        simulate(tmp_path / "out", film=True, **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_a_film_drives_sensory_cortex_beyond_what_eeg_shows(tmp_path):
    few = {"channels": 4, "eeg_rate": 250.0, "parcels": 10, "features": True, "progress": False}
    out = simulate(tmp_path / "out", film=True, minutes=6, runs=1, tr=2.0, linear=True, **few)
    with np.load(bids.truth_path(out)) as shared, np.load(bids.truth_path(out, 1)) as run:
        network, delay, times = shared["network"], shared["delay"], run["frame_times"]
        hidden = run["signal"][:, : len(network)] - run["coupled"]
    events = pd.read_csv(next(out.glob("sub-01/func/*_events.tsv")), sep="\t")
    scenes = events[events["trial_type"] == "scene"].astype({"level": float, "sound": float})
    times = times - times[0] + 1.0  # events of the BOLD start with its first frame, of 2 s
    for name, of in (("level", "visual"), ("sound", "auditory")):
        followed = []
        for patch, later in enumerate(delay[: len(network)]):
            scene = np.searchsorted(scenes["onset"], times - later, side="right") - 1
            shown = scenes[name].to_numpy()[np.maximum(scene, 0)]
            followed.append(np.corrcoef(shown[8:], hidden[8:, patch])[0, 1])
        there = network == NETWORKS.index(of)
        assert np.array(followed)[there].mean() > 0.3 > np.array(followed)[~there].mean() + 0.15
