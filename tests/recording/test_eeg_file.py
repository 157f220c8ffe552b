"""What MNE opens: gaps, epochs, packages that are missing, and warnings."""

import sys

import mne
import numpy as np
import pytest
from scipy.io import savemat

from neuroframes.errors import InputError
from neuroframes.recording.eeg import read_eeg
from neuroframes.recording.eeg_file import only, open_eeg

pybv = pytest.importorskip("pybv")
NAMES, RATE, SECONDS = ["Fz", "Cz", "Pz", "Oz"], 250, 60
EEG = 1e-5 * np.random.default_rng(0).standard_normal((4, SECONDS * RATE))


def recording(annotations=()) -> mne.io.RawArray:
    """60 s with annotations of onset, duration and description."""
    raw = mne.io.RawArray(EEG, mne.create_info(NAMES, RATE, "eeg"), verbose="ERROR")
    onset, duration, description = zip(*annotations, strict=True) if annotations else ([], [], [])
    return raw.set_annotations(mne.Annotations(onset, duration, description))


def brainvision(folder, segments, triggers=()):
    """60 s with markers of segments (second, date or "") and volume triggers."""
    events = [
        {"onset": round(t * RATE), "duration": 1, "description": 128, "type": "Response"} for t in triggers
    ]
    pybv.write_brainvision(
        data=EEG, sfreq=RATE, ch_names=NAMES, fname_base="rec", folder_out=folder, unit="µV", events=events,
        overwrite=True, meas_date="20200101120000000000",
    )  # fmt: skip
    with (folder / "rec.vmrk").open("a") as file:
        for number, (second, date) in enumerate(segments, 900):
            file.write(f"Mk{number}=New Segment,,{round(second * RATE) + 1},1,0{',' * bool(date)}{date}\n")
    return folder / "rec.vhdr"


def edf(path, unit="uV", kind="EDF+C", gap=0.0, width=2):
    """60 records of 1 s, `gap` seconds before record 30, with the digital values as microvolts / 100."""
    n = len(NAMES)
    columns = [
        ([*NAMES, f"{kind[:3]} Annotations"], 16), ([""] * (n + 1), 80), ([unit] * n + [""], 8),
        ([-100] * n + [-1], 8), ([100] * n + [1], 8), ([-10_000] * (n + 1), 8), ([10_000] * (n + 1), 8),
        ([""] * (n + 1), 80), ([RATE] * n + [30], 8), ([""] * (n + 1), 32),
    ]  # fmt: skip
    first = b"\xffBIOSEMI" if width == 3 else b"0".ljust(8)
    fields = [("X X X X", 80), ("Startdate X X X X", 80), ("01.01.20", 8), ("12.00.00", 8)]
    fields += [(256 * (n + 2), 8), (kind, 44), (SECONDS, 8), (1, 8), (n + 1, 4)]
    fields += [(value, size) for values, size in columns for value in values]
    content = first + b"".join(str(value).ljust(size).encode("latin-1") for value, size in fields)
    digital = np.round(EEG * 1e8).astype("<i4").reshape(n, SECONDS, RATE)
    for k in range(SECONDS):
        samples = digital[:, k].tobytes()
        samples = np.frombuffer(samples, np.uint8).reshape(-1, 4)[:, :width].tobytes()
        content += samples + f"+{k + gap * (k >= 30)}\x14\x14\0".encode().ljust(30 * width, b"\0")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("kind", "suffix", "width"), [("EDF+D", ".edf", 2), ("BDF+D", ".bdf", 3)])
def test_records_that_do_not_follow_each_other_are_refused(tmp_path, kind, suffix, width):
    path = tmp_path / f"rec{suffix}"
    whole = read_eeg(edf(path, kind=kind, width=width), l_freq=None, reference=None)
    np.testing.assert_allclose(whole.data.std(), 1e-5, rtol=0.2)
    with pytest.raises(
        InputError, match=rf"rec{suffix}: .* \({kind[:3]}.D\): 220.000 s missing at 30.000 s; cut"
    ):
        read_eeg(edf(path, kind=kind, gap=220, width=width))


@pytest.mark.parametrize(
    ("date", "length"),
    [("20200101120530000000", "300.000 s"), ("", "an unknown time")],
    ids=["dated", "undated"],
)
def test_segments_of_brainvision(tmp_path, caplog, date, length):
    with pytest.raises(
        InputError, match=f"isn't continuous: {length} missing at 30.000 s; without volume trig"
    ):
        read_eeg(brainvision(tmp_path, [(30, date)]))
    with pytest.raises(
        InputError, match=r"missing at 30.000 s; volume triggers go from 20.000 to 39.000 s, acr"
    ):
        read_eeg(brainvision(tmp_path, [(30, date)], np.arange(20, 40)))
    whole = read_eeg(brainvision(tmp_path, []), l_freq=None, reference=None)
    caplog.clear()
    late = read_eeg(
        brainvision(tmp_path, [(30, date)], np.arange(33, 50)), l_freq=None, reference=None, tr=1.0
    )
    assert late.triggers.tolist() == [*range(33, 50)] and late.duration == SECONDS
    assert "all volume triggers lie in the part from 30.000 s to the end, and no other is used" in caplog.text
    start = 30 * 200
    np.testing.assert_allclose(late.data[:, start:], whole.data[:, start:], atol=1e-12)
    np.testing.assert_allclose(late.data[:, start - 500 : start], late.data[:, start + 500 : start : -1])
    early = read_eeg(brainvision(tmp_path, [(30, date)], np.arange(3, 20)), l_freq=None, reference=None)
    assert early.duration == 30
    np.testing.assert_allclose(early.data, whole.data[:, :start], atol=1e-12)


def test_a_segment_that_follows_at_once_is_no_gap(tmp_path):
    assert read_eeg(brainvision(tmp_path, [(30, "20200101120030010000")])).duration == SECONDS


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ((20.0, 7.0, "boundary"), "7.000 s missing at 20.000 s"),
        ((20.0, np.nan, "boundary"), "an unknown time missing at 20.000 s"),
        ((20.0, 0.0, "BAD boundary"), "an unknown time missing at 20.000 s"),
        ((20.0, 0.0, "EDGE boundary"), "an unknown time missing at 20.000 s"),
        ((20.0, 4.0, "BAD_ACQ_SKIP"), "4.000 s missing at 20.000 s"),
    ],
)
def test_boundaries(annotation, said):
    with pytest.raises(InputError, match=f"^RawArray: the EEG isn't continuous: {said}; without"):
        read_eeg(recording([annotation]))
    triggers = [(float(t), 0.0, "R128") for t in range(26, 56)]
    assert len(read_eeg(recording([annotation, *triggers])).triggers) == 30
    with pytest.raises(InputError, match=r"volume triggers go from 15.000 to 55.000 s, across it"):
        read_eeg(recording([annotation, (15.0, 0.0, "R128"), *triggers]))


def test_what_was_cut_off_at_the_ends_leaves_no_gap():
    ends = [(0.0, 5.0, "boundary"), (SECONDS - 1 / RATE, 0.0, "boundary")]
    assert read_eeg(recording(ends)).duration == SECONDS


def test_a_part_and_its_mirror_image():
    data = np.arange(20.0)[None]
    assert only(data, 2.0, (3.0, 8.0))[0].tolist() == [12, 11, 10, 9, 8, 7, *range(6, 16)]
    assert only(data, 2.0, (0.0, np.inf))[0].tolist() == [*range(20)]
    assert only(data, 2.0, (9.0, 10.0))[0, 14:].tolist() == [18, 19, 18, 19, 18, 19]


def eeglab(path, trials=1, events=()):
    """EEGLAB's file as MATLAB has it, its events as (latency in samples, type, duration)."""
    fields = [("latency", float), ("type", object), ("duration", float)]
    struct = {
        "data": (1e6 * EEG).reshape(4, -1, trials).squeeze(), "nbchan": 4, "trials": trials, "srate": RATE,
        "pnts": EEG.shape[1] // trials, "xmin": 0.0, "xmax": 1.0,
        "icawinv": [], "icaweights": [], "icasphere": [],
        "chanlocs": np.array([(name,) for name in NAMES], [("labels", object)]), "epoch": [],
        "event": np.array([*events], fields),
    }  # fmt: skip
    savemat(path, {"EEG": struct}, appendmat=False)
    return path


def test_eeglab(tmp_path):
    path = eeglab(tmp_path / "rec.set", events=[(5000.5, "boundary", 2500.0), (9000.0, "x", 0.0)])
    with pytest.raises(InputError, match="10.000 s missing at 19.998 s; without"):
        read_eeg(path)
    with pytest.raises(
        InputError, match=r"^ep.set holds epochs, cut out of a recording; pass the continuous"
    ):
        read_eeg(eeglab(tmp_path / "ep.set", trials=20))


def test_eeglab_of_matlab_7_3(tmp_path, matlab_7_3):
    numbers = {"nbchan": 4, "trials": 1, "pnts": EEG.shape[1], "srate": RATE, "xmin": 0, "xmax": SECONDS}
    variables = {**numbers, "data": 1e6 * EEG, "chanlocs": {"labels": NAMES}, "event": np.empty((0, 0))}
    path = matlab_7_3(tmp_path / "rec.set", **variables)
    eeg = read_eeg(path, l_freq=None, reference=None, rate=RATE)
    assert eeg.channels == tuple(NAMES)
    np.testing.assert_allclose(eeg.data, EEG - EEG[:, :1], atol=1e-10)


def test_mff_and_a_package_that_is_missing(tmp_path, monkeypatch):
    writer, binary = pytest.importorskip("mffpy.writer"), pytest.importorskip("mffpy.bin_writer")
    from datetime import UTC, datetime

    samples = np.tile(1e6 * EEG, (9, 1))[:33].astype(np.float32)
    made, block = writer.Writer(str(tmp_path / "rec.mff")), binary.BinWriter(sampling_rate=RATE)
    block.add_block(samples)
    made.addxml("fileInfo", recordTime=datetime(2020, 1, 1, tzinfo=UTC))
    made.add_coordinates_and_sensor_layout("HydroCel GSN 32 1.0")
    made.addbin(block)
    made.write()
    eeg = read_eeg(tmp_path / "rec.mff", l_freq=None, reference=None, rate=RATE)
    assert eeg.data.shape == samples.shape and np.isfinite(eeg.positions).all()
    np.testing.assert_allclose(eeg.data, 1e-6 * (samples - samples[:, :1]), atol=1e-9)
    monkeypatch.setitem(sys.modules, "mffpy", None)
    with pytest.raises(InputError, match="^rec.mff: MNE reads it with the package mffpy: pip install mffpy$"):
        read_eeg(tmp_path / "rec.mff")


def test_epochs_of_mne(tmp_path):
    epochs = mne.make_fixed_length_epochs(recording(), 2.0, preload=True, verbose="ERROR")
    epochs.save(tmp_path / "rec-epo.fif", verbose="ERROR")
    with pytest.raises(InputError, match="^rec-epo.fif holds epochs, cut out of a recording"):
        read_eeg(tmp_path / "rec-epo.fif")


def test_what_mne_warns_of_is_said(tmp_path, caplog):
    path = edf(tmp_path / "rec.edf")
    open_eeg(path)
    assert not caplog.records
    content = path.read_bytes()
    path.write_bytes(content[:-2000])
    with pytest.raises(
        InputError, match="59 records of 1 s, but its header states 60; the file is truncated"
    ):
        open_eeg(path)
    path.write_bytes(content[:236] + b"-1".ljust(8) + content[244:-2000])  # the recording was broken off
    open_eeg(path)
    assert "rec.edf: MNE: Number of records from the header does not match the file size" in caplog.text


def test_a_file_without_a_unit_has_that_of_channels_tsv(tmp_path):
    path = edf(tmp_path / "sub-01_eeg.edf", unit="")
    with pytest.raises(
        InputError, match=r"^sub-01_eeg.edf: the EEG changes by 11.* V .*in channels.tsv \(name, u"
    ):
        read_eeg(path)
    lines = ["name\ttype\tunits", *(f"{name}\tEEG\tµV" for name in NAMES)]
    (tmp_path / "sub-01_channels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    eeg = read_eeg(path)
    right = read_eeg(edf(tmp_path / "other_eeg.edf"))
    np.testing.assert_allclose(eeg.data, right.data, atol=1e-10)


def test_channels_are_said_to_be_left_out_and_clipped(tmp_path, caplog):
    caplog.set_level("INFO")
    raw = recording()
    raw.rename_channels({"Pz": "ECG"})
    raw.apply_function(lambda trace: np.clip(trace, -9e-6, 9e-6), picks=["Cz"])
    read_eeg(raw)
    assert "RawArray: channels that are no EEG are left out: ECG" in caplog.messages
    assert [message for message in caplog.messages if "clipped" in message and message.endswith(": Cz")]


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    def read(*_, **__):
        raise MemoryError

    monkeypatch.setattr(mne.io, "read_raw", read)
    (tmp_path / "eeg.edf").touch()
    with pytest.raises(MemoryError):
        open_eeg(tmp_path / "eeg.edf")
