"""Frames from EEG alone."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroframes.commands.run import Draws, check_reads_eeg, features_of, with_channels_of
from neuroframes.errors import InputError, check_number
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from neuroframes.recording.eeg import Eeg
    from neuroframes.recording.features import Features

logger = logging.getLogger(__name__)


@few_threads
def reconstruct(
    model: str | Path,
    *,
    eeg: str | Path | Any,
    out: str | Path,
    tr: float | None = None,
    trigger: str | None = "auto",
    onset: float | None = None,
    draws: int = 0,
    save_draws: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Frames from EEG alone, at the volume triggers or every TR.

    Parameters
    ----------
    model : path
        What train wrote.
    eeg : path
        Any format that MNE reads, or in Python its object, with at least a quarter of the model's channels,
        or for one across people known positions; or, for a model of such, a table of features of each frame
        (.tsv, .npz, .parquet, .mat).
    out : path
        Image to write, in the format that the model was trained on. Its values are in standard deviations of
        each vertex about its mean in the training part, of a model across people over a run (z), which is all
        that EEG can tell.
    tr : float, seconds
        Step between frames; the model's by default. Where the volume triggers have it, frames are at them,
        and go on where these pause; another step counts from the first trigger to the end of the last
        volume. From a trigger that is the only one, and without triggers from the onset, frames go on to the
        EEG's end.
    trigger : str
        Description of the volume triggers, auto, or none.
    onset : float, seconds
        Time from the EEG's start to the first frame's where there are no triggers; 0 by default.
    draws : int
        Take the standard deviation from so many draws of the posterior, at least 2; by default it is in
        closed form, which leaves out how a learned correction varies. The mean of a model of the
        paper's recipe is the draws' as well, of 16 by default.
    save_draws : bool
        Write the draws too, each an image of its own.
    seed : int
        Seed of the draws.
    overwrite : bool
        Replace the output if it exists.

    Returns
    -------
    tuple of Path
        Images written: frames, their standard deviation where the model states one, then draws.
    """
    import numpy as np

    from neuroframes.models.stored import digest
    from neuroframes.recording.eeg import eeg_path, read_eeg
    from neuroframes.recording.features import refuse_options
    from neuroframes.recording.segments import Segment
    from neuroframes.registry import load_model
    from neuroframes.report.result import check_result, write_result

    model, file, out = Path(model), eeg_path(eeg), Path(out)
    tr = None if tr is None else check_number(tr, "--tr", above=0)
    asked = Draws.asked(draws, save_draws, seed)
    draws, seed = asked.number, asked.seed
    trained = load_model(model)
    trained.check(eeg=True, draws=draws)
    check_reads_eeg(trained)
    space = trained.origin.space
    check_result(out, space, overwrite, n_draws=asked.saved)
    step = trained.origin.tr if tr is None else tr
    logger.info("reading %s", file.name)
    if (table := features_of(trained, file)) is not None:
        refuse_options(file, reconstruct, {"trigger": trigger, "onset": onset})
        times, signal, power = _times(table, step, tr is None, 0.0, file.name), None, table.power
    else:
        recording = read_eeg(eeg, trigger=trigger, tr=trained.origin.tr, **trained.origin.eeg_settings)
        begin = check_number(onset or 0.0, "--onset", at_least=0, below=recording.duration)
        if onset is not None and recording.triggers.size:
            logger.warning("%s: frames are at the volume triggers; the onset isn't used", file.name)
        elif onset is None and trigger is not None and not recording.triggers.size:
            logger.warning("%s: no volume triggers; frames are counted from the EEG's start", file.name)
        times, power = _times(recording, step, tr is None, begin, file.name), None
        signal = with_channels_of(trained, recording, file.name)
    nothing = np.zeros(len(times), bool)
    frames = np.broadcast_to(np.float32(0), (len(times), space.V))
    segment = Segment(frames, times, times - times[0], nothing, power, file.name, signal)
    logger.info("reconstructing %d frames", len(times))
    of_run = trained.for_run(segment)
    estimate = of_run.fill(segment, draws=draws, generator=asked.generator)
    of = "over a run, as of the people of the model" if trained.scaled_by_run else "in the training part"
    about: dict[str, Any] = {
        "Description": "fMRI frames reconstructed from EEG alone: estimates, not measurements.",
        "Units": f"standard deviations of each {space.place} about its mean {of} (z)",
        "NeuroframesUnits": "z",
        "Sources": [file.name],
        "NeuroframesModel": str(model),
        "NeuroframesModelDigest": digest(model),
        "NeuroframesMethod": of_run.describe(segment) + asked.note,
        "NeuroframesOptions": {
            "tr": tr,
            "trigger": trigger,
            "onset": onset,
            "draws": draws,
            "seed": seed if draws else None,
        },
    }
    return write_result(
        out,
        estimate.mean,
        estimate.std,
        space,
        tr=step,
        start=float(times[0] - step / 2),
        measured=nothing,
        about=about,
        draws=estimate.draws if asked.saved else (),
        n_draws=asked.saved,
        overwrite=overwrite,
    )


def _times(
    eeg: "Eeg | Features", step: float, at_triggers: bool, onset: float, name: str
) -> "NDArray[np.float64]":
    """Frame times: at the triggers, or every `step` seconds while the scanner ran, or from `onset` on.

    Whoever asks for another step than the triggers have wants frames in between.
    """
    import numpy as np

    from neuroframes.recording.timeline import MAX_JITTER, acquired_at, frame_times

    triggers = eeg.triggers
    tr = float(np.median(np.diff(triggers))) if len(triggers) > 1 else step
    if len(triggers) > 1 and (at_triggers or abs(tr - step) <= MAX_JITTER * step):
        acquired = acquired_at(triggers, step)
        if lacking := int((~acquired).sum()):
            logger.info("%s: %d frames where volume triggers pause", name, lacking)
        return frame_times(triggers, step, len(acquired), acquired=acquired, name=name)
    start, stop = onset, eeg.duration
    if len(triggers):
        start = float(triggers[0])
    if len(triggers) > 1:
        stop = min(float(triggers[-1]) + tr, stop)
    # All whose centre lies inside.
    times = start + step / 2 + step * np.arange(int((stop - start) / step + 0.5), dtype=np.float64)
    if len(triggers) == 1:
        logger.warning(
            "%s: one volume trigger, at %.3f s; frames are counted from it to the EEG's end, every %g s",
            *(name, start, step),
        )
    if not len(times):
        raise InputError(
            f"{name}: {stop - start:.1f} s of EEG hold no frame of {step:g} s; pass a shorter --tr"
        )
    return times
