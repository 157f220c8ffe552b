"""Frames from EEG, and what every command that takes EEG shares."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, need_torch
from neuroframes.frames.completion import each_draw, fill_missing
from neuroframes.models.gaussian import GaussianModel, Heard
from neuroframes.models.load import load_model
from neuroframes.recording.eeg import Eeg, channels_there, check_channels, read_eeg, read_simultaneous_eeg
from neuroframes.recording.timeline import MAX_JITTER, check_covers, frame_times
from neuroframes.report.result import check_result, write_result

if TYPE_CHECKING:
    from neuroframes.models.network_model import NetworkModel

logger = logging.getLogger(__name__)


def heard_by(model: "GaussianModel | NetworkModel", eeg: Eeg, name: str) -> Any:
    """What the model takes from EEG that was read with the model's settings.

    Channels that the EEG lacks are filled from the others, with a warning that calls the file `name`; models
    that are a network alone need them all.
    """
    if not isinstance(model, GaussianModel):
        return model.hear(check_channels(eeg, model.channels, "the model"))
    eeg = channels_there(eeg, model.channels, name)
    return model.hear(eeg)


def heard_at_frames(
    model: "GaussianModel | NetworkModel",
    path: Path,
    tr: float,
    n_frames: int,
    *,
    trigger: str | None,
    onset: float | None,
    skip_volumes: int,
    within: float | None = None,
) -> tuple[Any, NDArray[np.float64]]:
    """What a model takes from an EEG file, and times of a run's frames, checked against each other."""
    eeg = read_simultaneous_eeg(path, trigger=trigger, onset=onset, tr=tr, **model.eeg_settings)
    times = frame_times(
        eeg.triggers, tr, n_frames, onset=onset, skip=skip_volumes, within=within, name=path.name
    )
    check_covers(times, tr, eeg.duration, path.name)
    return heard_by(model, eeg, path.name), times


def reconstruct(
    model: str | Path,
    *,
    eeg: str | Path,
    out: str | Path,
    tr: float | None = None,
    trigger: str | None = "auto",
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Frames from EEG alone, at the volume triggers or every `tr` seconds.

    Parameters
    ----------
    model : path
        What `train` wrote.
    eeg : path
        Any format that MNE reads, with at least a quarter of the model's channels.
    out : path
        Image in the format that the model was trained on. Its values are in standard deviations of each
        vertex about its mean in the training part (z), which is all that EEG can tell.
    tr : float, seconds
        Step between frames; the model's if None. Where the volume triggers have it, frames are at them;
        another step counts from the first trigger to the end of the last volume, or without triggers from the
        EEG's start.
    trigger : str
        Description of the volume triggers, "auto", or "none".
    draws : int
        Take the standard deviation from so many draws of the posterior, at least 2; by default it is in
        closed form, which leaves out how the learned correction varies. The mean of a model of the
        paper's recipe is the draws' as well, of 16 by default.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
        Of the draws.
    overwrite : bool

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation where the model states one, then draws.
    """
    out, eeg = Path(out), Path(eeg)
    if tr is not None and not 0 < tr < np.inf:
        raise InputError(f"a TR of {tr} s was given; expected a positive number of seconds")
    check_draws(draws, save_draws)
    n_draws = draws if save_draws else 0
    trained = load_model(Path(model))
    if not isinstance(trained, GaussianModel):
        draws = trained.draws_for(draws)
    check_result(out, trained.space, overwrite, n_draws=n_draws)
    step = trained.tr if tr is None else tr
    logger.info("reading %s", eeg.name)
    recording = read_eeg(eeg, trigger=trigger, tr=step, **trained.eeg_settings)
    heard = heard_by(trained, recording, eeg.name)
    times = _times(recording, step, tr is None, eeg.name)
    frames = np.zeros((len(times), trained.space.V), np.float32, order="F")
    nothing = np.zeros(len(times), bool)
    logger.info("reconstructing %d frames", len(times))
    generator = np.random.default_rng(seed)
    deviation: NDArray[np.float32] | None
    if isinstance(trained, GaussianModel):
        deviation, drawn = _posterior(trained, heard, times, frames, draws, generator)
    else:
        deviation, drawn = trained.fill_missing(frames, nothing, heard, times, generator, draws=draws)
    about = {
        "Description": "fMRI frames reconstructed from EEG alone: estimates, not measurements.",
        "Units": "standard deviations of each vertex about its training mean (z)",
        "Sources": [eeg.name],
        "NeuroframesModel": str(model),
        "NeuroframesMethod": trained.method + (f"; standard deviation of {draws} draws" if draws else ""),
    }
    start = float(times[0] - step / 2)
    return write_result(
        out,
        frames,
        deviation,
        trained.space,
        tr=step,
        start=start,
        measured=nothing,
        about=about,
        draws=drawn if save_draws else (),
        n_draws=n_draws,
        overwrite=overwrite,
    )


def _posterior(
    model: GaussianModel,
    heard: Heard,
    times: NDArray[np.float64],
    frames: NDArray[np.float32],
    draws: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float32], Iterator[NDArray[np.float32]]]:
    """Put the posterior mean into frames (K, V); returns its standard deviation, and draws (K, V)."""
    prior, mean = model.given_eeg(heard, times)
    nothing, grid = np.zeros(len(times), bool), times - times[0]
    if not draws:
        return fill_missing(prior, frames, nothing, grid, mean), iter(())
    from neuroframes.models.draws import draw_latents, learned

    seen = np.zeros((len(times), model.prior.autoencoder.n_latents))
    mean_of = learned(model, heard, times, seen, nothing)
    drawn = draw_latents(prior.latents, mean_of, grid, seen, nothing, draws, generator)
    deviation = fill_missing(prior, frames, nothing, grid, mean, drawn)
    return deviation, each_draw(prior, frames, nothing, grid, mean, drawn, generator)


def check_draws(draws: int, save_draws: bool) -> None:
    """Raise InputError where draws are asked for that say nothing."""
    if draws:
        need_torch("--draws takes PyTorch")
    if draws < 0 or draws == 1 or (save_draws and not draws):
        raise InputError(
            f"--draws {draws}{' with --save-draws' if save_draws else ''}; expected at least 2, or 0 for none"
        )


def _times(eeg: Eeg, step: float, at_triggers: bool, name: str) -> NDArray[np.float64]:
    """Frame times: at the triggers, or every `step` seconds while the scanner ran, or throughout.

    Whoever asks for another step than the triggers have wants frames in between.
    """
    triggers = eeg.triggers
    tr = float(np.median(np.diff(triggers))) if len(triggers) > 1 else step
    if len(triggers) and (at_triggers or abs(tr - step) <= MAX_JITTER * step):
        return frame_times(triggers, step, len(triggers), name=name)
    start, stop = 0.0, eeg.duration
    if len(triggers):
        start, stop = float(triggers[0]), min(float(triggers[-1]) + tr, stop)
    # All whose centre lies inside.
    times = start + step / 2 + step * np.arange(int((stop - start) / step + 0.5), dtype=np.float64)
    if not len(times):
        raise InputError(
            f"{name}: {stop - start:.1f} s of EEG hold no frame of {step:g} s; pass a shorter --tr"
        )
    return times
