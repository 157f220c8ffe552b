"""From a store to a model."""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from neuroframes.errors import InputError, check_list, check_number
from neuroframes.files import refuse_existing, writes_alone
from neuroframes.models.settings import PRECISIONS
from neuroframes.registry import ACROSS, ACROSS_NETWORKS, PRESETS, check_fits, fit, settings_of
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    from neuroframes.models.model import TrainedModel

logger = logging.getLogger(__name__)

Preset = Literal["default", "gaussian", "paper", "surface"]
Response = Literal["auto", "haemodynamic", "free", "convolved"]


@few_threads
@writes_alone
def train(
    stores: Sequence[Path],
    *,
    out: Path,
    preset: Preset | None = None,
    bands: str | None = None,
    latents: int | None = None,
    response: Response = "auto",
    width: int | None = None,
    layers: int | None = None,
    epochs: int | None = None,
    members: int | None = None,
    test_fraction: float | None = None,
    test_session: str | None = None,
    gap: float | None = None,
    devices: int = 1,
    precision: str = "32-true",
    progress: bool = True,
    seed: int = 0,
    overwrite: bool = False,
) -> "TrainedModel":
    """Fit a model to the training part of one person's store, or to all of several people's, and write it.

    Training of networks that was interrupted goes on where it stopped when the same call is repeated.

    Parameters
    ----------
    stores : paths
        What prepare wrote for one person, or for each of several: then the model is one across people.
    out : path
        Folder of the model.
    preset : {"default", "gaussian", "paper", "surface"}
        The Gaussian backbone with a learned correction, the backbone alone, the published recipe, or graph
        convolutions over the cortical mesh; by default the first of one person, the second of several.
    bands : str
        Frequency bands of raw EEG, some of delta,theta,alpha,beta,gamma; all by default.
    latents : int
        Size of the autoencoder; by default what the frames support, or the paper's.
    response : {"auto", "haemodynamic", "free", "convolved"}
        What is known of the backbone's response of frames to EEG: a peak after 3 to 9 s, nothing but that it
        is smooth over 20 s, or that features of each frame are convolved with one already, so that frames
        follow them at once; auto chooses by left-out error.
    width : int
        Width of the networks; the preset's by default.
    layers : int
        Layers of the paper's network.
    epochs : int
        Most epochs that networks are trained for; the preset's by default.
    members : int
        Number of networks that are averaged.
    test_fraction : float
        Share of one person's recording, at its end, that is held out for evaluate; by default a quarter, 0
        uses everything.
    test_session : str
        Labels of sessions (BIDS `ses-`), comma-separated, that are held out in place of the end.
    gap : float, seconds
        Time that is left out between training and test part of one run; by default 40.
    devices : int
        GPUs or processes to train networks on.
    precision : str
        Precision of training networks, by Lightning's names: 32-true, bf16-mixed, 16-mixed.
    progress : bool
        Show a bar while networks are trained.
    seed : int
        Seed of everything that is random.
    overwrite : bool
        Replace the output if it exists.

    Raises
    ------
    InputError
        If the EEG's rate is too low for a band, the recording is too short, there is no such session, `out`
        exists, networks are to be trained and PyTorch isn't installed, a preset needs a mesh and the space
        has none, or raw EEG where the store has features of each frame, or something is to be held out of
        several people.
    """
    check_list(stores, "stores")
    out, paths = Path(out), [Path(store) for store in stores]
    refuse_existing(out, overwrite, folder="model.json", inputs=paths)
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}; choose from {', '.join(PRECISIONS)}")
    devices = int(check_number(devices, "--devices", at_least=1, whole=True))
    seed = int(check_number(seed, "--seed", at_least=0, whole=True))
    sizes: dict[str, Any] = {"latents": latents, "width": width, "layers": layers, "epochs": epochs}
    sizes |= {"members": members, "response": None if response == "auto" else response}
    given = {name: value for name, value in sizes.items() if value is not None}

    from neuroframes.recording.band_power import parse_bands
    from neuroframes.recording.segments import split_of
    from neuroframes.recording.store import open_store
    from neuroframes.training.part import read_people, read_training_part

    if not paths:
        raise InputError("no store; pass what prepare wrote for one person, or for each of several")
    several = len(paths) > 1
    preset = preset or ("gaussian" if several else "default")
    across = {"default": ACROSS_NETWORKS, "gaussian": ACROSS}
    if several and preset not in across:
        raise InputError(f"--preset {preset} is of one person; pass one store, or --preset gaussian")
    if several and (test_fraction, test_session, gap) != (None, None, None):
        raise InputError(
            "--test-fraction, --test-session and --gap hold out a part of one person; leave them out: "
            "evaluate leaves whole people out of several stores"
        )
    recordings = [open_store(path) for path in paths]
    raw = not recordings[0].features
    settings_of(preset, given)  # checked before any data are read
    method = across[preset] if several else PRESETS[preset]
    check_fits(method, recordings[0].space, several=several, raw=raw)
    if bands is not None and not raw:
        raise InputError(f"--bands: {paths[0].name} has features of each frame, with no bands; leave it out")
    if several:
        part = read_people(recordings, parse_bands(bands))
    else:
        runs = [(run.name, len(run.frame_times), run.tr) for run in recordings[0].runs]
        split = split_of(runs, test_fraction, test_session, gap)
        part = read_training_part(recordings[0], split, parse_bands(bands))
    state = out.with_name(f".{out.name}-training")
    run: dict[str, Any] = {"devices": devices, "precision": precision, "progress": progress}
    model = cast("TrainedModel", fit(method, part, given, state=state, seed=seed, **run))
    if latents is not None and model.n_latents is not None and model.n_latents < latents:
        logger.warning("--latents %d, but these frames have no more than %d", latents, model.n_latents)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # one of several processes of this training writes it
        return model
    model.save(out, overwrite=overwrite)
    shutil.rmtree(state, ignore_errors=True)
    return model
