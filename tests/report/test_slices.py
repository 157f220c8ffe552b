"""Slices of a volume: each voxel at its place in the picture, whatever way the axes of the file run."""

import numpy as np
import pytest
from nibabel.affines import apply_affine

from neuroframes.cortex.space import CorticalSpace
from neuroframes.report.slices import MOST_SLICES, MOST_VALUES, axial_slices

SIZE = np.array([2.0, 3.0, 4.0])  # mm, to the right, to the front, upwards
SHAPE = np.array([9, 8, 7])


def brain(order=(0, 1, 2), flipped=(), shape=SHAPE) -> CorticalSpace:
    """An ellipsoid centred at 0, on a grid whose axes are in this order, some the other way round."""
    affine = np.zeros((4, 4))
    for axis, of in enumerate(order):
        affine[of, axis] = SIZE[of] * (-1 if of in flipped else 1)
    grid = tuple(int(shape[of]) for of in order)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(grid) - 1) / 2
    affine[3, 3] = 1
    at = apply_affine(affine, np.moveaxis(np.indices(grid), 0, -1))
    return CorticalSpace.from_mask(np.linalg.norm(at / (SIZE * shape / 2), axis=-1) < 1, affine)


def places(space: CorticalSpace) -> np.ndarray:
    shape, affine = space.grid()
    return apply_affine(affine, np.stack(np.unravel_index(space.vertex, shape), axis=1))


@pytest.mark.parametrize(("order", "flipped"), [((0, 1, 2), ()), ((0, 1, 2), (0,)), ((2, 0, 1), (1, 2))])
def test_every_voxel_is_where_it_belongs(order, flipped):
    space = brain(order, flipped)
    slices, at = axial_slices(space), places(space)
    assert len(slices.heights) == slices.n_slices == 7 and slices.pixel == pytest.approx((3.0, 2.0))
    np.testing.assert_array_equal(np.sort(slices.columns), np.arange(space.V))
    assert slices.heights == [-12, -8, -4, 0, 4, 8, 12] and slices.size == (8, 9)
    z, y, x = np.nonzero(slices.inside.reshape(7, *slices.size))
    np.testing.assert_allclose(at[slices.columns, 2], np.take(slices.heights, z))
    np.testing.assert_allclose(at[slices.columns, 0], 2.0 * (x - 4))  # left on the left
    np.testing.assert_allclose(at[slices.columns, 1], -3.0 * (y - 3.5))  # the front at the top


def test_large_volumes_are_bounded():
    space = brain(shape=np.array([90, 100, 80]))
    slices = axial_slices(space)
    assert 1 < len(slices.heights) < MOST_SLICES < slices.n_slices == 80
    assert 0.5 * MOST_VALUES < len(slices.columns) < 1.3 * MOST_VALUES
    assert len(axial_slices(brain(shape=np.array([9, 8, 60]))).heights) == MOST_SLICES


def test_codes_are_pictures():
    slices = axial_slices(brain())
    codes = np.random.default_rng(0).integers(1, 256, (3, len(slices.columns))).astype(np.uint8)
    pictures = slices.picture(codes)
    assert pictures.shape == (3, 7 * 8 * 9)
    np.testing.assert_array_equal(pictures[:, slices.inside], codes)
    assert not pictures[:, ~slices.inside].any()
