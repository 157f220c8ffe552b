"""Stationary covariance along time.

Latent j at times s and t covaries as

    C_j(s, t) = v_j * k_g(s - t),   k_g(tau) = sum_f p_gf cos(2 pi f tau) + n_g [tau = 0],

with v_j its variance and g the group of latents that share a spectrum. p_gf >= 0 makes every
covariance positive semi-definite, at any times, on the frame grid or off it. The floor of the
spectrum is white noise n_g: on the grid that changes nothing, off it noise isn't interpolated.

The spectrum is estimated by expectation-maximisation (Dempster, Laird and Rubin 1977): missing
frames are filled by their posterior mean under the current spectrum, and their posterior covariance
is added to the multitaper power (Thomson 1982; discrete prolate spheroidal tapers, whose leakage is
low enough for band-passed recordings, where power falls by many orders of magnitude). It is then that of
an autoregression, whose order says how sharp a spectrum the data support: the order of least Bayesian
information criterion (Schwarz 1978) is low in short runs, high where a band has edges.

The iterations end near where they start: missing frames may be smooth, or may not be. Both starts are tried,
and the smooth one is kept if the measured frames are clearly likelier under it. So are covariances that are
damped, down to white noise.

Latents may lead and lag each other too: see `frames.coupling`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, make_interp_spline
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.signal.windows import dpss
from scipy.special import ndtri

from neuroframes.errors import InputError
from neuroframes.frames.autoregression import Autoregression

Float = NDArray[np.float64]
Start = Callable[[Float, NDArray[np.bool_]], tuple[Float, float]]

HALF_BANDWIDTH = 4.0  # of the tapers, in units of a window's frequency resolution
N_TAPERS = 2
SPECTRUM_ORDER = 32  # of the autoregression that a spectrum is, at most
LONGEST_WINDOW = 1024  # frames; longer runs are cut, so that cost stays linear in length
N_FFT = 4096  # a window's lags must stay below half of it
FLOOR = 1e-11  # of the spectrum's peak: keeps covariances well conditioned in double precision
FEWEST_MEASURED = 16  # frames
FEW_MEASURED = 64  # frames; spectra of fewer are drawn towards white
CLEARLY = 0.02  # log-likelihood for each value, by which a smooth start must be better
SHORTER = 0.01  # the same for a shorter memory: chosen on the odd people of docs/prior.md
MEMORIES = (0.98, 0.95, 0.9, 0.8, 0.6, 0.0)  # by which covariances are damped with each frame
SMOOTH_ERROR = 0.002  # of a smooth start at missing frames, in variances
FINER_GRIDS = (1, 2, 3, 4, 5, 8)  # parts of a TR: on these the kernel is a Fourier transform
ON_GRID = 1e-3  # TR; nearer times count as on the grid, or as equal


@dataclass(frozen=True)
class TemporalCovariance:
    """Covariance of d latents along time.

    Attributes
    ----------
    power : array, shape (G, F)
        Power p_gf at the frequencies f / (2 (F - 1) tr); with `noise`, sums to 1 per group.
    noise : array, shape (G,)
        Power of the white part.
    group : array of int, shape (d,)
    variance : array, shape (d,)
    tr : float, seconds
    coupling : Autoregression of all latents, or None where they are independent
        With it power, noise and variance are each latent's own: see `frames.coupling`.
    """

    power: Float
    noise: Float
    group: NDArray[np.int64]
    variance: Float
    tr: float
    coupling: Autoregression | None = None

    def kernel(self, group: int, times: Float, others: Float | None = None) -> Float:
        """k_g between two sets of times, in units of the latent's variance.

        Parameters
        ----------
        group : int
        times : array, shape (K,), seconds
        others : array, shape (L,), seconds; `times` if None

        Returns
        -------
        array, shape (K, L)
        """
        others = times if others is None else others
        n_bins = self.power.shape[1] - 1
        both = np.concatenate([times, others])
        position = (both - both[:1]) / self.tr
        longest = position.max(initial=0) - position.min(initial=0)
        for parts in FINER_GRIDS if longest < n_bins else ():
            at = np.rint(position * parts)
            if np.all(np.abs(position - at / parts) < ON_GRID):
                at = at.astype(np.int64)
                steps = np.abs(np.subtract.outer(at[: len(times)], at[len(times) :]))
                return self._table(group, parts)[steps]
        angle = np.pi / (n_bins * self.tr) * np.arange(n_bins + 1)
        amplitude = np.sqrt(self.power[group])
        covariance = _waves(times, angle, amplitude) @ _waves(others, angle, amplitude).T
        equal = np.abs(np.subtract.outer(times, others)) < ON_GRID * self.tr
        return covariance + self.noise[group] * equal

    @classmethod
    def of_power(
        cls, power: Float, group: NDArray[np.int64], variance: Float, tr: float
    ) -> "TemporalCovariance":
        """From two-sided power (G, F), of any scale: its floor is the white part."""
        power = power / (power @ _one_sided(power.shape[1]))[:, None]
        floor = power.min(axis=1, keepdims=True)
        weights = (power - floor) * _one_sided(power.shape[1])
        return cls(weights, floor[:, 0] * N_FFT, group, variance, tr)

    def _table(self, group: int, parts: int) -> Float:
        """k_g at lags of 0, 1, 2, ... / `parts` TR."""
        n_bins = self.power.shape[1] - 1
        padded = np.zeros(parts * n_bins + 1)
        padded[: n_bins + 1] = self.power[group]
        table = np.fft.irfft(_two_sided(padded) * 2 * parts * n_bins)
        table[0] += self.noise[group]
        return np.asarray(table)

    def groups(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Each group's number and the latents in it."""
        return [(g, np.flatnonzero(self.group == g)) for g in range(len(self.power))]


def octave_groups(n_latents: int) -> NDArray[np.int64]:
    """Groups of latents that share a spectrum: the first 4, then 4, 8, 16, ... of them.

    Principal components are sorted by variance and their spectra change fastest among the first.
    """
    index = np.arange(n_latents)
    return np.maximum(np.floor(np.log2(np.maximum(index, 1))).astype(np.int64) - 1, 0)


def fit_temporal_covariance(
    series: Sequence[tuple[NDArray[np.floating], NDArray[np.bool_]]],
    tr: float,
    group: NDArray[np.int64],
    *,
    iterations: int = 12,
) -> TemporalCovariance:
    """Estimate the covariance from runs with missing frames.

    Parameters
    ----------
    series : sequence of (latents (K, d), measured (K,))
        One pair a run; what stands at missing frames is not read.
    tr : float, seconds
    group : array of int, shape (d,)
    iterations : int
        Of expectation-maximisation; one where nothing is missing.

    Returns
    -------
    TemporalCovariance

    Raises
    ------
    InputError
        If fewer than `FEWEST_MEASURED` frames are measured, or fewer than half of these in every window.
    """
    n_measured = sum(int(measured.sum()) for _, measured in series)
    if n_measured < FEWEST_MEASURED:
        raise InputError(
            f"{n_measured} measured frames are too few to fit a prior in time (at least {FEWEST_MEASURED}); "
            "censor fewer frames, or pass a trained --model"
        )
    variance = np.sum([np.square(z[m], dtype=np.float64).sum(axis=0) for z, m in series], axis=0) / n_measured
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    stretches = [
        (z[part] / scale, m[part])
        for z, m in series
        for part in windows(len(z))
        if m[part].sum() >= FEWEST_MEASURED // 2
    ]
    if not stretches:
        raise InputError(
            f"no run has {FEWEST_MEASURED // 2} measured frames in a window of at most {LONGEST_WINDOW}, "
            "too few to fit a prior in time; censor fewer frames, or pass a trained --model"
        )
    groups = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
    power = np.empty((len(groups), N_FFT // 2 + 1))
    for g, latents in enumerate(groups):
        of_group = [(z[:, latents], m) for z, m in stretches]
        power[g] = _likeliest_power(of_group, iterations)
    # Of few frames correlations look larger than they are.
    white = 0.7 * max(0.0, 1 - n_measured / FEW_MEASURED)
    return TemporalCovariance.of_power((1 - white) * power + white / N_FFT, group, variance, tr)


def reduced(
    prior: TemporalCovariance, before: TemporalCovariance, after: TemporalCovariance
) -> TemporalCovariance:
    """`prior` with its power at each frequency multiplied by the ratio of `after` to `before`."""
    total = total_power(prior) * total_power(after) / total_power(before)
    total /= (total @ _one_sided(total.shape[1]))[:, None]
    variance = prior.variance * np.minimum(after.variance / before.variance, 1.0)
    return TemporalCovariance.of_power(total, prior.group, variance, prior.tr)


def total_power(covariance: TemporalCovariance) -> Float:
    """Two-sided power with the white part in it, shape (G, F)."""
    return _two_sided(covariance.power) + covariance.noise[:, None] / N_FFT


def _likeliest_power(stretches: Sequence[tuple[Float, NDArray[np.bool_]]], iterations: int) -> Float:
    """Power of the latents (K, d) of one group, of unit variance; shape (F,)."""
    if all(measured.all() for _, measured in stretches):
        return _maximised([_Window(*stretch, _interpolated) for stretch in stretches], 1)[0]
    n_values = sum(latents[measured].size for latents, measured in stretches)
    (power, likelihood), (smooth, of_smooth) = (
        _maximised([_Window(*stretch, start) for stretch in stretches], iterations)
        for start in (_interpolated, _smooth)
    )
    if of_smooth > likelihood + CLEARLY * n_values:
        power, likelihood = smooth, of_smooth
    # Where few frames are measured the iterations end before they find out how short memory is.
    known = [_Window(*stretch, _interpolated) for stretch in stretches]
    shorter = [_damped(power, memory) for memory in MEMORIES]
    likelihoods = [sum(window.given(_covariance(of))[1] for window in known) for of in shorter]
    best = int(np.argmax(likelihoods))
    return shorter[best] if likelihoods[best] > likelihood + SHORTER * n_values else power


def _damped(power: Float, memory: float) -> Float:
    """Power (F,) of covariances that are damped by `memory` with each frame."""
    lags = np.arange(N_FFT)
    damped = np.fft.rfft(_covariance(power) * memory ** np.minimum(lags, N_FFT - lags)).real / N_FFT
    damped = np.maximum(damped, FLOOR * damped.max())
    return np.asarray(damped / _sum(damped))


def _covariance(power: Float) -> Float:
    """Covariance at lags of 0, 1, 2, ... frames, shape (N_FFT,)."""
    return np.fft.irfft(power * N_FFT, N_FFT)


def _maximised(stretches: Sequence["_Window"], iterations: int) -> tuple[Float, float]:
    """Power (F,) by expectation-maximisation, and the log-likelihood of what is measured."""
    n_values = sum(window.latents[window.measured].size for window in stretches)
    likelihood = 0.0
    for _ in range(iterations):
        power = np.sum([window.power() for window in stretches], axis=0)
        if not power.any():  # latents that are 0 throughout: any spectrum will do
            power = np.ones(N_FFT // 2 + 1)
        power = autoregressive(power / _sum(power), n_values)
        power = np.maximum(power, FLOOR * power.max())
        power /= _sum(power)
        if iterations > 1:
            likelihood = sum(window.fill(_covariance(power)) for window in stretches)
    return power, likelihood


class _Window:
    """A stretch of one run during the fit: latents of one group, filled, and what is uncertain in them."""

    def __init__(self, latents: Float, measured: NDArray[np.bool_], start: Start) -> None:
        self.measured = measured
        self.latents = np.where(measured[:, None], latents, 0.0)
        missing, error = np.flatnonzero(~measured), 0.0
        if len(missing):
            self.latents[missing], error = start(self.latents, measured)
        self.uncertain = error * np.eye(len(missing))

    def power(self) -> Float:
        """Expected multitaper power, summed over frames."""
        own = tapers(len(self.latents), HALF_BANDWIDTH, N_TAPERS)
        power = np.zeros(N_FFT // 2 + 1)
        for taper in own:
            spectrum = np.fft.rfft(self.latents * taper[:, None], N_FFT, axis=0)
            power += np.square(np.abs(spectrum)).mean(axis=1)
        missing = np.flatnonzero(~self.measured)
        if len(missing):
            lags = np.abs(np.subtract.outer(missing, missing))
            shared = own[:, missing].T @ own[:, missing] * self.uncertain
            by_lag = np.bincount(lags.ravel(), shared.ravel(), minlength=N_FFT)
            power += np.maximum(np.fft.rfft(by_lag).real, 0)
        return power * len(self.latents) / len(own)

    def given(self, table: Float) -> tuple[Float, float]:
        """Cholesky factor of the covariance of measured frames, and their log-likelihood, less a constant."""
        at = np.flatnonzero(self.measured)
        factor = cholesky(table[np.abs(np.subtract.outer(at, at))], lower=True)
        white = solve_triangular(factor, self.latents[at], lower=True)
        log_determinant = 2 * np.log(np.diagonal(factor)).sum()
        return factor, float(-(np.square(white).sum() + white.shape[1] * log_determinant) / 2)

    def fill(self, table: Float) -> float:
        """Put the posterior mean at missing frames; the log-likelihood of what is measured comes back."""
        missing, at = np.flatnonzero(~self.measured), np.flatnonzero(self.measured)
        factor, likelihood = self.given(table)
        if len(missing):
            cross = table[np.abs(np.subtract.outer(missing, at))]
            self.latents[missing] = cross @ cho_solve((factor, True), self.latents[at])
            prior = table[np.abs(np.subtract.outer(missing, missing))]
            self.uncertain = prior - cross @ cho_solve((factor, True), cross.T)
        return likelihood


def windows(n_frames: int) -> list[slice]:
    """Slices that cut a run of any length into windows of at most `LONGEST_WINDOW` frames."""
    n_windows = -(-n_frames // LONGEST_WINDOW)
    edges = np.linspace(0, n_frames, n_windows + 1).astype(int)
    return [slice(start, stop) for start, stop in pairwise(edges)]


@lru_cache(maxsize=32)
def tapers(n_frames: int, half_bandwidth: float, number: int) -> Float:
    """Discrete prolate spheroidal tapers, shape (number, n_frames), each of unit energy.

    Parameters
    ----------
    n_frames : int
    half_bandwidth : float
        In units of 1 / (n_frames tr); a quarter of the frames at most.
    number : int
    """
    return np.asarray(dpss(n_frames, min(half_bandwidth, n_frames / 4), number))


def autoregressive(power: Float, n_values: int) -> Float:
    """The autoregressive spectrum nearest to a two-sided one (F,), its order chosen by `n_values` values.

    The recursion of Levinson and Durbin on the covariances that the power makes; the sum of squares of what
    order q leaves unpredicted says how likely it is.
    """
    lags = np.fft.irfft(power * N_FFT, N_FFT)[: SPECTRUM_ORDER + 1]
    coefficients, noise = np.zeros(0), float(lags[0])
    best, least = (coefficients, noise), np.inf
    for order in range(min(SPECTRUM_ORDER, n_values // 8) + 1):
        if order:
            gain = (lags[order] - coefficients @ lags[order - 1 : 0 : -1]) / noise
            coefficients = np.append(coefficients - gain * coefficients[::-1], gain)
            noise *= 1 - gain**2
        criterion = n_values * np.log(noise) + order * np.log(n_values)
        if criterion < least:
            best, least = (coefficients, noise), criterion
    return np.asarray(best[1] / N_FFT / np.square(np.abs(np.fft.rfft(np.append(1, -best[0]), N_FFT))))


def _smooth(latents: Float, measured: NDArray[np.bool_]) -> tuple[Float, float]:
    """A start of EM: missing frames are as smooth as those around."""
    at = np.flatnonzero(measured)
    return _cubic(at, latents[at], np.flatnonzero(~measured)), SMOOTH_ERROR


def _interpolated(latents: Float, measured: NDArray[np.bool_]) -> tuple[Float, float]:
    """A start of EM: latents at missing frames (M, d), and their mean squared error, at most 1.

    By cubic spline or linearly, whichever comes nearer to every second measured frame from the others, held
    beyond the first and last measured one. Without the error what isn't known would count as smooth, and
    where few frames are measured EM would take long to find out that it isn't.
    """
    at, missing = np.flatnonzero(measured), np.flatnonzero(~measured)
    hidden, given = at[1:-1:2], np.delete(at, np.arange(1, len(at) - 1, 2))
    # As Gaussian errors of that median: beside a gap, where few frames are, a spline overshoots.
    misses = [np.abs(latents[hidden] - method(given, latents[given], hidden)) for method in (_cubic, _linear)]
    errors = [np.square(np.median(miss, axis=0) / ndtri(0.75)) for miss in misses]
    filled = np.where(
        errors[0] <= errors[1], _cubic(at, latents[at], missing), _linear(at, latents[at], missing)
    )
    return filled, float(np.minimum(np.minimum(*errors), 1.0).mean())


def _cubic(at: NDArray[np.int64], values: Float, asked: NDArray[np.int64]) -> Float:
    return np.asarray(CubicSpline(at, values)(np.clip(asked, at[0], at[-1])))


def _linear(at: NDArray[np.int64], values: Float, asked: NDArray[np.int64]) -> Float:
    return np.asarray(make_interp_spline(at, values, k=1)(np.clip(asked, at[0], at[-1])))


def _waves(times: Float, angle: Float, amplitude: Float) -> Float:
    phase = np.outer(times, angle)
    return np.concatenate([np.cos(phase) * amplitude, np.sin(phase) * amplitude], axis=1)


def _one_sided(n_bins: int) -> Float:
    """How often each bin of a real spectrum counts: the ends once, the others twice."""
    counts = np.full(n_bins, 2.0)
    counts[[0, -1]] = 1.0
    return counts


def _sum(power: Float) -> float:
    return float(power @ _one_sided(len(power)))


def _two_sided(weights: Float) -> Float:
    return weights / _one_sided(weights.shape[-1])
