"""Ridge regression of every vertex on lagged log band power (a finite impulse response per feature).

The features are the standardised log band power of all channels and bands at 0 to 20 s before each frame.
Where EEG comes as features of each frame, which may be convolved with a response already, they may instead be
those of 2 frames to either side (see `models.response`), as left-out error has it.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import Baseline, repetition_time, training_mean
from neuroframes.errors import InputError
from neuroframes.models.response import response_of
from neuroframes.models.ridge import Ridge, folds
from neuroframes.recording.band_power import LAST_LAG, BandPower, lagged
from neuroframes.recording.segments import Segment

VALIDATION_VERTICES = 512  # evenly spread, enough to choose one penalty by their pooled error


class RidgeFIR(Baseline):
    """Ridge on log band power lagged 0 to 20 s at the TR, one penalty for all vertices.

    Notes
    -----
    The penalty is the one with the lowest left-out error pooled over vertices. Whole segments are left out,
    or blocks where segments are few, with a margin of 20 s on either side, since frames next to a block,
    nearly equal to it, would give it away. Centring and scaling come from the whole training part, not from
    each fold.
    """

    name = "ridge FIR"
    needs_eeg = any_time = True
    reads_frames = False

    def features(self, segment: Segment) -> NDArray[np.float64]:
        """Lagged log band power, shape (K, p), lag slowest."""
        return lagged(self._power(segment), segment.times, self.lags_).astype(np.float64)

    @staticmethod
    def _power(segment: Segment) -> BandPower:
        if segment.power is None:
            raise InputError(f"{segment.run}: ridge on band power needs EEG; there is none for this run")
        return segment.power

    def design(
        self, train: Sequence[Segment], response: str = "free"
    ) -> tuple[NDArray[np.float64], int, list[NDArray[np.int64]]]:
        """For `Ridge`: standardised features (n, p) of the measured training frames, margin and blocks."""
        tr = repetition_time(train)
        self.lags_, _ = response_of(response, tr)
        phi = np.concatenate([self.features(segment)[segment.measured] for segment in train])
        self.centre_ = phi.mean(axis=0)
        deviation = phi.std(axis=0)
        # A flat channel's deviation is rounding; scaled up, it would become a feature.
        flat = deviation <= 1e-6 * np.abs(self.centre_) + 1e-12
        self.scale_ = np.where(flat, np.inf, deviation)
        lengths = [int(segment.measured.sum()) for segment in train]
        return (phi - self.centre_) / self.scale_, round(LAST_LAG / tr), folds(lengths)

    def fit(self, train: Sequence[Segment]) -> Self:
        """Choose the penalty and solve for all vertices.

        `left_out_` is the left-out residual of the measured frames at those vertices.
        """
        self.mean_ = training_mean(train)
        every = -(-len(self.mean_) // VALIDATION_VERTICES)
        validation = np.concatenate([segment.frames[segment.measured, ::every] for segment in train])
        targets = validation.astype(np.float64) - self.mean_[::every]
        lowest = np.inf
        are_features = self.needs_eeg and train[0].eeg is None
        for response in ("free", "convolved") if are_features else ("free",):
            tried = Ridge(*self.design(train, response))
            penalty, error = tried.best_penalty(targets)
            if error < lowest:
                lowest, chosen, ridge, self.penalty_ = error, response, tried, penalty
        if chosen != response:
            self.design(train, chosen)
        self.left_out_ = targets - ridge.left_out(targets, self.penalty_)

        # Columns of `left` have mean 0, so left' Y needs no centred copy of the frames.
        ends = np.cumsum([segment.measured.sum() for segment in train])[:-1]
        moment = sum(
            rows.T.astype(np.float32) @ segment.frames[segment.measured]
            for rows, segment in zip(np.split(ridge.left, ends), train, strict=True)
        )
        self.right_ = ridge.right
        self.coefficients_ = (moment / (ridge.squared + self.penalty_)[:, None]).astype(np.float32)
        return self

    @property
    def n_parameters(self) -> int:
        return len(self.mean_) * (1 + len(self.centre_))

    def estimate(self, segment: Segment) -> NDArray[np.float32]:
        features = self.features(segment)[~segment.measured]
        if (n := features.shape[1]) != len(self.centre_):
            raise InputError(
                f"{segment.run}: {n} features; {self.name} was fitted to {len(self.centre_)}: "
                "give it the same channels and bands"
            )
        phi = (features - self.centre_) / self.scale_
        return (phi @ self.right_).astype(np.float32) @ self.coefficients_ + self.mean_
