"""What everything that fills or predicts frames is.

A segment of a run goes in: frames x (K, V), which of them are measured, their times, and perhaps EEG. An
estimate of the M frames that aren't measured comes out: mean (M, V), standard deviation where the model
states one, draws. No measured frame passes through a model, so none is ever changed.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.stored import Stored, read_stored
from neuroframes.recording.montage import Electrodes, positions_from_json, positions_to_json
from neuroframes.recording.segments import Segment, Split

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Estimate:
    """What a model says of the M frames of a segment that aren't measured.

    Attributes
    ----------
    mean : array, shape (M, V), float32
    std : array, shape (M, V), float32, or None where the model states none
    draws : iterator of array, shape (M, V), float32, each computed when it is taken
    """

    mean: Float32
    std: Float32 | None = None
    # Not a list: ten draws of an hour on grayordinates don't fit into memory.
    draws: Iterator[Float32] = field(default_factory=lambda: iter(()))


class Model(ABC):
    """Something fitted that fills frames.

    Callers ask what it can do; they never ask what it is.

    Attributes
    ----------
    name : str, of its row in tables
    needs_eeg : bool
        It refuses a segment without EEG.
    reads_frames : bool
        It uses the measured frames to estimate the others.
    states_deviation, draws : bool
        It states a standard deviation; it can draw.
    any_time : bool
        It has frames at any times, not only a TR apart as those that it was fitted to.
    fills_channels : bool
        EEG may lack channels, which are filled from the others.
    any_montage : bool
        EEG may be of another montage, and is interpolated at the model's electrodes.
    """

    name: str
    # What most baselines are; a model says where it can do more.
    needs_eeg: ClassVar[bool] = False
    reads_frames: ClassVar[bool] = True
    states_deviation: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    any_time: ClassVar[bool] = False
    fills_channels: ClassVar[bool] = False
    any_montage: ClassVar[bool] = False

    @property
    def reads_eeg(self) -> bool:
        """Whether it uses EEG where there is some."""
        return self.needs_eeg

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Numbers that the fit determined."""

    @abstractmethod
    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        """Estimate the frames of a segment that aren't measured.

        Parameters
        ----------
        segment : Segment of K frames
            What stands at frames that aren't measured is not read.
        draws : int
            How many to make; the standard deviation is then theirs. 0 for none.
        generator : numpy.random.Generator
            Of the draws; one of seed 0 if None.

        Raises
        ------
        InputError
            If the model needs EEG and there is none, can't draw, or the segment doesn't fit it.
        """

    def check(self, *, eeg: bool, draws: int, between: bool = False) -> None:
        """Raise InputError where the model can't do what is asked, before anything is computed.

        Parameters
        ----------
        eeg : bool, whether there is some
        draws : int
        between : bool, whether frames at other times than the measured ones' are asked for
        """
        # In options of the command line, since a command asks before it reads anything.
        if self.needs_eeg and not eeg:
            raise InputError(f"{self.name} needs EEG: pass --eeg, or use another model")
        if between and not self.any_time:
            raise InputError(
                f"{self.name} has frames on one grid only, and none in between: use another model"
            )
        if draws and not self.draws:
            raise InputError(
                f"--draws {draws}, but {self.name} draws nothing and states no standard deviation; "
                "leave --draws out, or use another model"
            )


@dataclass(frozen=True)
class Origin:
    """What a trained model comes from: what it takes to apply it to another recording.

    Attributes
    ----------
    space : CorticalSpace
    tr : float, seconds
    scale : array, shape (V,)
        Standard deviation of the training part, in its BOLD's units; 0 where a vertex had no signal.
    split : Split
        What it was trained on, and what it must be tested on.
    channels : tuple of str, length C, () without EEG
    eeg_settings : dict
        How the EEG is to be read: rate, l_freq, reference, gradient.
    bands : dict from name to (low, high), Hz
        Of the band power that methods were fitted to.
    features : tuple of str, length F
        In place of channels, settings and bands, where EEG comes as features of each frame.
    positions : array, shape (C, 3), metres, of the electrodes; NaN where unknown
    subject : str, whom it was fitted to; "" where that is several or not known
    """

    space: CorticalSpace
    tr: float
    scale: Float32
    split: Split
    channels: tuple[str, ...] = ()
    eeg_settings: Mapping[str, Any] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    positions: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    subject: str = ""

    @property
    def electrodes(self) -> Electrodes:
        return Electrodes(self.channels, self.positions)

    @property
    def average(self) -> bool:
        """Whether the EEG has the average reference."""
        return bool(self.eeg_settings["reference"] == "average")

    def to_json(self) -> dict[str, Any]:
        """All but `scale`."""
        # The array stands in model.safetensors.
        return {
            "space": self.space.to_json(),
            "tr": self.tr,
            "split": self.split.to_json(),
            "channels": self.channels,
            "eeg_settings": dict(self.eeg_settings),
            "bands": dict(self.bands),
            "features": self.features,
            "positions": positions_to_json(self.positions),
            "subject": self.subject,
        }

    @classmethod
    def of(cls, about: Mapping[str, Any], scale: Float32) -> Self:
        """From what `to_json` gave, and the scale."""
        return cls(
            CorticalSpace.from_json(about["space"]),
            about["tr"],
            scale,
            Split.from_json(about["split"]),
            tuple(about["channels"]),
            about["eeg_settings"],
            # JSON has no tuples.
            {name: (low, high) for name, (low, high) in dict(about["bands"]).items()},
            tuple(about.get("features", ())),
            positions_from_json(about.get("positions", [[None] * 3] * len(about["channels"]))),
            about.get("subject", ""),
        )


class TrainedModel(Model):
    """A model that `train` or `prior` writes, and that says of itself what a sidecar needs.

    Attributes
    ----------
    format : str, of what is stored: "neuroframes-model-KIND-NUMBER"
    origin : Origin
    scaled_by_run : bool
        Its frames are z-scored by each run's own scale, rather than by that of its training part.
    """

    format: ClassVar[str]
    origin: Origin
    scaled_by_run: ClassVar[bool] = False

    @property
    def n_latents(self) -> int | None:
        """Size of its autoencoder; None without one."""
        return None

    def without_eeg(self) -> "TrainedModel | None":
        """What of the model does not use EEG, as a model of its own; None where nothing is left."""
        return None

    def in_space(self, space: CorticalSpace, what: str) -> "TrainedModel":
        """The model for frames of a space; InputError where it has none there, with `what` has that space."""
        self.origin.space.check_same(space, what)
        return self

    def without_person(self, person: str) -> "TrainedModel":
        """The model without what one of its people said; InputError where there is nobody to leave out."""
        raise InputError(f"--leave-out {person}: {self.name} holds no people; pass a prior as --model")

    def for_run(self, segment: Segment) -> "TrainedModel":
        """The model with which a segment's run is filled; itself, but for one that learns from the run."""
        return self

    @abstractmethod
    def describe(self, segment: Segment) -> str:
        """How the frames of a segment come about, for its sidecar."""

    @abstractmethod
    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a folder of `model.safetensors` (arrays) and `model.json` (the rest)."""

    @classmethod
    @abstractmethod
    def from_stored(cls, stored: Stored) -> Self:
        """The model that was read; see `load`."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If there is no model of this format at `path`.
        """
        return cls.from_stored(read_stored(path))
