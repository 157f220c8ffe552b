"""Means of vertices: those of a dense calculation, where some aren't measured too."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis
from scipy.spatial import ConvexHull

from neuroframes.cortex.mesh import cortical_vertices, surface
from neuroframes.cortex.registration import sphere_weights
from neuroframes.cortex.space import PRIMARY, CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.averaging import of_parcels, on_mesh
from neuroframes.recording.bold import Bold

K = 70
EVERY = np.ones(K, bool)


def bold_of(space: CorticalSpace, tmp_path, seed: int = 0) -> Bold:
    generator = np.random.default_rng(seed)
    data = generator.uniform(5_000, 15_000, space.V) + 100 * generator.standard_normal((K, space.V))
    data = np.asfortranarray(data, np.float32)
    return Bold(data, 1.0, np.arange(K, dtype=float), space, (tmp_path / "sub-01_bold.func.gii",))


def write_labels(path, keys, names) -> list:
    colours = np.array([[i, 20, 30, 0, 0] for i in range(len(names))])
    nib.freesurfer.write_annot(path, np.array(keys), colours, names, True)
    return [path]


def write_sphere(path, vertices, faces, side):
    arrays = [
        nib.gifti.GiftiDataArray(np.float32(vertices), "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32"),
        nib.gifti.GiftiDataArray(np.int32(faces), "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32"),
    ]
    arrays[0].meta = nib.gifti.GiftiMetaData(AnatomicalStructurePrimary=PRIMARY[side])
    nib.save(nib.GiftiImage(darrays=arrays), path)
    return path


@pytest.fixture
def spheres(tmp_path):
    """Triangulated points on spheres: pairs of 40 + 40 and of 25 + 25 vertices."""
    generator, found = np.random.default_rng(1), {}
    for n_vertices in (40, 25):
        points = generator.standard_normal((n_vertices, 3))
        points *= 100 / np.linalg.norm(points, axis=1, keepdims=True)
        files = [tmp_path / f"{n_vertices}.{side}.sphere.surf.gii" for side in "LR"]
        found[n_vertices] = [
            write_sphere(file, points, ConvexHull(points).simplices, side)
            for file, side in zip(files, "LR", strict=True)
        ]
    return found


def expected(weights, data, measured=EVERY):
    """The formula of the module, one value of one frame after the other; `weights` (n, V) are dense."""
    given = np.isfinite(data)
    known = [data[given[:, j] & measured, j].astype(float) for j in range(data.shape[1])]
    varies = np.array([len(set(each)) > 1 for each in known])
    level = np.array([each.mean() if each.size else 0 for each in known])
    result = np.full((len(data), len(weights)), np.nan)
    for k, frame in enumerate(data):
        for i, row in enumerate(weights):
            here = given[k] & varies
            if row[here].sum() >= 0.5 - 1e-9:
                mean = np.average(level[varies], weights=row[varies])
                result[k, i] = mean + np.average((frame - level)[here], weights=row[here])
    return result


def test_parcels_are_means_of_what_has_a_label(tmp_path):
    keys = [0, 1, 1, 2, 2, 2, 0, 3]
    source = write_labels(tmp_path / "lh.annot", keys, ["unknown", "a", "b", "c"])
    bold = bold_of(CorticalSpace.from_counts({"L": 8}), tmp_path)
    found = of_parcels(bold, EVERY, source)
    assert (found.space.kind, found.space.names, found.tr) == ("parcels", ("a", "b", "c"), 1.0)
    means = [bold.data[:, np.equal(keys, key)].mean(axis=1, dtype=float) for key in (1, 2, 3)]
    np.testing.assert_allclose(found.data, np.transpose(means), rtol=1e-6)
    assert found.data.flags.f_contiguous and found.data.dtype == np.float32


def test_parcels_where_values_are_missing(tmp_path, caplog):
    """The medial wall, a slab, a spoiled entry, frames without values, a parcel that is hardly measured."""
    keys = np.repeat([0, 1, 2], [5, 1, 4]).tolist() * 2
    source = write_labels(tmp_path / "lh.annot", keys, ["a", "b", "c"])
    bold = bold_of(CorticalSpace.from_counts({"L": 20}), tmp_path)
    bold.data[:, 0], bold.data[:, 1] = 0, np.nan
    bold.data[:, 6:9] = np.nan
    bold.data[:, 16:18] = 7
    bold.data[10:20, 10:13] = np.nan
    bold.data[30, 2], bold.data[31, 3], bold.data[32, [3, 4, 10, 11]] = np.nan, np.inf, np.nan
    bold.data[40], bold.data[41] = np.nan, 0
    measured = np.arange(K) != 41
    found = of_parcels(bold, measured, source)
    weights = np.array([np.equal(keys, key) / keys.count(key) for key in range(3)])
    reference = expected(weights, np.where(np.isinf(bold.data), np.nan, bold.data), measured)
    assert np.isnan(reference[[32, 40], 0]).all() and np.isfinite(reference[[10, 30, 31], 0]).all()
    assert np.isfinite(reference[32, 1]) and np.isnan(reference[:, 2]).all()
    np.testing.assert_allclose(found.data, reference, rtol=1e-6)
    assert "less than half of what 1 of 3 parcels (c) are means of is measured" in caplog.text
    # Whichever vertices a slab takes, the mean stays, though their levels differ by thousands.
    assert np.nanstd(found.data[measured, 0]) < 100


def test_another_mesh(spheres, tmp_path, caplog):
    """Frames lack vertices, as grayordinates do, voxels are left out, and the mesh is that of the targets."""
    axis = BrainModelAxis.from_surface(np.arange(3, 40), 40, name="CortexLeft")
    axis += BrainModelAxis.from_mask(np.ones((1, 2, 2), bool), affine=np.eye(4), name="brain_stem")
    axis += BrainModelAxis.from_surface(np.arange(40), 40, name="CortexRight")
    bold = bold_of(CorticalSpace.from_axis(axis), tmp_path)
    bold.data[:, 50], bold.data[20:30, 60] = 0, np.nan
    with caplog.at_level("INFO"):
        found = on_mesh(bold, EVERY, spheres[40], spheres[25])
    assert "4 values off the cortex are left out" in caplog.text
    found.space.check_same(CorticalSpace.from_counts({"L": 25, "R": 25}), "the targets")
    weights = np.zeros((50, bold.space.V))
    left, right = (sphere_weights(*pair).toarray() for pair in zip(spheres[40], spheres[25], strict=True))
    weights[:25, :37], weights[25:, 41:] = left[:, 3:], right
    np.testing.assert_allclose(found.data, expected(weights, bold.data), rtol=1e-6)
    assert np.isnan(found.data).any() and np.isfinite(found.data).mean() > 0.8


def test_from_grayordinates_to_fsaverage5(tmp_path):
    """What is linear in place stays so, and where most of the weight is on the medial wall there is none."""
    files, unit = {}, {}
    for name in ("fsLR-32k", "fsaverage5"):
        vertices, faces = surface(name, "sphere", "R")
        unit[name] = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
        files[name] = [write_sphere(tmp_path / f"{name}.R.surf.gii", unit[name], faces, "R")]
    cortex = cortical_vertices("fsLR-32k", "R")
    axis = BrainModelAxis.from_surface(cortex, 32_492, name="CortexRight")
    place = unit["fsLR-32k"][cortex].T
    bold = Bold(
        place.astype(np.float32), 1.0, np.arange(3.0), CorticalSpace.from_axis(axis), (tmp_path / "a",)
    )
    found = on_mesh(bold, EVERY[:3], files["fsLR-32k"], files["fsaverage5"])
    known = np.isfinite(found.data).all(axis=0)
    assert (found.space.name, found.data.shape) == ("fsaverage5", (3, 10_242)) and 0.88 < known.mean() < 0.95
    inside = sphere_weights(files["fsLR-32k"][0], files["fsaverage5"][0])[:, cortex].sum(axis=1)
    np.testing.assert_array_equal(known, inside >= 0.5)
    np.testing.assert_allclose(found.data[:, known], unit["fsaverage5"].T[:, known], atol=0.02)


def test_what_is_not_moved(spheres, tmp_path):
    bold = bold_of(CorticalSpace.from_counts({"L": 40, "R": 40}), tmp_path)
    parcels = bold_of(CorticalSpace.from_parcels(3), tmp_path)
    for run, files, targets, message in (
        (parcels, spheres[40], spheres[25], ": parcels, not moved by --sphere; expected vertices of a mesh"),
        (
            bold,
            spheres[25],
            spheres[40],
            "25.L.*: a sphere of 25 vertices, but sub-01.* mesh of 40; pass that",
        ),
        (
            bold,
            spheres[40][:1],
            spheres[25][:1],
            "1 for frames of hemisphere L and R; pass one file for each",
        ),
        (bold, spheres[40][::-1], spheres[25][::-1], "40.R.* passed as hemisphere L, but its name or"),
        (bold, spheres[40], [tmp_path / "a", tmp_path / "b"], "a: no surface .*expected a GIFTI sphere"),
    ):
        with pytest.raises(InputError, match=message):
            on_mesh(run, EVERY, files, targets)
    # Metadata tell where names don't.
    swapped = [file.rename(tmp_path / f"{i}.gii") for i, file in enumerate(spheres[25][::-1])]
    with pytest.raises(InputError, match="0.gii: passed as hemisphere L, but its name or metadata say R"):
        on_mesh(bold, EVERY, spheres[40], swapped)
