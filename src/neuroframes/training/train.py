"""From a store to a model."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroframes.config import PRECISIONS, CorrectionSettings, PaperSettings, SurfaceSettings
from neuroframes.cortex.mesh import MESH_SIZES
from neuroframes.errors import InputError, need_torch
from neuroframes.files import refuse_existing
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.features import eeg_features, whitening
from neuroframes.models.gaussian import GaussianModel, fit_backbone
from neuroframes.recording.band_power import LAST_LAG, check_bands, parse_bands
from neuroframes.recording.segments import Part, Segment, Split, load_segments, split_in_time
from neuroframes.recording.store import Store, open_store

if TYPE_CHECKING:
    from neuroframes.models.network_model import NetworkModel
    from neuroframes.models.paper import PaperModel
    from neuroframes.models.surface import SurfaceModel

logger = logging.getLogger(__name__)

Preset = Literal["default", "gaussian", "paper", "surface"]


@dataclass(frozen=True)
class TrainingPart:
    """What every preset is fitted to.

    Attributes
    ----------
    store : Store
    split : Split
    segments : list of Segment
    scale : array, shape (V,), standard deviation of each vertex
    bands : dict from name to (low, high), Hz
    tr : float, seconds
    eeg_settings : dict, how the EEG was read
    """

    store: Store
    split: Split
    segments: list[Segment]
    scale: NDArray[np.float32]
    bands: dict[str, tuple[float, float]]
    tr: float
    eeg_settings: dict[str, Any]


def train(
    store: str | Path,
    *,
    out: str | Path,
    preset: Preset = "default",
    bands: str | None = None,
    latents: int | None = None,
    width: int | None = None,
    layers: int | None = None,
    epochs: int | None = None,
    members: int | None = None,
    test_fraction: float = 0.25,
    gap: float = 40.0,
    devices: int = 1,
    precision: str = "32-true",
    progress: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> "GaussianModel | NetworkModel":
    """Fit a model to the training part of one subject's store and write it.

    Training of networks that was interrupted goes on where it stopped when the same call is repeated.

    Parameters
    ----------
    store : path
        What `prepare` wrote: one subject.
    out : path
        Folder to write the model to.
    preset : {"default", "gaussian", "paper", "surface"}
        The Gaussian backbone with a learned correction, the backbone alone, the published recipe, or graph
        convolutions over the cortical mesh.
    bands : str
        Comma-separated names of the bands to use; all by default.
    latents : int
        Size of the autoencoder; by default as many as the frames support, or the paper's.
    width, epochs, members : int
        Of the networks, where they are to differ from the preset's; see `neuroframes.config`.
    layers : int
        Of the paper's network.
    test_fraction : float
        Share of the recording, at its end, that is held out for `evaluate`; 0 uses everything.
    gap : float, seconds
        Left out between training and test part of one run.
    devices, precision
        See `lightning.Trainer`.
    progress : bool
        Show a bar while networks are trained.
    seed : int
    overwrite : bool

    Raises
    ------
    InputError
        If the EEG's rate is too low for a band, the recording is too short, `out` exists, networks are to be
        trained and PyTorch isn't installed, or --preset surface meets a space without a mesh.
    """
    out = Path(out)
    refuse_existing(out, overwrite, folder=True, inputs=[Path(store)])
    if latents is not None and latents < 1:
        raise InputError(f"--latents {latents}; expected a positive number")
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}; choose from {', '.join(PRECISIONS)}")
    if devices < 1:
        raise InputError(f"--devices {devices}; expected at least 1")
    sizes = {"latents": latents, "width": width, "layers": layers, "epochs": epochs, "members": members}
    settings_of(preset, sizes)  # checked before anything is read
    if preset == "surface":
        check_mesh(open_store(store))
    part = read_training_part(store, bands, test_fraction, gap)
    state = out.with_name(f".{out.name}-training")
    options: dict[str, Any] = {**sizes, "devices": devices, "precision": precision, "progress": progress}
    model = fit(part, preset=preset, state=state, seed=seed, **options)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # one of several processes of this training writes it
        return model
    model.save(out, overwrite=overwrite)
    shutil.rmtree(state, ignore_errors=True)
    return model


def fit(
    part: TrainingPart,
    *,
    preset: Preset,
    state: Path,
    seed: int = 0,
    devices: int = 1,
    precision: str = "32-true",
    progress: bool = False,
    **sizes: int | None,
) -> "GaussianModel | NetworkModel":
    """Fit a model to a training part; see `train`.

    Parameters
    ----------
    part : TrainingPart
    preset, seed, devices, precision, progress : as in `train`
    state : Path
        Folder for the state of training, from which it goes on; to be removed once the model is written.
    **sizes : latents, width, layers, epochs, members
        As in `train`, where they are to differ from the preset's.
    """
    settings = settings_of(preset, sizes)
    run = {"devices": devices, "precision": precision, "progress": progress, "seed": seed}
    if isinstance(settings, PaperSettings):
        return _paper(part, settings, state, run)
    if isinstance(settings, SurfaceSettings):
        return _surface(part, settings, state, run)
    return _backbone(part, sizes.get("latents"), settings, state, run)


def settings_of(
    preset: Preset, sizes: Mapping[str, int | None]
) -> PaperSettings | SurfaceSettings | CorrectionSettings | None:
    """A preset's settings of its networks, with other sizes where they are asked for; None of "gaussian".

    Raises
    ------
    InputError
        If a size isn't one of the preset's, or PyTorch is needed and isn't installed.
    """
    changed: dict[str, Any] = {name: value for name, value in sizes.items() if value is not None}
    if preset in ("default", "gaussian"):
        changed.pop("latents", None)  # the autoencoder's
    if preset == "gaussian":
        if changed:
            raise InputError(f"--preset gaussian has no networks, so no {', '.join(changed)}; leave that out")
        return None
    need_torch(f"--preset {preset} trains networks, which takes PyTorch and Lightning")
    if preset != "default" and "members" in changed:
        raise InputError(f"--preset {preset} is one network; leave --members out")
    if preset != "paper" and "layers" in changed:
        raise InputError("--layers is for --preset paper; leave it out")
    if preset == "paper":
        return replace(PaperSettings(), **changed)
    if preset == "default":
        return replace(CorrectionSettings(), **changed)
    if "latents" in changed:
        raise InputError("--preset surface has no autoencoder, so no latents; leave --latents out")
    return replace(SurfaceSettings(), **changed)


def check_mesh(store: Store) -> None:
    """Raise InputError unless the store's space has a cortical mesh."""
    if store.space.name not in MESH_SIZES:
        raise InputError(
            f"{store.path.name}: --preset surface needs a cortical mesh, and there is none of the space "
            f"{store.space.name}; prepare frames on {' or '.join(MESH_SIZES)}, or use another preset"
        )


def read_training_part(
    store: str | Path, bands: str | None, test_fraction: float, gap: float
) -> TrainingPart:
    """Open a store, check that one model can serve all of its runs, split it and read what is trained on."""
    recording = open_store(store)
    chosen = parse_bands(bands)
    check_bands(min(run.eeg_rate for run in recording.runs), chosen)
    for what, values in (
        ("TR", {round(run.tr, 4) for run in recording.runs}),
        ("EEG rate", {run.eeg_rate for run in recording.runs}),
    ):
        if len(values) > 1:
            raise InputError(
                f"{recording.path.name}: runs differ in {what} ({sorted(values)}); "
                "prepare them into stores of their own"
            )
    runs = [(run.name, len(run.frame_times), run.tr) for run in recording.runs]
    split = split_in_time(runs, test_fraction, gap)
    logger.info("reading %d parts of %s", len(split.train), recording.path.name)
    segments, scale = load_segments(recording, split.train, chosen)
    settings = {name: recording.settings[name] for name in ("rate", "l_freq", "reference")}
    return TrainingPart(recording, split, segments, scale, chosen, recording.runs[0].tr, settings)


def _backbone(
    part: TrainingPart,
    latents: int | None,
    correction: CorrectionSettings | None,
    state: Path,
    run: dict[str, Any],
) -> GaussianModel:
    """The Gaussian backbone, and what is learned beside it where settings for that are given."""
    covariance = ChannelCovariance.fit(
        training_eeg(part.store, part.split.train),
        part.store.channels,
        part.bands,
        average=part.eeg_settings["reference"] == "average",
    )
    filters = whitening(covariance.total)
    powers = {
        segment.run: eeg_features(segment.eeg.data, segment.eeg.rate, part.bands, filters)
        for segment in part.segments
        if segment.eeg is not None
    }
    backbone = fit_backbone(
        part.segments,
        [powers[segment.run] for segment in part.segments],
        len(part.bands),
        part.tr,
        latents,
        np.random.default_rng(run["seed"]),
    )
    model = GaussianModel(
        space=part.store.space,
        tr=part.tr,
        scale=part.scale,
        prior=backbone.prior,
        with_eeg=backbone.with_eeg,
        eeg=backbone.eeg,
        channel_covariance=covariance,
        eeg_settings=part.eeg_settings,
        bands=part.bands,
        split=part.split,
    )
    if correction is None:
        return model
    from neuroframes.training.correction import fit_correction

    learned = fit_correction(
        part.segments,
        backbone,
        part.store.positions,
        filters,
        part.bands,
        correction,
        part.tr,
        part.split.gap,
        folder=state,
        **run,
    )
    return replace(model, correction=learned)


def _paper(part: TrainingPart, settings: PaperSettings, state: Path, run: dict[str, Any]) -> "PaperModel":
    from neuroframes.models.paper import PaperModel
    from neuroframes.training.paper import fit_paper

    signals = [segment.eeg for segment in part.segments if segment.eeg is not None]
    rate = signals[0].rate
    network = fit_paper(
        part.segments,
        [signal.data for signal in signals],
        rate,
        part.tr,
        settings,
        checkpoints=state,
        **run,
    )
    return PaperModel(
        settings=settings,
        network=network,
        space=part.store.space,
        tr=part.tr,
        rate=rate,
        scale=part.scale,
        channels=part.store.channels,
        eeg_settings=part.eeg_settings,
        split=part.split,
    )


def _surface(
    part: TrainingPart, settings: SurfaceSettings, state: Path, run: dict[str, Any]
) -> "SurfaceModel":
    from neuroframes.models.surface import SurfaceModel
    from neuroframes.training.surface import fit_surface

    check_mesh(part.store)
    network = fit_surface(
        part.segments,
        part.store.space,
        part.store.positions,
        part.bands,
        settings,
        part.tr,
        part.split.gap,
        folder=state,
        **run,
    )
    return SurfaceModel(
        settings=settings,
        network=network,
        space=part.store.space,
        tr=part.tr,
        rate=network.rate,
        scale=part.scale,
        channels=part.store.channels,
        eeg_settings=part.eeg_settings,
        split=part.split,
    )


def training_eeg(store: Store, parts: Sequence[Part]) -> Iterator[tuple[NDArray[np.float32], float]]:
    """EEG (C, N) that the frames of each part are explained by, and its rate: the rest may be held out."""
    runs = {run.name: run for run in store.runs}
    for part in parts:
        run = runs[part.run]
        times = run.frame_times[part.start : part.stop]
        first = max(0, int((times[0] - LAST_LAG) * run.eeg_rate))
        yield run.eeg()[:, first : int(times[-1] * run.eeg_rate) + 1], run.eeg_rate
