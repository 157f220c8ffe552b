"""Named regions of the cortex, after the multimodal parcellation (MMP; Glasser et al. 2016, Nature 536).

They join sections of its supplementary neuroanatomical results: "visual" is 1 to 5 (primary, early, dorsal
stream, ventral stream, MT+ complex and neighbours), "auditory" is 10 and 11 (early, association). "language"
and "default" are the networks of Cole and Anticevic that are called so (Ji et al. 2019, NeuroImage 185).
"""

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.labels import labels
from neuroframes.cortex.mesh import farthest_points, surface
from neuroframes.cortex.space import HEMISPHERES, MESH_SIZES, PLACES, CorticalSpace

VISUAL = {
    *("V1", "V2", "V3", "V4"),
    *("V3A", "V3B", "V6", "V6A", "V7", "IPS1"),
    *("V8", "VVC", "PIT", "FFC", "VMV1", "VMV2", "VMV3"),
    *("V3CD", "LO1", "LO2", "LO3", "V4t", "FST", "MT", "MST", "PH"),
}
AUDITORY = {
    *("A1", "LBelt", "MBelt", "PBelt", "RI"),
    *("A4", "A5", "STSda", "STSdp", "STSva", "STSvp", "STGa", "TA2"),
}
REGIONS = {"visual": VISUAL, "auditory": AUDITORY, "V1": {"V1"}}
NETWORKS = {"language": "Language", "default": "Default"}
N_PARCELS = 100  # of a hemisphere without labels; the MMP has 180


def regions(space: CorticalSpace) -> dict[str, NDArray[np.intp]]:
    """Indices of each region's values in a frame, both hemispheres together.

    Returns
    -------
    dict of str to array, shape (n,), int64
        "visual", "auditory", "V1", "language" and "default" on fsLR-32k, with or without the medial wall; {}
        elsewhere, since no other mesh has labels in a package that can be relied on.
    """
    if space.name != "fsLR-32k":
        return {}
    areas = _members(space, "mmp")
    networks = _members(space, "cole-anticevic")
    found = {name: np.isin(areas, list(members)) for name, members in REGIONS.items()}
    found |= {name: networks == network for name, network in NETWORKS.items()}
    return {name: np.flatnonzero(inside) for name, inside in found.items()}


def parcels(space: CorticalSpace) -> NDArray[np.int64] | None:
    """Parcel of each value of a frame, numbered from 0, those of the left hemisphere first.

    Returns
    -------
    array, shape (V,), int64, or None if the space has neither mesh nor parcels
        Of a space of parcels each its own. On fsLR-32k the 360 areas of the MMP. fsaverage5 has no labels in
        a package that can be relied on: there the cortex nearest to each of 200 points, spread evenly over
        the registration spheres. -1 off the cortex, which on fsaverage5 is what the flat surface covers.
    """
    if PLACES[space.kind] == "parcels":
        return np.arange(space.V)
    if space.name not in MESH_SIZES:
        return None
    if space.name == "fsLR-32k":
        return labels("mmp", space)[0]
    halves = []
    for hemi, side in HEMISPHERES.items():
        sphere = surface(space.name, "sphere", hemi)[0]
        cortex = np.unique(surface(space.name, "flat", hemi)[1])
        # On the sphere, where distances don't depend on the folding.
        seeds = cortex[farthest_points(sphere[cortex], N_PARCELS)]
        half = np.full(len(sphere), -1)
        half[cortex] = (sphere[cortex] @ sphere[seeds].T).argmax(axis=1) + side * N_PARCELS
        halves.append(half)
    return space.of_vertices(halves, -1)


def networks(space: CorticalSpace) -> NDArray[np.int64] | None:
    """Network of each value of a frame, numbered from 0, shape (V,): the 7 of Yeo et al. (2011) on fsLR-32k.

    -1 belongs to none. None elsewhere, as of `regions`.
    """
    return labels("yeo7", space)[0] if space.name == "fsLR-32k" else None


def _members(space: CorticalSpace, atlas: str) -> NDArray[np.str_]:
    """Area or network of each value without its hemisphere ("V1"), "" outside; shape (V,), str."""
    number, names = labels(atlas, space)
    # Those of the MMP read "L_V1", "R_V1"; the last stands where the number is -1.
    return np.array([*(name.removeprefix("L_").removeprefix("R_") for name in names), ""])[number]
