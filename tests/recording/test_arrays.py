"""Files of named arrays: what is damaged is refused, before SciPy trusts what it states."""

import numpy as np
import pytest
import scipy.io

from neuroframes.recording.arrays import read_arrays


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
