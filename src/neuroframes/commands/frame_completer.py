"""Completion as a step of scikit-learn: arrays in, arrays out."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from neuroframes.commands.fill import fill_run
from neuroframes.commands.in_memory import as_given
from neuroframes.commands.run import read_run
from neuroframes.errors import InputError, counted
from neuroframes.models.population import PopulationModel
from neuroframes.recording.bold import read_bold
from neuroframes.recording.stated_time import check_tr
from neuroframes.recording.timeline import Censoring, without_values
from neuroframes.threads import few_threads
from neuroframes.training.population import GroupRun, Part, prior_of

Array = NDArray[np.floating[Any]]
Runs = Array | Sequence[Array]  # one run, or several


class FrameCompleter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fills the missing frames of runs, such as those that a masker of nilearn gives.

    Several runs teach what people's runs share, one run nothing: what it says of itself is learned when it is
    filled.

    Parameters
    ----------
    tr : float, seconds
        Of all runs. It has to be given.
    fewest_frames : int
        Runs with fewer measured frames teach nothing.

    Attributes
    ----------
    prior_ : PopulationModel, or None
        What `fit` learned from several runs.
    n_features_in_ : int
    """

    def __init__(self, tr: float | None = None, *, fewest_frames: int = 48) -> None:
        self.tr, self.fewest_frames = tr, fewest_frames

    def fit(self, X: Runs, y: None = None, sample_mask: Any = None) -> Self:  # noqa: N803 - scikit-learn's
        """Learn from other people's runs.

        Parameters
        ----------
        X : list of array, shape (K, V), or one array
            Each run is taken as a person's; which frames are missing as in `transform`. Of one array
            nothing is learned.
        sample_mask : as in `transform`

        Raises
        ------
        InputError
            If no run has `fewest_frames` measured frames, or there is no TR.
        """
        if self.tr is None:
            raise InputError("FrameCompleter without a TR; pass it in seconds, as FrameCompleter(tr=2.0)")
        check_tr(self.tr, "tr (s)")
        runs = self._given(X, sample_mask, reset=True)
        self.prior_: PopulationModel | None = None
        if _several(X):
            with TemporaryDirectory() as folder:
                self.prior_ = self._prior_of(runs, Path(folder))
        return self

    def transform(self, X: Runs, sample_mask: Any = None) -> Any:  # noqa: N803
        """Fill each run's missing frames; the others are kept to the bit.

        Parameters
        ----------
        X : array, shape (K, V), or list of those
            Frames that are NaN are missing, as are single values that are, and frames of one value
            throughout, such as the zeros that nilearn's maskers put in the place of NaN.
        sample_mask : array of int or bool, or for a list of runs a list of those, optional
            Frames that are measured, as nilearn has them; the others are missing, whatever stands there.

        Returns
        -------
        array, shape (K, V), or list of those
            Of the same type. A run that lacks nothing is given back as it is.

        Raises
        ------
        InputError
            If frames are missing and fewer than 16 are measured, or there is no TR.
        """
        return self._filled(X, sample_mask, among=False)

    def fit_transform(self, X: Runs, y: None = None, sample_mask: Any = None) -> Any:  # noqa: N803
        """`fit` and `transform`; several runs are filled by what each of the others teaches.

        Parameters
        ----------
        X, sample_mask : as in `transform`
        """
        return self.fit(X, sample_mask=sample_mask)._filled(X, sample_mask, among=True)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _given(self, X: Runs, sample_mask: Any, *, reset: bool) -> list[Array]:  # noqa: N803
        """Runs as arrays, all of as many values as were fitted; NaN at frames that a mask leaves out."""
        settings: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
        runs: list[Array] = []
        for run in X if _several(X) else [X]:
            runs.append(validate_data(self, run, reset=reset and not runs, **settings))
        if sample_mask is None:
            return runs
        masks = sample_mask if _several(X) else [sample_mask]
        if len(masks) != len(runs):
            given = f"{counted(len(masks), 'sample mask')} for {counted(len(runs), 'run')}"
            raise InputError(f"{given}; pass one for each, or None")
        return [
            run if mask is None else np.where(_left_out(mask, len(run))[:, None], np.nan, run)
            for run, mask in zip(runs, masks, strict=True)
        ]

    @few_threads
    def _prior_of(self, runs: list[Array], folder: Path) -> PopulationModel:
        """What the command of that name gives, in this process."""
        files = [_written(run, folder, _person(i)) for i, run in enumerate(runs)]
        people = tuple(GroupRun(file, file.stem, None) for file in files)
        space, rules = read_bold(files[0], tr=self.tr).space, Censoring()
        assert self.tr is not None
        return prior_of(
            Part(people, space, self.tr, rules, None, self.fewest_frames, self.tr, folder / "parts")
        )

    @few_threads
    def _filled(self, X: Runs, sample_mask: Any, *, among: bool) -> Any:  # noqa: N803
        """Runs filled; where they are `among` those that were fitted, each without itself."""
        check_is_fitted(self)
        runs = self._given(X, sample_mask, reset=False)
        options: dict[str, Any] = {"bold_tr": self.tr}
        with TemporaryDirectory() as folder:
            if self.prior_ is not None:
                self.prior_.save(Path(folder, "prior"))
            people = {} if self.prior_ is None else self.prior_.population.people
            filled = []
            for i, run in enumerate(runs):
                itself = {_person(i)} & {*people} if among else set()
                options["model"] = Path(folder, "prior") if {*people} - itself else None
                options["leave_out"] = _person(i) if itself and options["model"] else None
                name = f"run-{i + 1}"
                empty = without_values(run, np.ones(len(run), bool), name)
                missing = np.isnan(run) | empty[:, None]
                filled.append(run)
                if missing.any():
                    path = _written(np.where(missing, np.nan, run), Path(folder), name)
                    asked = read_run(path, out=path.with_name("filled.npz"), **options)
                    frames = fill_run(asked, np.arange(len(run), dtype=np.float64)).frames
                    filled[i] = as_given(frames, run)
        return filled if _several(X) else filled[0]


def _written(run: Array, folder: Path, name: str) -> Path:
    np.savez(folder / name, bold=run)
    return folder / f"{name}.npz"


def _several(runs: Any) -> bool:
    """Whether this is a list of runs, each frames x values, rather than one run."""
    listed = isinstance(runs, list | tuple) and len(runs) > 0
    return np.asarray(runs[0]).ndim == 2 if listed else np.asarray(runs).ndim == 3


def _person(number: int) -> str:
    return f"sub-{number + 1}"


def _left_out(sample_mask: Any, n_frames: int) -> NDArray[np.bool_]:
    """Frames that a mask of nilearn leaves out, shape (K,)."""
    missing, kept = np.ones(n_frames, bool), np.asarray(sample_mask)
    try:
        if kept.dtype.kind == "i" and (kept < 0).any():
            raise IndexError(f"{kept.min()} is negative")
        missing[kept] = False
    except IndexError as error:
        raise InputError(
            f"a sample mask that doesn't fit {n_frames} frames ({error}); expected the numbers of those that "
            "are measured, or a boolean for each"
        ) from error
    return missing
