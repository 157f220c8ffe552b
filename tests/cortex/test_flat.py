"""The flat raster shows the nearest vertex, and neighbours on it are neighbours on the cortex."""

import numpy as np
import pytest

from neuroframes.cortex.flat import PIXEL, flat_index
from neuroframes.cortex.mesh import surface
from neuroframes.cortex.space import MESH_SIZES, CorticalSpace

SPACES = {"fsLR-32k": CorticalSpace.fs_lr_32k, "fsaverage5": CorticalSpace.fsaverage5}


@pytest.fixture(params=list(SPACES))
def space(request):
    return SPACES[request.param]()


@pytest.mark.parametrize("name", list(MESH_SIZES))
@pytest.mark.parametrize("hemi", ["L", "R"])
def test_the_flat_surface_has_faces_of_the_closed_one_and_hardly_folds(name, hemi):
    places, faces = surface(name, "flat", hemi)
    closed = surface(name, "sphere", hemi)[1]
    assert places.shape == (MESH_SIZES[name], 3)
    key = [np.sort(part, axis=1) @ [1, 10**5, 10**10] for part in (faces.astype(np.int64), closed)]
    assert np.isin(*key).all() and len(faces) > 0.9 * len(closed)
    (ax, ay), (bx, by) = ((places[faces[:, i], :2] - places[faces[:, 0], :2]).T for i in (1, 2))
    assert ((ax * by - ay * bx) > 0).mean() > 0.99


def test_each_pixel_shows_the_nearest_vertex(space):
    index = flat_index(space)
    places, faces = surface(space.name, "flat", "L")
    used = np.unique(faces)
    left, top = places[used, 0].min(), places[used, 1].max()
    for row, column in np.random.default_rng(0).integers(0, [len(index), index.shape[1] // 2], (300, 2)):
        x, y = left + PIXEL * (column + 0.5), top - PIXEL * (row + 0.5)
        distance = np.hypot(places[used, 0] - x, places[used, 1] - y)
        value = np.flatnonzero((space.hemisphere == 0) & (space.vertex == used[distance.argmin()]))
        if distance.min() > PIXEL or not len(value):
            assert index[row, column] == -1 or space.hemisphere[index[row, column]] == 1
        else:
            assert index[row, column] == value[0]


def test_neighbouring_pixels_are_neighbouring_cortex_and_each_side_is_one_hemisphere(space):
    index = flat_index(space)
    left, right = index[:, :-1], index[:, 1:]
    inside = (left >= 0) & (right >= 0)
    left, right = left[inside], right[inside]
    assert (space.hemisphere[left] == space.hemisphere[right]).all()  # a column of nothing lies between
    shown = np.unique(index[index >= 0])
    assert set(space.hemisphere[shown]) == {0, 1} and len(shown) > 10_000
    sphere = {side: surface(space.name, "sphere", hemi)[0] for side, hemi in enumerate("LR")}
    place = np.stack([sphere[h][v] for h, v in zip(space.hemisphere, space.vertex, strict=True)])
    distance = np.linalg.norm(place[left] - place[right], axis=1)
    assert np.quantile(distance, 0.99) < 10  # mm on a sphere of 100 mm; chance is over 100


def test_the_order_of_values_follows_the_space():
    standard, turned = CorticalSpace.fsaverage5(), CorticalSpace.from_counts({"L": 10_242})
    index, left_only = flat_index(standard), flat_index(turned)
    there = index >= 0
    expected = np.where(there & (standard.hemisphere[index] == 0), index, -1)
    np.testing.assert_array_equal(left_only, expected)
    gray, full = CorticalSpace.fs_lr_32k(), CorticalSpace.from_counts({"L": 32_492, "R": 32_492})
    a, b = flat_index(gray), flat_index(full)
    np.testing.assert_array_equal(gray.vertex[a[a >= 0]], full.vertex[b[a >= 0]])


def test_the_medial_wall_is_not_shown():
    index = flat_index(CorticalSpace.fsaverage5())
    pial, white = (surface("fsaverage5", kind, "L")[0] for kind in ("pial", "white"))
    wall = np.flatnonzero(np.linalg.norm(pial - white, axis=1) == 0)
    assert len(wall) > 200
    assert np.isin(wall, index).mean() < 0.2  # the two definitions differ along the rim


def test_no_raster_without_a_mesh():
    assert flat_index(CorticalSpace.from_counts({"L": 40_962})) is None
    assert flat_index(CorticalSpace.from_mask(np.ones((2, 3, 4)), np.eye(4))) is None
