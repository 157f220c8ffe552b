"""EEG files as other programs write them: units, channels, triggers, positions, and refusals."""

import shutil
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.eeg import (
    Eeg,
    brought_to,
    channels_there,
    check_channels,
    eeg_files,
    read_eeg,
    read_simultaneous_eeg,
)
from neuroframes.recording.montage import Electrodes
from neuroframes.recording.simulated_sources import make_montage

pybv = pytest.importorskip("pybv")
SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="samples are not beside this checkout")

NAMES = ["Fz", "Cz", "Pz", "Oz", "O1", "ECG"]
RATE = 1000
SECONDS = 30


def brainvision(folder: Path, events: dict[str, np.ndarray] | None = None, name: str = "rec") -> Path:
    """An 11 Hz rhythm, 10 to 60 uV by channel, over 1 mV of offset, with events at the times given."""
    times = np.arange(SECONDS * RATE) / RATE
    data = 1e-3 + 1e-5 * np.arange(1, 7)[:, None] * np.cos(2 * np.pi * 11 * times)
    listed = [
        {"onset": round(float(t) * RATE), "duration": 1, "description": description, "type": kind}
        for (kind, description), at in ((key.split("/"), at) for key, at in (events or {}).items())
        for t in at
    ]
    pybv.write_brainvision(
        data=data, sfreq=RATE, ch_names=NAMES, fname_base=name, folder_out=folder, unit="µV", overwrite=True,
        events=sorted((e | {"description": int(e["description"])} for e in listed), key=lambda e: e["onset"]),
    )  # fmt: skip
    return folder / f"{name}.vhdr"


def test_the_files_that_a_recording_consists_of(tmp_path):
    folder = tmp_path / "eeg"
    path = brainvision(folder, name="sub-01_task-rest_run-1_eeg")
    brainvision(folder, name="sub-01_task-rest_run-2_eeg")
    path.with_suffix(".eeg").rename(folder / "renamed.dat")
    text = path.read_text().replace("DataFile=sub-01_task-rest_run-1_eeg.eeg", "DataFile=renamed.dat")
    path.write_text(text)
    tables = [f"sub-01_{name}.tsv" for name in ("electrodes", "task-rest_run-1_channels", "task-rest_events")]
    for name in (*tables, "sub-01_task-rest_run-2_channels.tsv", "sub-01_task-rest_channels.tsv"):
        (folder / name).write_text("name\n")
    expected = {path, path.with_suffix(".vmrk"), folder / "renamed.dat", *(folder / name for name in tables)}
    assert set(eeg_files(path)) == expected
    assert set(mne.io.read_raw(path, verbose="ERROR").filenames) <= expected
    (tmp_path / "raw").mkdir()
    (folder / "renamed.dat").rename(tmp_path / "raw/x.eeg")
    text = text.replace("DataFile=renamed.dat", "DataFile=../raw/x.eeg")
    path.write_text(text.replace(f"MarkerFile={path.stem}.vmrk", "MarkerFile="))
    elsewhere = expected - {folder / "renamed.dat"} | {folder / "../raw/x.eeg"}
    assert set(eeg_files(path)) == elsewhere
    for name in ("x_eeg.set", "x_eeg.fdt", "y_eeg.set", "z_eeg.fif", "z_eeg-1.fif"):
        (folder / name).write_text("")
    (folder / "w_eeg.mff").mkdir()
    (folder / "w_eeg.mff/signal1.bin").write_text("")
    assert eeg_files(folder / "w_eeg.mff") == [folder / "w_eeg.mff/signal1.bin"]
    assert [file.name for file in eeg_files(folder / "x_eeg.set")] == ["x_eeg.fdt", "x_eeg.set"]
    assert [file.name for file in eeg_files(folder / "z_eeg.fif")] == ["z_eeg-1.fif", "z_eeg.fif"]


def test_units_filter_and_rate(tmp_path):
    eeg = read_eeg(brainvision(tmp_path), reference=None)
    assert eeg.channels == ("Fz", "Cz", "Pz", "Oz", "O1")  # ECG is no EEG
    assert (eeg.rate, eeg.data.shape, eeg.data.dtype, eeg.duration) == (200, (5, 6000), np.float32, SECONDS)
    times = np.arange(6000) / 200
    expected = 1e-5 * np.arange(1, 6)[:, None] * np.cos(2 * np.pi * 11 * times)
    inner = slice(800, -800)  # the high-pass filter reaches 3.3 s
    np.testing.assert_allclose(eeg.data[:, inner], expected[:, inner], atol=2e-7)
    assert eeg.triggers.size == 0


def test_references(tmp_path):
    path = brainvision(tmp_path)
    plain = read_eeg(path, reference=None).data
    np.testing.assert_allclose(read_eeg(path).data, plain - plain.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(read_eeg(path, reference="Cz").data, plain - plain[1], atol=1e-9)
    with pytest.raises(InputError, match="no channel 'A1'"):
        read_eeg(path, reference="A1")


def test_a_slow_recording_is_not_upsampled(tmp_path):
    eeg = read_eeg(brainvision(tmp_path), rate=4000)
    assert (eeg.rate, eeg.data.shape[1]) == (RATE, SECONDS * RATE)


def test_bids_tables_beside_the_file(tmp_path):
    path = brainvision(tmp_path, name="sub-01_task-rest_eeg")
    (tmp_path / "sub-01_task-rest_channels.tsv").write_text(
        "name\ttype\tstatus\nFz\tEOG\tgood\nCz\tEEG\tgood\nPz\tEEG\tbad\nOz\tEEG\tgood\nO1\tEEG\tgood\n"
    )
    (tmp_path / "sub-01_space-CapTrak_electrodes.tsv").write_text(
        "name\tx\ty\tz\nCz\t0\t0\t95\nPz\t0\t-80\t50\nOz\tn/a\tn/a\tn/a\nO1\t-30\t-90\t0\n"
    )
    (tmp_path / "sub-02_electrodes.tsv").write_text("name\tx\ty\tz\nCz\t1\t1\t1\n")
    plain, eeg = read_eeg(path, reference=None), read_eeg(path)
    assert eeg.channels == ("Cz", "Pz", "Oz", "O1")
    np.testing.assert_allclose(eeg.data, plain.data - plain.data[[0, 2, 3]].mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(eeg.positions[[0, 3]], [[0, 0, 0.095], [-0.03, -0.09, 0]])  # mm
    assert np.isnan(eeg.positions[2]).all()


def test_positions_of_the_standard_montage(tmp_path):
    eeg = read_eeg(brainvision(tmp_path))
    x, y, z = dict(zip(eeg.channels, eeg.positions, strict=True))["Oz"]
    assert abs(x) < 0.01 and -0.15 < y < -0.08 and abs(z) < 0.05


def test_volume_triggers_by_their_usual_name(tmp_path):
    times = 2.0 + 0.8 * np.arange(12)
    path = brainvision(tmp_path, {"Response/128": times, "Stimulus/7": 1.0 + 0.5 * np.arange(20)})
    np.testing.assert_allclose(read_eeg(path).triggers, times, atol=1e-3)
    assert read_eeg(path, trigger=None).triggers.size == 0
    np.testing.assert_allclose(read_eeg(path, tr=2.0).triggers, times)  # that TR is wrong, not the trigger
    np.testing.assert_allclose(read_eeg(path, trigger="S  7").triggers, 1.0 + 0.5 * np.arange(20))


def test_volume_triggers_by_regularity_and_tr(tmp_path):
    slow, fast = 2.0 + 1.25 * np.arange(20), 1.0 + 0.5 * np.arange(30)
    irregular = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.0, 30))
    path = brainvision(tmp_path, {"Stimulus/5": slow, "Stimulus/9": irregular})
    np.testing.assert_allclose(read_eeg(path).triggers, slow, atol=1e-3)
    assert read_eeg(path, tr=2.0).triggers.size == 0
    path = brainvision(tmp_path, {"Stimulus/5": slow, "Stimulus/6": fast})
    with pytest.raises(InputError, match=r"more than one kind.*'Stimulus/S  5' \(20 times\).*--trigger"):
        read_eeg(path)
    np.testing.assert_allclose(read_eeg(path, tr=0.5).triggers, fast, atol=1e-3)
    with pytest.raises(InputError, match=r"no event is called 'R128'; events here: .*'Stimulus/S  5'"):
        read_eeg(path, trigger="R128")


def test_triggers_that_are_there_cannot_be_ignored(tmp_path, caplog):
    caplog.set_level("WARNING", "neuroframes")  # commands set INFO, for good
    times = 2.0 + 0.8 * np.arange(12)
    path = brainvision(tmp_path, {"Response/128": times})
    np.testing.assert_allclose(read_simultaneous_eeg(path, trigger="auto", onset=None).triggers, times)
    with pytest.raises(InputError, match=r"12 volume triggers, the first at 2.000 s, .*--onset SECONDS"):
        read_simultaneous_eeg(path, trigger=None, onset=None)
    assert read_simultaneous_eeg(path, trigger=None, onset=0.0).triggers.size == 0
    assert not caplog.records
    np.testing.assert_allclose(read_simultaneous_eeg(path, trigger="auto", onset=1.0).triggers, times)
    assert "frames are at the volume triggers; the onset isn't used" in caplog.text
    path = brainvision(tmp_path, {"Stimulus/7": 1.0 + 0.7 * np.arange(20)})
    assert read_simultaneous_eeg(path, trigger=None, onset=None, tr=2.0).triggers.size == 0  # no volumes


def test_trigger_channel_and_positions_of_fif(tmp_path):
    montage = mne.channels.make_standard_montage("biosemi64")
    info = mne.create_info(["Fz", "Cz", "Oz", "STI 014"], 500, ["eeg", "eeg", "eeg", "stim"])
    data = 1e-5 * np.random.default_rng(0).standard_normal((4, 15_000))
    data[3] = 0
    data[3, 500:13_000:1000] = 4
    raw = mne.io.RawArray(data, info, first_samp=2000, verbose="ERROR").set_montage(montage, verbose="ERROR")
    raw.info["bads"] = ["Oz"]
    raw.save(tmp_path / "rec_eeg.fif", verbose="ERROR")
    eeg = read_eeg(tmp_path / "rec_eeg.fif")
    np.testing.assert_allclose(eeg.triggers, 1.0 + 2.0 * np.arange(13))
    np.testing.assert_allclose(eeg.positions, [ch["loc"][:3] for ch in raw.info["chs"][:3]], atol=1e-6)
    np.testing.assert_allclose(eeg.data[:2].sum(axis=0), 0, atol=1e-10)


def test_a_cropped_recording_without_a_date_has_its_triggers_in_place(tmp_path):
    raw = mne.io.read_raw(brainvision(tmp_path, {"Stimulus/7": 5.0 + 2.0 * np.arange(10)}), verbose="ERROR")
    raw.set_meas_date(None)
    raw.crop(3)
    np.testing.assert_allclose(read_eeg(raw, tr=2.0).triggers, 2.0 + 2.0 * np.arange(10))
    raw.save(tmp_path / "rec_eeg.fif", verbose="ERROR")
    np.testing.assert_allclose(read_eeg(tmp_path / "rec_eeg.fif", tr=2.0).triggers, 2.0 + 2.0 * np.arange(10))


def test_channels_are_reordered_and_missing_ones_named(tmp_path):
    eeg = read_eeg(brainvision(tmp_path))
    some = check_channels(eeg, ["Oz", "Fz"], "run 1")
    assert some.channels == ("Oz", "Fz")
    np.testing.assert_array_equal(some.data, eeg.data[[3, 0]])
    np.testing.assert_array_equal(some.positions, eeg.positions[[3, 0]])
    assert check_channels(eeg, eeg.channels, "run 1") is eeg
    with pytest.raises(
        InputError,
        match=r"2 of the 3 channels of run 1.*missing.*: EEG FZ-Ref, T7; renamed here.*Fz for EEG FZ-Ref;",
    ):
        check_channels(eeg, ["EEG FZ-Ref", "Cz", "T7"], "run 1")


def test_some_channels_may_be_missing(tmp_path, caplog):
    caplog.set_level("WARNING", "neuroframes")  # commands set INFO, for good
    eeg = read_eeg(brainvision(tmp_path))
    assert channels_there(eeg, eeg.channels, "rec") is eeg and not caplog.records
    some = channels_there(eeg, ["T7", "Oz", "T8", "Fz", "Cz", "Pz"], "rec")
    assert some.channels == ("Oz", "Fz", "Cz", "Pz")
    np.testing.assert_array_equal(some.data, eeg.data[[3, 0, 1, 2]])
    (record,) = caplog.records
    assert "rec: 2 of the 6 channels" in record.getMessage() and record.getMessage().endswith(": T7, T8")
    with pytest.raises(InputError, match=r"3 of the 6 channels.*T7, T8, FT7; .*has at least 4 of them"):
        channels_there(eeg, ["T7", "Oz", "T8", "Fz", "Cz", "FT7"], "rec")
    with pytest.raises(InputError, match=r"19 of the 24 channels.*has at least 6 of them"):
        channels_there(eeg, [*eeg.channels, *(f"E{i}" for i in range(19))], "rec")
    with pytest.raises(
        InputError, match=r"1 of the 5 channels.*renamed here, it seems: Fz for EEG fz; rename"
    ):
        channels_there(eeg, ["EEG fz", "Cz", "Pz", "Oz", "O1"], "rec")
    assert channels_there(eeg, ["Cz", "Oz"], "rec").channels == ("Cz", "Oz")  # a model of two


def test_names_that_differ_in_case_alone_are_the_same(tmp_path):
    eeg = read_eeg(brainvision(tmp_path))
    some = check_channels(eeg, ["OZ", "fz"], "run 1")
    assert some.channels == ("OZ", "fz")
    np.testing.assert_array_equal(some.data, eeg.data[[3, 0]])
    with pytest.raises(InputError, match="1 of the 2 .*: FZ; renamed"):
        check_channels(replace(eeg, channels=("Fz", "fz", "Pz", "Oz")), ["FZ", "Oz"], "run 1")  # which?


def test_biosemis_labels_are_not_those_of_the_10_20_system(tmp_path):
    """C3 is one of the central parietal electrodes there, on the other side."""
    names = tuple(f"{bank}{n}" for bank in "ABCD" for n in range(1, 5))
    cap = make_montage(16)
    generator = np.random.default_rng(0)
    data = generator.standard_normal((16, 50)).astype(np.float32)
    eeg = Eeg(data, 100.0, names, cap.positions, np.empty(0))
    for refuse in (check_channels, channels_there):
        with pytest.raises(InputError, match=r"4 of the 4 .* BioSemi's labels \(A1, B5, C3\) aren't those"):
            refuse(eeg, ["C3", "C4", "Cz", "A1"], "the model")
    model = Electrodes(tuple(cap.names), cap.positions)
    found = brought_to(eeg, model, "rec", average=False)
    np.testing.assert_allclose(
        found.data, data, atol=0.03 * np.abs(data).max()
    )  # where each is, not its name
    with pytest.raises(InputError, match=r"rec: 16 of the 16 .* add electrodes.tsv"):
        brought_to(replace(eeg, positions=np.full((16, 3), np.nan)), model, "rec", average=True)
    np.testing.assert_array_equal(check_channels(eeg, names[::-1], "run 1").data, data[::-1])
    some = replace(eeg, channels=("C3", "C4", "F3", "F4", "A1", "A2", *(f"E{n}" for n in range(1, 11))))
    assert check_channels(some, ["C3", "A1"], "run 1").channels == ("C3", "A1")


def test_other_channels_are_interpolated_at_a_models_electrodes(tmp_path, caplog):
    cap = make_montage(16)
    data = np.random.default_rng(0).standard_normal((16, 50)).astype(np.float32)
    eeg = Eeg(data - data.mean(axis=0), 100.0, tuple(f"A{n}" for n in range(16)), cap.positions, np.empty(0))
    found = brought_to(eeg, Electrodes(tuple(cap.names), cap.positions), "rec", average=True)
    assert found.channels == tuple(cap.names) and "rec: 16 of the 16 channels" in caplog.text
    np.testing.assert_allclose(found.data, eeg.data, atol=0.03)  # splines go through what is there
    model = Electrodes(tuple(cap.names[:9]), cap.positions[:9])
    some = replace(eeg, channels=(*cap.names[:4], *eeg.channels[4:]))
    np.testing.assert_allclose(
        brought_to(some, model, "rec", average=True).data, eeg.data[:4] - eeg.data[:4].mean(axis=0), atol=1e-6
    )
    np.testing.assert_array_equal(brought_to(some, model, "rec", average=False).data, eeg.data[:4])
    with pytest.raises(InputError, match=r"rec: 9 of the 9 .* add electrodes.tsv"):
        brought_to(replace(eeg, positions=np.full((16, 3), np.nan)), model, "rec", average=True)
    with pytest.raises(InputError, match="renamed here"):
        brought_to(replace(eeg, channels=tuple(f"EEG {n}" for n in cap.names)), model, "rec", average=True)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_eeg(tmp_path / "absent.vhdr")
    path = brainvision(tmp_path)
    text = path.read_text(encoding="utf-8")
    (tmp_path / "rec.eeg").rename(tmp_path / "renamed.eeg")
    with pytest.raises(InputError, match=r"rec.vhdr: .*missing or renamed"):
        read_eeg(path)
    path.write_text(text[: len(text) // 3], encoding="utf-8")
    with pytest.raises(InputError, match="MNE cannot read it as EEG"):
        read_eeg(path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="MNE cannot read it as EEG"):
        read_eeg(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"rate": 0}, "--rate 0; expected a finite number above 0"),
        ({"rate": np.inf}, "--rate inf; expected a finite number above 0"),
        ({"rate": "fast"}, "--rate 'fast'; expected a finite number above 0"),
        ({"l_freq": np.nan}, "--l-freq nan; expected a finite number above 0 and below 100"),
        ({"l_freq": 100}, "--l-freq 100; expected a finite number above 0 and below 100"),
        ({"l_freq": 500, "rate": 4000}, "--l-freq 500; expected a finite number above 0 and below 500"),
        ({"tr": np.nan}, r"TR \(s\) nan; expected a finite number above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, numbers, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        read_eeg(brainvision(tmp_path), **numbers)
    with pytest.raises(InputError, match="^--onset nan; expected a finite number$"):
        read_simultaneous_eeg(brainvision(tmp_path), trigger=None, onset=np.nan)


def test_a_position_that_is_no_number_is_named_with_its_table(tmp_path):
    path = brainvision(tmp_path, name="sub-01_task-rest_eeg")
    (tmp_path / "sub-01_electrodes.tsv").write_text("name\tx\ty\tz\nCz\t0\tleft\t95\n")
    with pytest.raises(InputError, match="^sub-01_electrodes.tsv: column y, line 2: .* got 'left'"):
        read_eeg(path)


def test_nan_is_refused(tmp_path):
    data = np.zeros((2, 5000))
    data[1, 100] = np.nan
    raw = mne.io.RawArray(data, mne.create_info(["Fz", "Cz"], 200, "eeg"), verbose="ERROR")
    raw.save(tmp_path / "rec_eeg.fif", verbose="ERROR")
    with pytest.raises(InputError, match=r"NaN in 1 of 2 channels \(Cz\)"):
        read_eeg(tmp_path / "rec_eeg.fif")


@needs_samples
@pytest.mark.parametrize(
    "file, n_channels, rate, seconds",
    [
        ("test.vhdr", 26, 200, 7.9),
        ("test.edf", 138, 200, 6),
        ("test.bdf", 66, 200, 1),
        ("eeglab_data.set", 30, 128, 238),
    ],
)
def test_files_of_other_programs(file, n_channels, rate, seconds):
    eeg = read_eeg(SAMPLES / file)
    assert (len(eeg.channels), eeg.rate) == (n_channels, rate)
    assert eeg.duration == pytest.approx(seconds, rel=0.01)
    # volts: scalp EEG is between 0.1 and 300 microvolts
    assert 1e-7 < eeg.data.std() < 3e-4
    np.testing.assert_allclose(eeg.data.mean(axis=0), 0, atol=1e-9)


@needs_samples
@pytest.mark.parametrize("file", ["test.edf", "test.bdf", "eeglab_data.set", "eeglab_data.fdt"])
def test_truncated_files_are_refused_or_shorter(tmp_path, file):
    """MNE itself reads what is left of some; then the EEG doesn't cover the BOLD, which is refused there."""
    for sample in SAMPLES.glob(Path(file).stem + ".*"):
        shutil.copyfile(sample, tmp_path / sample.name)
    cut = tmp_path / file
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    path = tmp_path / "eeglab_data.set" if file.startswith("eeglab") else cut
    whole = read_eeg(SAMPLES / path.name).duration
    try:
        duration = read_eeg(path).duration
    except InputError as error:
        assert "truncated" in str(error)
    else:
        assert duration < 0.6 * whole
