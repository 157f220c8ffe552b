"""A run to fill: its frames, which of them are measured, and what is known beside it. Everything is read once."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError

if TYPE_CHECKING:
    from neuroframes.models.model import TrainedModel
    from neuroframes.recording.bold import Bold
    from neuroframes.recording.eeg import Eeg

logger = logging.getLogger(__name__)
