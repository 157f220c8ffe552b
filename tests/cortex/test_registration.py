"""Weights between spheres: exact where meshes are alike, linear between, and those of Workbench."""

import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
import scipy.sparse

from neuroframes.cortex.mesh import surface
from neuroframes.cortex.registration import sphere_weights
from neuroframes.errors import InputError


@pytest.fixture(scope="module")
def spheres(tmp_path_factory):
    """GIFTI spheres of fsLR-32k and fsaverage5, taken for registered."""
    folder, files = tmp_path_factory.mktemp("spheres"), {}
    for name in ("fsLR-32k", "fsaverage5"):
        coordinates, faces = surface(name, "sphere", "L")
        unit = coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)
        arrays = [
            nib.gifti.GiftiDataArray(100 * unit, "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32"),
            nib.gifti.GiftiDataArray(faces, "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32"),
        ]
        arrays[0].meta = nib.gifti.GiftiMetaData(
            AnatomicalStructurePrimary="CortexLeft", GeometricType="Spherical"
        )
        files[name] = folder / f"{name}.L.sphere.surf.gii"
        nib.save(nib.GiftiImage(darrays=arrays), files[name])
    return files


def unit(name: str) -> np.ndarray:
    coordinates = surface(name, "sphere", "L")[0].astype(float)
    return coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)


@pytest.mark.parametrize(("one", "other"), [("fsLR-32k", "fsaverage5"), ("fsaverage5", "fsLR-32k")])
def test_weights_of_a_mean(spheres, one, other):
    weights = sphere_weights(spheres[one], spheres[other])
    assert weights.shape == (len(unit(other)), len(unit(one)))
    assert weights.min() >= 0 and np.diff(weights.indptr).max() <= 3
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    # What is linear in place is met, but for the sagitta of a triangle.
    found = weights @ unit(one)
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), unit(other), atol=1e-5)


def test_a_mesh_is_itself(spheres):
    weights = sphere_weights(spheres["fsaverage5"], spheres["fsaverage5"])
    assert abs(weights - scipy.sparse.eye_array(10_242)).max() < 1e-4


@pytest.mark.skipif(shutil.which("wb_command") is None, reason="Connectome Workbench is not installed")
def test_weights_are_workbench_s(spheres, tmp_path):
    values = np.random.default_rng(0).standard_normal(32_492).astype(np.float32)
    array = nib.gifti.GiftiDataArray(values, datatype="NIFTI_TYPE_FLOAT32")
    meta = nib.gifti.GiftiMetaData(AnatomicalStructurePrimary="CortexLeft")
    nib.save(nib.GiftiImage(darrays=[array], meta=meta), tmp_path / "in.func.gii")
    subprocess.run(
        [
            *("wb_command", "-metric-resample", tmp_path / "in.func.gii", spheres["fsLR-32k"]),
            *(spheres["fsaverage5"], "BARYCENTRIC", tmp_path / "out.func.gii"),
        ],
        check=True,
        capture_output=True,
    )
    ours = sphere_weights(spheres["fsLR-32k"], spheres["fsaverage5"]) @ values
    np.testing.assert_allclose(ours, nib.load(tmp_path / "out.func.gii").agg_data(), atol=1e-3)


def test_files_that_are_no_spheres(spheres, tmp_path):
    (tmp_path / "a.surf.gii").write_text("<GIFTI>")
    nib.save(nib.GiftiImage(), tmp_path / "b.surf.gii")
    coordinates, faces = surface("fsaverage5", "inflated", "L")
    with_gap = coordinates / np.linalg.norm(coordinates, axis=1, keepdims=True)
    with_gap[3] = np.nan
    for name, places in (("inflated.surf.gii", coordinates), ("nan.surf.gii", with_gap)):
        arrays = [
            nib.gifti.GiftiDataArray(np.float32(places), "NIFTI_INTENT_POINTSET"),
            nib.gifti.GiftiDataArray(faces, "NIFTI_INTENT_TRIANGLE"),
        ]
        nib.save(nib.GiftiImage(darrays=arrays), tmp_path / name)
    damaged = bytearray(spheres["fsaverage5"].read_bytes())
    start = damaged.index(b"<Data>") + 100
    damaged[start : start + 40] = b"A" * 40
    (tmp_path / "damaged.surf.gii").write_bytes(damaged)
    names = ("a", "b", "absent", "inflated", "nan", "damaged")
    for wrong in (f"{name}.surf.gii" for name in names):
        with pytest.raises(InputError, match=f"{wrong}: no surface .*expected a GIFTI sphere"):
            sphere_weights(tmp_path / wrong, spheres["fsaverage5"])
