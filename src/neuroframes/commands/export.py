"""Frames in the layout of another program, for what was trained on that.

    OUT/visual_audio/0.npy ...    a frame each, of all runs in their order: the grayordinates of CineBrain
    OUT/export.json               of each run its first number, and which frames were measured

It is the inverse of `recording.datasets.cinebrain`, which reads that layout.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuroframes import __version__
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing, written_whole
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from neuroframes.cortex.space import CorticalSpace
    from neuroframes.recording.bold import Bold

logger = logging.getLogger(__name__)

ABOUT = "export.json"
# What a z-score's mean differs from 0 by at most, and its standard deviation at least and at most.
MOST_OFF, DEVIATION = 0.2, (0.8, 1.25)


@few_threads
def export(
    images: Sequence[str | Path],
    *,
    out: str | Path,
    layout: Literal["cinebrain"] = "cinebrain",
    keep_scale: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write frames as another program reads them.

    Each value is z-scored over the run, by measured frames if there are 16 or more; of what reconstruct wrote
    it is a z-score already.

    Parameters
    ----------
    images : paths
        Frames of each run, in their order: what complete, resample or reconstruct wrote, a draw of it, or a
        run as it was measured; on fsLR-32k, such as the 91k grayordinates, at a TR of 0.8 s.
    out : path
        Folder to write.
    layout : {"cinebrain"}
        A .npy for each frame, of the 18,946 grayordinates that CineBrain's frames have.
    keep_scale : bool
        Values are z-scores already, such as CineBrain's own: keep them.
    overwrite : bool
        Replace the output if it exists.

    Returns
    -------
    Path of the folder

    Raises
    ------
    InputError
        If an image is at another TR, on other places, lacks values, or doesn't vary, the layout isn't known,
        or `out` exists.
    """
    import numpy as np

    from neuroframes.recording.bold import images_at, read_bold
    from neuroframes.recording.datasets import cinebrain

    if layout != "cinebrain":
        raise InputError(f"--layout {layout}; expected cinebrain")
    if isinstance(images, str | Path):
        raise InputError(f"images is one {type(images).__name__}; pass a list, also of one run")
    # A pattern often names both hemispheres of a pair.
    out, paths = Path(out), [*dict.fromkeys(images_at(Path(image))[0] for image in images)]
    refuse_existing(out, overwrite, folder=ABOUT, inputs=paths)
    if not paths:
        raise InputError("no image to export; pass the frames of a run, or of several in their order")
    mask, first = cinebrain.covered(), 0
    about: dict[str, Any] = {
        **{"GeneratedBy": "neuroframes export", "NeuroframesVersion": __version__, "Layout": layout},
        **{"RepetitionTime": cinebrain.TR, "Values": mask.V, "Runs": []},
    }
    with written_whole(out, overwrite=overwrite) as folder:
        (folder / cinebrain.FRAMES).mkdir(parents=True)
        for path in paths:
            run = read_bold(path)
            frames = _of_mask(run, mask, cinebrain.TR)
            if not (keep_scale or run.sidecar.get("NeuroframesUnits") == "z"):
                frames = _z_scored(frames, run.measured)
            of_run = {"Source": path.name, "FirstFrame": first, "Frames": len(frames)}
            of_run |= _moments(frames, path.name, keep_scale)
            about["Runs"].append({**of_run, "NeuroframesMeasured": run.measured.tolist()})
            for number, frame in enumerate(frames, first):
                np.save(folder / cinebrain.FRAMES / f"{number}.npy", frame)
            first += len(frames)
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    return out


def _of_mask(run: "Bold", mask: "CorticalSpace", tr: float) -> "NDArray[np.float32]":
    """The run's frames at the values of the mask, shape (K, V); InputError where they can't be had."""
    import numpy as np

    from neuroframes.cortex.space import HEMISPHERES
    from neuroframes.recording.stated_time import TR_TOLERANCE
    from neuroframes.report.result import part_at

    name = run.sources[0].name
    if part_at(run.sources[0]) == "deviation":
        raise InputError(f"{name} holds standard deviations; pass the frames that they belong to")
    if abs(run.tr - tr) > TR_TOLERANCE * tr:
        remedy = f"neuroframes {'resample' if run.measured.any() else 'reconstruct'} --tr {tr:g}"
        raise InputError(f"{name} has a TR of {run.tr:g} s; expected {tr:g} s: make it by {remedy}")
    if run.space.name != mask.name:
        raise InputError(
            f"{name} is on {run.space.name} ({run.space.kind}); expected vertices of {mask.name}, such as "
            "fMRIPrep's 91k grayordinates (--cifti-output 91k)"
        )
    sides = HEMISPHERES.items()
    place = np.concatenate([run.space.at_vertices(h)[mask.vertex[mask.hemisphere == s]] for h, s in sides])
    if lacking := int((place < 0).sum()):
        raise InputError(
            f"{name} lacks {lacking:,} of the {mask.V:,} grayordinates that the layout has; expected all of "
            "them: pass frames of the whole cortex"
        )
    frames = np.ascontiguousarray(run.data[:, place])
    known = np.isfinite(frames)
    frames[:, ~known.any(axis=0)] = 0  # no signal at all, as where values are constant
    if bad := int((known.any(axis=0) & ~known).any(axis=1).sum()):
        raise InputError(
            f"{name}: {bad:,} of {len(frames):,} frames lack values; fill them by neuroframes complete"
        )
    return frames


def _z_scored(frames: "NDArray[np.float32]", measured: "NDArray[np.bool_]") -> "NDArray[np.float32]":
    """Each value less its mean, over its standard deviation; 0 where it is constant."""
    import numpy as np

    from neuroframes.frames.temporal import FEWEST_MEASURED
    from neuroframes.recording.segments import constant

    rows = frames[measured] if measured.sum() >= FEWEST_MEASURED else frames
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    still = constant(deviation, mean)
    return np.where(still, 0, (frames - mean) / np.where(still, 1, deviation)).astype(np.float32)


def _moments(frames: "NDArray[np.float32]", name: str, kept: bool) -> dict[str, Any]:
    """Least, median and largest mean and standard deviation; a warning where they aren't a z-score's."""
    import numpy as np

    mean, deviation = frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)
    if not deviation.any():
        raise InputError(f"{name}: no value varies; expected a run of two frames or more that do")
    off = (np.abs(mean) > MOST_OFF) | (deviation < DEVIATION[0]) | (deviation > DEVIATION[1])
    means, deviations = (np.quantile(of, (0, 0.5, 1)).round(3) + 0.0 for of in (mean, deviation))
    if off.any():
        if kept:
            remedy = "; leave --keep-scale out to have them z-scored"
        elif deviations[1] < DEVIATION[0]:
            remedy = "; estimates vary less than measured frames, a draw of them doesn't (--save-draws)"
        else:
            remedy = ""
        logger.warning(
            "%s: %d of %d values are no z-scores over the run: means %g to %g, standard deviations %g to %g, "
            "median %g; %d are constant%s",
            *(name, off.sum(), len(off), means[0], means[2], deviations[0], deviations[2], deviations[1]),
            *((deviation == 0).sum(), remedy),
        )
    return {"Means": means.tolist(), "StandardDeviations": deviations.tolist()}
