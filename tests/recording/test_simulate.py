"""Simulated recordings: read back by MNE and nibabel, true to their own truth, and the same by seed."""

import csv
import filecmp
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mne
import nibabel as nib
import numpy as np
import pytest
from nibabel.gifti import GiftiImage

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording import eeg as eeg_files
from neuroframes.recording import simulated_bids as bids
from neuroframes.recording import simulated_signals as signals
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.bids import find_runs
from neuroframes.recording.bold import read_bold as read_bold_file
from neuroframes.recording.features import read_features
from neuroframes.recording.simulate import noise_free, simulate
from neuroframes.recording.simulated_sources import Sources, make_montage, make_sources
from neuroframes.recording.timeline import MOTION

FRAMES = 75  # of one minute at 0.8 s


@pytest.fixture(scope="module")
def sources() -> Sources:
    return make_sources(np.random.default_rng(0), CorticalSpace.fsaverage5(), 16)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a minute whose coupling is far stronger than in life."""
    out = tmp_path_factory.mktemp("simulated") / "data"
    settings: dict[str, Any] = {"minutes": 2, "runs": 2, "space": "fsaverage5", "channels": 16, "seed": 1}
    return simulate(out, **settings, snr=30, linear=True, film=True)


def read_eeg(root: Path, run: int = 1) -> mne.io.BaseRaw:
    return mne.io.read_raw_brainvision(
        root / f"sub-01/eeg/sub-01_task-movie_run-{run}_eeg.vhdr", preload=True, verbose="ERROR"
    )


def read_bold(root: Path, run: int = 1) -> np.ndarray:
    """Both hemispheres, by nibabel, shape (K, V)."""
    left = bids.bold_path(root, run, "gifti")
    files = [left, left.with_name(left.name.replace("hemi-L", "hemi-R"))]
    return np.hstack(
        [np.stack([array.data for array in GiftiImage.from_filename(file).darrays]) for file in files]
    )


def read_table(path: Path) -> dict[str, list[str]]:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {name: [row[name] for row in rows] for name in rows[0]}


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Along the first axis."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


def test_eeg_has_a_trigger_a_frame(recording: Path) -> None:
    raw = read_eeg(recording)
    triggers = raw.annotations.onset[raw.annotations.description == "Response/R128"]
    assert raw.info["sfreq"] == 250 and len(raw.ch_names) == 17
    assert len(triggers) == len(read_bold(recording)) == FRAMES
    np.testing.assert_allclose(np.diff(triggers), 0.8, atol=1 / 250)
    assert raw.times[-1] > triggers[-1] + 0.8
    events = read_table(recording / "sub-01/eeg/sub-01_task-movie_run-1_events.tsv")
    volumes = [
        float(t) for t, kind in zip(events["onset"], events["trial_type"], strict=True) if kind == "volume"
    ]
    np.testing.assert_allclose(volumes, triggers, atol=1e-6)


def test_eeg_looks_like_eeg(recording: Path) -> None:
    eeg = read_eeg(recording).drop_channels("ECG")
    microvolts = 1e6 * eeg.get_data()
    assert np.isfinite(microvolts).all()
    assert ((microvolts.std(axis=1) > 3) & (microvolts.std(axis=1) < 60)).all()
    power = eeg.compute_psd(fmax=100, verbose="ERROR")
    low, high = (power.copy().get_data(fmin=a, fmax=b).mean() for a, b in ((1, 8), (40, 90)))
    assert low > 20 * high


def test_electrodes_are_where_mne_has_them(recording: Path) -> None:
    table = read_table(recording / "sub-01/eeg/sub-01_electrodes.tsv")
    raw = read_eeg(recording).drop_channels("ECG").set_montage("biosemi64", verbose="ERROR")
    assert table["name"] == raw.ch_names
    written = np.array([[float(x) for x in table[axis]] for axis in "xyz"]).T
    np.testing.assert_allclose(written, [channel["loc"][:3] for channel in raw.info["chs"]], atol=1e-6)


@pytest.mark.filterwarnings("ignore:Unable to map the following column")  # MNE has no species
def test_mne_bids_finds_and_reads_the_same_eeg(recording: Path) -> None:
    mne_bids = pytest.importorskip("mne_bids")
    found = mne_bids.find_matching_paths(recording, datatypes="eeg", suffixes="eeg", extensions=".vhdr")
    runs = find_runs(recording)
    assert [path.fpath for path in found] == [run.eeg for run in runs]
    raw = mne_bids.read_raw_bids(found[0], verbose="ERROR")
    eeg = eeg_files.read_eeg(runs[0].eeg)
    assert raw.copy().pick("eeg").ch_names == list(eeg.channels)
    placed = raw.get_montage().get_positions()["ch_pos"]
    np.testing.assert_allclose(eeg.positions, [placed[name] for name in eeg.channels], atol=1e-5)
    volumes = raw.annotations.onset[raw.annotations.description == "volume"]
    np.testing.assert_allclose(eeg.triggers, volumes, atol=1e-6)


def test_bold_is_its_truth_and_noise(recording: Path) -> None:
    for run in (1, 2):
        bold, truth = read_bold(recording, run), noise_free(recording, run)
        coupled = noise_free(recording, run, "coupled")
        alive = bold.std(axis=0) > 0
        assert truth.shape == coupled.shape == bold.shape == (FRAMES, 20_484)
        # At this snr nearly all of it comes from the EEG's sources.
        assert np.median(correlation(bold[:, alive], truth[:, alive])) > 0.9
        assert np.median(correlation(coupled[:, alive], truth[:, alive])) > 0.9
        # What is left over is the written noise and thermal noise of the stated size.
        patches, _, scale = bids.read_shared_truth(recording)
        noise = np.load(bids.truth_path(recording, run))["noise"]
        rest = bold - truth - scale * (patches[:, : noise.shape[1]] @ noise.T).T
        expected = 150 * np.sqrt(signals.THERMAL)
        np.testing.assert_allclose(rest[:, alive].std(), expected, rtol=0.02)


def test_bold_has_a_medial_wall_and_plausible_units(recording: Path) -> None:
    bold = read_bold(recording)
    dead = (bold == 0).all(axis=0)
    assert 800 < dead.sum() < 1500 and (bold.std(axis=0) > 0).sum() == (~dead).sum()
    mean = bold[:, ~dead].mean(axis=0)
    assert 8_000 < np.median(mean) < 12_000 and mean.min() < 5_000


def test_default_noise_hides_most_of_the_coupling(sources: Sources) -> None:
    rng, clock = np.random.default_rng(2), signals.Clock.of_run(750, 0.8, 250.0)
    subject = signals.make_subject(rng, clock)
    envelopes = signals.band_envelopes(rng, sources, subject)
    signal, coupled = signals.bold_latents(rng, sources, envelopes, subject, snr=1.0)
    noise, _ = signals.bold_noise(rng, sources, subject)
    maps = sources.patches[~sources.dead]
    visible = maps[:, : sources.n_patches]
    whole = (maps @ signal.T).var() + (visible @ noise.T).var() + signals.THERMAL
    part = (visible @ coupled.T).var() / whole
    assert 0.1 < part < 0.35


def test_snr_scales_the_coupled_variance(sources: Sources) -> None:
    clock = signals.Clock.of_run(100, 0.8, 250.0)
    subject = signals.make_subject(np.random.default_rng(2), clock)
    envelopes = np.random.default_rng(0).random((5, 200, len(clock.slow)), np.float32)
    one, four, none = (
        signals.bold_latents(np.random.default_rng(1), sources, envelopes, subject, snr) for snr in (1, 4, 0)
    )
    np.testing.assert_allclose(four[1], 2 * one[1], rtol=1e-5)
    np.testing.assert_allclose(one[0][:, :200] - one[1], none[0][:, :200], atol=1e-5)
    assert not none[1].any()


def test_confounds_follow_the_motion(recording: Path) -> None:
    for run in (1, 2):
        left = bids.bold_path(recording, run, "gifti")
        table = read_table(left.with_name(f"{bids.run_stem(run)}_desc-confounds_timeseries.tsv"))
        motion = np.array([[float(x) for x in table[name]] for name in MOTION[0]]).T
        steps = np.abs(np.diff(motion, axis=0)) @ [1, 1, 1, 50, 50, 50]
        assert table["framewise_displacement"][0] == "n/a"
        np.testing.assert_allclose([float(x) for x in table["framewise_displacement"][1:]], steps, atol=1e-6)
        outliers = np.array(
            [[int(x) for x in table[name]] for name in table if name.startswith("motion_outlier")]
        )
        flagged = outliers.sum(axis=0) if len(outliers) else np.zeros(FRAMES)
        np.testing.assert_array_equal(flagged[1:], steps > 0.5)
        live = read_bold(recording, run)
        mean = live[:, live.std(axis=0) > 0].mean(axis=1, dtype=float)
        np.testing.assert_allclose([float(x) for x in table["global_signal"]], mean, rtol=1e-5)


def test_band_envelopes_show_in_the_eeg(sources: Sources) -> None:
    """The power of a patch's strongest channel rises and falls with its envelope."""
    rng, clock = np.random.default_rng(3), signals.Clock.of_run(150, 0.8, 250.0)
    subject = signals.make_subject(rng, clock)
    envelopes = np.ones((len(BANDS), 200, len(clock.slow)), np.float32)
    slow = 1 + 0.9 * np.sin(2 * np.pi * 0.05 * clock.slow).astype(np.float32)
    envelopes[2] = slow  # alpha, everywhere
    eeg = signals.eeg_signals(rng, sources, envelopes, subject)
    raw = mne.io.RawArray(eeg[:-1], mne.create_info(16, 250.0, "eeg"), verbose="ERROR")
    alpha = raw.filter(8, 13, verbose="ERROR").apply_hilbert(envelope=True).get_data().mean(axis=0)
    true = np.interp(raw.times, clock.slow, slow)
    assert correlation(alpha[250:-250], true[250:-250]) > 0.7


def test_haemodynamic_response_peaks_at_its_delay() -> None:
    delay = np.array([4.0, 5.5, 7.0], np.float32)
    response = signals.haemodynamic_response(delay, 20.0)
    np.testing.assert_allclose(response.argmax(axis=1) / 20, delay, atol=0.15)
    np.testing.assert_allclose(response.sum(axis=1), 1, rtol=1e-5)
    assert (response.min(axis=1) < 0).all()


def test_lead_field_has_average_reference_and_patches_unit_energy(sources: Sources) -> None:
    np.testing.assert_allclose(sources.lead_field.sum(axis=0), 0, atol=1e-4)
    assert np.isfinite(sources.lead_field).all()
    for part in (sources.patches[:, :200], sources.patches[:, 200:]):
        np.testing.assert_allclose(part.power(2).sum(axis=1)[~sources.dead], 1, rtol=1e-5)
    assert set(sources.network) == set(range(8)) and (sources.delay >= 4).all() and (sources.delay <= 7).all()


def test_coloured_noise_has_unit_variance_and_the_stated_spectrum() -> None:
    noise = signals.coloured_noise(np.random.default_rng(0), 200, 2000, 5.0, lambda f: 1 / f)
    np.testing.assert_allclose((noise**2).mean(), 1, rtol=0.2)
    white = signals.coloured_noise(np.random.default_rng(0), 200, 2000, 5.0, np.ones_like)
    np.testing.assert_allclose((white**2).mean(), 1, rtol=0.02)
    assert abs((white[:, 1:] * white[:, :-1]).mean()) < 0.02


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, again, other = (
        simulate(tmp_path / name, minutes=0.5, runs=1, space="fsaverage5", channels=8, seed=seed)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    _, different, broken = filecmp.cmpfiles(first, again, [str(f) for f in files], shallow=False)
    assert not different and not broken
    _, different, _ = filecmp.cmpfiles(first, other, [str(f) for f in files], shallow=False)
    assert any(name.endswith(".eeg") for name in different) and any("bold.func" in name for name in different)


def test_the_first_of_several_people_is_the_one_of_a_data_set_of_one(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"minutes": 0.8, "tr": 2.0, "runs": 1, "space": "fsaverage5", "channels": 8}
    settings |= {"parcels": 10, "features": True, "seed": 5}
    one, two = (simulate(tmp_path / str(n), subjects=n, **settings) for n in (1, 2))
    tables = [str(p.relative_to(one)) for p in one.rglob("sub-01*.tsv")]
    assert len(tables) == 4  # BOLD, confounds, features, electrodes
    assert not filecmp.cmpfiles(one, two, tables, shallow=False)[1]
    first, second = (read_bold_file(bids.bold_path(two, 1, "parcels", sub)) for sub in ("sub-01", "sub-02"))
    assert first.space.names == second.space.names and first.tr == 2.0
    assert np.abs(correlation(first.data, second.data)).mean() < 0.5
    assert read_table(two / "participants.tsv")["participant_id"] == ["sub-01", "sub-02"]
    assert noise_free(two, 1, subject="sub-02").shape == second.data.shape == (24, 10)
    read = [read_features(bids.features_path(two, 1, sub)) for sub in ("sub-01", "sub-02")]
    assert read[0].values.shape == (24, 25) and read[0].tr == 2.0 and read[0].names == read[1].names
    assert not list(two.rglob("*.vhdr")) and not np.array_equal(read[0].values, read[1].values)


def test_band_pass_filters_bold_and_features(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"minutes": 6, "tr": 2.0, "runs": 1, "space": "fsaverage5", "channels": 8}
    out = simulate(
        tmp_path / "out", parcels=10, features=True, band_pass="0.02,0.08", linear=True, **settings
    )
    bold = read_bold_file(bids.bold_path(out, 1, "parcels")).data
    features = read_features(bids.features_path(out, 1)).values
    for data in (bold, features):
        power = np.square(np.abs(np.fft.rfft(data - data.mean(axis=0), axis=0)))
        frequency = np.fft.rfftfreq(len(data), 2.0)
        outside = (frequency < 0.01) | (frequency > 0.12)
        assert power[outside].sum() < 0.05 * power.sum()
    assert 3_000 < bold.mean() < 15_000 and abs(features.mean()) < 0.1


def test_triggers_jitter_and_frames_do_not(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"minutes": 0.8, "tr": 2.0, "runs": 1, "space": "fsaverage5", "channels": 4}
    times = []
    for name, without in (("a", None), ("b", "jitter")):
        out = simulate(tmp_path / name, parcels=4, without=without, eeg_rate=1000.0, **settings)
        times.append(
            (eeg_files.read_eeg(find_eeg(out)).triggers, np.load(bids.truth_path(out, 1))["frame_times"])
        )
    (jittered, frames), (exact, same) = times
    np.testing.assert_array_equal(frames, same)
    np.testing.assert_allclose(exact + 1, same, atol=1e-9)
    assert 0.001 < (jittered - exact).std() < 0.006 and np.abs(jittered - exact).max() <= 0.0095


def find_eeg(root: Path) -> Path:
    return next(root.glob("sub-01/eeg/*.vhdr"))


def test_cifti_series(tmp_path: Path) -> None:
    out = simulate(tmp_path / "out", minutes=0.5, runs=1, tr=0.75, channels=4)
    path = bids.bold_path(out, 1, "cifti")
    image: Any = nib.load(path)
    series, brain = image.header.get_axis(0), image.header.get_axis(1)
    assert image.shape == (40, 59_412) and series.step == 0.75 and len(brain) == 59_412
    sidecar = json.loads(path.with_name(path.name.replace(".dtseries.nii", ".json")).read_text())
    assert sidecar["RepetitionTime"] == 0.75 and sidecar["TaskName"] == "movie"
    assert np.isfinite(image.get_fdata()).all()


@pytest.mark.parametrize("channels", [4, 19, 64])
def test_montage_covers_the_head(channels: int) -> None:
    montage = make_montage(channels)
    assert len(set(montage.names)) == channels and np.ptp(montage.positions[:, 1]) > 0.1
    assert set(montage.fiducials) == {"NAS", "LPA", "RPA"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minutes": 1.0}, "more minutes"),
        ({"minutes": float("nan")}, "finite"),
        ({"tr": 0.0}, "--tr 0"),
        ({"tr": -1.0}, "--tr -1"),
        ({"tr": float("inf")}, "--tr inf"),
        ({"eeg_rate": float("inf")}, "--eeg-rate inf"),
        ({"tr": 10.0, "minutes": 5}, "20 frames"),
        ({"space": "MNI"}, "fsaverage5"),
        ({"eeg_rate": 128.0}, "gamma"),
        ({"channels": 65}, "--channels 65; expected a whole number of at least 4 and below 65"),
        ({"channels": 4.5}, "--channels 4.5; expected a whole number"),
        ({"runs": 1.5}, "--runs 1.5; expected a whole number"),
        ({"seed": 0.5}, "--seed 0.5; expected a whole number"),
        ({"snr": -1.0}, "snr"),
        ({"runs": 0}, "runs"),
        ({"seed": -1}, "seed"),
        ({"subjects": 0}, "--subjects 0; expected a whole number of at least 1"),
        ({"parcels": 1001}, "--parcels 1001; expected a whole number of at least 0 and below 1001"),
        ({"band_pass": "0.01,0.7"}, "the higher one below 0.625"),
        ({"without": "sleep"}, "--without sleep; choose from outline"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_existing_output_is_kept(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="overwrite"):
        simulate(tmp_path, minutes=0.5, runs=1, space="fsaverage5")
    assert (tmp_path / "note").read_text() == "mine"


# Beside the interpreter, where a virtual environment that isn't activated has it.
VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno isn't installed")
def test_bids_validator_finds_no_error(recording: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"minutes": 0.5, "runs": 1, "space": "fsaverage5", "channels": 4, "parcels": 4}
    features = simulate(tmp_path / "features", features=True, film=True, linear=True, **settings)
    for root in (recording, recording / "derivatives" / "fmriprep", features):
        run = subprocess.run(
            [str(VALIDATOR), str(root), "--format", "json"], capture_output=True, text=True, check=False
        )
        issues = json.loads(run.stdout)["issues"]["issues"]
        assert not [issue for issue in issues if issue["severity"] == "error"]
