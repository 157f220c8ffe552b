"""The cortex as an image: which value of a frame each pixel of a flat map shows.

Every hemisphere is cut open and laid flat (the surface "flat"), the left one on the left. Pixels are squares
of one size in both spaces, so that a window of 7 x 7 of them is the same piece of cortex, about 2 cm wide.
A flat map stretches the cortex, by less than longitudes and latitudes do near the poles of a sphere, and
cuts some neighbours apart.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from neuroframes.cortex.mesh import surface
from neuroframes.cortex.space import HEMISPHERES, MESH_SIZES, CorticalSpace

PIXEL = 3.0  # mm; vertices are 2 to 3 mm apart


def flat_index(space: CorticalSpace) -> NDArray[np.int64] | None:
    """For each pixel the index of the value in a frame at the nearest vertex.

    Returns
    -------
    array, shape (H, W), int64, or None if the space has no mesh
        -1 where there is no cortex within a pixel's width (outside, the medial wall), or where the space has
        no value there. With `image = np.where(index < 0, np.nan, frame[index])` a frame can be drawn.
    """
    if space.name not in MESH_SIZES:
        return None
    halves = [_hemisphere(space, hemi) for hemi in HEMISPHERES]
    height = max(len(half) for half in halves)
    # The empty column after each keeps windows from reaching into the other one.
    return np.hstack([np.pad(half, ((0, height - len(half)), (0, 1)), constant_values=-1) for half in halves])


def _hemisphere(space: CorticalSpace, hemi: str) -> NDArray[np.int64]:
    coordinates, faces = surface(space.name, "flat", hemi)
    used = np.unique(faces)
    places = coordinates[used, :2]
    (left, bottom), (right, top) = places.min(axis=0), places.max(axis=0)
    x = np.arange(left + PIXEL / 2, right + PIXEL / 2, PIXEL)
    y = np.arange(top - PIXEL / 2, bottom - PIXEL / 2, -PIXEL)
    pixels = np.stack(np.meshgrid(x, y), axis=-1)
    nearest = cKDTree(places).query(pixels, distance_upper_bound=PIXEL)[1]
    # The tree's answer where nothing is near is one beyond its last point.
    return np.append(space.at_vertices(hemi)[used], -1)[nearest]
