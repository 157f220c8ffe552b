"""Axial slices of a volume as one picture: the lowest first, left on the left, the front at the top."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace

MOST_VALUES = 60_000  # of a frame, as many as a cortex has
MOST_SLICES = 24


@dataclass(frozen=True)
class Slices:
    """Where values of a volume are in a picture of P pixels: rows of the slices below each other.

    Attributes
    ----------
    columns : array, shape (n,)
        The values that are shown, by their place in the space.
    inside : array, shape (P,), bool
        Pixels that show them, in the same order.
    size : tuple of int, (height, width) of a slice in pixels
    pixel : tuple of float, (height, width) of a pixel, mm
    heights : list of int, mm, of each slice
    n_slices : int, of the volume
    """

    columns: NDArray[np.intp]
    inside: NDArray[np.bool_]
    size: tuple[int, int]
    pixel: tuple[float, float]
    heights: list[int]
    n_slices: int

    def picture(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes of the values (K, n) as pictures (K, P), 0 elsewhere."""
        pixels = np.zeros((len(codes), len(self.inside)), np.uint8)
        pixels[:, self.inside] = codes
        return pixels


def axial_slices(space: CorticalSpace) -> Slices:
    """Slices evenly through the voxels of a volume, at most `MOST_SLICES` and about `MOST_VALUES` voxels."""
    shape, affine = space.grid()
    number = np.full(shape, -1, np.int32)
    number.flat[space.vertex] = np.arange(space.V)
    # To the right, to the front, upwards.
    image = nib.as_closest_canonical(nib.Nifti1Image(number, affine))
    number, affine = np.asarray(image.dataobj), image.affine
    ends = [(at.min(), at.max() + 1) for at in np.nonzero(number >= 0)]
    number = number[tuple(slice(*end) for end in ends)]
    width, height, depth = number.shape
    n_shown = int(np.clip(MOST_VALUES * depth / space.V, 1, min(depth, MOST_SLICES)))
    levels = ((np.arange(n_shown) + 0.5) * depth / n_shown).astype(int)
    shown = number[:, ::-1, levels].T.ravel()
    x, y = ((start + stop - 1) / 2 for start, stop in ends[:2])
    heights = [float(affine[2] @ [x, y, ends[2][0] + level, 1]) for level in levels]
    wide, high, _ = map(float, voxel_sizes(affine))
    return Slices(
        shown[shown >= 0].astype(np.intp),
        shown >= 0,
        (height, width),
        (high, wide),
        [round(z) for z in heights],
        depth,
    )
