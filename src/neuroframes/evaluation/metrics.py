"""How near a sequence of frames is to the truth.

Frames are (K, V) in z-units of the training part, so that 0 is each vertex's training mean. Everything
is pooled over the scored frames of all segments. Temporal metrics run along time, per vertex, and are
then averaged over vertices; spatial ones run along vertices, per frame, and are then averaged over frames.

Traps that these definitions avoid:
* a spatial r of raw frames is high for the mean image of anybody: each vertex's mean is removed here;
* r is blind to scale and offset: R2 (against the *test* mean), MSE and the variance ratio stand beside it;
* an r that is undefined, of a constant prediction, is 0, not left out: silence earns nothing;
* a constant that was computed in float32 varies by its rounding, which has an r: it counts as constant;
* smooth answers score well on MSE: frame differences and lag-1 autocorrelation tell.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from neuroframes.errors import InputError

Frames = NDArray[np.float32] | Sequence[NDArray[np.float32]]  # (K, V), or one such array per segment
Mask = NDArray[np.bool_] | Sequence[NDArray[np.bool_]]  # (K,), or one per segment
Array = NDArray[np.float64]

Scalar = TypeVar("Scalar", bound=np.generic)

WHOLE = "whole"
# A sum of n float32 terms is off by about sqrt(n) eps of their size. A variance below 10^4 eps^2 of the mean
# square, the larger one of the values and of their truth, is the rounding of a constant. Measured values were
# rounded once, not added up, so `recording.segments.constant` lets less of them pass for rounding.
ROUNDING = 1e4 * float(np.finfo(np.float32).eps) ** 2
CELLS = 2**16  # frames x vertices worked on at once: 0.5 MiB in float64 stays in a core's cache


def correlation(a: Array, b: Array, size: Array | float = 0.0) -> Array:
    """Pearson r of the columns of `a` and `b`, both (n, V); NaN where one is constant but for rounding.

    `size`, broadcast to (2, V), is the mean square of larger numbers that `a` and `b` were computed from.
    """
    return r_of_sums(_sums(a, b, axis=0), size)


def varies(spread: Array, squares: Array, beside: Array | float = 0.0) -> NDArray[np.bool_]:
    """Whether a sum of squares about the mean is more than rounding.

    `squares` is the values' sum of squares, `beside` that of what they estimate.
    """
    return np.asarray(spread > ROUNDING * np.maximum(squares, beside))


def standardised(frames: NDArray[np.floating], truth: NDArray[np.floating] | None = None) -> Array:
    """Columns of mean 0 and unit length, float64; 0 where constant but for rounding, of the truth as well."""
    sources = (frames, frames if truth is None else truth)
    squares, beside = (np.square(x, dtype=np.float64).sum(axis=0) for x in sources)
    x = frames - frames.mean(axis=0, dtype=np.float64)
    spread = (x**2).sum(axis=0)
    varying = varies(spread, squares, beside)
    return np.where(varying, x, 0) / np.sqrt(np.where(varying, spread, 1))


def crps(truth: Array, mean: Array, std: Array) -> Array:
    """Continuous ranked probability score of a Gaussian forecast, in the unit of `truth`; lower is better.

    Closed form (Gneiting & Raftery 2007, equation 21); the absolute error where `std` is 0.
    """
    error = truth - mean
    z = np.divide(error, std, out=np.zeros_like(error), where=std > 0)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    score = std * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.where(std > 0, score, np.abs(error))


def ensemble_crps(truth: Array, draws: Array) -> Array:
    """Fair continuous ranked probability score of an ensemble, in the unit of `truth`; lower is better.

    mean |x_s - y| - 1 / (2 S (S - 1)) sum |x_s - x_t|, which has the same expectation for any number of draws
    (Ferro 2014, doi:10.1002/qj.2270); sorted, the second sum is that of (2 s - S - 1) x_(s).

    Parameters
    ----------
    truth : array, shape (K, v)
    draws : array, shape (S, K, v), S at least 2

    Returns
    -------
    array, shape (K, v)
    """
    n = len(draws)
    weights = (2 * np.arange(1, n + 1) - n - 1) / (n * (n - 1))
    return np.abs(draws - truth).mean(axis=0) - np.tensordot(weights, np.sort(draws, axis=0), axes=1)


def ensemble_coverage(truth: Array, draws: Array, interval: float = 0.9) -> Array:
    """How far the central interval of an ensemble covers the truth, 0 to 1; its mean is the coverage.

    Among S draws of its own law the truth has any rank from 0 to S with the same probability. The interval
    keeps ranks from h to S + 1 - h, h = (1 - interval) / 2 (S + 1), and the two ranks that an h between whole
    numbers cuts count by the part inside: the expectation is `interval` for any S. For whole h the limits are
    the draws numbered h and S + 1 - h. A tie counts as all the ranks that it could have.

    Parameters
    ----------
    truth : array, shape (K, v)
    draws : array, shape (S, K, v)
        Of fewer than 2 / (1 - interval) - 1 draws even a truth beyond all of them is covered in part.

    Returns
    -------
    array, shape (K, v)
    """
    outside = (1 - interval) / 2 * (len(draws) + 1)
    low = (draws < truth).sum(axis=0)
    high = low + (draws == truth).sum(axis=0) + 1
    inside = np.minimum(high, len(draws) + 1 - outside) - np.maximum(low, outside)
    return np.asarray(np.maximum(inside, 0) / (high - low))


def vertex_maps(
    truth: Frames,
    prediction: Frames,
    scored: Mask,
    *,
    std: Frames | None = None,
    censored: Mask | None = None,
    interval: float = 0.9,
) -> dict[str, Array]:
    """Every temporal metric per vertex, each of shape (V,).

    Parameters
    ----------
    truth, prediction : array, shape (K, V), or a list with one per segment
    scored : mask, shape (K,), or a list
    std : the prediction's standard deviation, as `prediction`
    censored : mask as `scored`; frame differences that touch a censored frame are left out
    interval : float, the central interval whose coverage is counted

    Returns
    -------
    dict
        mse; temporal_r (NaN where undefined); r2 = 1 - SSE / SST with SST about the mean of the scored
        truth (0 where the truth is constant, as in scikit-learn); mean and variance over the scored
        frames of truth and prediction; frame_difference, the mean of (dx_predicted - dx_true)^2 over
        adjacent frames of one segment of which at least one is scored; difference_r, r of dx_predicted and
        dx_true, and lag1 of truth and prediction, over the same pairs (NaN where undefined); with `std`
        also coverage (0 to 1) and crps; signal, 1 where the truth is finite and varies.
    """
    rows = _Rows(truth, prediction, scored, std, censored)
    parts = [
        _maps(x, y, spread, rows.scored, rows.pairs, interval) for _, x, y, spread in rows.blocks(slice(None))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def frame_series(
    truth: Frames,
    prediction: Frames,
    scored: Mask,
    *,
    vertices: NDArray[np.intp] | slice = slice(None),
    mean_truth: Array | float = 0.0,
    mean_prediction: Array | float = 0.0,
) -> dict[str, Array]:
    """Every spatial metric per scored frame, each of shape (S,).

    Parameters
    ----------
    truth, prediction, scored : as in `vertex_maps`
    vertices : the vertices that count
    mean_truth, mean_prediction : array, shape (V,)
        Each vertex's own mean over the scored frames, as `vertex_maps` gives it; by default 0.

    Returns
    -------
    dict
        spatial_r, along vertices, after removing each vertex's training mean (0 in z-units);
        spatial_r_test_mean, the same after removing `mean_truth` from the truth and `mean_prediction` from
        the prediction, so that no constant pattern counts; cosine, of the frames about the training
        mean, without removing the mean over vertices. NaN where undefined.
    """
    rows = _Rows(truth, prediction, scored, None, None)
    mean_x, mean_y = (np.broadcast_to(mean, rows.n_vertices) for mean in (mean_truth, mean_prediction))
    raw = np.zeros((6, int(rows.scored.sum())))
    centred = raw.copy()
    for columns, x, y, _ in rows.blocks(vertices):
        x, y = x[rows.scored], y[rows.scored]
        raw += _sums(x, y, axis=1)
        centred += _sums(x - mean_x[columns], y - mean_y[columns], axis=1)
    _, _, _, xx, yy, xy = raw
    size = _sizes(raw)  # of the centred frames too: their rounding is that of the raw ones
    return {
        "spatial_r": r_of_sums(raw, size),
        "spatial_r_test_mean": r_of_sums(centred, size),
        "cosine": _ratio(xy, np.sqrt(xx * np.where(varies(yy, xx), yy, 0))),
    }


def score(
    truth: Frames,
    prediction: Frames,
    scored: Mask,
    *,
    std: Frames | None = None,
    regions: Mapping[str, NDArray[np.intp]] | None = None,
    censored: Mask | None = None,
) -> dict[str, dict[str, float]]:
    """All metrics, over all vertices ("whole") and by region.

    Parameters
    ----------
    truth, prediction, scored, std, censored : as in `vertex_maps`
    regions : mapping from name to vertex indices

    Returns
    -------
    dict from region to dict of float
        Means over vertices: mse, temporal_r, r2, frame_difference, difference_r, lag1_truth, lag1_prediction,
        lag1_error (mean absolute difference of the two), and with `std` coverage and crps. Means over frames:
        spatial_r, spatial_r_test_mean, cosine. variance_ratio, mean variance of the
        prediction over that of the truth. Counts: frames, vertices, undefined_r (vertices whose r counts as
        0), without_signal (vertices left out because the truth is constant or not finite). A region without
        any vertex with signal, beyond a partial coverage, has no entry.

    Raises
    ------
    InputError
        If no vertex has signal.
    ValueError
        If shapes differ, or no frame is scored.
    """
    maps = vertex_maps(truth, prediction, scored, std=std, censored=censored)
    signal = maps["signal"] > 0
    if not signal.any():
        raise InputError(
            f"none of {len(signal):,} vertices has measured values that are finite and vary over the scored "
            "frames; check that the BOLD holds signal, and leave out frames that are not finite"
        )
    means = {name: maps[name] for name in ("mean_truth", "mean_prediction")}
    found = {}
    for name, vertices in {WHOLE: np.arange(len(signal)), **(regions or {})}.items():
        used = vertices[signal[vertices]]
        if len(used):
            series = frame_series(truth, prediction, scored, vertices=used, **means)
            summary = _summary({of: values[used] for of, values in maps.items()}, series)
            summary |= {"vertices": len(used), "without_signal": len(vertices) - len(used)}
            found[name] = {of: float(value) for of, value in summary.items()}
    return found


def _summary(maps: Mapping[str, Array], series: Mapping[str, Array]) -> dict[str, float]:
    """The metrics of the vertices of `maps`; an r that is undefined counts as 0."""
    along_time = ("temporal_r", "difference_r", "lag1_truth", "lag1_prediction")
    r = {**{name: maps[name] for name in along_time}, **series}
    r = {name: np.nan_to_num(values) for name, values in r.items()}
    others = {
        name: maps[name] for name in ("mse", "r2", "frame_difference", "coverage", "crps") if name in maps
    }
    return {
        **{name: values.mean() for name, values in (others | r).items()},
        "variance_ratio": maps["variance_prediction"].mean() / maps["variance_truth"].mean(),
        "lag1_error": np.abs(r["lag1_prediction"] - r["lag1_truth"]).mean(),
        "frames": len(series["cosine"]),
        "undefined_r": np.isnan(maps["temporal_r"]).sum(),
    }


class _Rows:
    """The rows of several segments that count, read a block of vertices at a time."""

    def __init__(
        self, truth: Frames, prediction: Frames, scored: Mask, std: Frames | None, censored: Mask | None
    ) -> None:
        self.sources = [_listed(source) for source in (truth, prediction, std) if source is not None]
        masks = [_listed(mask) for mask in (scored, censored) if mask is not None]
        everything: list[list[NDArray[Any]]] = [*self.sources, *masks]
        lengths = [[len(x) for x in arrays] for arrays in everything]
        widths = {x.shape[1] for source in self.sources for x in source}
        if len(widths) > 1 or any(each != lengths[0] for each in lengths):
            raise ValueError(f"truth, prediction, scored, std differ in shape: {lengths} frames of {widths}")
        all_scored = np.concatenate(masks[0])
        bad = np.concatenate(masks[1]) if censored is not None else np.zeros_like(all_scored)
        if not all_scored.any():
            raise ValueError("no frame is scored; pass a longer segment or a shorter gap")
        segment = np.repeat(np.arange(len(masks[0])), lengths[0])
        # Differences across two segments, or with a censored frame, would be of nothing that was measured.
        first = (segment[1:] == segment[:-1]) & (all_scored[1:] | all_scored[:-1]) & ~(bad[1:] | bad[:-1])
        needed = all_scored.copy()
        needed[1:] |= first
        needed[:-1] |= first
        # With short gaps few frames are scored: only they and their neighbours are read.
        self.needed = np.split(needed, np.cumsum(lengths[0])[:-1])
        self.scored = all_scored[needed]
        self.pairs = (np.cumsum(needed) - 1)[:-1][first]
        (self.n_vertices,) = widths

    def blocks(
        self, vertices: NDArray[np.intp] | slice
    ) -> Iterator[tuple[NDArray[np.intp], Array, Array, Array | None]]:
        """Numbers of some vertices, and truth, prediction and std (or None) there at the needed rows."""
        chosen, width = np.arange(self.n_vertices)[vertices], max(1, CELLS // len(self.scored))
        for columns in (chosen[low : low + width] for low in range(0, len(chosen), width)):
            truth, prediction, *std = (
                np.concatenate(
                    [x[:, columns][rows] for x, rows in zip(source, self.needed, strict=True)], dtype=float
                )
                for source in self.sources
            )
            yield columns, truth, prediction, std[0] if std else None


def _maps(
    truth: Array,
    prediction: Array,
    std: Array | None,
    scored: NDArray[np.bool_],
    pairs: NDArray[np.intp],
    interval: float,
) -> dict[str, Array]:
    """`vertex_maps` of one block: all arrays (n, v), `pairs` the first rows of adjacent pairs."""
    x, y, error = truth[scored], prediction[scored], prediction - truth
    sums = _sums(x, y, axis=0)
    size = _sizes(sums)
    _, mean_truth, mean_prediction, *_ = sums / sums[0]
    squared_error = np.mean(error[scored] ** 2, axis=0)
    variance, variance_prediction = _spreads(sums, size) / sums[0]
    # scikit-learn's convention: a constant truth gives 1 if met, 0 if not.
    r2 = np.where(squared_error > 0, 0.0, 1.0)
    np.divide(variance - squared_error, variance, out=r2, where=variance > 0)
    maps = {
        "mse": squared_error,
        "temporal_r": r_of_sums(sums, size),
        "r2": r2,
        "mean_truth": mean_truth,
        "mean_prediction": mean_prediction,
        "variance_truth": variance,
        "variance_prediction": variance_prediction,
        "signal": (np.isfinite(truth).all(axis=0) & (np.ptp(truth, axis=0) > 0)).astype(float),
    }
    if len(pairs):
        step_truth, step_prediction = (z[pairs + 1] - z[pairs] for z in (truth, prediction))
        maps["frame_difference"] = np.mean((step_prediction - step_truth) ** 2, axis=0)
        maps["difference_r"] = correlation(step_truth, step_prediction, size)
        maps["lag1_truth"] = correlation(truth[pairs], truth[pairs + 1], size[0])
        maps["lag1_prediction"] = correlation(prediction[pairs], prediction[pairs + 1], size[1])
    else:
        undefined = ("frame_difference", "difference_r", "lag1_truth", "lag1_prediction")
        maps |= dict.fromkeys(undefined, np.full(len(r2), np.nan))
    if std is not None:
        reach = ndtri(0.5 + interval / 2) * std[scored]
        maps["coverage"] = np.mean(np.abs(error[scored]) <= reach, axis=0)
        maps["crps"] = crps(x, y, std[scored]).mean(axis=0)
    return maps


def _listed(arrays: NDArray[Scalar] | Sequence[NDArray[Scalar]]) -> list[NDArray[Scalar]]:
    return [arrays] if isinstance(arrays, np.ndarray) else list(arrays)


def _sums(x: Array, y: Array, axis: int) -> Array:
    """Count and sums of x, y, x^2, y^2 and x y along `axis` of (n, v) arrays: all that r needs; shape (6, .).

    They add up over blocks. In z-units and float64 the one-pass formulas that use them lose nothing.
    """
    pattern = "kv,kv->v" if axis == 0 else "kv,kv->k"
    products = [np.einsum(pattern, a, b) for a, b in ((x, x), (y, y), (x, y))]
    count = np.full(len(products[0]), x.shape[axis], float)
    return np.stack([count, x.sum(axis=axis), y.sum(axis=axis), *products])


def _sizes(sums: Array) -> Array:
    """Mean square of x, the truth, and the larger one of x and y, beside which y may be rounding; (2, .)."""
    return np.maximum.accumulate(sums[3:5] / sums[0])


def _spreads(sums: Array, size: Array | float) -> Array:
    """Sums of squares about the mean of x and of y, shape (2, .); 0 where constant but for rounding."""
    spreads: Array = sums[3:5] - sums[1:3] ** 2 / sums[0]
    return np.where(varies(spreads, sums[3:5], sums[0] * size), spreads, 0)


def r_of_sums(sums: Array, size: Array | float = 0.0) -> Array:
    """Pearson r of count and sums of x, y, x^2, y^2 and x y, shape (6, ...); NaN where one is constant."""
    n, x, y, _, _, xy = sums
    return _ratio(xy - x * y / n, np.sqrt(_spreads(sums, size).prod(axis=0)))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)
