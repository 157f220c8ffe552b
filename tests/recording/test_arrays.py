"""What files of arrays state is checked before memory is taken for it, and before SciPy trusts it."""

import re
import zipfile
from io import BytesIO

import numpy as np
import pytest
import scipy.io

from neuroframes.errors import InputError
from neuroframes.recording.arrays import read_arrays
from neuroframes.recording.bold import read_bold
from neuroframes.recording.features import read_features


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_no_memory_is_taken_for_what_a_header_states(tmp_path, version):
    content = BytesIO()
    np.lib.format.write_array(content, np.zeros((4, 2), np.float32), version)
    stated = re.sub(rb"\(4, 2\)(.*?) {12}", rb"(4000000000000, 2)\1", content.getvalue(), count=1)
    assert len(stated) == len(content.getvalue())
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("bold.npy", stated)
    for read in (read_features, read_bold):
        with pytest.raises(InputError, match=r"bold.npy states 32,000,000,000,000 bytes of values, has 32"):
            read(tmp_path / "x.npz", tr=2.0)


def test_an_archive_is_read_as_numpy_reads_it(tmp_path):
    arrays = {
        "a": np.eye(3, order="F")[:2],
        "b": np.array(["x", "\u00e9"]),
        "c": np.float32(2),
        "d": np.empty((0, 2)),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        found = read_arrays(tmp_path / "x.npz")
        assert [*found] == [*arrays]
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_no_damaged_byte_of_a_mat_ends_python(tmp_path):
    path, content = tmp_path / "a.mat", {"bold": np.ones((3, 2), "f4"), "names": np.array(["a"], object)}
    scipy.io.savemat(path, content, do_compression=False)
    whole = path.read_bytes()
    np.testing.assert_array_equal(read_arrays(path)["bold"], content["bold"])
    refused = 0
    for at in range(128, len(whole)):
        for value in (2, 40):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read_arrays(path)
            except (OSError, ValueError):
                refused += 1
    assert refused > len(whole) / 2
    for stop in range(0, len(whole), 24):
        path.write_bytes(whole[:stop])
        with pytest.raises((OSError, ValueError)):
            read_arrays(path)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((0, 3)),
        np.ones((2, 2)) * 1j,
        np.ones((2, 3, 4), np.int8),
        np.ones((4, 4), bool),
        "text",
        {"of": np.ones(3), "in": {"a": "b"}},
        np.array([[np.ones(2), "x"]], object),
        scipy.sparse.eye_array(40).tocsc(),
    ],
)
def test_mat_of_every_kind_is_read(tmp_path, value):
    scipy.io.savemat(tmp_path / "a.mat", {"value": value, "tr": 2.0}, do_compression=False)
    expected = scipy.io.loadmat(tmp_path / "a.mat")
    got = read_arrays(tmp_path / "a.mat")
    assert got["tr"] == 2.0
    if isinstance(expected["value"], np.ndarray):
        assert got["value"].shape == expected["value"].shape and got["value"].dtype == expected["value"].dtype
