"""Sizes that files of arrays state are checked before memory is taken for them."""

import re
import zipfile
from io import BytesIO

import numpy as np
import pytest

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
