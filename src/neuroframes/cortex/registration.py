"""From one mesh to another by their registration spheres.

Two meshes are registered where their spheres lie in one space, as `fs_LR-deformed_to-fsaverage` spheres do.
A vertex of the one lies in a triangle of the other's sphere; its value is the mean of those at the corners,
weighted by its barycentric coordinates. Workbench does the same (`-metric-resample`, BARYCENTRIC).
"""

from pathlib import Path

import numpy as np
import scipy.sparse
from nibabel.gifti import GiftiImage
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neuroframes.cortex.space import check_side
from neuroframes.cortex.unreadable import reading
from neuroframes.errors import InputError

Float = NDArray[np.float64]

NEAREST = 6  # vertices of a sphere, one of which is a corner of the triangle around any place
ROUND = 1.01  # largest over smallest radius of a sphere; of a pial or inflated surface 5 or more
OUTSIDE = 1e-6  # by which a coordinate may be negative: rounding


def sphere_weights(sphere: str | Path, target: str | Path, hemi: str | None = None) -> scipy.sparse.csr_array:
    """Weights by which values at a sphere's vertices become values at another's.

    Parameters
    ----------
    sphere, target : path
        GIFTI surfaces (`*.sphere.surf.gii`) of one hemisphere, registered to each other, of any radius.
    hemi : "L" or "R", optional
        Which they are to be of.

    Returns
    -------
    scipy.sparse.csr_array, shape (vertices of `target`, vertices of `sphere`)
        Rows sum to 1; frames (K, V) become `frames @ weights.T`.

    Raises
    ------
    InputError
        If a file is no such surface, or says that it is of the other hemisphere.
    """
    (vertices, faces), (places, _) = _read(Path(sphere), hemi), _read(Path(target), hemi)
    of_vertex = scipy.sparse.csr_array(
        (np.ones(faces.size), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))),
        (len(vertices), len(faces)),
    )
    near = KDTree(vertices).query(places, min(NEAREST, len(vertices)))[1]
    # Each vertex's faces in a row of their own, filled up with the last.
    n_faces = np.diff(of_vertex.indptr)
    step = np.minimum(np.arange(n_faces.max()), np.maximum(n_faces, 1)[:, None] - 1)
    around = of_vertex.indices[np.minimum(of_vertex.indptr[:-1, None] + step, of_vertex.nnz - 1)]
    best = np.zeros((len(places), 3))
    face, least = np.zeros(len(places), np.intp), np.full(len(places), -np.inf)
    for candidates in np.moveaxis(around[near], 0, -1).reshape(-1, len(places)):
        weights = _barycentric(vertices[faces[candidates]], places)
        inward = weights.min(axis=1)
        better = inward > least
        face[better], best[better], least[better] = candidates[better], weights[better], inward[better]
    if (least < -OUTSIDE).any():
        raise InputError(
            f"{Path(sphere).name}: {int((least < -OUTSIDE).sum())} vertices of {Path(target).name} lie in no "
            "triangle of it; expected closed spheres registered to each other"
        )
    rows = np.repeat(np.arange(len(places)), 3)
    best = np.maximum(best, 0)
    best /= best.sum(axis=1, keepdims=True)
    return scipy.sparse.csr_array((best.ravel(), (rows, faces[face].ravel())), (len(places), len(vertices)))


def _barycentric(corners: Float, places: Float) -> Float:
    """Coordinates (n, 3) at which rays from the centre to `places` (n, 3) meet triangles `corners` (n, 3, 3).

    -inf where a ray meets a triangle on the far side, or one of no area.
    """
    normals = np.cross(np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1))
    volumes = np.einsum("nij,nj->ni", normals, places)
    total = volumes.sum(axis=1, keepdims=True)
    ahead = np.einsum("nij,nj->n", corners, places)[:, None] > 0
    return np.divide(volumes, total, out=np.full_like(volumes, -np.inf), where=ahead & (total != 0))


def _read(path: Path, hemi: str | None) -> tuple[Float, NDArray[np.intp]]:
    """Unit vectors of a sphere's vertices, shape (n, 3), and its triangles (m, 3)."""
    with reading(path, "no surface", "expected a GIFTI sphere, *.surf.gii"):
        image = GiftiImage.from_filename(path)
        vertices, faces = image.agg_data("pointset"), image.agg_data("triangle")
        vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.intp)
        shapes = vertices.shape[1:], faces.shape[1:]
        if shapes != ((3,), (3,)) or faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError("no vertices and triangles")
        radius = np.linalg.norm(vertices, axis=1, keepdims=True)
        if not 0 < radius.max() < ROUND * radius.min():  # nor NaN
            raise ValueError(f"vertices {radius.min():.3g} to {radius.max():.3g} mm off the centre")
    if hemi:
        metas = (image.meta, *(array.meta for array in image.darrays))
        check_side(path, hemi, [meta.get("AnatomicalStructurePrimary") for meta in metas])
    return vertices / radius, faces
