"""What a benchmark runs: recordings, methods, tasks, and the budgets that networks get.

`quick` shows that everything works, `standard` is what two cores finish within an hour, `people` is real BOLD
alone, each run beside those of other people, `paper` is the sizes of the publications on a recording as long
as theirs, for a cluster. Networks of `quick` and `standard`
are smaller than their authors', and trained for less: their rows say what that budget gives, not more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from neuroframes.evaluation.tasks import ENDS, LATE, LATE_SECOND, MOTION, TASKS
from neuroframes.registry import ACROSS, ACROSS_NETWORKS, BACKBONE, METHODS, NO_EEG, ORACLE

PEOPLE = ("all", "odd", "even")
# What is fitted to other people alone.
OF_OTHERS = (
    *("mean frame", "linear", "kriging", "ridge FIR", "neuroframes population"),
    *(ACROSS, ACROSS_NETWORKS),
)
SLOW = ("oscillating Matern process", "Hankel completion", "dynamic factors")  # hours on seven people


@dataclass(frozen=True)
class Suite:
    """A benchmark's settings.

    Attributes
    ----------
    minutes : float
        Of each simulated recording, in `runs` runs.
    runs : int
    space : {"fsLR", "fsaverage5"}
    seeds : tuple of int
        One simulated recording each, where no stores are given; a method is seeded by it too.
    n_people : int
        Simulated people who are left out in turn, beside these.
    methods, tasks : tuple of str
    audited : tuple of str
        Methods that are fitted a second time, under the split that leaks.
    options : mapping from method to what its fit takes
    real_bold : bool
        Whether completion is scored on real BOLD too, where there is some; see `evaluation.recordings`.
    people : {"all", "odd", "even"}
        Whose real BOLD methods are scored on, by their place in the list of people; the first is odd.
    band : (low, high), Hz, or None
        To which real BOLD is filtered before frames are hidden.
    film : bool
        Simulated recordings have a film, which is decoded; those of `standard` and `paper` don't, so that
        their numbers can be compared with earlier ones.
    """

    minutes: float
    runs: int
    space: Literal["fsLR", "fsaverage5"]
    seeds: tuple[int, ...]
    n_people: int = 0
    methods: tuple[str, ...] = tuple(METHODS)
    tasks: tuple[str, ...] = tuple(task for task in TASKS if task not in (*LATE, LATE_SECOND, MOTION, ENDS))
    audited: tuple[str, ...] = ("ridge FIR", "CNN-TC", BACKBONE)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    real_bold: bool = True
    people: str = "all"
    band: tuple[float, float] | None = None
    film: bool = False


SUITES: Mapping[str, Suite] = {
    "quick": Suite(
        minutes=12,
        runs=3,
        space="fsaverage5",
        seeds=(0,),
        methods=(
            *("mean frame", "linear", "cubic spline", "kriging", ORACLE, "motion alone", "ridge FIR"),
            *("kriging + EEG", "CNN-TC", NO_EEG, BACKBONE),
        ),
        tasks=("eeg", "gap-1", "gap-4", "gap-16", "ends-only"),
        options={"CNN-TC": {"epochs": 3, "batch": 16}},
        real_bold=False,
        film=True,
    ),
    "standard": Suite(
        minutes=24,
        runs=6,
        space="fsaverage5",
        seeds=(31, 32),
        n_people=12,
        methods=tuple(name for name in METHODS if name not in (*SLOW, ACROSS_NETWORKS)),
        options={
            "banded ridge": {"samples": 8},
            "CNN-TC": {"epochs": 10, "batch": 16},
            "CNN-TAG": {"epochs": 2, "batch": 16},
            "E2FNet": {"epochs": 1, "width": 16, "batch": 16},
            "E2FGAN": {"epochs": 1, "width": 16, "batch": 16},
            "NeuroBOLT-like": {"epochs": 1, "depth": 1, "spectral_depth": 1, "width": 40, "heads": 4},
            "surface model": {"epochs": 2, "width": 16},
            "paper's recipe": {"epochs": 15, "width": 128, "layers": 4, "latents": 128},
        },
    ),
    "people": Suite(
        minutes=0,
        runs=0,
        space="fsaverage5",
        seeds=(),
        methods=(
            "mean frame",
            *(name for name, method in METHODS.items() if method.frames and not method.eeg),
        ),
        tasks=(*LATE, LATE_SECOND, "ends-only", MOTION),
        audited=(),
    ),
    "paper": Suite(minutes=360, runs=20, space="fsLR", seeds=(41, 42, 43, 44, 45)),
}
