"""What other people's runs say of frames: a prior that completes somebody's runs."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuroframes.errors import InputError, check_list, check_number, counted, listed
from neuroframes.files import refuse_existing, writes_alone
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    from neuroframes.models.population import PopulationModel
    from neuroframes.training.population import GroupRun, Part

logger = logging.getLogger(__name__)

# Options that say which runs are read and how: priors that are merged were made already.
OF_RUNS = (
    *("derivatives", "space", "task", "person", "components", "latents", "fd_threshold", "dvars_threshold"),
    *("censor_before", "censor_after", "censor_between", "fewest_frames", "bold_tr", "cluster"),
)


@few_threads
@writes_alone
def prior(
    runs: Sequence[str | Path | Any] = (),
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
        are to be censored; or priors to merge, which one made the --components of the others. Sidecars among
        them are passed over, as is what complete wrote of a run that is there. In Python also objects, as
        complete takes them, or a Recording each; one of which nothing says whose it is is a person's of its
        own.
    out : path
        Folder of the prior.
    derivatives : path
        BIDS data set, or its derivatives, whose preprocessed runs are taken.
    space : str
        Space entity of those; by default fsLR before fsaverage.
    task : str
        Task entity of those; all by default.
    person : str
        Whose runs those are that have no sub entity in the names of file and folders; by default each is of a
        person of its own, called as the file.
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
        If a run can't be read, has another space or TR than the first, is a draw or a standard deviation, no
        run has enough frames, priors have components of their own, options exclude each other, or `out`
        exists.
    """
    options = dict(locals())  # as they were given
    from neuroframes.evaluation.jobs import run_here, submit
    from neuroframes.frames.temporal import FEWEST_MEASURED
    from neuroframes.models.population import PopulationModel
    from neuroframes.recording.bold import read_bold, read_tr
    from neuroframes.recording.timeline import Censoring
    from neuroframes.training.population import Part, prior_of

    check_list(runs, "runs")
    out, runs = Path(out), [*runs]
    paths = [Path(run) for run in runs if isinstance(run, str | os.PathLike)]
    in_memory = len(paths) < len(runs)
    if in_memory and cluster:
        raise InputError(
            "cluster: jobs elsewhere read no objects; pass files, which write_bids makes of them"
        )
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
            if in_memory:  # whose files are others in the next call
                shutil.rmtree(state, ignore_errors=True)
            kept = f"; what is done is kept in {state.name}, for the same call" if state.exists() else ""
            raise InputError("; ".join(failed) + kept)

    if any((path / "model.json").exists() for path in paths):
        if in_memory:
            raise InputError("an object beside a prior; pass either runs, or priors to merge")
        _check_merged(paths, options)
        found = reduce(PopulationModel.merged, map(PopulationModel.load, paths))
    else:
        if components is not None and latents is not None:
            raise InputError("--latents with --components: their number is that of the prior; leave one out")
        place = None if components is None else Path(components)
        group = None if place is None else PopulationModel.load(place)
        with _as_files(runs, paths, person, bold_tr) as files:
            asked = _asked(files, derivatives, space, task, person)
            trs = [(each.bold.name, read_tr(each.bold, tr=bold_tr)) for each in asked]
            _check_same_tr(trs if group is None else [(str(place), group.origin.tr), *trs])
            _log_people(asked)
            of = read_bold(asked[0].bold, tr=bold_tr) if group is None else group.origin
            whole = Part(tuple(asked), of.space, of.tr, rules, latents, fewest, bold_tr, state, place)
            found = prior_of(whole, run)
    people, unknown = found.population.people, found.origin.scale == 0
    said = counted(found.population.n_runs, "run"), counted(len(people), "person", "people")
    logger.info("%s of %s, %s", *said, counted(found.n_latents, "component"))
    for note in found.notes:
        logger.warning("%s", note)
    if unknown.any():
        lacking = "%s are left out: constant, or without values, in half of the runs or more"
        logger.warning(lacking, found.origin.space.described(unknown))
    if len(people) < 2:
        logger.warning("a prior of one person says what that person's runs share, not what people do")
    found.save(out, overwrite=overwrite)
    shutil.rmtree(state, ignore_errors=True)
    return found


def _as_files(
    runs: Sequence[Any], paths: list[Path], person: str | None, tr: float | None
) -> AbstractContextManager[list[Path]]:
    """Paths of the runs, as long as this lasts."""
    if len(paths) == len(runs):
        return nullcontext(paths)
    from neuroframes.commands.recordings import as_files

    return as_files(runs, person, tr)


def _asked(
    paths: list[Path], derivatives: str | Path | None, space: str | None, task: str | None, person: str | None
) -> "list[GroupRun]":
    """The runs that are asked for, whose they are, and the confounds beside them."""
    from neuroframes.recording.bids import confounds_of, find_bold, person_of
    from neuroframes.recording.bold import images_at
    from neuroframes.training.population import GroupRun

    if (derivatives is None) == (not paths):
        raise InputError("pass either runs, or priors to merge, or --derivatives")
    if derivatives is None and (space or task):
        raise InputError("--space and --task choose among the runs of --derivatives; leave them out")
    if derivatives is not None:
        paths = find_bold(derivatives, space=space, task=task)
    # A pattern often names sidecars too, and both hemispheres of a pair.
    images = [*dict.fromkeys(images_at(path)[0] for path in paths if path.suffix != ".json")]
    if not images:
        raise InputError("no image among the runs; pass either runs, or priors to merge, or --derivatives")
    if sidecars := sum(path.suffix == ".json" for path in paths):
        logger.info("%s passed over: sidecars are read with their images", counted(sidecars, ".json file"))
    images = _once(images)
    unnamed: dict[str, Path] = {}
    for path in images:
        # As people of their own they could not be told apart.
        if person is None and not person_of(path, "") and unnamed.setdefault(path.name, path) != path:
            raise InputError(
                f"{unnamed[path.name]} and {path} have one name, and nothing says whose they are; call files "
                "or their folders sub-LABEL, or pass --person if all of these are one person's"
            )
    return [GroupRun(path, person_of(path, person), confounds_of(path)) for path in images]


def _once(images: list[Path]) -> list[Path]:
    """Those that are runs, without what was made of a run that is there, or of which something else is."""
    from neuroframes.recording.bids import person_of
    from neuroframes.recording.sidecar import read_sidecar
    from neuroframes.report.result import part_at

    parts = {image: part_at(image) for image in images}
    if others := [image.name for image, part in parts.items() if part not in ("", "frames")]:
        raise InputError(
            f"{listed(others, most=3)}: draws and standard deviations that neuroframes wrote are no runs; "
            "leave them out"
        )
    # Sources are names of files: those of other people may have the same.
    there = {(image.name, person_of(image, "")): image for image in images}
    for image in [image for image, part in parts.items() if part]:
        source = next(iter(read_sidecar(image).get("Sources", ())), image.name)
        first = there.setdefault((source, person_of(image, "")), image)
        if first != image:
            logger.warning("%s was made of the run of %s: passed over", image.name, first.name)
            images = [other for other in images if other != image]
    return images


def _check_same_tr(trs: list[tuple[str, float]]) -> None:
    """Raise InputError unless TRs are those of the first, by name."""
    from neuroframes.models.population import SAME_TR

    (first, tr), *others = trs
    for name, other in others:
        if abs(other - tr) > SAME_TR * tr:
            raise InputError(f"{name} has a TR of {other:g} s, {first} {tr:g} s; make a prior for each TR")


def _log_people(runs: "list[GroupRun]") -> None:
    people: dict[str, list[str]] = {}
    for run in runs:
        people.setdefault(run.person, []).append(run.bold.name)
    for person, names in people.items():
        logger.info("%s: %s", person, ", ".join(names))
    if lacking := sum(run.confounds is None for run in runs):
        uncensored = "%d of %s without confounds beside: nothing is censored there"
        logger.warning(uncensored, lacking, counted(len(runs), "run"))


def _check_merged(paths: list[Path], options: Mapping[str, Any]) -> None:
    """Raise InputError unless all are priors, and no option is given that says how runs are read."""
    if others := [path for path in paths if not (path / "model.json").exists()]:
        raise InputError(f"{others[0]} is no prior, but others are; pass either runs, or priors to merge")
    defaults = signature(prior).parameters
    if ignored := [name for name in OF_RUNS if options[name] != defaults[name].default]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in ignored)
        raise InputError(f"{names} with the prior {paths[0]}: priors are merged as they are; leave one out")
