"""From a store to a model."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroframes.config import PRECISIONS, CorrectionSettings, PaperSettings
from neuroframes.errors import InputError, need_torch
from neuroframes.files import refuse_existing
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.features import eeg_features, whitening
from neuroframes.models.gaussian import GaussianModel, fit_backbone
from neuroframes.recording.band_power import LAST_LAG, check_bands, parse_bands
from neuroframes.recording.segments import Part, Segment, Split, load_segments, split_in_time
from neuroframes.recording.store import Store, open_store

if TYPE_CHECKING:
    from neuroframes.models.paper import PaperModel

logger = logging.getLogger(__name__)

Preset = Literal["default", "gaussian", "paper"]


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
) -> "GaussianModel | PaperModel":
    """Fit a model to the training part of one subject's store and write it.

    Training of networks that was interrupted goes on where it stopped when the same call is repeated.

    Parameters
    ----------
    store : path
        What `prepare` wrote: one subject.
    out : path
        Folder to write the model to.
    preset : {"default", "gaussian", "paper"}
        The Gaussian backbone with a learned correction, the backbone alone, or the published recipe.
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
        If the EEG's rate is too low for a band, the recording is too short, `out` exists, or networks are to
        be trained and PyTorch isn't installed.
    """
    out = Path(out)
    refuse_existing(out, overwrite, folder=True, inputs=[Path(store)])
    if latents is not None and latents < 1:
        raise InputError(f"--latents {latents}; expected a positive number")
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}; choose from {', '.join(PRECISIONS)}")
    if devices < 1:
        raise InputError(f"--devices {devices}; expected at least 1")
    asked = {"width": width, "layers": layers, "epochs": epochs, "members": members}
    changed: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if preset == "gaussian" and changed:
        raise InputError(f"--preset gaussian has no networks, so no {', '.join(changed)}; leave that out")
    if preset != "gaussian":
        need_torch(f"--preset {preset} trains networks, which takes PyTorch and Lightning")
    # Settings are checked before anything is read.
    if preset == "paper":
        if members is not None:
            raise InputError("--preset paper is one network; leave --members out")
        paper = replace(PaperSettings(), **changed | ({} if latents is None else {"latents": latents}))
    else:
        if layers is not None:
            raise InputError("--layers is for --preset paper; leave it out")
        correction = replace(CorrectionSettings(), **changed)
    part = read_training_part(store, bands, test_fraction, gap)
    state = out.with_name(f".{out.name}-training")
    run: dict[str, Any] = {"devices": devices, "precision": precision, "progress": progress, "seed": seed}
    model: GaussianModel | PaperModel
    if preset == "paper":
        model = _paper(part, paper, state, run)
    else:
        model = _backbone(part, latents, correction if preset == "default" else None, state, run)
    if os.environ.get("LOCAL_RANK", "0") != "0":  # one of several processes of this training writes it
        return model
    model.save(out, overwrite=overwrite)
    shutil.rmtree(state, ignore_errors=True)
    return model


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


def training_eeg(store: Store, parts: Sequence[Part]) -> Iterator[tuple[NDArray[np.float32], float]]:
    """EEG (C, N) that the frames of each part are explained by, and its rate: the rest may be held out."""
    runs = {run.name: run for run in store.runs}
    for part in parts:
        run = runs[part.run]
        times = run.frame_times[part.start : part.stop]
        first = max(0, int((times[0] - LAST_LAG) * run.eeg_rate))
        yield run.eeg()[:, first : int(times[-1] * run.eeg_rate) + 1], run.eeg_rate
