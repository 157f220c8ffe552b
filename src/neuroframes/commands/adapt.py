"""From a model across people to one of a person."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from neuroframes.errors import InputError, check_number
from neuroframes.files import refuse_existing
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    from neuroframes.models.population import PopulationModel

logger = logging.getLogger(__name__)


@few_threads
def adapt(
    model: Path,
    store: Path,
    /,
    *,
    out: Path,
    minutes: float | None = None,
    test_fraction: float = 0.25,
    gap: float = 40.0,
    overwrite: bool = False,
) -> "PopulationModel":
    """Adapt a model across people to a person, with whatever minutes of EEG and BOLD there are.

    Parameters
    ----------
    model : path
        What train made of several people's stores.
    store : path
        What prepare wrote for one person, who is none of these.
    out : path
        Folder of the adapted model.
    minutes : float, minutes
        Use so much of the beginning of the training part; by default all.
    test_fraction : float
        Share of the recording, at its end, that is held out for evaluate; 0 uses everything.
    gap : float, seconds
        Time that is left out between training and test part of one run.
    overwrite : bool
        Replace the output if it exists.

    Raises
    ------
    InputError
        If the model is of no several people or knows the person, the store doesn't fit it, or `out` exists.
    """
    from dataclasses import replace

    from neuroframes.models.population import PopulationModel
    from neuroframes.recording.segments import SHORTEST_PART, Part, split_in_time
    from neuroframes.recording.store import open_store
    from neuroframes.registry import load_model
    from neuroframes.training.adapt import adapted, check_adaptable
    from neuroframes.training.part import PeopleSegments, check_alike, log_interpolated

    model, store, out = Path(model), Path(store), Path(out)
    refuse_existing(out, overwrite, folder="model.json", inputs=[model, store])
    across, recording = load_model(model), open_store(store)
    if not isinstance(across, PopulationModel):
        raise InputError(f"{model} is a model of one person; pass one that train made of several stores")
    origin = across.origin
    origin.space.check_same(recording.space, store.name)
    check_adaptable(across, f"sub-{recording.subject}")
    check_alike(recording, origin.tr, origin.features, origin.eeg_settings, model.name)
    electrodes = origin.electrodes.asked_of(recording.channels)
    log_interpolated(recording, electrodes)
    if filled := len(origin.channels) - len(electrodes.channels):
        logger.warning(
            "%s lacks %d of the model's channels; they are filled from the others", store.name, filled
        )
    tr = recording.runs[0].tr
    split = split_in_time(
        [(run.name, len(run.frame_times), run.tr) for run in recording.runs], test_fraction, gap
    )
    left = float("inf") if minutes is None else check_number(minutes, "--minutes", above=0) * 60 / tr
    parts = []
    for part in split.train:
        n_frames = int(min(left, part.stop - part.start))
        if n_frames >= SHORTEST_PART:
            parts.append(Part(part.run, part.start, part.start + n_frames))
        left -= n_frames
    if not parts:
        raise InputError(
            f"{store.name}: too few minutes; at least {SHORTEST_PART} frames of a run are needed"
        )
    segments = PeopleSegments([recording], origin.bands, electrodes, parts)
    found = adapted(across, [*segments])
    used = replace(split, train=tuple(parts))
    found = replace(found, origin=replace(origin, split=used, subject=recording.subject))
    found.save(out, overwrite=overwrite)
    return found
