"""Volumes on a cortical surface: values between the white and the pial surface, as nilearn samples them."""

import warnings
from dataclasses import replace

import numpy as np

from neuroframes.cortex.mesh import surface
from neuroframes.cortex.space import HEMISPHERES, CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import Bold
from neuroframes.recording.volumes import volume_image

VOLUMES = "MNI152NLin2009cAsym"  # fMRIPrep's own space, whose volumes are projected by default
SURFACES = ("fsaverage5",)  # those in MNI space whose white and pial surfaces come with nilearn


def check_surface(name: str) -> str:
    """`name`, or InputError where volumes aren't projected to a surface of that name."""
    if name not in SURFACES:
        raise InputError(f"--surface {name}; expected {' or '.join(SURFACES)}")
    return name


def projected(bold: Bold, name: str) -> Bold:
    """A run of volumes in MNI space at the vertices of a surface.

    Parameters
    ----------
    bold : Bold, (K, V) voxels
    name : "fsaverage5"

    Returns
    -------
    Bold
        (K, 20484), NaN at vertices that lie outside the run's voxels throughout.

    Raises
    ------
    InputError
        If the run isn't one of volumes, or its name states another space than MNI's.
    """
    from nilearn.surface import InMemoryMesh, vol_to_surf

    file = bold.sources[0].name
    if bold.space.kind != "volume" or "_space-MNI" not in file:
        raise InputError(
            f"{file}: a {bold.space.kind}, not projected to {name}; expected a volume with space-MNI... "
            "in its name: choose one by --space, or leave --surface out"
        )
    image = volume_image(bold.data, bold.space, bold.tr)
    inside = volume_image(np.ones((1, bold.space.V), np.float32), bold.space, bold.tr).slicer[..., 0]
    halves = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")  # of vertices that are to be NaN
        for side in HEMISPHERES:
            white, pial = (InMemoryMesh(*surface(name, kind, side)) for kind in ("white", "pial"))
            halves.append(vol_to_surf(image, pial, inner_mesh=white, mask_img=inside))
    counts = {side: len(half) for side, half in zip(HEMISPHERES, halves, strict=True)}
    data = np.asfortranarray(np.concatenate(halves).T, np.float32)
    return replace(bold, data=data, space=CorticalSpace.from_counts(counts))
