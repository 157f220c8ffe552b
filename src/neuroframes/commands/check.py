"""What a data set holds, what is wrong with it and what could be done with it, before anything is done."""

import json as json_text
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroframes.errors import InputError, check_number, counted, listed
from neuroframes.files import refuse_existing, written_whole
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    from neuroframes.commands.check_run import Problems, RunCheck

PROBLEMS_FOUND = 3  # exit code
TEST_FRACTION = 0.25  # as train holds out by default
HCP = "MNINonLinear/Results/*/*_Atlas*.dtseries.nii"


@dataclass(frozen=True)
class Use:
    """Whether a command could do something with a data set, and with what of it, or why not."""

    command: str
    possible: bool
    what: str


@dataclass(frozen=True)
class Check:
    """What `check` found.

    Attributes
    ----------
    dataset : Path
    errors, warnings : tuple of str
        Of the data set as a whole.
    runs : tuple of RunCheck
        Each with its own errors and warnings.
    uses : tuple of Use
        What each command could do with it.
    """

    dataset: Path
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    runs: tuple["RunCheck", ...]
    uses: tuple[Use, ...]

    @property
    def exit_code(self) -> int:
        """0 where every run can be used, 3 where there are errors."""
        return PROBLEMS_FOUND if self.errors or any(run.errors for run in self.runs) else 0

    def __str__(self) -> str:
        from neuroframes.report.check import as_text

        return as_text(self)

    def to_json(self) -> str:
        content = asdict(self) | {"usable": not self.exit_code}
        return json_text.dumps(content, indent=2, default=str) + "\n"


@few_threads
def check(
    dataset: str | Path,
    *,
    eeg: str | Path | None = None,
    confounds: str | Path | None = None,
    space: str | None = None,
    surface: str | None = None,
    atlas: str | None = None,
    eeg_root: str | Path | None = None,
    trigger: str | None = "auto",
    onset: float | None = None,
    skip_volumes: int = 0,
    bold_tr: float | None = None,
    fd_threshold: float = 0.5,
    json: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Check:
    """Tell what a data set holds, what is wrong with it, and what can be done with it.

    Runs, EEG and BOLD that belong to each other, times, units, motion, copies. Of EEG the header, markers and
    a few minutes of samples are read. The exit code is 0 if there are no errors, 3 if there are.

    Parameters
    ----------
    dataset : path
        BIDS data set with derivatives, folder of HCP subjects, or the BOLD or EEG of one run.
    eeg : path
        EEG of the run, where the data set is a BOLD file.
    confounds : path
        Confounds of the run, where the data set is a BOLD file; by default those beside it.
    space : str
        The BOLD's space entity, where there are several; by default fsLR before fsaverage before parcels.
    surface : str
        As of `prepare`: volumes are taken, which it would project to this surface.
    atlas : str
        Atlas of parcels, which are then taken rather than vertices.
    eeg_root : path
        BIDS root of the EEG, where it is another.
    trigger : str
        Description of the volume triggers in the EEG, auto, or none.
    onset : float, seconds
        Time from the EEG's start to the first volume's, where triggers are missing or not used.
    skip_volumes : int
        Number of dummy scans that have triggers but are not in the BOLD file.
    bold_tr : float, seconds
        TR of all runs, where files state none or a wrong one.
    fd_threshold : float, mm
        Framewise displacement above which frames count as censored.
    json : path
        File to write everything to, as JSON.
    overwrite : bool
        Replace that file if it exists.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Check

    Raises
    ------
    InputError
        If there is nothing to check, a number is out of range, or `json` exists.
    """
    from rich.console import Console
    from rich.progress import Progress

    from neuroframes.commands.check_run import Problems, read_check
    from neuroframes.recording.projection import VOLUMES, check_surface
    from neuroframes.recording.timeline import Censoring

    dataset = Path(dataset)
    rules = Censoring(fd_threshold)
    clock = {
        "trigger": trigger,
        "onset": None if onset is None else check_number(onset, "--onset"),
        "skip_volumes": int(check_number(skip_volumes, "--skip-volumes", at_least=0, whole=True)),
    }
    if json is not None:
        try:
            refuse_existing(Path(json), overwrite, folder=False, inputs=[dataset])
        except InputError as error:
            raise InputError(str(error).replace("--out", "--json")) from error
    if not dataset.exists():
        raise InputError(
            f"{dataset}: no such file or folder; pass the root of a BIDS data set, or a run's file"
        )
    if dataset.is_dir() and (eeg or confounds):
        raise InputError("--eeg and --confounds are of one run; pass its BOLD file, or leave them out")
    whole = Problems()
    if surface is not None:
        check_surface(surface)
        space = space or VOLUMES
    if dataset.is_dir():
        runs = _runs_of(dataset, whole, space, atlas, eeg_root)
    else:
        runs = [_run_of_file(dataset, eeg, confounds)]
    first: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("check", total=len(runs))
        for run in runs:
            bar.update(task, description=f"{run.person} {run.name}")
            read_check(run, rules, bold_tr, clock, first[run.person])
            bar.advance(task)
    _note_copies(runs, whole)
    uses = _uses(runs)
    found = Check(dataset, tuple(whole.errors), tuple(whole.warnings), tuple(runs), uses)
    if json is not None:
        with written_whole(Path(json), overwrite=overwrite) as temporary:
            temporary.write_text(found.to_json(), encoding="utf-8")
    return found


def _runs_of(
    root: Path, whole: "Problems", space: str | None, atlas: str | None, eeg_root: str | Path | None
) -> "list[RunCheck]":
    """The runs of a folder, whether they have EEG and BOLD or one of the two."""
    from neuroframes.commands.check_run import Problems, RunCheck, noted
    from neuroframes.recording.bids import bold_by_run, eeg_by_run, find_runs, fit, person_of, run_of
    from neuroframes.recording.features import tables_of

    listing, no_eeg, no_bold = Problems(), Problems(), Problems()
    eeg: list[list[Path]] = []
    bold: list[list[Path]] = []
    with noted(no_eeg):
        eeg = eeg_by_run(root, eeg_root)
    with noted(no_bold):
        bold = bold_by_run(root, space, atlas)
    if not eeg and not bold:
        if of_hcp := _of_hcp(root):
            whole.warnings.append(
                f"{root} is laid out as HCP's: complete takes its files, all else needs BIDS names"
            )
            return of_hcp
        raise InputError("; ".join(no_eeg.errors + no_bold.errors))
    whole.warnings += no_eeg.errors
    whole.errors += no_bold.errors
    pairs = []
    if eeg and bold:
        asked: dict[str, Any] = {"space": space, "atlas": atlas, "eeg_root": eeg_root}
        with noted(listing):
            pairs = find_runs(root, **asked)
        # Of a data set that is refused because of some people, what others have.
        runs_of = [(person_of(files[0]), run_of(files[0])) for files in eeg if listing.errors]
        named = [run_of(files[0]) for files in bold]
        for person in sorted({who for who, run in runs_of if any(fit(run, other) for other in named)}):
            own = Problems()
            with noted(own):
                pairs += find_runs(root, subject=person, **asked)
            listing.errors += [error for error in own.errors if error not in listing.errors]
    for who, own_runs in groupby(pairs, attrgetter("subject")):
        with noted(listing):
            tables_of([run.eeg for run in own_runs], f"sub-{who}")
    whole.errors += listing.errors
    runs = [
        RunCheck(f"sub-{pair.subject}", pair.name, pair.bold[0], pair.eeg, pair.confounds) for pair in pairs
    ]
    taken = {run.eeg for run in runs} | {run.bold for run in runs}
    lone_eeg, lone_bold = ([min(of) for of in files if not taken & {*of}] for files in (eeg, bold))
    runs += [_alone(file, "eeg", lone_bold) for file in lone_eeg]
    runs += [_alone(file, "bold", lone_eeg) for file in lone_bold]
    return sorted(runs, key=lambda run: run.person)  # of each in the order of `prepare`


def _alone(file: Path, kind: str, others: list[Path]) -> "RunCheck":
    """A run that has EEG or BOLD but not the other, and the file that lacks least to be it."""
    from neuroframes.commands.check_run import RunCheck
    from neuroframes.recording.bids import confounds_of, person_of, run_name, run_of

    person, name = person_of(file), run_name(file) or file.name
    has, lacks = ("EEG", "BOLD") if kind == "eeg" else ("BOLD", "EEG")
    apart = {
        other.name: sorted(map("-".join, run_of(file) ^ run_of(other)))
        for other in others
        if person_of(other) == person
    }
    why = f"no {lacks} of {person} is left over"
    if apart:
        nearest = min(apart, key=lambda other: len(apart[other]))
        why = f"the nearest is {nearest}"
        why += f", but they differ in {listed(apart[nearest])}" if apart[nearest] else ""
    if kind == "eeg":
        run = RunCheck(person, name, eeg=file)
    else:
        run = RunCheck(person, name, file, confounds=confounds_of(file))
    run.warnings.append(f"{file.name}: {has} without {lacks}; {why}")
    return run


def _of_hcp(root: Path) -> "list[RunCheck]":
    """Runs as HCP's pipelines leave them, SUBJECT/MNINonLinear/Results/RUN; of several the most processed."""
    from neuroframes.commands.check_run import RunCheck

    folders = defaultdict(list)
    for file in sorted(path for pattern in (HCP, f"*/{HCP}") for path in root.glob(pattern)):
        folders[file.parent].append(file)
    return [
        RunCheck(folder.absolute().parents[2].name, folder.name, max(files, key=lambda file: len(file.name)))
        for folder, files in folders.items()
    ]


def _run_of_file(file: Path, eeg: str | Path | None, confounds: str | Path | None) -> "RunCheck":
    from neuroframes.commands.check_run import RunCheck, noted
    from neuroframes.recording.bids import EEG_SUFFIXES, check_same_run, confounds_of, person_of, run_name
    from neuroframes.recording.bold import is_bold

    run = RunCheck(person_of(file), run_name(file) or file.name)
    if file.name.endswith(EEG_SUFFIXES) or not is_bold(file):
        if eeg or confounds:
            raise InputError(f"{file.name} is EEG; pass the BOLD first, and this as --eeg")
        run.eeg = file
        return run
    run.bold, run.eeg = file, None if eeg is None else Path(eeg)
    run.confounds = confounds_of(file) if confounds is None else Path(confounds)
    with noted(run):
        for beside in filter(None, (run.eeg, run.confounds)):
            check_same_run(beside, file)
    return run


def _note_copies(runs: "Sequence[RunCheck]", whole: "Problems") -> None:
    """Runs whose BOLD or EEG is that of another, and people all of whose runs are another's."""
    from neuroframes.recording.features import is_table

    first: dict[str, RunCheck] = {}
    copied: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        for kind, digest in run.digests.items():
            other = first.setdefault(digest, run)
            if other is run:
                continue
            copied[run.person, other.person].add(run.name)
            whole_digest = kind == "bold" or (run.eeg is not None and is_table(run.eeg))
            alike = "bit-identical" if whole_digest else "alike in the pieces read"
            run.errors.append(
                f"{kind.upper()} and that of {other.person} {other.name} are {alike}; remove the copy, "
                "or replace it by the recording that belongs here"
            )
    for (person, original), names in copied.items():
        if person != original and names == {run.name for run in runs if run.person == person}:
            whole.errors.append(f"{person} is a copy of {original}; leave one of them out")


def _uses(runs: "Sequence[RunCheck]") -> tuple[Use, ...]:
    """What the commands could do with these runs, by what each needs at least."""
    from neuroframes.commands.prior import prior
    from neuroframes.evaluation.recordings import FEWEST_PEOPLE
    from neuroframes.frames.temporal import FEWEST_MEASURED
    from neuroframes.recording.segments import split_in_time
    from neuroframes.training.part import FEWEST_CHANNELS

    fewest: int = signature(prior).parameters["fewest_frames"].default
    with_frames = [run for run in runs if (run.measured or 0) >= FEWEST_MEASURED]
    of_prior = {  # once each, whatever copies there are
        run.digests["bold"]: run
        for run in reversed(with_frames)
        if (run.measured or 0) >= fewest and run.person.startswith("sub-")
    }
    pairs = [run for run in runs if run.bold and run.eeg]
    spoiled = {run.person for run in pairs if run.errors}
    ready = [run for run in pairs if run.person not in spoiled]
    alone, why = [], ""
    for person in sorted({run.person for run in ready}):
        own = [run for run in ready if run.person == person]
        try:
            split_in_time([(run.name, run.frames or 0, run.tr or 0.0) for run in own], TEST_FRACTION)
            alone += own
        except InputError as error:
            why = f": {person}: {error}"
    across = _alike(run for run in ready if run.triggers is None or (run.channels or 0) >= FEWEST_CHANNELS)
    alike = "people with EEG and BOLD, of one space and TR"
    errors = f"; {listed(sorted(spoiled), 3)} with errors: choose others by --subject" if spoiled else ""
    eeg = [run for run in runs if run.channels and not run.errors]
    return (
        _use("complete", with_frames, 1, f"a run with {FEWEST_MEASURED} measured frames"),
        _use(
            "prior",
            _alike(of_prior.values()),
            2,
            f"2 people sub-LABEL with {fewest} measured frames, alike in space and TR",
        ),
        _use("prepare", ready, 1, "EEG and BOLD of the same run without errors", errors),
        _use("train, evaluate", alone, 1, f"enough frames with EEG to hold out a quarter{why}"),
        _use("train across people", across, 2, f"2 {alike}"),
        _use("evaluate across people", across, FEWEST_PEOPLE, f"{FEWEST_PEOPLE} {alike}"),
        _use("adapt", across, 3, f"3 {alike}: 2 to train on, one to adapt to"),
        _use("reconstruct", eeg, 1, "EEG that can be read", ", with a model of train"),
    )


def _use(command: str, runs: "Sequence[RunCheck]", fewest: int, needed: str, note: str = "") -> Use:
    n_people = len({run.person for run in runs})
    found = f"{counted(len(runs), 'run')} of {counted(n_people, 'person', 'people')}"
    possible = n_people >= fewest
    return Use(command, possible, found + note if possible else f"{found}; it takes {needed}")


def _alike(runs: "Iterable[RunCheck]") -> "list[RunCheck]":
    """Those of the space and TR that most people have."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.space, f"{run.tr:.4g}"].append(run)
    return max(groups.values(), key=lambda group: len({run.person for run in group}), default=[])
