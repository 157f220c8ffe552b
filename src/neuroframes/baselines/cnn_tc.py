"""CNN-TC: transcoding by convolutions (Liu and Sajda 2019, as reproduced by Calhas and Henriques).

    x (T, C) --Dense--> (T, 256) = T channels of 8 x 8 x 4 --Conv3D--> 16 T --Conv3D--> T channels
             = (T, 256) --Conv1D--> (T, 256) --last step--> features (256)

x holds one EEG value of each channel a TR, up to the frame's. Kernels are 1 and there is no activation: the
frame is an affine function of the EEG below the Nyquist frequency of the TR, 0.6 Hz at a TR of 0.8 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve
from scipy.signal.windows import hann
from torch import Tensor, nn

from neuroframes.baselines.network import Inputs, NetworkBaseline, VertexNetwork
from neuroframes.recording.band_power import LAST_LAG
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal, window_samples

SHAPE = (8, 8, 4)  # that the 256 values of a step are arranged in
WIDTH = 256


def at_times(eeg: Signal, times: NDArray[np.float64], tr: float) -> NDArray[np.float64]:
    """EEG at some times, low-passed for one value a TR.

    The filter is a Hann window of 4 TR: its first zero is at 1 / (2 TR), beyond it less than 3 % pass.

    Parameters
    ----------
    eeg : Signal
    times : array, shape (K,), seconds
        Beyond its ends the recording goes on as its mirror image.
    tr : float, seconds

    Returns
    -------
    array, shape (K, C), volts
    """
    half, length = round(2 * tr * eeg.rate), eeg.data.shape[1]
    window = hann(2 * half + 1)
    window /= window.sum()
    whole = window_samples(length, eeg.rate, [0.0], length + 2 * half, -half)[0]
    sample = window_samples(length, eeg.rate, times, 1)[:, 0]
    # Channel by channel: the convolution makes copies of its input in float64.
    filtered = [oaconvolve(trace[whole], window, mode="valid")[sample] for trace in eeg.data]
    return np.stack(filtered, axis=1)


class Transcoder(nn.Module):
    """From EEG (B, T, C) to features (B, 256).

    Parameters
    ----------
    length : int, T
    n_channels : int, C
    filters : int
        For each of T, between the two three-dimensional convolutions.
    nonlinear : bool
        ReLU after each layer, and kernels of 3.
    """

    def __init__(self, length: int, n_channels: int, filters: int, nonlinear: bool) -> None:
        super().__init__()
        kernel = 3 if nonlinear else 1
        self.spread = nn.Linear(n_channels, WIDTH)
        self.wide = nn.Conv3d(length, filters * length, kernel, padding="same")
        self.narrow = nn.Conv3d(filters * length, length, kernel, padding="same")
        self.along_time = nn.Conv1d(WIDTH, WIDTH, kernel, padding="same")
        self.activation = nn.ReLU() if nonlinear else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.spread(x)).unflatten(-1, SHAPE)
        x = self.activation(self.narrow(self.activation(self.wide(x)))).flatten(2)
        return self.activation(self.along_time(x.mT))[..., -1]


@dataclass(kw_only=True, eq=False)
class CnnTc(NetworkBaseline):
    """The authors' network up to its output layer, then the common head; see `NetworkBaseline`.

    Parameters
    ----------
    nonlinear : bool
        ReLU after each layer, and kernels of 3, instead of the reproduction's linear network.
    length : int, optional
        T, TRs of EEG; as many as span 20 s if None.
    filters : int
    **settings : see `NetworkBaseline`

    Notes
    -----
    EEG is scaled by each channel's standard deviation over the training part, at one value a TR.
    """

    name = "CNN-TC"

    epochs: int = 10
    batch: int = 2
    learning_rate: float = 1e-3
    nonlinear: bool = False
    length: int | None = None
    filters: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nonlinear:
            self.name = "CNN-TC, ReLU"

    def prepare(self, train: Sequence[Segment]) -> None:
        self.length_ = self.length or round(LAST_LAG / self.tr_) + 1
        values = [at_times(segment.eeg_for(self.name), segment.times, self.tr_) for segment in train]
        deviation = np.concatenate(values).std(axis=0)
        # A flat channel stays 0.
        self.scale_ = np.where(deviation > 0, deviation, 1)

    def inputs(self, segment: Segment) -> Inputs:
        eeg = segment.eeg_for(self.name)
        return self.history(lambda t: at_times(eeg, t, self.tr_) / self.scale_, segment, self.length_)

    def body(self, example: Tensor) -> tuple[nn.Module, int]:
        _, length, n_channels = example.shape
        return Transcoder(length, n_channels, self.filters, self.nonlinear), WIDTH

    def loss(self, network: VertexNetwork, x: Tensor, frames: Tensor) -> Tensor:
        """Mean absolute error."""
        return nn.functional.l1_loss(network(x), frames)
