"""Tables of features per frame: read back as written, tables that can't be meant, features of the scalp."""

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.features import Features, read_features, scalp_features, write_features
from neuroframes.recording.simulated_sources import make_montage

NAMES = ("posterior alpha", "frontal theta")


def features() -> Features:
    return Features(np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32), NAMES, 2.1)


@pytest.mark.parametrize("suffix", [".tsv", ".npz"])
def test_what_is_written_is_read(tmp_path, suffix):
    write_features(tmp_path / f"run{suffix}", features())
    back = read_features(tmp_path / f"run{suffix}")
    np.testing.assert_array_equal(back.values, features().values)
    assert (back.names, back.tr) == (NAMES, 2.1)


def test_the_tr_may_be_told(tmp_path):
    path = tmp_path / "run.tsv"
    path.write_text("a\tb\n1\t2\n3\t4\n")
    with pytest.raises(InputError, match=r"no TR; state it as RepetitionTime in run\.json"):
        read_features(path)
    assert read_features(path, tr=2.0).tr == 2.0
    write_features(path, features())
    with pytest.raises(InputError, match=r"states a TR of 2\.1 s, not 2 s"):
        read_features(path, tr=2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\ta\n1\t2\n", "called 'a'"),
        ("a\tb\n1\tx\n", "column b, line 2: expected a number"),
        ("a\tb\n1\tn/a\n", "frame 0, b: no finite number"),
        ("a\tb\n1\n", "line 2 has 1 fields"),
    ],
)
def test_text_that_is_no_table(tmp_path, text, message):
    (tmp_path / "run.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path / "run.tsv", tr=1.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.ones((3, 2))}, "and names"),
        ({"power": np.ones((3, 2)), "names": NAMES}, "holds tr, power, names; expected features"),
        ({"features": np.ones(3), "names": NAMES}, "frames x features"),
        ({"features": np.ones((3, 3)), "names": NAMES}, "2 names for 3 columns"),
        ({"features": np.ones((3, 2)), "names": ("a", "a")}, "more than one feature is called 'a'"),
        ({"features": np.ones((3, 2)), "names": NAMES, "tr": -1.0}, "TR"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, arrays, message):
    np.savez(tmp_path / "run.npz", **{"tr": 1.0, **arrays})
    with pytest.raises(InputError, match=message):
        read_features(tmp_path / "run.npz")


def test_other_files(tmp_path):
    (tmp_path / "run.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="can't be read as NPZ"):
        read_features(tmp_path / "run.npz")
    with pytest.raises(InputError, match=r"\.tsv or \.npz"):
        read_features(tmp_path / "run.csv")
    with pytest.raises(InputError, match="no such file"):
        read_features(tmp_path / "none.tsv")


def test_alpha_at_the_back_is_posterior_alpha_of_its_frames():
    montage, rate, tr = make_montage(16), 250.0, 2.0
    rng = np.random.default_rng(0)
    eeg = 1e-6 * rng.standard_normal((16, 60 * 250)).astype(np.float32)
    time = np.arange(eeg.shape[1]) / rate
    eeg[montage.names.index("Oz")] += 5e-5 * np.sin(2 * np.pi * 10 * time) * (time > 30)
    frames = 1 + tr * np.arange(30)
    found = scalp_features(eeg, montage.positions, rate, frames, tr)
    assert found.values.shape == (30, 25) and len(set(found.names)) == 25 and found.tr == tr
    rise = found.values[frames > 33].mean(axis=0) - found.values[frames < 27].mean(axis=0)
    assert found.names[rise.argmax()] == "posterior alpha"
