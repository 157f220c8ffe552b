"""From a store to a model."""

import logging
from pathlib import Path

import numpy as np

from neuroframes.errors import InputError
from neuroframes.files import refuse_existing
from neuroframes.models.gaussian import GaussianModel, fit_backbone
from neuroframes.recording.band_power import check_bands, parse_bands
from neuroframes.recording.segments import load_segments, split_in_time
from neuroframes.recording.store import open_store

logger = logging.getLogger(__name__)


def train(
    store: str | Path,
    *,
    out: str | Path,
    bands: str | None = None,
    latents: int | None = None,
    test_fraction: float = 0.25,
    gap: float = 40.0,
    seed: int = 0,
    overwrite: bool = False,
) -> GaussianModel:
    """Fit a model to the training part of one subject's store and write it.

    Parameters
    ----------
    store : path
        What `prepare` wrote: one subject.
    out : path
        Folder to write the model to.
    bands : str
        Comma-separated names of the bands to use; all by default.
    latents : int
        Size of the autoencoder; by default as many as the frames support.
    test_fraction : float
        Share of the recording, at its end, that is held out for `evaluate`; 0 uses everything.
    gap : float, seconds
        Left out between training and test part of one run.
    seed : int
    overwrite : bool

    Raises
    ------
    InputError
        If the EEG's rate is too low for a band, the recording is too short, or `out` exists.
    """
    out = Path(out)
    refuse_existing(out, overwrite, folder=True, inputs=[Path(store)])
    if latents is not None and latents < 1:
        raise InputError(f"--latents {latents}; expected a positive number")
    recording = open_store(store)
    chosen = parse_bands(bands)
    check_bands(min(run.eeg_rate for run in recording.runs), chosen)
    trs = sorted({round(run.tr, 4) for run in recording.runs})
    if len(trs) > 1:
        raise InputError(
            f"{recording.path.name}: runs differ in TR ({trs} s); prepare them into stores of their own"
        )
    tr = recording.runs[0].tr
    runs = [(run.name, len(run.frame_times), run.tr) for run in recording.runs]
    split = split_in_time(runs, test_fraction, gap)
    logger.info("reading %d parts of %s", len(split.train), recording.path.name)
    segments, scale = load_segments(recording, split.train, chosen)
    prior, with_eeg, eeg = fit_backbone(segments, tr, latents, np.random.default_rng(seed))
    settings = {name: recording.settings[name] for name in ("rate", "l_freq", "reference")}
    model = GaussianModel(
        space=recording.space,
        tr=tr,
        scale=scale,
        prior=prior,
        with_eeg=with_eeg,
        eeg=eeg,
        channels=recording.channels,
        eeg_settings=settings,
        bands=chosen,
        split=split,
    )
    model.save(out, overwrite=overwrite)
    return model
