"""What is stored of a model: arrays and settings, whole or not at all, and what tells it from others."""

import json

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.models.stored import Stored, digest, read_stored, write_stored

TENSORS = {"one": np.arange(6, dtype=np.float32).reshape(2, 3), "turned": np.arange(6.0).reshape(2, 3).T}


@pytest.fixture
def folder(tmp_path):
    write_stored(tmp_path / "m", "neuroframes-model-kind-7", {"tr": 0.8}, TENSORS, overwrite=False)
    return tmp_path / "m"


def test_arrays_and_settings_come_back(folder):
    stored = read_stored(folder)
    assert stored.path == folder and stored.about["tr"] == 0.8
    assert (stored.format, stored.kind) == ("neuroframes-model-kind-7", "kind")
    for name, tensor in TENSORS.items():
        assert stored.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(stored.tensors[name], tensor)


@pytest.mark.parametrize(
    ("model_format", "kind"),
    [
        ("neuroframes-model-a-b-12", "a-b"),
        ("neuroframes-model-2", ""),
        ("neuroframes-model-paper-x", ""),
        ("other-paper-2", ""),
        (None, ""),
    ],
)
def test_the_kind_is_that_of_the_format(folder, model_format, kind):
    assert Stored(folder, {"format": model_format}, {}).kind == kind


def test_what_goes_wrong_in_making_a_model_of_it_is_damage(folder):
    stored = read_stored(folder)
    damaged = pytest.raises(
        InputError, match=r"m: the model is damaged \(KeyError\('two'\)\); train it again"
    )
    with damaged, stored.opened("neuroframes-model-kind-7"):
        stored.tensors["two"]
    with pytest.raises(InputError, match="^as it is$"), stored.opened("neuroframes-model-kind-7"):
        raise InputError("as it is")
    other = pytest.raises(InputError, match="format neuroframes-model-kind-7, but this version reads other")
    with other, stored.opened("other"):
        raise AssertionError


def test_what_fails_halfway_leaves_nothing(tmp_path):
    def beside(_):
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_stored(tmp_path / "m", "f-1", {}, TENSORS, overwrite=False, beside=beside)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_that_of_the_model_s_files_and_of_nothing_else(folder, tmp_path):
    first = digest(folder)
    assert len(first) == 32 and set(first) <= set("0123456789abcdef")
    moved = folder.rename(tmp_path / "elsewhere")
    assert digest(moved) == first
    write_stored(tmp_path / "again", "neuroframes-model-kind-7", {"tr": 0.8}, TENSORS, overwrite=False)
    assert digest(tmp_path / "again") == first
    (moved / ".DS_Store").write_text("")
    (moved / "evaluation").mkdir()
    assert digest(moved) == first
    others = [({"tr": 0.9}, TENSORS), ({"tr": 0.8}, {**TENSORS, "one": TENSORS["one"] + 1})]
    for number, (about, tensors) in enumerate(others):
        other = tmp_path / f"other-{number}"
        write_stored(other, "neuroframes-model-kind-7", about, tensors, overwrite=False)
        assert digest(other) != first


def test_damage_is_found_before_anything_is_read(folder, tmp_path):
    write_stored(tmp_path / "n", "neuroframes-model-kind-7", {"tr": 0.8}, {}, overwrite=False)
    other = tmp_path / "n" / "model.safetensors"
    # Of an array that wouldn't fit into any memory.
    huge = json.dumps({"one": {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}}).encode()
    for name, content, what in (
        ("model.safetensors", other.read_bytes(), "is damaged"),
        ("model.safetensors", len(huge).to_bytes(8, "little") + huge, "is damaged"),
        ("model.json", b"[" * 100_000, "is damaged"),
        ("correction.json", b"{}", "was not written with the files beside it"),
        ("correction.safetensors", b"", "was not written with the files beside it"),
    ):
        file = folder / name
        before = file.read_bytes() if file.exists() else None
        file.write_bytes(content)
        with pytest.raises(InputError, match=f"{name} {what}.*; make the model again, or copy it again"):
            read_stored(folder)
        file.unlink()
        if before is not None:
            with pytest.raises(InputError, match=f"{name}"):
                read_stored(folder)
            file.write_bytes(before)
    read_stored(folder)
