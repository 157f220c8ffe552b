"""Sidecars: names in the order of BIDS, and none that leads out of the folder."""

from pathlib import Path

import pytest

from neuroframes.errors import InputError
from neuroframes.recording.sidecar import companion, with_entity


@pytest.mark.parametrize(
    ("name", "entity", "expected"),
    [
        ("s_space-x_den-91k_desc-y_bold.nii", "hemi-L", "s_hemi-L_space-x_den-91k_desc-y_bold.nii"),
        ("s_desc-y_stat-std_bold.nii", "hemi-L", "s_hemi-L_desc-y_stat-std_bold.nii"),
        ("s_desc-y_bold.nii", "stat-std", "s_desc-y_stat-std_bold.nii"),
        ("s_desc-y.func.gii", "draw-01", "s_desc-y_draw-01.func.gii"),
        ("space.func.gii", "hemi-L", "space_hemi-L.func.gii"),
        ("s_bold.nii", "stat-std", "s_stat-std_bold.nii"),
        ("s_own.npz", "stat-std", "s_own_stat-std.npz"),
        ("s_own.nii.gz", "draw-01", "s_own_draw-01.nii.gz"),
    ],
)
def test_an_entity_stands_where_bids_has_it(name, entity, expected):
    assert with_entity(Path("folder") / name, entity) == Path("folder") / expected


def test_a_companion_is_a_file_in_the_same_folder(tmp_path):
    (tmp_path / "in").mkdir()
    for file in ("x.nii", "in/x.nii", "in/y.nii"):
        (tmp_path / file).write_text("")
    path = tmp_path / "in" / "x.nii"
    assert companion(path, "y.nii") == tmp_path / "in" / "y.nii"
    assert companion(path, "z.nii") is None
    others = (
        str(tmp_path / "x.nii"),
        "../x.nii",
        "..",
        ".",
        "",
        "a/y.nii",
        "C:x.nii",
        "..\\x.nii",
        3,
        None,
        [],
    )
    for name in others:
        with pytest.raises(InputError, match=r"x\.json names .* expected the name of a file in the same"):
            companion(path, name)
