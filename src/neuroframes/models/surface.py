"""The surface model, trained: windows of K frames from EEG and the measured frames among them.

Windows overlap by half and are blended (`diffusion.windows`), so that a gap at the edge of one lies within
another. The model states no uncertainty.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.config import SurfaceSettings
from neuroframes.diffusion.windows import Windows
from neuroframes.errors import InputError
from neuroframes.models.denoiser import EARLIEST
from neuroframes.models.network_model import NetworkModel
from neuroframes.models.surface_network import SpatiotemporalNeuralFrames
from neuroframes.recording.eeg_windows import eeg_windows
from neuroframes.recording.signal import Signal

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class SurfaceModel(NetworkModel):
    """A network of `SurfaceSettings`; see `NetworkModel`."""

    preset = "surface"
    states_deviation = False
    format = "neuroframes-model-surface-1"
    settings_class = SurfaceSettings

    settings: SurfaceSettings
    network: SpatiotemporalNeuralFrames

    @property
    def method(self) -> str:
        """What the model does, for sidecars."""
        return (
            "surface model: graph convolutions over the cortical mesh and an LSTM over frames, "
            "given EEG; no uncertainty is stated"
        )

    @property
    def completing(self) -> str:
        return self.method.replace("given EEG", "given EEG and the measured frames")

    @staticmethod
    def draws_for(asked: int) -> int:
        if asked:
            raise InputError(
                f"--draws {asked}, but a model of --preset surface draws nothing and states no standard "
                "deviation; leave --draws out, or use a model of another preset"
            )
        return 0

    def about(self) -> dict[str, Any]:
        return super().about() | {"bands": self.network.encoder.bands}

    @torch.inference_mode()
    def fill_missing(
        self,
        frames: Float32,
        measured: NDArray[np.bool_],
        eeg: Signal,
        times: NDArray[np.float64],
        generator: np.random.Generator,
        *,
        draws: int = 0,
        vertices: NDArray[np.intp] | None = None,
        batch: int = 1,
    ) -> tuple[None, Iterator[Float32]]:
        """Put estimates at the missing frames, in place; see `NetworkModel.fill_missing`.

        Nothing is random: there are neither draws nor a standard deviation.
        """
        eeg, network = self.hear(eeg), self.network
        self.check_grid(times)
        device, length, n_all = network.place.device, network.n_frames, len(network.place)
        vertices = np.arange(n_all) if vertices is None else vertices
        windows = Windows.over(len(frames), length, length // 2)
        chosen = [i for i, window in enumerate(windows.slices) if not measured[window].all()]
        frames[~measured] = 0
        for first in range(0, len(chosen), batch):
            these = chosen[first : first + batch]
            rows = [windows.slices[i] for i in these]
            known = torch.zeros(len(these), length, dtype=torch.bool)
            given = torch.zeros(len(these), n_all, length)
            # A run shorter than a window leaves the window's end unknown.
            for i, row in enumerate(rows):
                size = row.stop - row.start
                known[i, :size] = torch.from_numpy(measured[row])
                given[i, vertices, :size] = torch.from_numpy(np.where(measured[row, None], frames[row], 0).T)
            begin = times[[row.start for row in rows]] - EARLIEST
            around = torch.from_numpy(eeg_windows(eeg.data, eeg.rate, begin, network.n_samples))
            x = network(around.to(device), known.to(device), given.to(device))[:, vertices].cpu()
            for i, row, piece in zip(these, rows, x, strict=True):
                missing = np.flatnonzero(~measured[row])
                share = windows.weights[i, missing].float()
                frames[row.start + missing] += (piece[:, missing] * share).T.numpy()
        return None, iter(())

    @classmethod
    def _untrained(
        cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor], settings: SurfaceSettings
    ) -> SpatiotemporalNeuralFrames:
        with torch.random.fork_rng(devices=[]):
            return SpatiotemporalNeuralFrames(
                settings,
                indices=tensors["graph.indices"],
                values=tensors["graph.values"],
                place=tensors["place"],
                positions=tensors["positions"],
                bands={name: (low, high) for name, (low, high) in dict(about["bands"]).items()},
                tr=about["tr"],
                rate=about["rate"],
            )
