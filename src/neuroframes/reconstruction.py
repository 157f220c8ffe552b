"""Frames from EEG, and what every command that takes EEG shares."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.completion import drawn_frames, fill_missing
from neuroframes.models.gaussian import GaussianModel, Heard
from neuroframes.recording.eeg import Eeg, channels_there, read_eeg, read_simultaneous_eeg
from neuroframes.recording.timeline import MAX_JITTER, check_covers, frame_times
from neuroframes.report.result import check_result, write_result

logger = logging.getLogger(__name__)


def heard_by(model: GaussianModel, eeg: Eeg, name: str) -> Heard:
    """What the model takes from EEG that was read with the model's settings.

    Channels that the EEG lacks are filled from the others, with a warning that calls the file `name`.
    """
    eeg = channels_there(eeg, model.channels, name)
    return model.hear(eeg)


def heard_at_frames(
    model: GaussianModel,
    path: Path,
    tr: float,
    n_frames: int,
    *,
    trigger: str | None,
    onset: float | None,
    skip_volumes: int,
    within: float | None = None,
) -> tuple[Heard, NDArray[np.float64]]:
    """What a model takes from an EEG file, and the times of a run's frames on its clock, checked against each other."""
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
        closed form, which leaves out how the learned correction varies.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
        Of the draws.
    overwrite : bool

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation, then draws.
    """
    out, eeg = Path(out), Path(eeg)
    if tr is not None and not 0 < tr < np.inf:
        raise InputError(f"a TR of {tr} s was given; expected a positive number of seconds")
    check_draws(draws, save_draws)
    n_draws = draws if save_draws else 0
    trained = GaussianModel.load(Path(model))
    check_result(out, trained.space, overwrite, n_draws=n_draws)
    step = trained.tr if tr is None else tr
    logger.info("reading %s", eeg.name)
    recording = read_eeg(eeg, trigger=trigger, tr=step, **trained.eeg_settings)
    heard = heard_by(trained, recording, eeg.name)
    times = _times(recording, step, tr is None, eeg.name)
    prior, mean = trained.given_eeg(heard, times)
    frames = np.zeros((len(times), trained.space.V), np.float32, order="F")
    nothing = np.zeros(len(times), bool)
    logger.info("reconstructing %d frames", len(times))
    grid, generator = times - times[0], np.random.default_rng(seed)
    drawn = None
    if draws:
        from neuroframes.models.draws import draw_latents, learned

        seen = np.zeros((len(times), trained.prior.autoencoder.n_latents))
        mean_of = learned(trained, heard, times, seen, nothing)
        drawn = draw_latents(prior.latents, mean_of, grid, seen, nothing, draws, generator)
    deviation = fill_missing(prior, frames, nothing, grid, mean, drawn)
    each = (
        drawn_frames(prior, frames, nothing, grid, mean, draw, generator)
        for draw in (() if drawn is None or not save_draws else drawn)
    )
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
        draws=each,
        n_draws=n_draws,
        overwrite=overwrite,
    )


def check_draws(draws: int, save_draws: bool) -> None:
    """Raise InputError where draws are asked for that say nothing."""
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
