"""Stimulus features from frames: banded ridge regression whose bands are windows of lags.

x_b(k) is the mean of the frames acquired in window b of lags after moment k, of B windows of about 2 s:

    s(k) = m + sum_b x_b(k) W_b,      W = argmin |s - m - sum_b x_b W_b|^2 + sum_b l_b |W_b|^2

The penalties l_b of each feature are those with the lowest left-out error (himalaya's random search, Dupré la
Tour et al. 2022, doi:10.1016/j.neuroimage.2022.119728), so that lags that tell nothing are shrunk away: the
delay of the response is learned. Windows begin before the moment itself, since features may have been
convolved with a response already. x is solved for in the frames' principal components, unscaled: a rotation,
under which ridge regression is the same. Moments are about 2 s apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import fit_autoencoder
from neuroframes.models.ridge import PENALTIES
from neuroframes.recording.segments import HRF_LENGTH

Float32 = NDArray[np.float32]

FIRST, LAST, STEP = -4.0, 10.0, 2.0  # seconds: lags of the windows, and their least length
COMPONENTS = 200  # of frames
MOST_TARGETS = 64  # of more features so many principal components are decoded
BLOCKS = 5  # of moments, left out in turn
FEWEST_MOMENTS = 64
ROUNDING = 0.01  # of a window: files round TRs


@dataclass(frozen=True)
class Decoder:
    """From frames to stimulus features.

    Attributes
    ----------
    weights : array, shape (V, B, T), of each window, for T targets
    loadings : array, shape (T, F), from targets to features; identity where they are the features
    mean : array, shape (F,), decoded from frames that are 0
    names : tuple of str, F of them
    tr : float, seconds
    share : array, shape (B, T), of each window in the variance of a target as it is decoded
    """

    weights: Float32
    loadings: Float32
    mean: Float32
    names: tuple[str, ...]
    tr: float
    share: Float32

    def decode(self, frames: NDArray[np.floating], tr: float | None = None) -> Float32:
        """Features (K, F) of frames (K, V) of one run, none of them missing.

        Where a window reaches over an end, the frame there stands for those that are missing. Frames may be
        closer than those that the decoder was fitted to, `tr` seconds apart.
        """
        n, n_windows, n_targets = self.weights.shape
        mapped = frames @ self.weights.reshape(n, -1)
        mapped = mapped.reshape(len(frames), n_windows, n_targets)
        lagged = windows(self.tr if tr is None else tr, max(STEP, self.tr))
        found = sum(window_mean(mapped[:, b], lags) for b, lags in enumerate(lagged))
        return np.asarray(found @ self.loadings + self.mean, np.float32)

    @property
    def delay(self) -> float:
        """Seconds from a moment to the frames that tell most of it, mean over targets."""
        middle = self.tr * np.array([lags.mean() for lags in windows(self.tr)])
        # What isn't decoded, as what was constant, has no share.
        return float(middle @ self.share.sum(axis=1) / max(self.share.sum(), np.finfo(np.float32).tiny))

    def told_by(self, frames: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Moments (K,) of which these frames (K,) tell most: those `delay` before them."""
        at = np.arange(len(frames)) + round(self.delay / self.tr)
        return np.isin(at, np.flatnonzero(frames))

    def to_tensors(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What `from_tensors` takes: what goes into JSON, and arrays."""
        arrays = {name: getattr(self, name) for name in ("weights", "loadings", "mean", "share")}
        return {"names": list(self.names), "tr": self.tr}, arrays

    @classmethod
    def from_tensors(cls, about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(names=tuple(about["names"]), tr=float(about["tr"]), **arrays)


def windows(tr: float, step: float | None = None) -> list[NDArray[np.intp]]:
    """Lags, in frames, of each window: from `FIRST` to `LAST`, each `step`, or `STEP` or one frame, long."""
    step = max(STEP, tr) if step is None else step
    edges = np.arange(round(FIRST / step), max(round(LAST / step), 1) + 1)
    lags = np.arange(np.floor(edges[0] * step / tr), np.ceil(edges[-1] * step / tr) + 1).astype(np.intp)
    window = np.floor(lags * tr / step + ROUNDING)
    return [lags[window == edge] for edge in edges[:-1]]


def window_mean(values: NDArray[Any], lags: NDArray[np.intp]) -> NDArray[Any]:
    """Mean of rows k + lag of `values` (K, d), of the first or last one where there are none."""
    rows = np.clip(np.arange(len(values))[:, None] + lags, 0, len(values) - 1)
    return np.asarray(values[rows].mean(axis=1))


def fit_decoder(
    frames: Sequence[Float32],
    features: Sequence[NDArray[np.floating]],
    names: Sequence[str],
    tr: float,
    *,
    moments: Sequence[NDArray[np.floating]] | None = None,
    samples: int = 10,
    seed: int = 0,
) -> Decoder:
    """Fit to runs, or stretches of runs, of one person or of several.

    Parameters
    ----------
    frames : sequence of array, shape (K, V), none of them missing
    features : sequence of array, shape (K, F)
        Of the moment of each frame, with NaN where nothing was shown.
    names : sequence of str, F of them
    tr : float, seconds
    moments : sequence of array, shape (K,), seconds
        When each row was shown, on a clock that all have in common: what was shown to several people at the
        same moment is left out together. By default all stretches are apart.
    samples : int, ratios of the windows' penalties that are tried; the first is 1 for all
    seed : int

    Raises
    ------
    InputError
        Without himalaya, or if too few moments have features, or all features are constant.
    """
    if find_spec("himalaya") is None:
        raise InputError("decoding needs himalaya; pip install 'neuroframes[decoding]'")
    if moments is None:
        ends = np.cumsum([len(part) * tr + 2 * HRF_LENGTH for part in frames])
        moments = [end - tr * np.arange(len(part), 0, -1) for end, part in zip(ends, frames, strict=True)]
    # Moments that are closer than a window is long say nearly the same, and time grows with their cube.
    every = max(1, round(STEP / tr))
    shown = [np.isfinite(part).all(axis=1) & (np.arange(len(part)) % every == 0) for part in features]
    at = np.concatenate([part[rows] for part, rows in zip(moments, shown, strict=True)])
    if (n := len(np.unique(at))) < FEWEST_MOMENTS:
        raise InputError(
            f"all features are there at {n} moments of the training part, at least {FEWEST_MOMENTS} are "
            "needed; record longer, hold out less, or leave out features that are mostly NaN"
        )
    targets, loadings, mean = _targets(
        np.concatenate([f[rows] for f, rows in zip(features, shown, strict=True)])
    )

    def columns(block: slice) -> Float32:
        return np.concatenate([part[:, block] for part in frames])

    generator = np.random.default_rng(seed)
    autoencoder, latents = fit_autoencoder(columns, frames[0].shape[1], COMPONENTS, generator)
    size = np.sqrt(autoencoder.importance)
    latents *= size  # of the frames, in a rotated basis
    parts = np.split(latents, np.cumsum([len(part) for part in frames])[:-1])
    x = np.stack([
        np.concatenate([window_mean(part, lags)[rows] for part, rows in zip(parts, shown, strict=True)])
        for lags in windows(tr)
    ])  # fmt: skip
    centre = x.mean(axis=1, keepdims=True)
    x -= centre
    w = _solve(x, targets, _folds(at), samples, seed)
    decoded = np.einsum("bnd,bdt->bnt", x, w)
    share = np.square(decoded).sum(axis=1)
    share /= np.maximum(share.sum(axis=0), np.finfo(float).tiny)
    basis = (autoencoder.decoder / size[:, None]).astype(np.float64)
    weights = np.einsum("dv,bdt->vbt", basis, w)
    mean = mean - np.einsum("bkd,bdt->t", centre, w) @ loadings
    w32, loadings32, mean32, share32 = (x.astype(np.float32) for x in (weights, loadings, mean, share))
    return Decoder(w32, loadings32, mean32, tuple(names), tr, share32)


def _targets(features: NDArray[np.floating]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Targets (n, T) of unit variance on average, loadings (T, F) and mean (F,)."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    varying = scale > 1e-6 * np.abs(mean) + 1e-12
    if not varying.any():
        raise InputError("every stimulus feature is constant in the training part; nothing can be decoded")
    standard = np.where(varying, (features - mean) / np.where(varying, scale, 1), 0).astype(np.float64)
    loadings = np.diag(np.where(varying, scale, 0))
    if standard.shape[1] > MOST_TARGETS:
        _, _, right = np.linalg.svd(standard, full_matrices=False)
        return standard @ right[:MOST_TARGETS].T, right[:MOST_TARGETS] @ loadings, mean
    return standard, loadings, mean


def _folds(at: NDArray[np.floating]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows to fit to, rows to leave out: blocks of moments, with what a response lasts around them."""
    folds = []
    for block in np.array_split(np.unique(at), BLOCKS):
        out = np.flatnonzero((at >= block[0]) & (at <= block[-1]))
        fitted = np.flatnonzero((at < block[0] - HRF_LENGTH) | (at > block[-1] + HRF_LENGTH))
        folds.append((fitted, out))
    return folds


def _solve(
    x: NDArray[np.float64], targets: NDArray[np.float64], folds: list[Any], samples: int, seed: int
) -> NDArray[np.float64]:
    """Weights (B, d, T) of x (B, n, d), by whichever of both problems is smaller."""
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
    from himalaya.ridge import solve_group_ridge_random_search

    n_windows, n, d = x.shape
    unit = np.sqrt(np.square(x).mean() * d)  # a row's length is about 1
    x, alphas = x / unit, PENALTIES[::2]
    shared: dict[str, Any] = {"n_iter": samples, "alphas": alphas, "cv": folds}
    shared |= {"n_alphas_batch": 4, "random_state": seed, "progress_bar": False}
    with np.errstate(divide="ignore"):  # log 0 where a window counts for nothing
        if n < n_windows * d:
            kernels = x @ x.transpose(0, 2, 1)
            deltas, dual, _ = solve_multiple_kernel_ridge_random_search(
                kernels, targets, return_weights="dual", **shared
            )
            weights = np.exp(deltas)[:, None] * np.einsum("bnd,nt->bdt", x, dual)
        else:
            _, flat, _ = solve_group_ridge_random_search([*x], targets, return_weights=True, **shared)
            weights = flat.reshape(n_windows, d, -1)
    return np.asarray(weights / unit, np.float64)
