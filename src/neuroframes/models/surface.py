"""The surface model, trained: windows of K frames from EEG and the measured frames among them.

Windows overlap by half and are blended (`diffusion.windows`), so that a gap at the edge of one lies within
another. The model states no uncertainty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.diffusion.windows import Windows
from neuroframes.models.denoiser import EARLIEST
from neuroframes.models.model import Estimate
from neuroframes.models.network_model import NetworkModel, all_vertices
from neuroframes.models.settings import SurfaceSettings
from neuroframes.models.surface_network import SpatiotemporalNeuralFrames
from neuroframes.recording.eeg_windows import eeg_windows
from neuroframes.recording.segments import Segment

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class SurfaceModel(NetworkModel):
    """A network of `SurfaceSettings`; see `NetworkModel`. It states no standard deviation."""

    name = "surface model"
    format = "neuroframes-model-surface-2"
    settings_class = SurfaceSettings

    settings: SurfaceSettings
    network: SpatiotemporalNeuralFrames

    def describe(self, segment: Segment) -> str:
        given = "EEG and the measured frames" if segment.measured.any() else "EEG"
        return (
            "surface model: graph convolutions over the cortical mesh and an LSTM over frames, "
            f"given {given}; no uncertainty is stated"
        )

    @torch.inference_mode()
    def fill(
        self,
        segment: Segment,
        *,
        draws: int = 0,
        generator: np.random.Generator | None = None,
        batch: int = 1,
    ) -> Estimate:
        """As `Model.fill`; `batch` windows are worked on at once. Nothing is random."""
        self.check(eeg=segment.eeg is not None, draws=draws)
        eeg, network, measured = self.check_segment(segment), self.network, segment.measured
        device, length, n_all = network.place.device, network.n_frames, len(network.place)
        vertices = all_vertices(segment)
        windows = Windows.over(len(measured), length, length // 2)
        chosen = [i for i, window in enumerate(windows.slices) if not measured[window].all()]
        number = np.cumsum(~measured) - 1
        filled = np.zeros((int((~measured).sum()), len(vertices)), np.float32)
        for first in range(0, len(chosen), batch):
            these = chosen[first : first + batch]
            rows = [windows.slices[i] for i in these]
            known = torch.zeros(len(these), length, dtype=torch.bool)
            given = torch.zeros(len(these), n_all, length)
            # A run shorter than a window leaves the window's end unknown.
            for i, row in enumerate(rows):
                size, mask = row.stop - row.start, measured[row]
                known[i, :size] = torch.from_numpy(mask)
                given[i, vertices, :size] = torch.from_numpy(
                    np.where(mask[:, None], segment.frames[row], 0).T
                )
            begin = segment.times[[row.start for row in rows]] - EARLIEST
            around = torch.from_numpy(eeg_windows(eeg.data, eeg.rate, begin, network.n_samples))
            x = network(around.to(device), known.to(device), given.to(device))[:, vertices].cpu()
            for i, row, piece in zip(these, rows, x, strict=True):
                missing = np.flatnonzero(~measured[row])
                share = windows.weights[i, missing].float()
                filled[number[row.start + missing]] += (piece[:, missing] * share).T.numpy()
        return Estimate(filled)

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
