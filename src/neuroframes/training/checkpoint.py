"""The state of a training as one safetensors file, without pickle.

The tensors are the file's, and its metadata holds the tree that they belong to as JSON: lists stand for
themselves, {"tuple": [...]}, {"dict": [[key, value], ...]} and {"tensor": name} for what JSON doesn't have.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuroframes.errors import InputError
from neuroframes.files import written_whole

TREE = "tree"


class SafetensorsIO(CheckpointIO):
    """Reads and writes the trainer's state: dicts, lists, tuples, tensors, strings, numbers, None."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write `path` whole, or leave what is there.

        Raises
        ------
        TypeError
            If the state holds anything else; says where.
        """
        tensors: dict[str, Tensor] = {}
        storages: set[int] = set()

        def add(tensor: Tensor) -> str:
            tensor = tensor.detach().cpu().contiguous()
            if tensor.untyped_storage().data_ptr() in storages:  # which safetensors refuses
                tensor = tensor.clone()
            storages.add(tensor.untyped_storage().data_ptr())
            name = str(len(tensors))
            tensors[name] = tensor
            return name

        tree = json.dumps(_encoded(checkpoint, add))
        with written_whole(Path(path), overwrite=True) as temporary:
            save_file(tensors, temporary, {TREE: tree})

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Everything, with tensors on the CPU: the trainer moves them to where it needs them."""
        return dict(read_state(Path(path)))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def read_state(path: Path, *keys: str) -> Any:
    """A branch of the tree, or all of it; no other tensors are read.

    Parameters
    ----------
    path : Path
    *keys : str
        Of the dicts on the way to the branch.

    Raises
    ------
    InputError
        If the file isn't such a state.
    KeyError
        If it has no such branch.
    """
    try:
        with safe_open(path, "pt") as file:
            node = json.loads((file.metadata() or {}).get(TREE, ""))
            for key in keys:
                node = dict(node["dict"])[key]
            return _decoded(node, file.get_tensor)
    except (SafetensorError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is no state of a training; remove it to start anew") from error


def _encoded(value: Any, add: Callable[[Tensor], str], where: str = "state") -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        return {"tensor": add(value)}
    if type(value) in (list, tuple):
        items = [_encoded(item, add, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if isinstance(value, Mapping) and all(isinstance(key, bool | int | str) for key in value):
        return {"dict": [[key, _encoded(item, add, f"{where}[{key!r}]")] for key, item in value.items()]}
    raise TypeError(
        f"{where} is a {type(value).__name__}, which can't be saved; expected a dict with names or integers "
        "as keys, a list, tuple, dense tensor, string, number, path or None"
    )


def _decoded(node: Any, tensor: Callable[[str], Tensor]) -> Any:
    if isinstance(node, list):
        return [_decoded(item, tensor) for item in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensor(content)
    if kind == "tuple":
        return tuple(_decoded(item, tensor) for item in content)
    return {key: _decoded(item, tensor) for key, item in content}
