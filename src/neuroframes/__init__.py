"""Continuous cortical fMRI frames from EEG and whatever frames were measured."""

from importlib import import_module
from typing import Any

from neuroframes.errors import has_torch, need_torch

__version__ = "0.1.0"

# Where each public name lives; imported when first asked for, so that `import neuroframes` costs nothing.
HOMES = {
    "FrameCompleter": "neuroframes.commands.frame_completer",
    "InputError": "neuroframes.errors",
    "Recording": "neuroframes.commands.recordings",
    "SpatiotemporalNeuralFrames": "neuroframes.models.surface_network",
    "adapt": "neuroframes.commands.adapt",
    "benchmark": "neuroframes.commands.benchmark",
    "check": "neuroframes.commands.check",
    "complete": "neuroframes.commands.complete",
    "decode_fit": "neuroframes.commands.decode",
    "decode_score": "neuroframes.commands.decode",
    "evaluate": "neuroframes.commands.evaluate",
    "export": "neuroframes.commands.export",
    "measured_frames": "neuroframes.report.result",
    "open_store": "neuroframes.recording.store",
    "prepare": "neuroframes.recording.prepare",
    "prior": "neuroframes.commands.prior",
    "read_bold": "neuroframes.recording.bold",
    "read_eeg": "neuroframes.recording.eeg",
    "reconstruct": "neuroframes.commands.reconstruct",
    "resample": "neuroframes.commands.resample",
    "simulate": "neuroframes.recording.simulate",
    "train": "neuroframes.commands.train",
    "view": "neuroframes.report.view",
    "write_bids": "neuroframes.commands.recordings",
}
_NETWORK = "SpatiotemporalNeuralFrames"
# Without PyTorch, `from neuroframes import *` brings the rest.
__all__ = ["__version__", *(name for name in HOMES if name != _NETWORK or has_torch())]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'neuroframes' has no attribute {name!r}")
    if name == _NETWORK:
        need_torch(f"{name} needs PyTorch")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
