"""The exact denoiser of a Gaussian prior with exact measurements.

Latents z (K, d), per latent j of group g: z_j ~ N(m_j, v_j K_g), measured y = A z, noised x = z + s n:

    W = K_g A^T (A K_g A^T)^-1,    C = K_g - W A K_g = U diag(L) U^T,    U^T U = I, A U = 0,
    mu = m + W (y - A m),
    D(x, s) = E[z | x, y] = mu + U diag(L v_j / (L v_j + s^2)) U^T (x - mu).

U spans the null space of A, so A D = y at every s. At s = inf, D = mu. Shifting m by e shifts D by

    U diag(s^2 / (L v_j + s^2)) U^T (I - W A) e,

which A cannot see and which vanishes as s does: a learned correction of m leaves measurements alone.

Along U, x is of standard deviation r = sqrt(L v_j + s^2), and the probability flow dx/ds = (x - D) / s is
dx/dr = (x - mu) / r: at a fixed m, U^T (x - mu) grows as r, and the rest of x - mu as s.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuroframes.frames.measurement import AlongTime, FrameMask
from neuroframes.frames.posterior import condition
from neuroframes.frames.temporal import TemporalCovariance

Float = NDArray[np.float64]


class _Factors(NamedTuple):
    latents: NDArray[np.intp]  # (d_g,)
    gain: Float  # W, (K, M)
    basis: Float  # U, (K, n), n = K - rank A
    values: Float  # L, (n,)


def _factors(prior: TemporalCovariance, times: Float, operator: AlongTime) -> list[_Factors]:
    """W, U and L of each group."""
    # A projector's eigenvalues are 0 and 1.
    size, vectors = np.linalg.eigh(operator.null(np.eye(len(times))))
    free = vectors[:, size > 0.5]
    found = []
    for g, latents in prior.groups():
        conditional = condition(prior.kernel(g, times), operator)
        values, within = np.linalg.eigh(free.T @ conditional.covariance @ free)
        # A W = A A+ to rounding, where solving with A K A^T keeps but a few digits of it.
        gain = free @ (free.T @ conditional.gain) + operator.pinv(np.eye(conditional.gain.shape[1]))
        found.append(_Factors(latents, gain, free @ within, np.maximum(values, 0)))
    return found


def _shrinkage(variance: Tensor, sigma: Tensor) -> Tensor:
    """variance / (variance + sigma^2); 1 where both are 0, 0 at sigma = inf."""
    variance = variance.clamp_min(torch.finfo(variance.dtype).tiny)
    return variance / (variance + sigma.square())


class _Group(NamedTuple):
    """The latents of one group; double precision."""

    latents: Tensor  # (d_g,)
    gain: Tensor  # W, (K, M)
    basis: Tensor  # U, (K, n)
    variance: Tensor  # L v, (n, d_g)


class GaussianDenoiser:
    """E[z | x = z + s n, y] of one sequence and one operator along time; float64 inside.

    Leading axes broadcast: draws, windows of the same grid, or anything else. A group is factorised once.

    Parameters
    ----------
    prior : TemporalCovariance of d latents
    times : array, shape (K,), seconds
    operator : AlongTime, K -> M
    """

    def __init__(self, prior: TemporalCovariance, times: Float, operator: AlongTime) -> None:
        self._matrix = torch.as_tensor(operator.matrix)
        self._groups = []
        for latents, gain, basis, values in _factors(prior, times, operator):
            variance = np.outer(values, prior.variance[latents])
            self._groups.append(_Group(*map(torch.as_tensor, (latents, gain, basis, variance))))
        self._order = torch.argsort(torch.cat([group.latents for group in self._groups]))

    def __call__(self, x: Tensor, sigma: float | Tensor, mean: Tensor, measurements: Tensor) -> Tensor:
        """D(x, s).

        Parameters
        ----------
        x : tensor, shape (..., K, d)
        sigma : float, or tensor of shape (..., 1, 1), in units of the latents
            From 0 to inf.
        mean : tensor, shape (..., K, d), of the prior
        measurements : tensor, shape (..., M, d)

        Returns
        -------
        tensor, shape (..., K, d), of `x`'s precision
        """
        centre = self._centre(mean, measurements)
        sigma = torch.as_tensor(sigma, dtype=torch.float64, device=centre.device)
        estimate = self._scaled(x.double() - centre, lambda variance: _shrinkage(variance, sigma), 0.0)
        return (centre + estimate).to(x.dtype)

    def draw(self, noise: Tensor, sigma: float, mean: Tensor, measurements: Tensor) -> Tensor:
        """A draw of x given y: mu + U diag(r) U^T n + s (I - U U^T) n; of z at s = 0.

        Parameters
        ----------
        noise : tensor, shape (..., K, d), standard normal
        sigma : float, finite
        mean, measurements : as in a call

        Returns
        -------
        tensor, shape (..., K, d), of `noise`'s precision
        """
        drawn = self._scaled(noise.double(), lambda variance: (variance + sigma**2).sqrt(), sigma)
        return (self._centre(mean, measurements) + drawn).to(noise.dtype)

    def flow(self, x: Tensor, now: float, then: float, mean: Tensor, measurements: Tensor) -> Tensor:
        """Where the probability flow takes x from one noise level to another while `mean` stays.

        Parameters
        ----------
        x : tensor, shape (..., K, d), at the level `now`
        now, then : float, finite, `now` above 0
        mean, measurements : as in a call

        Returns
        -------
        tensor, shape (..., K, d), of `x`'s precision
        """
        centre = self._centre(mean, measurements)

        def growth(variance: Tensor) -> Tensor:
            return ((variance + then**2) / (variance + now**2)).sqrt()

        return (centre + self._scaled(x.double() - centre, growth, then / now)).to(x.dtype)

    def _scaled(self, away: Tensor, along: Callable[[Tensor], Tensor], rest: float) -> Tensor:
        """U diag(along(L v)) U^T away + rest (I - U U^T) away."""
        parts = []
        for group in self._groups:
            coordinates = group.basis.T @ away[..., group.latents]
            parts.append(group.basis @ ((along(group.variance) - rest) * coordinates))
        return rest * away + self._in_order(parts)

    def _centre(self, mean: Tensor, measurements: Tensor) -> Tensor:
        mean = mean.double()
        surprise = measurements.double() - self._matrix @ mean
        return mean + self._in_order([group.gain @ surprise[..., group.latents] for group in self._groups])

    def _in_order(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, dim=-1)[..., self._order]


class MaskedGaussianDenoisers(nn.Module):
    """The denoisers of P frame masks on one grid of times, for batches that mix them; float32.

    The factors move with the module and are not saved with it.

    Parameters
    ----------
    prior : TemporalCovariance of d latents
    times : array, shape (K,), seconds
    masks : array of bool, shape (P, K), True where measured
    """

    measured: Tensor  # (P, K)
    gain: Tensor  # W A, (P, G, K, K)
    basis: Tensor  # U, (P, G, K, K), the columns of measured frames 0
    values: Tensor  # L, (P, G, K)
    variance: Tensor  # (d,), by group
    grouped: Tensor  # (d,), the latents by group
    order: Tensor  # (d,), and back

    def __init__(self, prior: TemporalCovariance, times: Float, masks: NDArray[np.bool_]) -> None:
        super().__init__()
        n_masks, n_frames = masks.shape
        n_groups = len(prior.power)
        gain = np.zeros((n_masks, n_groups, n_frames, n_frames), np.float32)
        basis, values = np.zeros_like(gain), np.zeros(gain.shape[:3], np.float32)
        for p, mask in enumerate(masks):
            for g, factors in enumerate(_factors(prior, times, FrameMask(mask))):
                gain[p, g][:, mask] = factors.gain
                basis[p, g, :, : len(factors.values)] = factors.basis
                values[p, g, : len(factors.values)] = factors.values
        self._sizes = [len(latents) for _, latents in prior.groups()]
        grouped = np.concatenate([latents for _, latents in prior.groups()])
        arrays = {"measured": masks, "gain": gain, "basis": basis, "values": values}
        arrays |= {"variance": prior.variance[grouped].astype(np.float32)}
        arrays |= {"grouped": grouped, "order": np.argsort(grouped)}
        for name, array in arrays.items():
            self.register_buffer(name, torch.as_tensor(array), persistent=False)

    def forward(self, which: Tensor, x: Tensor, sigma: Tensor, mean: Tensor, frames: Tensor) -> Tensor:
        """D(x, s), differentiable in `mean`; measured frames are copied.

        Parameters
        ----------
        which : tensor of int, shape (B,)
            The mask of each sequence.
        x : tensor, shape (B, K, d)
        sigma : tensor, shape (B,), in units of the latents
            From 0 to inf.
        mean : tensor, shape (B, K, d), of the prior
        frames : tensor, shape (B, K, d)
            What stands at missing frames is not read.

        Returns
        -------
        tensor, shape (B, K, d)
        """
        measured = self.measured[which][..., None]
        # Mixed precision would leave two digits of the posterior.
        with torch.autocast(x.device.type, enabled=False):
            noise = sigma.float()[:, None, None]
            x, mean, frames = (array.float()[..., self.grouped] for array in (x, mean, frames))
            surprise = torch.where(measured, frames - mean, 0.0)
            by_group = (array.split(self._sizes, dim=-1) for array in (x, mean, surprise, self.variance))
            parts = []
            for g, (noised, centre, new, variance) in enumerate(zip(*by_group, strict=True)):
                basis = self.basis[which, g]
                centre = centre + self.gain[which, g] @ new
                shrinkage = _shrinkage(self.values[which, g][..., None] * variance, noise)
                parts.append(centre + basis @ (shrinkage * (basis.mT @ (noised - centre))))
            return torch.where(measured, frames, torch.cat(parts, dim=-1))[..., self.order]
