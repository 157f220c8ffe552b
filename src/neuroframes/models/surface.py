"""The surface model, trained: windows of K frames from EEG and the measured frames among them.

Windows overlap by half and are blended (`diffusion.windows`), so that a gap at the edge of one lies within
another. The model states no uncertainty.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroframes.diffusion.windows import Windows
from neuroframes.models.denoiser import EARLIEST
from neuroframes.models.model import Estimate, Origin
from neuroframes.models.network_model import NetworkModel, all_vertices
from neuroframes.models.settings import SurfaceSettings
from neuroframes.models.surface_network import SpatiotemporalNeuralFrames
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import eeg_windows

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
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        """As `Model.fill`. Nothing is random."""
        self.check(eeg=segment.eeg is not None, draws=draws)
        eeg, network, measured = self.check_segment(segment), self.network, segment.measured
        device, length, n_all = network.place.device, network.n_frames, len(network.place)
        vertices = all_vertices(segment)
        windows = Windows.over(len(measured), length, length // 2)
        number = np.cumsum(~measured) - 1
        filled = np.zeros((int((~measured).sum()), len(vertices)), np.float32)
        for window, weights in zip(windows.slices, windows.weights, strict=True):
            mask, missing = measured[window], np.flatnonzero(~measured[window])
            if not len(missing):  # no network is needed to copy what was measured
                continue
            # A run shorter than a window leaves the window's end unknown.
            known = torch.zeros(1, length, dtype=torch.bool)
            known[0, : len(mask)] = torch.from_numpy(mask)
            given = torch.zeros(1, n_all, length)
            given[0, vertices, : len(mask)] = torch.from_numpy(np.where(mask, segment.frames[window].T, 0))
            begin = segment.times[[window.start]] - EARLIEST
            around = torch.from_numpy(eeg_windows(eeg.data, eeg.rate, begin, network.n_samples))
            x = network(around.to(device), known.to(device), given.to(device))[0, vertices].cpu()
            filled[number[window.start + missing]] += (x[:, missing] * weights[missing].float()).T.numpy()
        return Estimate(filled)

    @classmethod
    def _untrained(
        cls, settings: SurfaceSettings, origin: Origin, rate: float, tensors: Mapping[str, Tensor]
    ) -> SpatiotemporalNeuralFrames:
        graph = tensors["graph.indices"], tensors["graph.values"]
        at = tensors["place"], tensors["positions"]
        with torch.random.fork_rng(devices=[]):
            return SpatiotemporalNeuralFrames(settings, *graph, *at, origin.bands, origin.tr, rate)
