"""Training of the learned correction, and what of it validation lets through.

A step takes windows of K frames with their EEG, a random mask of measured frames y, and latents noised to a
random level s (half of them infinite). With D(m) the exact Gaussian denoiser whose prior has mean m,

    loss = mean over windows of |z - D(m + delta)|^2 / |z - D(m)|^2,

|.|^2 weighted by what latents cost on the cortex: below 1 is better than the backbone at whatever level. m is
the ridge's left-out prediction: on frames that the ridge was fitted to, what it leaves over is smaller than
anywhere else.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor
from torch.utils.data import DataLoader

from neuroframes.diffusion.exact import MaskedGaussianDenoisers
from neuroframes.models.correction import LEVELS, Correction, Member
from neuroframes.models.device import default_device
from neuroframes.models.eeg_encoder import TOKEN_WINDOW, Tokens
from neuroframes.models.settings import CorrectionSettings
from neuroframes.training.backbone import Backbone
from neuroframes.training.data import PEOPLE, TrainingData, blocks_of, blocks_of_people, mean_r, random_masks
from neuroframes.training.part import TrainingPart
from neuroframes.training.trainer import SeedEachStep, Training, seed_of

logger = logging.getLogger(__name__)


FEWEST_STEPS = 8  # in an epoch
MASKS = 48  # patterns of measured frames that training draws from
GAPS = (4, 8, 16)  # frames hidden in a row in validation, with as many measured between
CONFIDENCE = 0.95  # that a gate's step is a gain
NOISE_DRAWS = 2  # of each validation window at each finite level


class CorrectionTraining(Training):
    """One member, on windows whose frames lie in `fit`, validated on those in `validation`."""

    def __init__(
        self,
        member: Member,
        correction: Correction,
        data: TrainingData,
        backbone: Backbone,
        fit: Tensor,
        validation: Tensor,
        seed: int,
    ) -> None:
        super().__init__(correction.settings, seed)
        self.member, self.data = member, data
        self.group, self.positions, self.tr = correction.group, correction.positions, correction.tr
        n_frames = self.settings.frames
        self.fit_starts = data.starts(fit, n_frames, 1)
        self.validation_starts = data.starts(validation, n_frames, n_frames)
        position = np.arange(n_frames)
        hidden = [np.zeros(n_frames, bool), *((position % (2 * gap)) < gap for gap in GAPS)]
        masks = np.concatenate([hidden, random_masks(MASKS, n_frames, np.random.default_rng(seed))])
        grid = self.tr * np.arange(n_frames, dtype=np.float64)
        # In a list it is no submodule: averaging of weights would average its indices, and truncate them.
        self._gaussian = [MaskedGaussianDenoisers(backbone.with_eeg, grid, masks)]
        self.n_validated = len(hidden)

    @property
    def gaussian(self) -> MaskedGaussianDenoisers:
        return self._gaussian[0].to(self.device)

    def tokens(self, starts: Tensor) -> Tokens:
        """Tokens of the EEG around windows, with nothing dropped or moved."""
        duration = self.settings.frames * self.tr
        pieces = starts.split(self.settings.batch)
        parts = [self._tokens(*self.data.eeg_around(piece, duration)) for piece in pieces]
        values, times = (torch.cat(part) for part in zip(*parts, strict=True))
        return Tokens(values, times)

    def _tokens(self, eeg: Tensor, begin: Tensor, ends: Tensor, **dropped: Tensor) -> Tokens:
        eeg, begin, ends = (part.to(self.device) for part in (eeg, begin, ends))
        encoder, rate = self.member.encoder, self.data.rate
        values, times = encoder(eeg, rate, self.positions.to(self.device), begin, **dropped)
        # In use there are tokens within the recording only: both their first and their last sample lie in it.
        length = round(TOKEN_WINDOW * rate)
        first = times - (length // 2 - 0.5) / rate  # half a sample later
        inside = (first > ends[:, :1]) & (first + (length - 1) / rate < ends[:, 1:])
        return Tokens(values, torch.where(inside, times, torch.nan))

    def shifted(
        self, starts: Tensor, which: Tensor, sigma: Tensor, noise: Tensor, tokens: Tokens
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Truth z, D(m), D(m + delta), each (B, K, d), and which frames are scored (B, K)."""
        data, device = self.data, self.device
        rows = starts[:, None] + torch.arange(self.settings.frames)
        z, mean, times, real = (
            part[rows].to(device) for part in (data.z, data.mean, data.times, data.scored)
        )
        measured = self.gaussian.measured[which]
        level = sigma[:, None, None]
        x = torch.where(level.isinf(), 0, z + torch.where(level.isinf(), 0, level) * noise)
        # What fills a censored frame knows its neighbours, hidden ones too.
        shown = measured & real
        given = torch.where(shown[..., None], z, 0)
        delta = self.member.denoiser(x, sigma, times, mean, given, shown, tokens)
        before = self.gaussian(which, x, sigma, mean, z)
        after = self.gaussian(which, x, sigma, mean + delta.float(), z)
        return z, before, after, real & ~measured

    def _errors(self, z: Tensor, estimate: Tensor, scored: Tensor) -> Tensor:
        importance = self.data.importance.to(z.device)
        return (((z - estimate).square() * importance).sum(dim=-1) * scored).sum(dim=-1)

    def training_step(self, starts: Tensor) -> Tensor:
        settings, starts, size = self.settings, starts.cpu(), len(starts)
        generator = self.generator(self.global_rank + 2)
        which = torch.randint(self.n_validated, len(self.gaussian.measured), (size,), generator=generator)
        level = torch.exp(torch.empty(size).uniform_(np.log(0.05), np.log(50.0), generator=generator))
        sigma = torch.where(torch.rand(size, generator=generator) < 0.5, torch.inf, level)
        noise = torch.randn((size, settings.frames, self.data.z.shape[1]), generator=generator)
        eeg, begin, ends = self.data.eeg_around(starts, settings.frames * self.tr)
        shift = settings.shift * (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1)
        keep = torch.rand((size, eeg.shape[1]), generator=generator) >= settings.channel_dropout
        n_bands = len(self.member.encoder.bands)
        bands = torch.rand((size, n_bands), generator=generator) >= settings.band_dropout
        which, sigma, noise, keep, bands = (
            part.to(self.device) for part in (which, sigma, noise, keep, bands)
        )
        tokens = self._tokens(eeg, begin + shift, ends + shift[:, None], keep=keep, keep_bands=bands)
        z, before, after, scored = self.shifted(starts, which, sigma, noise, tokens)
        baseline = self._errors(z, before, scored)
        some = baseline > 0
        ratio = self._errors(z, after, scored)[some] / baseline[some]
        loss = ratio.sum() / max(1, len(ratio))
        self.log("loss", loss, prog_bar=True, batch_size=size)
        return loss

    def validation_step(self, starts: Tensor) -> None:
        """r over windows from EEG alone and across gaps, with the gates that these windows would get."""
        starts = starts.cpu()
        tokens, r = self.tokens(starts), []
        for number in range(self.n_validated):
            z, before, after, scored = self._validated(starts, tokens, number)
            gate = gates(*self._sums(z, before, after, scored))[self.group.to(z.device)]
            r.append(mean_r(z[scored], (before + gate * (after - before))[scored], self.data.importance))
        self.log("r", torch.stack(r).mean(), prog_bar=True, batch_size=len(starts), sync_dist=True)

    def _validated(
        self, starts: Tensor, tokens: Tokens, number: int, level: float = np.inf, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        which = torch.full((len(starts),), number, device=self.device)
        sigma = torch.full((len(starts),), level, device=self.device)
        noise = torch.zeros(1) if noise is None else noise
        return self.shifted(starts, which, sigma, noise.to(self.device), tokens)

    def _sums(self, z: Tensor, before: Tensor, after: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
        """Per window and group (B, G): what moving takes off the error, and its square."""
        moved = (after - before) * scored[..., None]
        weight = self.data.importance.to(z.device)
        member = torch.nn.functional.one_hot(self.group.to(z.device)).to(z.dtype)
        gain = ((z - before) * moved).sum(dim=1) * weight
        return gain @ member, (moved.square().sum(dim=1) * weight) @ member

    @torch.no_grad()
    def gate_sums(self) -> tuple[Tensor, Tensor]:
        """Sums for the member's gate, each of shape (levels, 2, windows, G), over validation windows."""
        generator = torch.Generator().manual_seed(self.seed)
        starts, tokens = self.validation_starts, self.tokens(self.validation_starts)
        shape = (len(starts), self.settings.frames, self.data.z.shape[1])
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for level in (*LEVELS[:-1], np.inf):
            for numbers in (range(1), range(1, self.n_validated)):
                noises = [
                    torch.randn(shape, generator=generator)
                    for _ in range(NOISE_DRAWS if np.isfinite(level) else 1)
                ]
                sums = [
                    self._sums(*self._validated(starts, tokens, number, level, noise))
                    for number in numbers
                    for noise in noises
                ]
                for parts, part in zip(found, zip(*sums, strict=True), strict=True):
                    parts.append(torch.stack(part).mean(dim=0))
        gain, power = (torch.stack(parts).unflatten(0, (len(LEVELS), 2)) for parts in found)
        return gain, power

    def gate(self) -> Tensor:
        """The member's gate (levels, 2, G): over windows and, of enough people, over these; the smaller."""
        sums = self.gate_sums()
        found, person = gates(*sums), self.data.person[self.validation_starts]
        people = person.unique()
        if len(people) < PEOPLE:
            return found
        of = (person[:, None] == people).to(sums[0])
        by_person = (torch.einsum("...wg,wp->...pg", part, of) for part in sums)
        return torch.minimum(found, gates(*by_person))

    def train_dataloader(self) -> DataLoader[Any]:
        settings = self.settings
        n_steps = max(FEWEST_STEPS, len(self.fit_starts) // (settings.frames * settings.batch))
        generator = np.random.default_rng(seed_of(self.seed, self.global_step, 1))
        chosen = generator.integers(len(self.fit_starts), size=n_steps * settings.batch)
        starts: Any = self.fit_starts[torch.from_numpy(chosen)]
        return DataLoader(starts, settings.batch)

    def val_dataloader(self) -> DataLoader[Any]:
        starts: Any = self.validation_starts
        return DataLoader(starts, len(self.validation_starts))


def gates(gain: Tensor, power: Tensor) -> Tensor:
    """How far to go, from sums over windows (..., W, G) to (..., G) within [0, 1].

    The least-squares step at the lower end of its one-sided 95 % interval (Student's t over windows, or
    people): 0 where a gain may be chance, or one window can't tell.
    """
    n_windows = gain.shape[-2]
    if n_windows < 2:
        return torch.zeros_like(gain.sum(dim=-2))
    total, squared = gain.sum(dim=-2), power.sum(dim=-2)
    step = total / squared.clamp(min=1e-12)
    scatter = gain - step[..., None, :] * power
    error = scatter.square().sum(dim=-2).sqrt() * np.sqrt(n_windows / (n_windows - 1))
    error *= float(stdtrit(n_windows - 1, CONFIDENCE))
    return ((total - error) / squared.clamp(min=1e-12)).clamp(0, 1)


def fit_correction(
    part: TrainingPart,
    backbone: Backbone,
    filters: NDArray[np.floating],
    settings: CorrectionSettings,
    *,
    state: Path,
    seed: int = 0,
    **options: Any,
) -> Correction:
    """Train the members and fit their gates, each on the block that the member is validated on.

    No two members share a block unless there are more members than blocks.

    Parameters
    ----------
    part : TrainingPart, with EEG
        The gap of its split is left out between what a member is fitted to and validated on; of several
        people these are others.
    backbone : Backbone, fitted to it
    filters : array, shape (F, C), from which spatial filters start
    settings : CorrectionSettings
    state : Path
        Folder for the state of training; to be removed once the model is written.
    seed : int
    **options
        Of `training.trainer.run`: accelerator, devices, precision, progress.
    """
    tr, gap, group = part.origin.tr, part.origin.split.gap, backbone.prior.latents.group
    data = TrainingData.of(part.segments, backbone)
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        correction = Correction(settings, part.origin.bands, group, part.origin.positions, tr, data.rate)
    blocks = [
        block
        for block in (
            blocks_of_people(data.person) if part.several else blocks_of(len(data.z), int(np.ceil(gap / tr)))
        )
        if all(len(data.starts(among, settings.frames, 1)) for among in block)
    ]
    if not blocks:
        logger.warning("the training part is too short to learn a correction; the backbone stays as it is")
        return correction.eval()
    for number, member in enumerate(correction.networks):
        chosen = generator.permutation(len(filters))[: settings.virtual_channels]
        scaled = filters[chosen] / np.abs(filters[chosen]).sum(axis=1, keepdims=True)
        member.encoder.initialise_filters(part.origin.positions, scaled)
        fit, validation = blocks[number % len(blocks)]
        training = CorrectionTraining(member, correction, data, backbone, fit, validation, seed + number)
        logger.info("training network %d of %d", number + 1, settings.members)
        training.trained(
            state / f"member-{number}",
            {"gap": gap, "data": data.digest()},
            monitor="r",
            checkpoint_every=1,
            callbacks=[
                SeedEachStep(seed + number),
                EMAWeightAveraging(decay=settings.average),
                EarlyStopping("r", mode="max", patience=settings.patience),
            ],
            **options,
        )
        correction.gate[number].copy_(training.gate())
    return correction.to(default_device()).eval()
