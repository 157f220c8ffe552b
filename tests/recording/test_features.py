"""Features of each frame: what is written is read back, what can't be used is said."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from neuroframes.errors import InputError
from neuroframes.recording.features import (
    FORMATS,
    Features,
    bands_of,
    check_frames,
    read_features,
    scalp_features,
    write_features,
)
from neuroframes.recording.simulated_sources import make_montage

NAMES = ("left alpha", "right alpha", "left beta")
TABLE = Features(np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32), NAMES, 2.0)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_is_read_as_it_was_written(tmp_path, suffix):
    write_features(path := tmp_path / f"a_features{suffix}", TABLE)
    found = read_features(path)
    assert np.array_equal(found.values, TABLE.values) and (found.names, found.tr) == (NAMES, 2.0)
    assert np.array_equal(found.times, [1, 3, 5, 7, 9, 11]) and found.duration == 12


def test_what_pandas_and_matlab_save(tmp_path, matlab_7_3, monkeypatch):
    """One feature alone, and whole numbers, which come back as arrays of fewer dimensions and other kinds."""
    pd.DataFrame({"a": [1, 2, 3]}).to_parquet(tmp_path / "a.parquet")
    savemat(tmp_path / "a.mat", {"features": np.array([[1], [2], [3]], np.uint8), "names": "a", "other": "x"})
    for name in ("a.parquet", "a.mat"):
        found = read_features(tmp_path / name, tr=2)
        assert found.values.tolist() == [[1], [2], [3]] and (found.names, found.tr) == (("a",), 2.0)
    savemat(tmp_path / "c.mat", {"features": TABLE.values, "names": np.array(NAMES)})  # blanks fill up
    assert read_features(tmp_path / "c.mat", tr=2).names == NAMES
    matlab_7_3(tmp_path / "b.mat", features=TABLE.values, names=[*NAMES], tr=2.0)
    found = read_features(tmp_path / "b.mat")
    assert np.array_equal(found.values, TABLE.values) and (found.names, found.tr) == (NAMES, 2.0)
    pd.DataFrame({"a": ["x"], "b": [1.0]}).to_parquet(tmp_path / "text.parquet")
    with pytest.raises(InputError, match=r"^text.parquet: no numbers in a; every column is a feature"):
        read_features(tmp_path / "text.parquet", tr=2)
    monkeypatch.setattr("neuroframes.recording.features.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match="^a.parquet: Parquet takes the package pyarrow: pip install pyarrow"
    ):
        read_features(tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", [".parquet", ".mat"])
def test_damaged_tables(tmp_path, suffix):
    write_features(path := tmp_path / f"x{suffix}", TABLE)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"x{suffix}: can't be read as "):
            read_features(path, tr=2)
    with pytest.raises(InputError, match="absent"):
        read_features(tmp_path / f"absent{suffix}", tr=2)


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_a_byte_that_changed_is_told(tmp_path, suffix):
    write_features(path := tmp_path / f"x{suffix}", TABLE)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"x{suffix}: can't be read as {suffix}"):
        read_features(path)


def test_columns_are_picked_by_name():
    picked = TABLE.picked(["left beta", "left alpha"], "the model")
    assert picked.names == ("left beta", "left alpha")
    assert np.array_equal(picked.values, TABLE.values[:, [2, 0]])
    with pytest.raises(
        InputError, match="1 of the 2 features of the model are missing.*: gamma; it has left al"
    ):
        TABLE.picked(["left beta", "gamma"], "the model")


def test_bands_are_those_that_all_names_end_in():
    assert bands_of(NAMES).tolist() == TABLE.power.band.tolist() == [0, 0, 1]
    assert bands_of(["beta", "O1_Alpha"]).tolist() == [1, 0]
    for names in (["left alpha", "vigilance"], ["left alpha", "highbeta"], ["alpha left"]):
        assert not bands_of(names).any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\n1\t2\n3\tn/a\n", "frame 1, b: no finite number"),
        ("a\tb\n1\tx\n", "column b, line 2: expected a number"),
        ("a\tb\n1\t2\n", "no TR; state it as RepetitionTime in x_features.json"),
        ("a\ta\n1\t2\n", "more than one column is called 'a'"),
    ],
)
def test_a_table_of_text_that_cannot_be_used(tmp_path, content, message):
    (tmp_path / "x_features.tsv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path / "x_features.tsv")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.zeros((4, 2)), "names": ["a"], "tr": 2.0}, "1 names for 2 columns"),
        ({"features": np.zeros((4, 2)), "names": ["a", "b"], "tr": 1.0}, "states a TR of 1 s, not 2 s"),
        ({"features": np.zeros((4, 1)), "names": ["a"], "tr": [2.0, 2.0]}, "tr \\[2.0, 2.0\\]; expected"),
        ({"bold": np.zeros((4, 2))}, r"holds bold; expected features, frames x features, and names"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path / "x.npz", tr=2.0)


@pytest.mark.parametrize("damage", ["cut", "npy"])
def test_a_damaged_file(tmp_path, damage):
    write_features(path := tmp_path / "x.npz", TABLE)
    whole = path.read_bytes()
    path.unlink()
    if damage == "npy":
        np.save(tmp_path / "x.npy", TABLE.values)
        (tmp_path / "x.npy").rename(path)
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="x.npz: can't be read as .npz"):
        read_features(path)


def test_a_column_without_a_name_is_refused(tmp_path):
    (tmp_path / "x.tsv").write_text("\tlight\n0\t.5\n1\t.7\n")
    with pytest.raises(InputError, match="x.tsv: column 1 has no name; .* remove it if it counts rows"):
        read_features(tmp_path / "x.tsv", tr=2.0)


def test_rows_are_the_frames_of_a_run(tmp_path):
    check_frames(tmp_path / "a.tsv", TABLE, 6, 2.0)
    with pytest.raises(
        InputError, match="features of 6 frames for 8 frames of BOLD; .* cut both to the frames"
    ):
        check_frames(tmp_path / "a.tsv", TABLE, 8, 2.0)
    with pytest.raises(InputError, match="TR of 2 s, its BOLD 1.5 s"):
        check_frames(tmp_path / "a.tsv", TABLE, 6, 1.5)


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
