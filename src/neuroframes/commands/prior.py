"""What other people's runs say of frames: a prior that completes somebody's runs."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuroframes.errors import InputError, check_number
from neuroframes.files import refuse_existing
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    from neuroframes.models.population import PopulationModel
    from neuroframes.training.population import GroupRun, Part

logger = logging.getLogger(__name__)


@few_threads
def prior(
    runs: Sequence[str | Path] = (),
    *,
    out: str | Path,
    derivatives: str | Path | None = None,
    space: str | None = None,
    task: str | None = None,
    person: str | None = None,
    components: str | Path | None = None,
    latents: int | None = None,
    fd_threshold: float = 0.5,
    dvars_threshold: float | None = None,
    censor_before: int = 0,
    censor_after: int = 0,
    censor_between: int = 0,
    fewest_frames: int = 48,
    bold_tr: float | None = None,
    workers: int = 2,
    cluster: Literal["slurm", "local"] | None = None,
    cluster_parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    overwrite: bool = False,
) -> "PopulationModel":
    """Learn from many people's runs what complete and resample may take as --model.

    It holds components of the group and sums over each person's frames; no frames, and no components of one
    person. The same call goes on where it was interrupted. Priors instead of runs are merged.

    Parameters
    ----------
    runs : sequence of paths
        BOLD of one TR in one space, as complete takes it, with fMRIPrep's confounds beside it where frames
        are to be censored; or priors to merge, which one made the --components of the others.
    out : path
        Folder of the prior.
    derivatives : path
        BIDS data set, or its derivatives, whose preprocessed runs are taken.
    space : str
        Space entity of those; by default fsLR before fsaverage.
    task : str
        Task entity of those; all by default.
    person : str
        Whose runs those are whose file names have no sub entity; by default each is of a person of its own.
    components : path
        Prior whose components are taken instead of those of these runs, so that both can be merged.
    latents : int
        Number of components; by default what the frames support, 128 at most.
    fd_threshold : float, mm
        Framewise displacement above which frames are censored, where the run has confounds.
    dvars_threshold : float
        Standardised DVARS above which frames are censored, where it has; by default none are.
    censor_before : int
        Number of frames before each censored one that are censored too.
    censor_after : int
        Number of frames after each censored one that are censored too.
    censor_between : int
        Stretches of at most so many good frames, between censored ones or the run's ends, are censored too.
    fewest_frames : int
        Leave out runs that have fewer measured frames.
    bold_tr : float, seconds
        TR of all runs, where files state none or a wrong one.
    workers : int
        Number of processes that share this machine's cores; each holds a run at a time.
    cluster : {"slurm", "local"}
        Where people are submitted as jobs, through submitit, instead of being read here.
    cluster_parameters : mapping
        Parameters of submitit, as {"timeout_min": 60, "slurm_partition": "short", "mem_gb": 8}.
    progress : bool
        Show a bar.
    overwrite : bool
        Replace the output if it exists.

    Raises
    ------
    InputError
        If a run can't be read, has another space or TR than the first, no run has enough frames, priors have
        components of their own, or `out` exists.
    """
    from neuroframes.evaluation.jobs import run_here, submit
    from neuroframes.frames.temporal import FEWEST_MEASURED
    from neuroframes.models.population import PopulationModel
    from neuroframes.recording.bold import read_bold
    from neuroframes.recording.timeline import Censoring
    from neuroframes.training.population import Part, find_components, group_components, people_of, sum_people

    out, paths = Path(out), [Path(run) for run in runs]
    inputs = [*paths, *(Path(path) for path in (derivatives, components) if path)]
    refuse_existing(out, overwrite, folder="model.json", inputs=inputs)
    rules = Censoring(fd_threshold, dvars_threshold, censor_before, censor_after, censor_between)
    latents = None if latents is None else int(check_number(latents, "--latents", at_least=1, whole=True))
    fewest = int(check_number(fewest_frames, "--fewest-frames", at_least=FEWEST_MEASURED, whole=True))
    workers = int(check_number(workers, "--workers", at_least=1, whole=True))
    state = out.with_name(f".{out.name}-parts")

    def run(function: "Callable[[Part], None]", parts: "list[Part]") -> None:
        missing = [part for part in parts if not part.result.exists()]
        if cluster:
            failed = submit(function, missing, state / "submitted", cluster, cluster_parameters or {})
        else:
            failed = run_here(function, missing, workers=workers, progress=progress)
        if failed:
            raise InputError(f"{'; '.join(failed)}; the same call keeps what is done")

    if any((path / "model.json").exists() for path in paths):
        found = reduce(PopulationModel.merged, map(PopulationModel.load, paths))
    else:
        place = state / "components" if components is None else Path(components)
        group = None if components is None else PopulationModel.load(place)
        asked = _asked(paths, derivatives, space, task, person)
        of = read_bold(asked[0].bold, tr=bold_tr) if group is None else group.origin
        whole = Part(tuple(asked), of.space, of.tr, rules, latents, fewest, bold_tr, state)
        parts = whole.dealt()
        if group is None:
            run(find_components, parts)
            group_components(parts).save(place, overwrite=True)
        parts = [replace(part, components=place) for part in parts]
        run(sum_people, parts)
        found = people_of(parts)
    people = found.population.people
    logger.info("%d runs of %d people, %d components", found.population.n_runs, len(people), found.n_latents)
    for note in found.notes:
        logger.warning("%s", note)
    if len(people) < 2:
        logger.warning("a prior of one person says what that person's runs share, not what people do")
    found.save(out, overwrite=overwrite)
    shutil.rmtree(state, ignore_errors=True)
    return found


def _asked(
    paths: list[Path], derivatives: str | Path | None, space: str | None, task: str | None, person: str | None
) -> "list[GroupRun]":
    """The runs that are asked for, whose they are, and the confounds beside them."""
    from neuroframes.recording.bids import confounds_of, find_bold, subject_of
    from neuroframes.recording.bold import bold_files
    from neuroframes.recording.sidecar import split_suffix
    from neuroframes.training.population import GroupRun

    if (derivatives is None) == (not paths):
        raise InputError("pass either runs, or priors to merge, or --derivatives")
    if derivatives is None and (space or task):
        raise InputError("--space and --task choose among the runs of --derivatives; leave them out")
    if derivatives is not None:
        paths = find_bold(derivatives, space=space, task=task)
    # Both hemispheres of a pair are often named, by a pattern.
    once = {tuple(bold_files(path)) or path: path for path in reversed(paths)}
    found = []
    for path in reversed(once.values()):
        whose = subject_of(path.name) or person or split_suffix(path)[0]
        found.append(GroupRun(path, whose, confounds_of(path)))
    if lacking := sum(run.confounds is None for run in found):
        uncensored = "%d of %d runs have no confounds beside them: nothing is censored there"
        logger.info(uncensored, lacking, len(found))
    return found
