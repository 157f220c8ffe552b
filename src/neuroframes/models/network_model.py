"""A trained network of windows of K frames, and what it takes to apply it to another recording."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuroframes.errors import InputError
from neuroframes.models.device import default_device
from neuroframes.models.model import Origin, TrainedModel
from neuroframes.models.settings import Settings
from neuroframes.models.stored import Stored, write_stored
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

SAME_RATE, SAME_STEP = 1e-3, 0.01  # relative


@dataclass(frozen=True)
class NetworkModel(TrainedModel):
    """Base of the models that are a network alone; subclasses say which, and how it fills frames.

    The network is moved to the GPU if there is one.

    Attributes
    ----------
    settings : Settings
    network : Module
    origin : Origin
    rate : float, Hz, of the EEG
    """

    needs_eeg = True
    settings_class: ClassVar[type[Any]]

    settings: Settings
    network: nn.Module
    origin: Origin
    rate: float

    def __post_init__(self) -> None:
        self.network.to(default_device())

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    @classmethod
    @abstractmethod
    def _untrained(
        cls, settings: Any, origin: Origin, rate: float, tensors: Mapping[str, Tensor]
    ) -> nn.Module:
        """The network that stored tensors are the state of; no random number of others is used up."""

    def check_segment(self, segment: Segment) -> Signal:
        """The segment's EEG, checked.

        Raises
        ------
        InputError
            If there is none, its rate or number of channels isn't that of training, or the frames' TR isn't.
        """
        eeg, n_channels = segment.eeg_for(self.name), len(self.origin.channels)
        if abs(eeg.rate - self.rate) > SAME_RATE * self.rate or len(eeg.data) != n_channels:
            raise InputError(
                f"EEG of {len(eeg.data)} channels at {eeg.rate:g} Hz; the model was trained on "
                f"{n_channels} at {self.rate:g} Hz: resample it, and give it the model's channels"
            )
        tr = self.origin.tr
        # The median: frames that were dropped leave the others a TR apart.
        step = float(np.median(np.diff(segment.times))) if len(segment.times) > 1 else tr
        if abs(step - tr) > SAME_STEP * tr:
            raise InputError(
                f"a frame every {step:g} s is asked for; {self.name} has one every {tr:g} s, as in its "
                "training, and none in between: use another model"
            )
        return eeg

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        about = {**self.origin.to_json(), "settings": self.settings.to_json(), "rate": self.rate}
        tensors = {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        write_stored(path, self.format, about, tensors | {"scale": self.origin.scale}, overwrite=overwrite)

    @classmethod
    def from_stored(cls, stored: Stored) -> Self:
        with stored.opened(cls.format):
            rate, tensors = stored.about["rate"], dict(stored.tensors)
            origin = Origin.of(stored.about, tensors.pop("scale"))
            settings = cls.settings_class(**stored.about["settings"])
            state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
            network = cls._untrained(settings, origin, rate, state)
            network.load_state_dict(state, assign=True)
            network.eval()
        return cls(settings, network, origin, rate)  # here, since a GPU without room is no damage


def all_vertices(segment: Segment) -> NDArray[np.intp]:
    """Numbers of the segment's vertices among those of the model."""
    return np.arange(segment.frames.shape[1]) if segment.vertices is None else segment.vertices
