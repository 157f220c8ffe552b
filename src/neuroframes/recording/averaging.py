"""Frames as means of a mesh's vertices: at another mesh's vertices, or of parcels.

Value i of a frame becomes the mean of values j by weights w_ij, over those j that are measured. One that
isn't at some frames would move the others' mean there, so what is averaged at frame k are deviations from
each value's own mean m_j along time:

    y_i(k) = sum_j w_ij m_j / sum_j w_ij + sum_j w_ij (x_j(k) - m_j) / sum_j w_ij

the first over values that are measured at all, the second over those that are at frame k. A value that never
varies, as of the medial wall, isn't; y_i is NaN where less than half of its weight is.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from neuroframes.cortex.labels import labels
from neuroframes.cortex.registration import sphere_weights
from neuroframes.cortex.space import HEMISPHERES, CorticalSpace, by_hemisphere
from neuroframes.errors import InputError
from neuroframes.recording.bold import Bold

logger = logging.getLogger(__name__)

LEAST = 0.5 - 1e-9  # of the weights, but for rounding: XCP-D's --min-coverage
BLOCK = 64  # frames worked on at once


def of_parcels(bold: Bold, measured: NDArray[np.bool_], source: Sequence[str | Path]) -> Bold:
    """A run's means over the regions of an atlas.

    Parameters
    ----------
    bold : Bold, (K, V) at vertices of a mesh, and voxels
    measured : array, shape (K,)
        Frames by which each value's mean goes.
    source : as of `cortex.labels.labels`

    Returns
    -------
    Bold
        (K, P), of the regions' names; NaN where less than half of a region's values are measured.

    Raises
    ------
    InputError
        As of `labels`.
    """
    number, names = labels(source, bold.space)
    inside = np.flatnonzero(number >= 0)
    if outside := bold.space.V - len(inside):
        file = bold.sources[0].name
        logger.info("%s: %d of %d values have no label and are left out", file, outside, bold.space.V)
    ones = np.ones(len(inside))
    sums = scipy.sparse.csr_array((ones, (number[inside], inside)), (len(names), bold.space.V))
    weights = scipy.sparse.diags_array(1 / sums.sum(axis=1)) @ sums
    return _averaged(bold, measured, weights, CorticalSpace.from_parcels(len(names), names))


def on_mesh(
    bold: Bold, measured: NDArray[np.bool_], spheres: Sequence[str | Path], targets: Sequence[str | Path]
) -> Bold:
    """A run at the vertices of another mesh, by registration spheres.

    Parameters
    ----------
    bold : Bold, (K, V) at vertices of a mesh; voxels are left out
    measured : array, shape (K,)
        Frames by which each value's mean goes.
    spheres, targets : sequence of path
        GIFTI, of the run's mesh and of the other, registered to each other: one for each hemisphere that the
        run has, left first.

    Returns
    -------
    Bold
        At all vertices of `targets`, as GIFTI has them; NaN where less than half of the weight is measured.

    Raises
    ------
    InputError
        If the run has no vertices, a sphere isn't of its mesh, or as `sphere_weights`.
    """
    file, sizes = bold.sources[0].name, bold.space.mesh_sizes
    if not sizes:
        raise InputError(
            f"{file}: {bold.space.kind}, not moved by --sphere; expected vertices of a mesh: choose BOLD "
            "on a surface by --space, or project volumes in MNI space by --surface fsaverage5"
        )
    if n_voxels := int((~bold.space.cortical).sum()):
        logger.info("%s: %d values off the cortex are left out", file, n_voxels)
    own, others = (by_hemisphere([*map(Path, files)], sizes) for files in (spheres, targets))
    blocks, counts = [], {}
    for side, n_vertices in sizes.items():
        weights = sphere_weights(own[side], others[side], side)
        counts[side], n_sphere = weights.shape
        if n_sphere != n_vertices:
            raise InputError(
                f"{own[side].name}: a sphere of {n_sphere:,} vertices, but {file} is on a mesh of "
                f"{n_vertices:,}; pass that mesh's as --sphere, or choose other BOLD by --space"
            )
        here = np.flatnonzero(bold.space.hemisphere == HEMISPHERES[side])
        placed = scipy.sparse.csr_array(
            (np.ones(len(here)), (bold.space.vertex[here], here)), (n_vertices, bold.space.V)
        )
        blocks.append(weights @ placed)
    return _averaged(bold, measured, scipy.sparse.vstack(blocks), CorticalSpace.from_counts(counts))


def _averaged(
    bold: Bold, measured: NDArray[np.bool_], weights: scipy.sparse.csr_array, space: CorticalSpace
) -> Bold:
    """Means of a run's values by `weights` (n, V), whose rows sum to 1 where all of a mesh is there."""
    given = np.isfinite(bold.data)
    known = given & measured[:, None]
    lowest = np.min(bold.data, axis=0, initial=np.inf, where=known)
    varies = lowest < np.max(bold.data, axis=0, initial=-np.inf, where=known)
    given &= varies
    sums = np.sum(bold.data, axis=0, dtype=np.float64, where=known)
    level = np.where(varies, sums / np.maximum(known.sum(axis=0), 1), 0)
    whole = weights @ varies
    enough = whole >= LEAST
    result = np.full((len(bold.data), space.V), np.nan, np.float32, order="F")
    levels = np.divide(weights @ level, whole, out=np.zeros(space.V), where=enough)
    for start in range(0, len(result), BLOCK):
        here = given[start : start + BLOCK]
        shares = (weights @ here.T).T
        deviations = (weights @ np.where(here, bold.data[start : start + BLOCK] - level, 0).T).T
        means = np.divide(deviations, shares, out=np.full(shares.shape, np.nan), where=shares >= LEAST)
        result[start : start + BLOCK] = levels + means
    if not enough.all():
        logger.warning(
            "%s: less than half of what %s are means of is measured: no value there",
            bold.sources[0].name,
            space.described(~enough),
        )
    return replace(bold, data=result, space=space)
