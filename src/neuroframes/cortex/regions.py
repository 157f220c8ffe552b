"""Named regions of the cortex, after the multimodal parcellation (MMP; Glasser et al. 2016, Nature 536).

They join sections of its supplementary neuroanatomical results: "visual" is 1 to 5 (primary, early, dorsal
stream, ventral stream, MT+ complex and neighbours), "auditory" is 10 and 11 (early, association).
"""

import numpy as np

from neuroframes.cortex.space import HEMISPHERES, CorticalSpace, hcp_data

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


def regions(space: CorticalSpace) -> dict[str, np.ndarray]:
    """Indices of each region's values in a frame, both hemispheres together.

    Returns
    -------
    dict of str to array, shape (n,), int64
        "visual", "auditory" and "V1" on fsLR-32k, with or without the medial wall; {} elsewhere, since no
        other mesh has labels in a package that can be relied on.
    """
    if space.name != "fsLR-32k":
        return {}
    area = _areas(space)
    return {name: np.flatnonzero(np.isin(area, list(members))) for name, members in REGIONS.items()}


def _areas(space: CorticalSpace) -> np.ndarray:
    """MMP area of each value without its hemisphere ("V1"), "" outside; shape (V,), str."""
    with np.load(hcp_data("fMRI_vertex_info_32k.npz")) as info, np.load(hcp_data("mmp_1.0.npz")) as mmp:
        gray = {"L": info["grayl"], "R": info["grayr"]}
        n_vertices = {"L": int(info["num_meshl"]), "R": int(info["num_meshr"])}
        # Labels read "L_V1", "R_V1"; `map_all` holds their number for the left, then the right grayordinates.
        names = np.array([label.partition("_")[2] for label in mmp["labels"]])
        order = np.searchsorted(mmp["ids"], mmp["map_all"])
    areas = np.full(space.V, "", names.dtype)
    first = 0
    for side, vertices in gray.items():
        mesh = np.full(n_vertices[side], "", names.dtype)
        mesh[vertices] = names[order[first : first + len(vertices)]]
        first += len(vertices)
        here = space.hemisphere == HEMISPHERES[side]
        areas[here] = mesh[space.vertex[here]]
    return areas
