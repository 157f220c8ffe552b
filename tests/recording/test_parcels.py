"""Tables of parcels: what is read as frames, names and TR, exact text, and tables that can't be meant."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.sidecar import write_sidecar

K, P = 6, 3
NAMES = ("V1", "area 2, left", "µ")


def frames() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((K, P)).astype(np.float32)


@pytest.mark.parametrize("names", [NAMES, ()])
@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_text_is_exact_for_float32(tmp_path, suffix, names):
    rng = np.random.default_rng(0)
    # Any bits: sizes from 1e-45 to 3e38, infinities and NaN among them.
    data = rng.integers(0, 2**32, (2000, P), dtype=np.uint32).view(np.float32)
    data[1], data[2, 1:], data[3] = np.nan, (np.inf, -np.inf), (0.0, -0.0, 1.0)
    space = CorticalSpace.from_parcels(P, names)
    (path,) = write_bold(tmp_path / f"run{suffix}", data, space, tr=0.72)
    with pytest.raises(InputError, match=r"run.json states a TR; .* pass --bold-tr"):
        read_bold(path)
    write_sidecar(path, {"RepetitionTime": 0.72})
    back = read_bold(path)
    np.testing.assert_array_equal(back.data, data)
    assert (back.tr, back.space.names) == (0.72, names)
    assert np.signbit(back.data[3]).tolist() == [False, True, False]


def test_text_as_pandas_reads_it(tmp_path):
    data = frames()
    data[2, 1] = np.nan
    (path,) = write_bold(tmp_path / "run.csv", data, CorticalSpace.from_parcels(P, NAMES), tr=2.0)
    table = pd.read_csv(path)
    assert tuple(table) == NAMES
    np.testing.assert_array_equal(table.to_numpy(np.float32), data)
    assert path.read_text(encoding="utf-8").splitlines()[3].split(",")[1] == "n/a"


@pytest.mark.parametrize("header", [True, False])
def test_text_as_pandas_writes_it(tmp_path, header):
    table = pd.DataFrame(frames())
    table.iloc[4, 0] = np.nan
    table.to_csv(tmp_path / "run.csv", index=False, header=header)  # names 0, 1, 2 and an empty field
    bold = read_bold(tmp_path / "run.csv", tr=2.0)
    np.testing.assert_array_equal(bold.data, table.to_numpy())
    assert bold.space.names == (("0", "1", "2") if header else ())


@pytest.mark.parametrize(
    "arrays",
    [
        {"bold": frames(), "other": frames()},
        {"anything": frames().astype(np.float64), "tr": np.float64(0.8), "names": np.array(NAMES)},
        {
            "timeseries": frames(),
            "tr": np.array([0.8]),
            "names": np.array([b"a", b"b", b"c"]),
            "labels": ["x"],
        },
    ],
)
def test_arrays_of_others(tmp_path, arrays):
    np.savez(tmp_path / "run.npz", **arrays)
    bold = read_bold(tmp_path / "run.npz", tr=None if "tr" in arrays else 0.8)
    np.testing.assert_array_equal(bold.data, frames())
    names = tuple(np.array(arrays.get("names", [])).astype(str))
    assert (bold.tr, bold.space.names) == (0.8, names)


def test_arrays_as_numpy_reads_them(tmp_path):
    (path,) = write_bold(tmp_path / "run.npz", frames(), CorticalSpace.from_parcels(P, NAMES), tr=2.0)
    with np.load(path) as stored:
        assert sorted(stored) == ["bold", "names", "tr"]
        np.testing.assert_array_equal(stored["bold"], frames())
        assert (tuple(stored["names"]), stored["tr"]) == (NAMES, 2.0)


@pytest.mark.parametrize(
    ("line", "names", "warned"),
    [
        ("1\t2\t3", ("1", "2", "3"), False),
        ("101\t102\t103", ("101", "102", "103"), False),
        ("2001\t2002\t2101", (), True),
        ("3\t2\t1", (), False),
        ("0.5\t1.5\t2.5", (), False),
    ],
)
def test_numbers_that_count_up_by_one_are_names(tmp_path, caplog, line, names, warned):
    (tmp_path / "run.tsv").write_text(f"{line}\n5.5\t3\t4\n6\t7\t8\n")
    bold = read_bold(tmp_path / "run.tsv", tr=2.0)
    assert bold.space.names == names and len(bold.data) == 3 - bool(names)
    said = "the first line (2001, 2002, 2101, ...) is read as a frame; if it holds the parcels' names, begin"
    assert (said in caplog.text) == warned


def test_integers_are_no_header(tmp_path):
    """What a header is mustn't depend on the estimates that stand below it."""
    (path,) = write_bold(
        tmp_path / "run.tsv", np.array([[3, 4], [1.5, 2]]), CorticalSpace.from_parcels(2), tr=1
    )
    assert read_bold(path, tr=1).data.tolist() == [[3, 4], [1.5, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a\tb\n1\t2\n3\tx\n",
            "line 3, column 2: expected a number or n/a, got 'x'; correct it: rows are frames",
        ),
        ("1\t2\n3\tx\n", "line 2, column 2: .* got 'x'"),
        ("1\tx\n3\t4\n", "line 1, column 2: .* got 'x'; .* a name for each or for none"),
        ("\ta\tb\n0\t1\t2\n", "line 1, column 2: .* no column of row numbers"),
        ("a\tb\n1\t2\n3\n", "line 3 has 1 fields but the first has 2; the file is truncated or not tab-sep"),
        ("a\ta\n1\t2\n", "more than one parcel is called 'a'; rename one"),
        ("a\tb\n", "0 or NaN throughout"),
        ("", "not a table: it is empty"),
    ],
)
def test_text_that_is_no_table_of_frames(tmp_path, text, message):
    (tmp_path / "run.tsv").write_text(text)
    with pytest.raises(InputError, match=f"run.tsv: {message}"):
        read_bold(tmp_path / "run.tsv", tr=2.0)


def test_a_table_of_commas_is_named(tmp_path):
    (tmp_path / "run.csv").write_text("1,2\n3\n")
    with pytest.raises(InputError, match="line 2 has 1 fields .* not comma-separated"):
        read_bold(tmp_path / "run.csv", tr=2.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"rest": frames(), "task": frames()}, "holds rest, task, 2 of them 2-D .* called bold, or no other"),
        ({"bold": frames()[0], "names": np.array(NAMES)}, "holds bold, names, 0 of them 2-D and of numbers"),
        ({"bold": frames() * 1j}, "0 of them 2-D and of numbers"),
        ({}, "holds nothing"),
        ({"bold": frames().T, "names": np.array(NAMES)}, "3 names for 6 columns; .*; transpose the table"),
        ({"bold": frames(), "names": np.array(NAMES[:2])}, "2 names for 3 columns; .*; name each parcel, or"),
        ({"bold": frames(), "names": np.array(["a", "b", "a"])}, "more than one parcel is called 'a'"),
        ({"bold": frames(), "names": np.array([*NAMES], object)}, "cannot be read, .*allow_pickle"),
        ({"bold": frames(), "tr": np.array([1, 2])}, "cannot be read"),
        ({"bold": frames(), "tr": np.float64(np.nan)}, "tr nan; expected a finite number"),
    ],
)
def test_arrays_that_are_no_table_of_frames(tmp_path, arrays, message):
    np.savez(tmp_path / "run.npz", **arrays)
    with pytest.raises(InputError, match=f"run.npz.*{message}"):
        read_bold(tmp_path / "run.npz")


def test_arrays_compressed_in_an_unknown_way_are_refused(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, bold=frames())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 97  # the method, in the archive's list
    path.write_bytes(content)
    with pytest.raises(InputError, match="run.npz: cannot be read, .*compression method"):
        read_bold(path, tr=2.0)


@pytest.mark.parametrize(("shape", "warned"), [((10, 21), True), ((10, 20), False)])
def test_a_table_that_may_lie_on_its_side(tmp_path, caplog, shape, warned):
    np.savez(tmp_path / "run.npz", np.ones(shape))
    read_bold(tmp_path / "run.npz", tr=2.0)
    said = "10 rows are read as frames, 21 columns as parcels; transpose the table if rows are parcels"
    assert (said in caplog.text) == warned


def test_a_sidecar_of_another_length_is_refused(tmp_path):
    (path,) = write_bold(tmp_path / "run.npz", frames(), CorticalSpace.from_parcels(P), tr=2.0)
    Path(tmp_path / "run.json").write_text(json.dumps({"NeuroframesMeasured": [True] * P}))
    with pytest.raises(InputError, match="run.json says for 3 frames .* but run.npz has 6"):
        read_bold(path)


def test_matlab_reads_what_is_written(tmp_path):
    (path,) = write_bold(tmp_path / "run.mat", frames(), CorticalSpace.from_parcels(P, NAMES), tr=2.0)
    stored = scipy.io.loadmat(path, simplify_cells=True)
    np.testing.assert_array_equal(stored["bold"], frames())
    assert (stored["tr"], tuple(stored["names"])) == (2.0, NAMES)


@pytest.mark.parametrize("names", [np.array([*NAMES], object), np.array(["V1", "area 2, left", "µ"])])
def test_tables_of_matlab(tmp_path, names):
    """Cells of text, or a matrix of characters that is filled up with blanks; every number is a table."""
    arrays = {"ROIs": frames().astype(float), "tr": 2, "names": names, "subject": "x", "n": 3, "s": {"a": 1}}
    scipy.io.savemat(tmp_path / "run.mat", arrays)
    bold = read_bold(tmp_path / "run.mat")
    np.testing.assert_array_equal(bold.data, frames())
    assert (bold.tr, bold.space.names) == (2.0, NAMES)
    scipy.io.savemat(tmp_path / "run.mat", arrays | {"ROIs": frames().T})
    with pytest.raises(InputError, match="3 names for 6 columns; .*; transpose the table"):
        read_bold(tmp_path / "run.mat")


def matlab_7_3(path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in {"bold": frames().T, "tr": np.array([[2.0]])}.items():  # MATLAB's order
            file.create_dataset(name, data=value).attrs["MATLAB_class"] = np.bytes_("double")
        text = [
            file.create_dataset(f"#refs#/{i}", data=np.array([[ord(c)] for c in name], "u2"))
            for i, name in enumerate(NAMES)
        ]
        for each in text:
            each.attrs["MATLAB_class"] = np.bytes_("char")
        cells = np.array([[each.ref for each in text]], dtype=h5py.ref_dtype)
        file.create_dataset("names", data=cells).attrs["MATLAB_class"] = np.bytes_("cell")
    content = bytearray(path.read_bytes())
    content[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(content)
    return path


def test_matlab_s_later_format(tmp_path):
    bold = read_bold(matlab_7_3(tmp_path / "run.mat"))
    np.testing.assert_array_equal(bold.data, frames())
    assert (bold.tr, bold.space.names) == (2.0, NAMES)
