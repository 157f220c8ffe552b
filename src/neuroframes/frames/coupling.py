"""Lead and lag between latents.

Latents have the spectra s_j(f) of a `TemporalCovariance`; with coupling, their cross-spectra are

    S_ij(f) = s_i(f)^1/2 R_ij(f) s_j(f)^1/2.

R is the coherency of an autoregression of low order `ORDER`, found from lagged products of latents whose
terms between components are shrunk by a weight: how sharp spectra are is a matter of their own, how latents
lead each other is smooth. R has a diagonal of 1 and is positive semi-definite at every frequency, so S is. At
weight 0 R is the identity: latents are independent. The process is then the autoregression of largest entropy
with these covariances (see `frames.autoregression`), of as high an order as the sharpest spectrum takes.

Lagged products are expected ones (expectation-maximisation): what is uncertain in missing frames is added.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from neuroframes.frames.autoregression import Autoregression, Smoother
from neuroframes.frames.temporal import (
    FLOOR,
    TemporalCovariance,
    fit_temporal_covariance,
    octave_groups,
    total_power,
)

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

ORDER = 4  # of the autoregression that coherency is taken from: chosen on the odd people of docs/prior.md
HIGHEST_ORDER = 24  # of the process
N_BINS = 256  # intervals of frequency at whose ends cross-spectra are evaluated
ITERATIONS = 2
WEIGHT = 0.5  # of terms between latents while missing frames are guessed from a run's own
FRAMES_A_LATENT = 40.0  # of other people, with which their terms between latents count for half
OWN_FRAMES = 400.0  # so many measured frames of a run count for as much as all other people
OWN_BETWEEN = 0.75  # weight of the run's own terms between latents beside those of other people
SHARP_ENOUGH = 1e-3  # of the innovation's variance, that higher orders of the process might explain


@dataclass(frozen=True)
class Lags:
    """What the frames of a run, or of many, say of latents along time: sums over frames.

    Attributes
    ----------
    cross : array, shape (ORDER + 1, d, d)
        Expected products z_{t+l} z_t^T.
    power : array, shape (G, F)
        Two-sided power of each group of latents, 1 a frame.
    frames : float
        Measured frames.
    """

    cross: Float
    power: Float
    frames: float

    def __add__(self, other: Self) -> "Lags":
        return Lags(self.cross + other.cross, self.power + other.power, self.frames + other.frames)

    def scaled(self, factor: float) -> "Lags":
        return Lags(factor * self.cross, factor * self.power, factor * self.frames)

    def trusted(self) -> "Lags":
        """With terms between latents shrunk: lagged products of few frames have no full rank."""
        d = self.cross.shape[1]
        between = self.frames / (self.frames + FRAMES_A_LATENT * d)
        return replace(self, cross=np.where(np.eye(d, dtype=bool), 1.0, between) * self.cross)

    @property
    def weight(self) -> float:
        """Of one run beside those of other people, from 0 to 1."""
        return self.frames / (self.frames + OWN_FRAMES)

    def beside(self, others: Self) -> "Lags":
        """One run beside others: the more frames it has, the more it counts; its cross terms count less."""
        between = np.where(np.eye(self.cross.shape[1], dtype=bool), 1.0, OWN_BETWEEN)
        own = replace(self, cross=between * self.cross).scaled(self.weight / self.frames)
        return own + others.scaled((1 - self.weight) / others.frames)

    def together(self, tr: float, weight: float = 1.0) -> TemporalCovariance:
        """The covariance that these sums make; `weight` is that of `coupled`."""
        group = octave_groups(self.cross.shape[1])
        variance = np.diagonal(self.cross[0]) / self.frames
        marginal = TemporalCovariance.of_power(self.power / self.frames, group, variance, tr)
        return coupled(marginal, self.cross, weight)


def fit_lags(latents: Float, measured: Mask, tr: float, beside: Lags | None = None) -> Lags:
    """What one run says; what stands at missing frames isn't read.

    Parameters
    ----------
    latents : array, shape (K, d)
    measured : array, shape (K,)
    tr : float, seconds
    beside : Lags of other runs, which help to say what missing frames may have been

    Raises
    ------
    InputError
        If too few frames are measured.
    """
    frames = float(measured.sum())
    marginal = fit_temporal_covariance([(latents, measured)], tr, octave_groups(latents.shape[1]))
    found = Lags(np.zeros(0), total_power(marginal) * frames, frames)
    process = process_of(marginal)
    for number in range(1 if measured.all() else ITERATIONS):
        if number == 0 and beside is not None:
            process = beside.together(tr).coupling or process
        products = expected_products(process, latents, measured) * (frames / len(latents))
        found = replace(found, cross=products)
        together = found.together(tr, WEIGHT) if beside is None else found.beside(beside).together(tr)
        process = together.coupling or process
    return found


def fit_products(latents: Float, measured: Mask, marginal: TemporalCovariance) -> Float:
    """Lagged products of a run with missing frames, as `coupled` takes them.

    Parameters
    ----------
    latents : array, shape (K, d)
    measured : array, shape (K,)
    marginal : TemporalCovariance of independent latents
    """
    process = process_of(marginal)
    for last in [False] * (ITERATIONS - 1) + [True]:
        products = expected_products(process, latents, measured)
        if not last:
            process = coupled(marginal, products, WEIGHT).coupling or process
    return products


def coupled(marginal: TemporalCovariance, products: Float, weight: float) -> TemporalCovariance:
    """The covariance with the coherency that lagged products have.

    Parameters
    ----------
    marginal : TemporalCovariance
    products : array, shape (ORDER + 1, d, d)
        Sums of z_{t+l} z_t^T, or means.
    weight : float
        Of terms between latents, from 0 to 1.
    """
    scale = np.sqrt(np.maximum(np.diagonal(products[0]), np.finfo(float).tiny))
    lags = products / scale[:, None] / scale
    # What no latent says of another keeps its own frames apart from rounding.
    lags = np.where(np.eye(len(scale), dtype=bool), lags, weight * lags)
    np.fill_diagonal(lags[0], 1.0)  # latents that are 0 throughout are white
    return replace(marginal, coupling=process_of(marginal, Autoregression(lags)))


def process_of(marginal: TemporalCovariance, coherent: Autoregression | None = None) -> Autoregression:
    """The process with given spectra and the coherency of another, of independent latents without it."""
    # Averages of bins, since an edge or a peak that falls between two of them would change the covariances.
    step = (marginal.power.shape[1] - 1) // N_BINS
    power = uniform_filter1d(total_power(marginal), step + 1, axis=1, mode="mirror")[:, ::step]
    order = _order_of(power) if coherent is None else max(_order_of(power), coherent.order)
    weights = np.full(N_BINS + 1, 2.0)
    weights[[0, -1]] = 1.0
    power = power / (power @ weights)[:, None]
    angle = np.pi / N_BINS * np.arange(N_BINS + 1)
    turns = np.exp(1j * np.outer(np.arange(order + 1), angle)) * weights
    # Of latents that are 0 a little: the process would be singular. Where all are, latents' unit is 1.
    variance = np.maximum(marginal.variance, FLOOR * (marginal.variance.max() or 1.0))
    scale = np.sqrt(variance)
    if coherent is None:
        own = (turns @ power.T).real[:, marginal.group] * variance
        return Autoregression(own[:, :, None] * np.eye(len(scale)))
    d = len(scale)
    flat = np.zeros((order + 1, d * d))
    spread = np.sqrt(power)[marginal.group].T * scale  # (F, d)
    for first in range(0, N_BINS + 1, 64):
        part = slice(first, first + 64)
        turned = np.exp(-1j * np.outer(angle[part], np.arange(coherent.order + 1)))
        inverse = np.linalg.inv(np.tensordot(turned, coherent.filters[-1], axes=1))
        inverse /= np.linalg.norm(inverse, axis=2, keepdims=True)
        inverse *= spread[part][:, :, None]
        cross = inverse @ inverse.conj().transpose(0, 2, 1)
        flat += (turns[:, part] @ cross.reshape(len(cross), -1)).real
    lags = flat.reshape(order + 1, d, d)
    lags[0] = (lags[0] + lags[0].T) / 2
    return Autoregression(lags)


def expected_products(process: Autoregression, latents: Float, measured: Mask) -> Float:
    """Sums over a run of E z_{t+l} z_t^T, l = 0 to ORDER; shape (ORDER + 1, d, d)."""
    filled = np.where(measured[:, None], latents, 0.0)
    added = np.zeros((ORDER + 1, *process.lags.shape[1:]))
    if not measured.all():
        smoother = Smoother(process, ~measured, ORDER)
        filled[~measured] = smoother.mean(filled)
        added = smoother.lagged(ORDER)
    # Divided by all frames at every lag, as these sums are, covariances stay positive semi-definite.
    return added + np.stack([filled[lag:].T @ filled[: len(filled) - lag] for lag in range(ORDER + 1)])


def _order_of(power: Float) -> int:
    """Order at which autoregressions explain the power (G, F) to `SHARP_ENOUGH`."""
    lags = np.fft.irfft(power, axis=1)[:, : HIGHEST_ORDER + 1]
    noise = np.array([Autoregression(row[:, None, None]).noises for row in lags])
    enough = np.all(noise[:, :-1] <= (1 + SHARP_ENOUGH) * noise[:, -1:], axis=0)
    return int(np.argmax(np.append(enough, True)))
