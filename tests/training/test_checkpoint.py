"""States come back as they were, are written whole, and what can't be written is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neuroframes.errors import InputError
from neuroframes.training.checkpoint import SafetensorsIO, read_state


def alike(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(alike(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def test_states_come_back_as_they_were(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "dtypes": [torch.ones(2, dtype=d) for d in (torch.float64, torch.bfloat16, torch.int64, torch.bool)],
        "empty": (torch.zeros(0, 3), torch.zeros(0), {}, [], ()),
        "optimizer": {0: {"step": torch.tensor(3.0)}, 1: {"betas": (0.9, 0.999), "fused": None}},
        "keys": {True: 1, "1": 2, "tensor": "0", "dict": [["a", 1]]},
        "numbers": [1, 1.0, 0.1 + 0.2, float("-inf"), 2**60, True, "ä"],
        "memory": [base, base, base.T, base[1:], base[:, 1]],
    }
    SafetensorsIO().save_checkpoint(state, tmp_path / "new" / "state")
    assert alike(SafetensorsIO().load_checkpoint(tmp_path / "new" / "state"), state)
    assert alike(read_state(tmp_path / "new" / "state", "optimizer"), state["optimizer"])
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "state"]


def test_subclasses_become_what_they_are_made_of(tmp_path):
    state = {"module": torch.nn.Linear(2, 1).state_dict(), "path": Path("a/b"), "score": np.float64(0.5)}
    SafetensorsIO().save_checkpoint(state, tmp_path / "state")
    expected = {"module": dict(state["module"]), "path": "a/b", "score": 0.5}
    assert alike(read_state(tmp_path / "state"), expected)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, {"b": np.zeros(2)}]}, r"state\['a'\]\[1\]\['b'\] is a ndarray"),
        ({"a": {1.5: 0}}, r"state\['a'\] is a dict"),
        ({"a": torch.Size([1])}, "is a Size"),
        ({"a": torch.eye(2).to_sparse()}, "is a Tensor, .* dense"),
        ({"a": {1, 2}}, "is a set"),
        ({"a": print}, "builtin_function"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_lost(tmp_path, state, message):
    files = SafetensorsIO()
    files.save_checkpoint({"a": 1}, tmp_path / "state")
    with pytest.raises(TypeError, match=message):
        files.save_checkpoint(state, tmp_path / "state")
    assert files.load_checkpoint(tmp_path / "state") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    def half(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError("the disk is gone")

    files = SafetensorsIO()
    files.save_checkpoint({"a": torch.ones(3)}, tmp_path / "state")
    monkeypatch.setattr("neuroframes.training.checkpoint.save_file", half)
    with pytest.raises(OSError, match="the disk is gone"):
        files.save_checkpoint({"a": torch.zeros(3)}, tmp_path / "state")
    assert torch.equal(read_state(tmp_path / "state", "a"), torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_what_is_no_state_is_refused(tmp_path):
    path = tmp_path / "state"
    for write in (
        lambda: path.write_bytes(b"not this"),
        lambda: path.write_bytes(b""),
        lambda: save_file({"a": torch.ones(1)}, path),
        lambda: save_file({}, path, {"tree": "{"}),
    ):
        write()
        with pytest.raises(InputError, match="no state of a training; remove it"):
            read_state(path)
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "none")
    SafetensorsIO().remove_checkpoint(path)
    assert not path.exists()
