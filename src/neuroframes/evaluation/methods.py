"""Every method that a benchmark can run, by the name of its row, and how it is fitted.

A method is a baseline, or what `neuroframes train` makes of a preset. Fitted to a `TrainingPart` it sees the
given frames of a segment and its EEG, and returns all frames and, where it states one, their standard
deviation. What a method needs is imported when it is fitted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from neuroframes.baselines.interface import Baseline
from neuroframes.evaluation.evaluate import Method as Predict
from neuroframes.evaluation.evaluate import predict, predict_by_draws, predict_by_surface
from neuroframes.models.settings import PAPER_DRAWS
from neuroframes.training.train import Preset, TrainingPart, fit


@dataclass(frozen=True)
class Method:
    """A row of the benchmark: a baseline's class, or a preset and how its model predicts.

    Attributes
    ----------
    baseline : str
        "module.Class" of `neuroframes`, or "".
    preset : str or None
        Of `train`.
    predict : callable
        From a preset's model, a segment and the mask of given frames.
    eeg : bool
        Whether it reads EEG.
    frames : bool
        Whether given frames tell it of the others. A method of neither kind knows nothing of the moment.
    seeded : bool
        Whether fitting a baseline is random.
    """

    baseline: str = ""
    preset: Preset | None = None
    predict: Callable[..., Any] = predict
    eeg: bool = True
    frames: bool = False
    seeded: bool = False


@dataclass(frozen=True)
class Fitted:
    """What fitting gives.

    Attributes
    ----------
    predict : callable
        From a segment and the mask (K,) of given frames to frames (K, V) and standard deviation or None.
    n_parameters : int
        Numbers that fitting determined.
    """

    predict: Predict
    n_parameters: int


ORACLE = "global signal (oracle)"
OURS, BACKBONE, DEAF = "neuroframes", "neuroframes backbone", "neuroframes without EEG"
_network = partial(Method, seeded=True)
_in_time = partial(Method, eeg=False, frames=True)

METHODS: Mapping[str, Method] = {
    "mean frame": Method("baselines.mean_frame.MeanFrame", eeg=False),
    "run mean": _in_time("baselines.run_mean.RunMean"),
    "drift": Method("baselines.drift.Drift", eeg=False),
    "hold last": _in_time("baselines.hold_last.HoldLast"),
    "nearest": _in_time("baselines.nearest.Nearest"),
    "linear": _in_time("baselines.linear.Linear"),
    "cubic spline": _in_time("baselines.cubic_spline.CubicSpline"),
    "Lomb-Scargle": _in_time("baselines.lomb_scargle.LombScargle"),
    "kriging": _in_time("baselines.kriging.Kriging"),
    ORACLE: Method("evaluation.controls.GlobalSignal", eeg=False),
    "motion alone": Method("baselines.motion.MotionRidge", eeg=False),
    "ridge FIR": Method("baselines.ridge_fir.RidgeFIR"),
    "banded ridge": Method("baselines.banded_ridge.BandedRidge", seeded=True),
    "kriging + EEG": Method("baselines.kriging_eeg.KrigingEeg", frames=True),
    "CNN-TC": _network("baselines.cnn_tc.CnnTc"),
    "CNN-TAG": _network("baselines.cnn_tag.CnnTag"),
    "E2FNet": _network("baselines.e2fnet.E2FNet"),
    "E2FGAN": _network("baselines.e2fgan.E2FGan"),
    "NeuroBOLT-like": _network("baselines.neurobolt.NeuroBolt"),
    "surface model": Method(preset="surface", predict=predict_by_surface, frames=True),
    "paper's recipe": Method(
        preset="paper", predict=partial(predict_by_draws, n_draws=PAPER_DRAWS, seed=0), frames=True
    ),
    DEAF: _in_time(preset="gaussian", predict=partial(predict, eeg=False)),
    BACKBONE: Method(preset="gaussian", frames=True),
    OURS: Method(preset="default", frames=True),
}


def make_baseline(method: Method, options: Mapping[str, Any], seed: int) -> Baseline:
    """A baseline that isn't fitted yet."""
    module, name = method.baseline.rsplit(".", 1)
    kind = getattr(import_module(f"neuroframes.{module}"), name)
    baseline: Baseline = kind(**options, **({"seed": seed} if method.seeded else {}))
    return baseline


def fit_method(name: str, part: TrainingPart, options: Mapping[str, Any], folder: Path, seed: int) -> Fitted:
    """Fit a method of the table.

    Parameters
    ----------
    name : str
    part : TrainingPart
    options : mapping
        Sizes and budgets, where they are to differ from the method's own.
    folder : Path
        For the state of training.
    seed : int
    """
    method = METHODS[name]
    if method.preset is not None:
        model = fit(part, preset=method.preset, state=folder, seed=seed, **options)
        return Fitted(partial(method.predict, model), model.n_parameters)
    baseline = make_baseline(method, options, seed).fit(part.segments)
    return Fitted(lambda segment, given: (baseline.predict(segment, given), None), baseline.n_parameters)
