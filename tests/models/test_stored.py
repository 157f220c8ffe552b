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
    for change in (
        lambda: (moved / "model.json").write_text(json.dumps({"tr": 0.9})),
        lambda: (moved / "correction.json").write_text("{}"),
        lambda: (moved / "correction.json").rename(moved / "correction.safetensors"),
    ):
        change()
        assert digest(moved) != first
        first = digest(moved)
