"""A model by what is stored: torch is loaded only where the model needs it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from neuroframes.errors import need_torch
from neuroframes.models.gaussian import GaussianModel

if TYPE_CHECKING:
    from neuroframes.models.paper import PaperModel

PAPER = "neuroframes-model-paper-"  # how names of its formats begin


def load_model(path: Path) -> "GaussianModel | PaperModel":
    """Read what `train` wrote.

    Raises
    ------
    InputError
        If there is no model at `path`, or one of another version.
    """
    try:
        paper = str(json.loads((path / "model.json").read_text())["format"]).startswith(PAPER)
    except (OSError, ValueError, KeyError, TypeError):
        paper = False  # what is wrong is said on loading
    if not paper:
        return GaussianModel.load(path)
    need_torch(f"{path.name} is a network, which takes PyTorch")
    from neuroframes.models.paper import PaperModel

    return PaperModel.load(path)
