"""What a CLIP network says of a film's pictures, by weights that lie here: nothing is downloaded."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from neuroframes.errors import InputError, has_torch, said
from neuroframes.recording.video import Course, pictures

WIDEST = 640  # pixels: CLIP's own pictures have about half as many
EVERY = 0.5  # seconds


def clip_features(path: str | Path, weights: str | Path) -> Course:
    """CLIP's embedding of a film's pictures, the first one of each half second.

    Parameters
    ----------
    path : path
        The film.
    weights : path
        Folder with a CLIPModel and its image processor, as Transformers' `save_pretrained` leaves them.

    Raises
    ------
    InputError
        As `film_features`, if there are no such weights, or a package isn't installed.
    """
    if not (find_spec("transformers") and find_spec("PIL") and has_torch()):
        raise InputError(
            "CLIP features take Transformers, Pillow and PyTorch; "
            "pip install transformers pillow 'neuroframes[diffusion]'"
        )
    import torch
    from safetensors import SafetensorError
    from transformers import CLIPImageProcessor, CLIPModel

    path, weights = Path(path), Path(weights)
    expected = "pass a folder with config.json, model.safetensors and preprocessor_config.json of a CLIPModel"
    if not weights.is_dir():
        raise InputError(f"{weights}: no such folder; {expected}")
    try:
        processor = CLIPImageProcessor.from_pretrained(weights, local_files_only=True)
        network, loading = CLIPModel.from_pretrained(weights, local_files_only=True, output_loading_info=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(f"{weights}: can't be read ({said(error)}); {expected}") from error
    if loading["missing_keys"]:  # which Transformers draws at random
        raise InputError(f"{weights} lacks {min(loading['missing_keys'])}; {expected}")
    times, values = list[float](), list[np.ndarray]()
    for time, picture in pictures(path, WIDEST):
        if not times or time // EVERY > times[-1] // EVERY:
            given = processor(images=picture, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                pooled = network.vision_model(pixel_values=given).pooler_output
                values.append(network.visual_projection(pooled)[0].numpy())
            times.append(time)
    return Course(np.array(times), np.array(values, float), tuple(f"CLIP {n}" for n in range(len(values[0]))))
