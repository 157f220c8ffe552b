"""A model by what is stored: torch is loaded only where the model needs it."""

from pathlib import Path
from typing import TYPE_CHECKING

from neuroframes.errors import need_torch
from neuroframes.models.gaussian import GaussianModel
from neuroframes.models.stored import read_stored

if TYPE_CHECKING:
    from neuroframes.models.network_model import NetworkModel

PAPER, SURFACE = "neuroframes-model-paper-", "neuroframes-model-surface-"  # how names of formats begin


def load_model(path: Path) -> "GaussianModel | NetworkModel":
    """Read what `train` wrote.

    Raises
    ------
    InputError
        If there is no model at `path`, or one of another version.
    """
    stored = read_stored(path)
    if not stored.format.startswith((PAPER, SURFACE)):
        return GaussianModel.from_stored(stored)
    need_torch(f"{path.name} is a network, which takes PyTorch")
    if stored.format.startswith(PAPER):
        from neuroframes.models.paper import PaperModel

        return PaperModel.from_stored(stored)
    from neuroframes.models.surface import SurfaceModel

    return SurfaceModel.from_stored(stored)
