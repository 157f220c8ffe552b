"""A trained network of windows of K frames, and what it takes to apply it to another recording."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuroframes.config import Settings
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.stored import Stored, read_stored, write_stored
from neuroframes.recording.segments import Split
from neuroframes.recording.signal import Signal

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkModel(ABC):
    """Base of the models that are a network alone; subclasses say which, and how it fills frames.

    The network is moved to the GPU if there is one.

    Attributes
    ----------
    settings : Settings
    network : Module
    space : CorticalSpace
    tr : float, seconds
    rate : float, Hz, of the EEG
    scale : array, shape (V,)
        Standard deviation of the training part, in its BOLD's units; 0 where a vertex had no signal.
    channels : tuple of str, length C
    eeg_settings : dict
        How the EEG is to be read: rate, l_freq, reference.
    split : Split
        What it was trained on, and what it must be tested on.
    """

    preset: ClassVar[str]
    format: ClassVar[str]
    states_deviation: ClassVar[bool] = True
    settings_class: ClassVar[type[Any]]

    settings: Settings
    network: nn.Module
    space: CorticalSpace
    tr: float
    rate: float
    scale: Float32
    channels: tuple[str, ...]
    eeg_settings: Mapping[str, Any]
    split: Split

    def __post_init__(self) -> None:
        self.network.to("cuda" if torch.cuda.is_available() else "cpu")

    @property
    @abstractmethod
    def method(self) -> str:
        """What the model does, for sidecars."""

    @property
    @abstractmethod
    def completing(self) -> str:
        """The same where there are measured frames."""

    @property
    def n_parameters(self) -> int:
        """Numbers that the training determined."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @staticmethod
    @abstractmethod
    def draws_for(asked: int) -> int:
        """How many draws `fill_missing` takes where `asked` are asked for, 0 for the model's own number.

        Raises
        ------
        InputError
            If the model has none.
        """

    @abstractmethod
    def fill_missing(
        self,
        frames: Float32,
        measured: NDArray[np.bool_],
        eeg: Signal,
        times: NDArray[np.float64],
        generator: np.random.Generator,
        *,
        draws: int = ...,
        vertices: NDArray[np.intp] | None = None,
        batch: int = ...,
    ) -> tuple[Float32 | None, Iterator[Float32]]:
        """Put estimates at the missing frames, in place.

        Parameters
        ----------
        frames : array, shape (K, V), z-scored
            What stands at missing frames is not read.
        measured : array, shape (K,)
        eeg : Signal, of the whole run
        times : array, shape (K,), seconds on the EEG clock
        generator : numpy.random.Generator
        draws : int
        vertices : array of int, shape (V,)
            Those of the model that `frames` has; all by default. Others count as 0.
        batch : int
            Windows worked on at once.

        Returns
        -------
        deviation : array, shape (K - n measured, V), or None where the model states none
        drawn : iterator of array, shape (K, V)
            Each draw, measured frames as they are.

        Raises
        ------
        InputError
            If the EEG has another rate or number of channels than in training, or frames another TR.
        """

    @classmethod
    @abstractmethod
    def _untrained(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor], settings: Any) -> nn.Module:
        """The network that stored tensors are the state of; no random number of others is used up."""

    def hear(self, eeg: Signal) -> Signal:
        """The EEG as it is.

        Raises
        ------
        InputError
            If it has another rate or number of channels than in training.
        """
        if abs(eeg.rate - self.rate) > 1e-3 * self.rate or len(eeg.data) != len(self.channels):
            raise InputError(
                f"EEG of {len(eeg.data)} channels at {eeg.rate:g} Hz; the model was trained on "
                f"{len(self.channels)} at {self.rate:g} Hz: resample it, and give it the model's channels"
            )
        return eeg

    def check_grid(self, times: NDArray[np.float64]) -> None:
        """Raise InputError unless frames at `times` (K,), seconds, are as far apart as in training."""
        step = float(np.median(np.diff(times))) if len(times) > 1 else self.tr
        if abs(step - self.tr) > 0.01 * self.tr:
            raise InputError(
                f"a frame every {step:g} s is wanted; a model of --preset {self.preset} has one every "
                f"{self.tr:g} s, as in its training, and none in between: use a model of another preset"
            )

    def about(self) -> dict[str, Any]:
        """All but the arrays, as JSON has it."""
        return {
            "settings": self.settings.to_json(),
            "space": self.space.to_json(),
            "tr": self.tr,
            "rate": self.rate,
            "channels": self.channels,
            "eeg_settings": dict(self.eeg_settings),
            "split": self.split.to_json(),
        }

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a folder of `model.safetensors` (arrays) and `model.json` (the rest)."""
        tensors = {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}
        write_stored(path, self.format, self.about(), tensors | {"scale": self.scale}, overwrite=overwrite)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If there is no model of this format at `path`.
        """
        return cls.from_stored(read_stored(path))

    @classmethod
    def from_stored(cls, stored: Stored) -> Self:
        """The model that was read; see `load`."""
        about = stored.about
        with stored.opened(cls.format):
            tensors = {name: torch.from_numpy(tensor) for name, tensor in stored.tensors.items()}
            scale = tensors.pop("scale").numpy()
            settings = cls.settings_class(**about["settings"])
            network = cls._untrained(about, tensors, settings)
            network.load_state_dict(tensors, assign=True)
            fields: dict[str, Any] = {
                "settings": settings,
                "network": network.eval(),
                "space": CorticalSpace.from_json(about["space"]),
                "tr": about["tr"],
                "rate": about["rate"],
                "scale": scale,
                "channels": tuple(about["channels"]),
                "eeg_settings": about["eeg_settings"],
                "split": Split.from_json(about["split"]),
            }
        return cls(**fields)  # here, since a GPU without room for it is no damage
