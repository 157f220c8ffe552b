"""Where networks are applied, and their gates fitted."""

import torch


def default_device() -> str:
    """The GPU if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"
