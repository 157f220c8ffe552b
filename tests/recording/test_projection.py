"""Volumes in MNI space, projected to fsaverage5."""

import nibabel as nib
import numpy as np
import pytest

from neuroframes.cortex.mesh import surface
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold
from neuroframes.recording.projection import check_surface, projected

AFFINE = np.array([[6.0, 0, 0, -90], [0, 6, 0, -126], [0, 0, 6, -72], [0, 0, 0, 1]])
SHAPE, K = (31, 38, 31), 3


def test_what_is_linear_in_space_is_so_on_the_surface(tmp_path):
    """Frames that grow along x, y and z: a vertex has the mean of what lies between white and pial."""
    place = nib.affines.apply_affine(AFFINE, np.stack(np.indices(SHAPE), axis=-1)) + 500
    place[:, :, :12] = 0  # not measured below
    image = nib.Nifti1Image(place.astype(np.float32), AFFINE)
    path = tmp_path / "sub-01_space-MNI152NLin2009cAsym_bold.nii"
    nib.save(image, path)
    bold = read_bold(path, tr=2.0)
    found = projected(bold, "fsaverage5")
    assert (found.space.name, found.tr, found.data.shape) == ("fsaverage5", 2.0, (K, 20_484))
    halves = [(surface("fsaverage5", k, h)[0]) for h in "LR" for k in ("white", "pial")]
    middle = np.concatenate([(halves[0] + halves[1]) / 2, (halves[2] + halves[3]) / 2])
    inside = middle[:, 2] > 12  # whose samples all lie above z = 0
    np.testing.assert_allclose(found.data.T[inside], middle[inside] + 500, atol=0.05)
    assert np.isnan(found.data[:, middle[:, 2] < -12]).all()


def test_only_volumes_in_mni_space_are_projected(tmp_path):
    nib.save(
        nib.Nifti1Image(np.ones((3, 3, 3, K), np.float32), AFFINE), tmp_path / "sub-01_space-T1w_bold.nii"
    )
    with pytest.raises(InputError, match="sub-01_space-T1w_bold.nii: .* choose one by --space, or leave"):
        projected(read_bold(tmp_path / "sub-01_space-T1w_bold.nii", tr=2.0), "fsaverage5")
    with pytest.raises(InputError, match="--surface fsaverage9; expected fsaverage5"):
        check_surface("fsaverage9")
