"""Files of hemispheres: which belong together."""

from pathlib import Path

import pytest

from neuroframes.recording.gifti import hemisphere_paths


@pytest.mark.parametrize(
    "given, left",
    [
        ("sub-01_hemi-R_bold.func.gii", "sub-01_hemi-L_bold.func.gii"),
        ("a.rh.func.gii", "a.lh.func.gii"),
        ("sub-01_task-rest_bold.func.gii", "sub-01_task-rest_hemi-L_bold.func.gii"),
        ("sub-01_desc-completed.func.gii", "sub-01_hemi-L_desc-completed.func.gii"),
        ("out.func.gii", "out_hemi-L.func.gii"),
    ],
)
def test_hemisphere_names(given, left):
    assert hemisphere_paths(Path(given))["L"].name == left
