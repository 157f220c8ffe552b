"""Ridge regression on lagged log band power with one penalty per frequency band.

With Phi_b (n, p_b) the standardised features of band b, Z (n, d) the latents of the measured training frames
and z one of its columns,

    w = argmin |z - sum_b Phi_b w_b|^2 + sum_b l_b |w_b|^2,      frames = m + (sum_b Phi_b w_b) D,

so that a band that tells nothing of a latent can be shrunk away (Dupré la Tour et al. 2022,
doi:10.1016/j.neuroimage.2022.119728). l_b = p_b alpha / g_b: himalaya draws g, whose sum is 1, from Dirichlet
distributions and keeps, for each latent, the g and the alpha with the lowest left-out error. It solves the
dual problem, so the cost is that of n x n kernels, one a band.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Self

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.interface import training_mean
from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import fit_autoencoder
from neuroframes.models.ridge import PENALTIES
from neuroframes.recording.segments import Segment

Float32 = NDArray[np.float32]
ALPHAS_AT_ONCE = 5  # each takes a matrix of left-out by fitted frames


class BandedRidge(RidgeFIR):
    """`RidgeFIR` with penalties of each band and principal component, chosen by its left-out blocks.

    Parameters
    ----------
    latents : int
        Principal components of the frames that are fitted; fewer where the frames have a lower rank.
    samples : int
        Ratios of the bands' penalties that are tried; the first is 1 for all.
    seed : int

    Attributes
    ----------
    penalties_ : array, shape (bands, d)
        Infinite where a band counts for nothing.
    """

    name = "banded ridge"

    def __init__(self, *, latents: int = 64, samples: int = 20, seed: int = 0) -> None:
        self.latents, self.samples, self.seed = latents, samples, seed

    def fit(self, train: Sequence[Segment]) -> Self:
        """Choose the penalties of each band and component, and solve.

        Raises
        ------
        InputError
            Without himalaya, or if the training part is too short to leave out blocks with their margins.
        """
        if find_spec("himalaya") is None:
            raise InputError(f"{self.name} needs himalaya; pip install 'neuroframes[benchmark]'")
        from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search

        self.mean_ = training_mean(train)
        phi, margin, blocks = self.design(train)
        rows = np.arange(len(phi))
        folds = [(rows[(rows < b[0] - margin) | (rows > b[-1] + margin)], b) for b in blocks]
        if not all(len(fitted) for fitted, _ in folds):
            raise InputError(
                f"{len(phi)} measured frames are too few to choose penalties by leaving out blocks with "
                f"{margin} frames on either side; train on a longer recording"
            )

        # Components in the place of vertices: the search solves for every target and ratio of penalties.
        def frames(block: slice) -> Float32:
            return np.concatenate([s.frames[s.measured, block] for s in train]) - self.mean_[block]

        generator = np.random.default_rng(self.seed)
        autoencoder, targets = fit_autoencoder(frames, len(self.mean_), self.latents, generator)
        band = np.tile(self._power(train[0]).band, len(self.lags_))
        bands = [np.flatnonzero(band == number) for number in np.unique(band)]
        of_bands = (phi[:, columns] for columns in bands)
        kernels = np.stack([(x @ x.T / x.shape[1]).astype(np.float32) for x in of_bands])
        with np.errstate(divide="ignore"):  # log 0 where a band counts for nothing
            deltas, dual, _ = solve_multiple_kernel_ridge_random_search(
                kernels,
                targets.astype(np.float32),
                n_iter=self.samples,
                alphas=PENALTIES,
                cv=folds,
                return_weights="dual",
                n_alphas_batch=ALPHAS_AT_ONCE,
                random_state=self.seed,
                progress_bar=False,
            )
            self.penalties_ = np.array([[len(columns)] for columns in bands]) / np.exp(deltas)
        self.right_ = np.empty((phi.shape[1], len(autoencoder.decoder)))
        for columns, penalty in zip(bands, self.penalties_, strict=True):
            self.right_[columns] = phi[:, columns].T @ dual / penalty
        self.coefficients_ = autoencoder.decoder
        return self

    @property
    def n_parameters(self) -> int:
        return self.right_.size + self.coefficients_.size + len(self.mean_)
