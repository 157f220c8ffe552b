"""EEG of a run as a model takes it: read with the model's settings, on the clock of the frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.models.model import TrainedModel
from neuroframes.recording.bold import Bold
from neuroframes.recording.eeg import Eeg, channels_there, check_channels, read_eeg_of_bold


@dataclass(frozen=True)
class EegOfRun:
    """The EEG, and when the run's frames were acquired.

    Attributes
    ----------
    signal : Eeg
    times : array, shape (K,), seconds on its clock
    """

    signal: Eeg
    times: NDArray[np.float64]


def with_channels_of(model: TrainedModel, eeg: Eeg, name: str) -> Eeg:
    """The EEG with the model's channels.

    Those that the file `name` lacks are filled by models that can do that, with a warning; others need them
    all.
    """
    channels = model.origin.channels
    if model.fills_channels:
        return channels_there(eeg, channels, name)
    return check_channels(eeg, channels, "the model")


def read_eeg_of_run(model: TrainedModel, path: Path, bold: Bold, **clock: Any) -> EegOfRun:
    """Read the EEG of a run with the model's settings, and place the frames on its clock.

    Parameters
    ----------
    model : TrainedModel
    path : Path
    bold : Bold
    **clock : trigger, onset and skip_volumes, see `read_eeg_of_bold`
    """
    eeg, times = read_eeg_of_bold(path, bold, **clock, **model.origin.eeg_settings)
    return EegOfRun(with_channels_of(model, eeg, path.name), times)
