"""EEG samples with their clock and names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Signal:
    """EEG whose sample n is at n / rate seconds.

    Attributes
    ----------
    data : array, shape (C, N), float32, volts
    rate : float, Hz
    channels : tuple of str, length C
    """

    data: NDArray[np.float32]
    rate: float
    channels: tuple[str, ...]

    @property
    def duration(self) -> float:
        """Seconds from the first sample to the end of the last."""
        return self.data.shape[1] / self.rate
