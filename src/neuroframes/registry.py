"""Every method there is: its row in tables, its settings, how it is fitted, how what is stored is read again.

A method is one of ours, which `train` fits and writes under the name of a preset, or a baseline, which is
fitted where it is compared. Fitted, all of them are a `Model`. Code is imported when a method is used.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroframes.cortex.space import MESH_SIZES, CorticalSpace
from neuroframes.errors import InputError
from neuroframes.models.settings import (
    OPTIONS,
    BackboneSettings,
    CorrectionSettings,
    PaperSettings,
    Settings,
    SurfaceSettings,
)
from neuroframes.models.stored import read_stored

if TYPE_CHECKING:
    from neuroframes.models.model import Model, TrainedModel
    from neuroframes.training.part import TrainingPart

MOST_REGIONS = 500
TORCH = ("torch", "lightning")
EXTRA = {
    "torch": "diffusion",
    "lightning": "diffusion",
    "himalaya": "benchmark",
    "statsmodels": "benchmark",
}  # that installs a package


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes
    ----------
    fitted_by : str
        "module.name" of `neuroframes`: a baseline's class, or a function from a `TrainingPart` and settings.
    eeg : bool
        It uses EEG.
    frames : bool
        It uses the measured frames. A method that uses neither knows time and motion at most.
    family : {"without EEG", "regression", "network", "neuroframes"}
        What it is shown with in figures.
    needs : tuple of str, packages beyond those that neuroframes always has
        PyTorch is of networks, which all take raw EEG.
    seeded : bool, whether a baseline's fit is random
    preset : str, its name for `train`; "" of a baseline
    settings : Settings, of a preset
    model : str, "module.Class" of what is stored of a preset
    mesh, motion, people : bool, whether it needs a cortical mesh, motion parameters, runs of other people
    regions : bool, whether it takes no more than `MOST_REGIONS` columns
    several : bool, whether it is fitted to segments of several people
    """

    fitted_by: str
    eeg: bool = True
    frames: bool = False
    family: str = "regression"
    needs: tuple[str, ...] = ()
    seeded: bool = False
    preset: str = ""
    settings: Settings | None = None
    model: str = ""
    mesh: bool = False
    motion: bool = False
    people: bool = False
    regions: bool = False
    several: bool = False


_interpolation = partial(Method, eeg=False, frames=True, family="without EEG")
_network = partial(Method, family="network", needs=TORCH, seeded=True)
_trained_network = partial(Method, frames=True, family="network", needs=TORCH)
_ours = partial(Method, frames=True, family="neuroframes", model="models.gaussian.GaussianModel")

ORACLE = "global signal (oracle)"
ACROSS, ACROSS_NETWORKS = "neuroframes across people", "neuroframes across people with networks"
OURS, BACKBONE, NO_EEG = "neuroframes", "neuroframes backbone", "neuroframes without EEG"

METHODS: Mapping[str, Method] = {
    "mean frame": Method("baselines.interpolation.MeanFrame", eeg=False, family="without EEG"),
    "run mean": _interpolation("baselines.interpolation.RunMean"),
    "drift": Method("baselines.drift.Drift", eeg=False, family="without EEG"),
    "hold last": _interpolation("baselines.interpolation.HoldLast"),
    "nearest": _interpolation("baselines.interpolation.Nearest"),
    "linear": _interpolation("baselines.interpolation.Linear"),
    "cubic spline": _interpolation("baselines.interpolation.CubicSpline"),
    "Lomb-Scargle": _interpolation("baselines.lomb_scargle.LombScargle"),
    "kriging": _interpolation("baselines.kriging.Kriging"),
    "Matern process": _interpolation("baselines.matern.MaternProcess", seeded=True),
    "oscillating Matern process": _interpolation("baselines.matern.OscillatingProcess", seeded=True),
    "Hankel completion": _interpolation("baselines.hankel.Hankel", regions=True),
    "dynamic factors": _interpolation(
        "baselines.dynamic_factors.DynamicFactors", needs=("statsmodels",), regions=True
    ),
    "gap ridge": _interpolation("baselines.gap_ridge.GapRidge", seeded=True),
    "gap ridge of others": _interpolation("baselines.gap_ridge.OthersGapRidge", seeded=True, people=True),
    "gap ridge of both": _interpolation("baselines.gap_ridge.BothGapRidge", seeded=True, people=True),
    ORACLE: Method("baselines.global_signal.GlobalSignal", eeg=False, family="without EEG"),
    "motion alone": Method("baselines.motion.MotionRidge", eeg=False, family="without EEG", motion=True),
    "ridge FIR": Method("baselines.ridge_fir.RidgeFIR"),
    "banded ridge": Method("baselines.banded_ridge.BandedRidge", needs=("himalaya",), seeded=True),
    "kriging + EEG": Method("baselines.kriging_eeg.KrigingEeg", frames=True),
    "CNN-TC": _network("baselines.cnn_tc.CnnTc"),
    "CNN-TAG": _network("baselines.cnn_tag.CnnTag"),
    "E2FNet": _network("baselines.e2fnet.E2FNet"),
    "E2FGAN": _network("baselines.e2fgan.E2FGan"),
    "NeuroBOLT-like": _network("baselines.neurobolt.NeuroBolt"),
    "surface model": _trained_network(
        "training.surface.fit_surface",
        preset="surface",
        settings=SurfaceSettings(),
        model="models.surface.SurfaceModel",
        mesh=True,
    ),
    "paper's recipe": _trained_network(
        "training.paper.fit_paper", preset="paper", settings=PaperSettings(), model="models.paper.PaperModel"
    ),
    NO_EEG: _ours("training.backbone.fit_without_eeg", eeg=False, settings=BackboneSettings()),
    "neuroframes population": _ours(
        "training.population.fit_population",
        eeg=False,
        people=True,
        settings=BackboneSettings(),
        model="models.population.PopulationModel",
    ),
    ACROSS: _ours(
        "training.across.fit_across",
        several=True,
        settings=BackboneSettings(),
        model="models.population.PopulationModel",
    ),
    ACROSS_NETWORKS: _ours(
        "training.across.fit_across_default",
        needs=TORCH,
        several=True,
        settings=CorrectionSettings(),
        model="models.population.PopulationModel",
    ),
    BACKBONE: _ours("training.backbone.fit_gaussian", preset="gaussian", settings=BackboneSettings()),
    OURS: _ours(
        "training.backbone.fit_default", needs=TORCH, preset="default", settings=CorrectionSettings()
    ),
}
# Methods that `train` can store; the others are fitted where they are compared with.
PRESETS: Mapping[str, str] = {method.preset: name for name, method in METHODS.items() if method.preset}


# Behind the names of rows.
SHUFFLED, OTHER_EEG, REDUCED = ", shuffled EEG", ", another person's EEG", ", reduced"


def row_of(name: str, settings: Mapping[str, Any]) -> str:
    """A method's row: a network that is less than its authors' in size or training has more than their name.

    Parameters
    ----------
    name : str, of the method
    settings : mapping
        All of a trained network, or those that differ from the method's own. What a baseline's own are is not
        known here: any size that is given counts as smaller, as those of suites are.
    """
    method = METHODS[name]
    own = vars(method.settings) if method.settings else {}
    # Of smaller batches there are more, not fewer.
    sizes = [size for size, value in settings.items() if type(value) is int and size != "batch"]
    less = method.family == "network" and any(settings[size] < own.get(size, float("inf")) for size in sizes)
    return name + REDUCED * less


def method_of(row: str) -> Method | None:
    """The method of a row, with whatever stands behind its name; None of a model that has another name."""
    return METHODS.get(row.removesuffix(SHUFFLED).removesuffix(OTHER_EEG).removesuffix(REDUCED))


def in_order(rows: Iterable[str]) -> list[str]:
    """Rows as tables have them: by method, others last, other EEG after what it belongs to."""
    place = {method: number for number, method in enumerate([*METHODS.values(), None])}
    return sorted(
        dict.fromkeys(rows), key=lambda row: (place[method_of(row)], row.endswith((SHUFFLED, OTHER_EEG)))
    )


def _imported(place: str) -> Any:
    module, name = place.rsplit(".", 1)
    return getattr(import_module(f"neuroframes.{module}"), name)


def check_needs(name: str) -> None:
    """Raise InputError where a package that the method needs isn't installed."""
    if missing := [package for package in METHODS[name].needs if find_spec(package) is None]:
        extra = EXTRA[missing[0]]
        raise InputError(
            f"{name} needs {' and '.join(missing)}; pip install 'neuroframes[{extra}]', or leave it out"
        )


def settings_of(preset: str, sizes: Mapping[str, Any]) -> Settings:
    """A preset's settings, with other sizes where they are asked for.

    Raises
    ------
    InputError
        If there is no such preset, it has no such size, or a package that it needs isn't installed.
    """
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}; choose from {', '.join(PRESETS)}")
    settings = METHODS[PRESETS[preset]].settings
    assert settings is not None
    known = {field.name for field in fields(settings)}
    if unknown := [f"--{name}" for name in sizes if name not in known]:
        options = ", ".join(f"--{name}" for name in OPTIONS if name in known)
        raise InputError(f"--preset {preset} has no {', '.join(unknown)}; leave that out, it has {options}")
    check_needs(PRESETS[preset])
    return replace(settings, **sizes)


def check_fits(
    name: str,
    space: CorticalSpace | None,
    motion: bool = True,
    *,
    raw: bool = True,
    people: bool = True,
    regions: bool = True,
    several: bool = False,
) -> None:
    """Raise InputError where a method can't be fitted to recordings of this kind.

    Parameters
    ----------
    name : str, of the method
    space : CorticalSpace, or None of BOLD alone, without EEG
    motion : bool, whether there are motion parameters
    raw : bool, whether EEG is raw, rather than features of each frame
    people : bool, whether there are runs of other people
    regions : bool, whether BOLD alone is of regions
    several : bool, whether it is fitted to several people
    """
    method = METHODS[name]
    if method.several and not several:
        raise InputError(f"{name} takes the stores of two people or more; pass more")
    # The mean frame is what nothing at all makes known.
    if space is None and (method.eeg or not method.frames) and name != "mean frame":
        raise InputError(f"{name} needs EEG, or knows nothing of the moment")
    if method.needs == TORCH and not raw:
        raise InputError(
            f"{name} takes raw EEG, but there are features of each frame; use the backbone: --preset gaussian"
        )
    if method.motion and not motion:
        raise InputError(f"{name} needs motion parameters, and the confounds have none")
    if method.people and not people:
        raise InputError(f"{name} needs runs of other people, and there are none")
    if method.regions and not (regions if space is None else space.V <= MOST_REGIONS):
        raise InputError(
            f"{name} takes at most {MOST_REGIONS} regions, and there are more vertices; average them in "
            "parcels, or use another method"
        )
    if method.mesh and space is not None and space.name not in MESH_SIZES:
        raise InputError(
            f"{name} needs a cortical mesh, and there is none of the space {space.name}; "
            f"prepare frames on {' or '.join(MESH_SIZES)}, or use another method"
        )


def fit(
    name: str, part: "TrainingPart", options: Mapping[str, Any], *, state: Path, seed: int = 0, **run: Any
) -> "Model":
    """Fit a method to a training part.

    Parameters
    ----------
    name : str, of its row
    part : TrainingPart
    options : mapping
        Settings that are to differ from the method's own.
    state : Path
        Folder for the state of training, from which it goes on; to be removed once the model is written.
    seed : int
    **run
        Of `training.trainer.run`, where networks are trained: devices, precision, progress.
    """
    method = METHODS[name]
    # Before the import, whose ModuleNotFoundError wouldn't say what to install.
    check_needs(name)
    about = {"raw": not part.origin.features, "people": bool(part.others), "several": part.several}
    check_fits(name, part.origin.space, **about)
    fitted_by: Callable[..., Any] = _imported(method.fitted_by)
    if method.settings is None:
        baseline = fitted_by(**options, **({"seed": seed} if method.seeded else {}))
        return baseline.fit(part.segments, *([part.others] if method.people else []))
    settings = replace(method.settings, **options)
    return fitted_by(part, settings, state=state, seed=seed, **run)


def load_model(path: str | Path) -> "TrainedModel":
    """Read what `train` or `prior` wrote; PyTorch is loaded only where the model needs it.

    Raises
    ------
    InputError
        If there is no model at `path`, or one of another version.
    """
    stored = read_stored(Path(path))
    # "neuroframes-model-paper-2": the kind is the module that reads it.
    of_kind = (name for name, method in METHODS.items() if method.model.startswith(f"models.{stored.kind}."))
    # An unknown kind goes to the Gaussian's reader, which says which format it expected.
    name = next(of_kind, BACKBONE)
    check_needs(name)
    return _imported(METHODS[name].model).from_stored(stored)
