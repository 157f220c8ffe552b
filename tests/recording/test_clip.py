"""CLIP's embeddings: those of the network that was given, and nothing from elsewhere."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.clip import clip_features
from neuroframes.recording.simulated_film import write_film
from neuroframes.recording.video import pictures

has_transformers = importlib.util.find_spec("transformers") is not None
needs_transformers = pytest.mark.skipif(not has_transformers, reason="Transformers isn't installed")


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_film(path, np.array([[-1.0, -1.5, 0.0], [1.5, 1.5, 0.0]]), 3.0)
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    """A CLIP of one layer and 8 features, drawn at random."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    layer = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    picture = {**layer, "image_size": 32, "patch_size": 16}
    words = {**layer, "vocab_size": 9, "max_position_embeddings": 8, "eos_token_id": 1}
    torch.manual_seed(0)
    network = CLIPModel(CLIPConfig(vision_config=picture, text_config=words, projection_dim=8))
    network.save_pretrained(tmp_path / "clip")
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@needs_transformers
@pytest.mark.filterwarnings("ignore")  # Transformers' own
def test_embeddings_are_the_networks(film, weights):
    import torch
    from transformers import CLIPImageProcessor, CLIPModel

    course = clip_features(film, weights)
    np.testing.assert_allclose(course.times, [0, 0.6, 1, 1.6, 2, 2.6])
    assert course.values.shape == (6, 8) and course.names[-1] == "CLIP 7"
    network, processor = (kind.from_pretrained(weights) for kind in (CLIPModel, CLIPImageProcessor))
    shown = [picture for time, picture in pictures(film, 640) if np.isclose(time, course.times).any()]
    given = processor(images=shown, return_tensors="pt")
    with torch.inference_mode():
        expected = network.get_image_features(**given)
    expected = getattr(expected, "pooler_output", expected)
    np.testing.assert_allclose(course.values, expected.numpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(course.values[0] - course.values[-1]).max() > 0.01


@needs_transformers
@pytest.mark.filterwarnings("ignore")
def test_other_folders_are_refused(film, weights, tmp_path):
    for folder in (tmp_path / "none", "openai/clip-vit-base-patch32"):
        with pytest.raises(InputError, match="no such folder; pass a folder with config.json"):
            clip_features(film, folder)
    (weights / "preprocessor_config.json").rename(tmp_path / "kept.json")
    with pytest.raises(InputError, match="clip: can't be read .*; pass a folder with"):
        clip_features(film, weights)
    (tmp_path / "kept.json").rename(weights / "preprocessor_config.json")
    # Of another network: what it lacks must not be drawn at random.
    config = json.loads((weights / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 2
    (weights / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="clip lacks vision_model.*layers.1"):
        clip_features(film, weights)
    (weights / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="clip: can't be read"):
        clip_features(film, weights)


def test_without_transformers_it_says_what_to_install(film, tmp_path, monkeypatch):
    monkeypatch.setattr("neuroframes.recording.clip.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install transformers pillow 'neuroframes\[diffusion\]'"):
        clip_features(film, tmp_path)
