"""Whether a sequence of frames looks, covaries and fluctuates as the truth does.

SSIM compares frames as images, FC similarity which parcels go together, the spectral error how fast. None of
them follows time: frames of the right look, covariance and spectrum at the wrong moments pass, so temporal r
stands beside them. `noise_ceiling` is what that r could reach. Frames are (K, V) in z-units of the
training part.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.signal import welch

from neuroframes.evaluation.metrics import correlation, standardised

Array = NDArray[np.float64]
Frames = Sequence[NDArray[np.floating]]  # one (K, V) array a segment
Mask = Sequence[NDArray[np.bool_]]

SSIM_WINDOW = 7  # pixels
SSIM_FRAMES = 200  # of those scored, evenly spread: neighbouring frames are nearly equal
WELCH = 100.0  # seconds of a spectrum's segments: 0.01 Hz between frequencies
SILENCE = 40.0  # dB, the largest difference that counts: no power at all would be infinitely far off
BLOCK = 2048  # vertices worked on at once


def ssim(truth: NDArray[np.floating], prediction: NDArray[np.floating], index: NDArray[np.int64]) -> float:
    """Mean structural similarity of frames on a raster (Wang et al. 2004, doi:10.1109/TIP.2003.819861).

    With mean m, sample variance v and covariance c of truth x and prediction y in a window,
    (2 m_x m_y + C1) (2 c + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2)), C1 = (0.01 R)^2, C2 = (0.03 R)^2,
    averaged over windows and frames. R is the range of the truth, largest less smallest value in all frames.

    The trap: in raw units every frame is nearly the mean image, and so is a prediction that knows nothing of
    time. In z-units a prediction of 0 still gets what C1 and C2 give, the more the larger R is. Where there
    is no signal any method's 0 would be right: such vertices are no part of the cortex here.

    Parameters
    ----------
    truth, prediction : array, shape (K, V)
    index : array, shape (H, W)
        Of `cortex.flat.flat_index`. Windows of 7 x 7 pixels that reach beyond the cortex don't count, nor
        do vertices whose truth is 0 in all frames or not finite.

    Returns
    -------
    float
        NaN if no window lies within the cortex.
    """
    from skimage.metrics import structural_similarity  # half a second to import

    inside = (index >= 0) & (np.isfinite(truth).all(axis=0) & truth.any(axis=0))[index]
    windows = binary_erosion(inside, np.ones((SSIM_WINDOW, SSIM_WINDOW)))
    if not windows.any():
        return np.nan
    shown = truth[:, np.unique(index[inside])]
    data_range = float(shown.max()) - float(shown.min())
    total = 0.0
    for pair in zip(truth, prediction, strict=True):
        x, y = (np.where(inside, frame[index], 0).astype(np.float64) for frame in pair)
        similarity = structural_similarity(x, y, win_size=SSIM_WINDOW, data_range=data_range, full=True)[1]
        total += similarity[windows].mean()
    return float(total / len(truth))


def fc_similarity(truth: Frames, prediction: Frames, scored: Mask, parcels: NDArray[np.integer]) -> float:
    """Pearson r between the functional connectivity of truth and prediction, above the diagonal.

    Connectivity is the correlation of parcels' means along the scored frames of all segments. Parcels whose
    truth is constant are left out; a constant prediction correlates with nothing, so silence gets 0.
    Of fewer than three parcels there is one pair at most, which has no r: NaN.

    The trap: it takes any frames of the right covariance, draws without EEG as well. Few scored frames, or
    frames that hardly fluctuate independently, make any connectivity uncertain.

    Parameters
    ----------
    truth, prediction : list of array, shape (K, V)
    scored : list of array, shape (K,)
    parcels : array, shape (V,)
        Of `cortex.regions.parcels`; -1 belongs to none.
    """
    first, second = (np.concatenate(region_means(frames, parcels, scored)) for frames in (truth, prediction))
    x, y = standardised(first), standardised(second, first)
    varying = x.any(axis=0)
    if varying.sum() < 3:
        return np.nan
    above = np.triu_indices(varying.sum(), 1)
    x, y = x[:, varying], y[:, varying]
    return float(np.nan_to_num(correlation((x.T @ x)[above][:, None], (y.T @ y)[above][:, None])[0]))


def region_means(
    frames: Frames, labels: NDArray[np.integer], rows: Mask | None = None
) -> list[NDArray[np.float32]]:
    """Mean of the values of each label, 0 to P - 1 (-1 is none): (K, P) of (K, V), or of these rows alone."""
    members = np.flatnonzero(labels >= 0)
    share = np.float32(1) / np.bincount(labels[members])[labels[members]]
    means = scipy.sparse.csr_array(
        (share.astype(np.float32), (labels[members], members)), shape=(labels.max() + 1, len(labels))
    )
    kept = [slice(None)] * len(frames) if rows is None else rows
    return [(means @ part.T).T[mask] for part, mask in zip(frames, kept, strict=True)]


def spectra(frames: Frames, tr: float) -> tuple[Array, Array]:
    """Power spectrum by Welch's method (1967, doi:10.1109/TAU.1967.1161901), averaged over vertices.

    Hann windows of 100 s that overlap by half, each without its mean, over whole sequences: frames that
    were given are part of what one would analyse, and gaps are shorter than a window. Segments shorter
    than 100 s are left out; if all are, windows are as long as the longest.

    Parameters
    ----------
    frames : list of array, shape (K, V)
    tr : float, seconds

    Returns
    -------
    frequencies, power : arrays, shape (F,), Hz up to 1 / (2 tr) without 0, and squared units of frames per Hz
    """
    n = min(round(WELCH / tr), max(len(part) for part in frames))
    step = max(1, n // 2)
    power, count = np.zeros(n // 2 + 1), 0
    for part in (part for part in frames if len(part) >= n):
        windows = (len(part) - n) // step + 1
        count += windows * part.shape[1]
        # In blocks, since windows that overlap are twice the frames.
        for start in range(0, part.shape[1], BLOCK):
            series = part[:, start : start + BLOCK].T
            frequencies, density = welch(series, 1 / tr, nperseg=n, noverlap=n - step)
            power += windows * density.sum(axis=0, dtype=np.float64)
    return frequencies[1:], power[1:] / count


def spectral_error(truth: Frames, prediction: Frames, tr: float) -> float:
    """Mean absolute difference of the log power of `spectra`, dB, over frequencies up to Nyquist.

    A frequency counts 40 dB at most, so a constant prediction gets 40. Sequences are complete, with the
    frames that were given, and censored frames as they are in either.

    The trap: shuffled frames of the right spectrum get 0, and a posterior mean never does: it has less power
    than the truth by as much as it doesn't know. Too much at some vertices and too little at others cancels.
    """
    x, y = (spectra(frames, tr)[1] for frames in (truth, prediction))
    ratio = np.divide(y, x, out=np.ones_like(x), where=x > 0)
    bound = 10 ** (SILENCE / 10)
    return float(np.abs(10 * np.log10(np.clip(ratio, 1 / bound, bound))).mean())


def noise_ceiling(runs: Sequence[NDArray[np.float32]]) -> Array:
    """The temporal r that a perfect prediction of the repeated signal would have with a single run.

    Runs x_i = s + e_i of one stimulus, with errors independent between runs, correlate by
    rho = var s / (var s + var e), and s correlates with each of them by sqrt(rho). Given is the root of the
    mean r of all pairs, 0 where that is negative (Schoppe et al. 2016, doi:10.3389/fncom.2016.00010; for fMRI
    Lage-Castellanos et al. 2019, doi:10.1371/journal.pcbi.1006397).

    The trap: what the stimulus doesn't repeat counts as noise, also when it is of the brain, so a prediction
    from EEG may exceed it. What repeats for other reasons (drift, motion at the same scenes) raises it, and
    clipping makes it positive on average where there is no signal.

    Parameters
    ----------
    runs : list of at least two arrays, shape (K, V), the same frames of the stimulus in each

    Returns
    -------
    array, shape (V,), 0 to 1; 0 where a run is constant
    """
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run; a noise ceiling needs at least two of the same stimulus")
    n = len(runs)
    total, varying = np.zeros(runs[0].shape), np.ones(runs[0].shape[1], bool)
    for run in runs:
        z = standardised(run)
        total += z
        varying &= z.any(axis=0)
    # |sum z|^2 holds every pair twice, and each of the n runs with itself, which is 1.
    mean_r = ((total**2).sum(axis=0) - n) / (n * (n - 1))
    return np.where(varying, np.sqrt(np.maximum(mean_r, 0)), 0)


def similarity_scores(
    truth: Frames, prediction: Frames, scored: Mask, *, tr: float, index: NDArray[np.int64] | None
) -> dict[str, float]:
    """What stands beside `metrics.score`, over the whole cortex.

    Parameters
    ----------
    truth, prediction : list of array, shape (K, V), z-units
        Complete sequences, one a segment: the frames that were given are in both.
    scored : list of array, shape (K,)
    tr : float, seconds
    index : array, shape (H, W), of `cortex.flat.flat_index`; without it no SSIM

    Returns
    -------
    dict of float
        ssim, over at most 200 scored frames, evenly spread; spectral_error in dB, over all frames. What a
        partial coverage leaves undefined has no entry.
    """
    scores = {}
    if index is not None:
        rows = [(segment, row) for segment, mask in enumerate(scored) for row in np.flatnonzero(mask)]
        spread = np.linspace(0, len(rows) - 1, min(len(rows), SSIM_FRAMES)).round().astype(int)
        x, y = (
            np.stack([frames[segment][row] for segment, row in (rows[i] for i in spread)])
            for frames in (truth, prediction)
        )
        scores["ssim"] = ssim(x, y, index)
    scores["spectral_error"] = spectral_error(truth, prediction, tr)
    return {name: value for name, value in scores.items() if not np.isnan(value)}
