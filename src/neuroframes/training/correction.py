"""Training of the learned correction, and what of it validation lets through.

A step sees windows of K frames with their EEG, a random mask of measured frames y, and latents noised to a random
level s (half of them infinite). With D(m) the exact Gaussian denoiser whose prior has mean m,

    loss = mean over windows of |z - D(m + delta)|^2 / |z - D(m)|^2,    |.|^2 weighted by what latents cost on the cortex,

so that below 1 is better than the backbone at whatever level. m is the ridge's left-out prediction: on frames that
the ridge was fitted to, what it leaves over is smaller than anywhere else.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from neuroframes.config import CorrectionSettings
from neuroframes.diffusion.gaussian import MaskedGaussianDenoisers
from neuroframes.frames.measurement import FrameMask
from neuroframes.frames.posterior import posterior
from neuroframes.models.correction import LEVELS, Correction, Member
from neuroframes.models.denoiser import EARLIEST, LATEST
from neuroframes.models.gaussian import Backbone
from neuroframes.recording.segments import Segment
from neuroframes.training.run import SeedEachStep, run, seed_of

logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

BLOCKS = 5  # of the training part, one of which a member is validated on
FEWEST_STEPS = 8  # in an epoch
MASKS = 48  # patterns of measured frames that training draws from
ALONE = 16  # of them nothing is measured
GAPS = (4, 8, 16)  # frames hidden in a row in validation, with as many measured between
NOISE_DRAWS = 2  # of each validation window at each finite level


@dataclass(frozen=True)
class TrainingData:
    """Latents of the training part, one row a frame, and the EEG that they are explained by.

    Attributes
    ----------
    z, mean : tensor, shape (n, d)
        Latents, censored ones filled by their posterior mean, and their left-out prediction from EEG.
    scored : tensor of bool, shape (n,)
    times : tensor, shape (n,), seconds on the run's EEG clock
    segment : tensor of int, shape (n,)
    eeg : list of tensor, shape (C, N), volts, one a segment, of its whole run
    rate : float, Hz
    importance : tensor, shape (d,), sums to 1
    """

    z: Tensor
    mean: Tensor
    scored: Tensor
    times: Tensor
    segment: Tensor
    eeg: list[Tensor]
    rate: float
    importance: Tensor

    @classmethod
    def of(cls, segments: Sequence[Segment], backbone: Backbone) -> "TrainingData":
        filled = []
        for segment, z, m in zip(segments, backbone.latents, backbone.left_out, strict=True):
            seen = z[segment.measured]
            times = segment.times - segment.times[0]
            guess = posterior(backbone.with_eeg, times, FrameMask(segment.measured), seen, m).mean
            filled.append(np.where(segment.measured[:, None], z, guess))
        signals = [segment.eeg for segment in segments if segment.eeg is not None]
        importance = torch.as_tensor(backbone.prior.autoencoder.importance, dtype=torch.float32)

        def joined(arrays: Sequence[NDArray[Any]], dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.concatenate(arrays), dtype=dtype)

        return cls(
            joined(filled, torch.float32),
            joined(backbone.left_out, torch.float32),
            joined([segment.measured for segment in segments], torch.bool),
            joined([segment.times for segment in segments], torch.float64),
            torch.repeat_interleave(torch.arange(len(segments)), torch.tensor([len(s.times) for s in segments])),
            [torch.from_numpy(signal.data) for signal in signals],
            signals[0].rate,
            importance / importance.sum(),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrainingData":
        """Itself: averaging weights copies the whole module, and an hour of EEG needn't be there twice."""
        return self

    def digest(self) -> list[int]:
        """What tells these data from others."""
        return [crc32(part.numpy().tobytes()) for part in (self.z, self.mean, self.times)]

    def starts(self, among: Tensor, length: int, hop: int) -> Tensor:
        """First frames of windows of `length`, `hop` apart, whose frames all lie in `among` (n,) and in one segment."""
        found = []
        for number in range(len(self.eeg)):
            rows = torch.nonzero(among & (self.segment == number))[:, 0]
            if len(rows) >= length:
                first = rows[: len(rows) - length + 1]
                whole = rows[length - 1 :] - first == length - 1
                found.append(first[whole][::hop])
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)

    def heard_by(self, starts: Tensor, duration: float) -> tuple[Tensor, Tensor]:
        """EEG of windows (B, C, N), from `EARLIEST` before their first frame, and when it starts (B,)."""
        n = round((EARLIEST + duration + LATEST) * self.rate)
        pieces, begins = [], []
        for row in starts.tolist():
            eeg = self.eeg[int(self.segment[row])]
            # Windows near a recording's ends take what there is: tokens beyond the reach are masked anyway.
            begin = round((float(self.times[row]) - EARLIEST) * self.rate)
            begin = max(0, min(begin, eeg.shape[1] - n))
            pieces.append(eeg[:, begin : begin + n])
            begins.append(begin / self.rate)
        return torch.stack(pieces), torch.tensor(begins, dtype=torch.float64)


def random_masks(n_masks: int, n_frames: int, generator: np.random.Generator) -> Mask:
    """Patterns of measured frames (P, K): none, gaps, every n-th, the ends, random ones."""
    masks = np.zeros((n_masks, n_frames), bool)
    position = np.arange(n_frames)
    for number in range(min(ALONE, n_masks), n_masks):
        kind = generator.integers(4)
        if kind == 0:  # gaps as long as the stretches between them, or half as long
            gap = int(generator.integers(1, 17))
            period = gap + int(generator.integers(max(1, gap // 2), 2 * gap + 1))
            masks[number] = (position + generator.integers(period)) % period >= gap
        elif kind == 1:
            every = int(generator.integers(2, 21))
            masks[number] = (position + generator.integers(every)) % every == 0
        elif kind == 2:  # measured up to here, or from here
            edge = int(generator.integers(4, n_frames - 4))
            masks[number] = position < edge if generator.random() < 0.5 else position >= edge
        else:
            masks[number] = generator.random(n_frames) < generator.uniform(0.05, 0.95)
    return masks


class CorrectionTraining(lightning.LightningModule):
    """One member, on windows whose frames lie in `fit`, judged on windows whose frames lie in `judge`."""

    def __init__(
        self,
        member: Member,
        correction: Correction,
        data: TrainingData,
        backbone: Backbone,
        fit: Tensor,
        judge: Tensor,
        seed: int,
    ) -> None:
        super().__init__()
        self.member, self.settings, self.seed = member, correction.settings, seed
        self.group, self.positions, self.tr = correction.group, correction.positions, correction.tr
        self.data = data
        n_frames = self.settings.frames
        self.fit_starts = data.starts(fit, n_frames, 1)
        self.judge_starts = data.starts(judge, n_frames, n_frames)
        position = np.arange(n_frames)
        hidden = [np.zeros(n_frames, bool), *((position % (2 * gap)) < gap for gap in GAPS)]
        masks = np.concatenate([hidden, random_masks(MASKS, n_frames, np.random.default_rng(seed))])
        self.gaussian = MaskedGaussianDenoisers(backbone.with_eeg, self.tr * np.arange(n_frames), masks)
        self.n_judged = len(hidden)

    def shifted(
        self,
        starts: Tensor,
        which: Tensor,
        sigma: Tensor,
        noise: Tensor,
        heard: tuple[Tensor, Tensor] | None = None,
        **dropped: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Truth z, D(m), D(m + delta), each (B, K, d), and which frames are scored (B, K)."""
        data, device = self.data, self.device
        rows = starts[:, None] + torch.arange(self.settings.frames)
        z, mean, times = (part[rows].to(device) for part in (data.z, data.mean, data.times))
        measured = self.gaussian.measured[which]
        eeg, begin = data.heard_by(starts, self.settings.frames * self.tr) if heard is None else heard
        tokens = self.member.encoder(
            eeg.to(device), data.rate, self.positions.to(device), begin.to(device), **dropped
        )
        level = sigma[:, None, None]
        x = torch.where(level.isinf(), 0, z + torch.where(level.isinf(), 0, level) * noise)
        given = torch.where(measured[..., None], z, 0)
        delta = self.member.denoiser(x, sigma, times, mean, given, measured, tokens)
        before = self.gaussian(which, x, sigma, mean, z)
        after = self.gaussian(which, x, sigma, mean + delta.float(), z)
        return z, before, after, data.scored[rows].to(device) & ~measured

    def _errors(self, z: Tensor, estimate: Tensor, scored: Tensor) -> Tensor:
        importance = self.data.importance.to(z.device)
        return (((z - estimate).square() * importance).sum(dim=-1) * scored).sum(dim=-1)

    def training_step(self, starts: Tensor) -> Tensor:
        settings, size = self.settings, len(starts)
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.global_step))
        which = torch.randint(self.n_judged, len(self.gaussian.measured), (size,), generator=generator)
        level = torch.exp(torch.empty(size).uniform_(np.log(0.05), np.log(50.0), generator=generator))
        sigma = torch.where(torch.rand(size, generator=generator) < 0.5, torch.inf, level)
        noise = torch.randn((size, settings.frames, self.data.z.shape[1]), generator=generator)
        eeg, begin = self.data.heard_by(starts, settings.frames * self.tr)
        begin = begin + settings.shift * (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1)
        keep = torch.rand((size, eeg.shape[1]), generator=generator) >= settings.channel_dropout
        bands = torch.rand((size, len(self.member.encoder.bands)), generator=generator) >= settings.band_dropout
        which, sigma, noise, keep, bands = (
            part.to(self.device) for part in (which, sigma, noise, keep, bands)
        )
        z, before, after, scored = self.shifted(
            starts.cpu(), which, sigma, noise, (eeg, begin), keep=keep, keep_bands=bands
        )
        baseline = self._errors(z, before, scored)
        some = baseline > 0
        loss = (self._errors(z, after, scored)[some] / baseline[some]).mean()
        self.log("loss", loss, prog_bar=True, batch_size=size)
        return loss

    def validation_step(self, starts: Tensor) -> None:
        """r over windows from EEG alone and across gaps, with the gates that these windows would get."""
        starts = starts.cpu()
        r = []
        for number in range(self.n_judged):
            parts = [self._judged(piece, number) for piece in starts.split(self.settings.batch)]
            z, before, after, scored = (torch.cat(part) for part in zip(*parts, strict=True))
            gate = gates(*self._sums(z, before, after, scored))[self.group.to(z.device)]
            r.append(mean_r(z[scored], (before + gate * (after - before))[scored], self.data.importance))
        self.log("r", torch.stack(r).mean(), prog_bar=True, batch_size=len(starts))

    def _judged(self, starts: Tensor, number: int) -> tuple[Tensor, ...]:
        which = torch.full((len(starts),), number, device=self.device)
        sigma = torch.full((len(starts),), torch.inf, device=self.device)
        return self.shifted(starts, which, sigma, torch.zeros(1, device=self.device))

    def _sums(self, z: Tensor, before: Tensor, after: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
        """Per window and group (B, G): what moving from before to after takes off the error, and its square."""
        moved = (after - before) * scored[..., None]
        weight = self.data.importance.to(z.device)
        member = torch.nn.functional.one_hot(self.group.to(z.device)).to(z.dtype)
        gain = ((z - before) * moved).sum(dim=1) * weight
        return gain @ member, (moved.square().sum(dim=1) * weight) @ member

    @torch.no_grad()
    def gate_sums(self) -> tuple[Tensor, Tensor]:
        """Sums for the final gates, shape (levels, 2, windows, G), over validation windows."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.settings.frames, self.data.z.shape[1])
        gains: list[list[Tensor]] = []
        powers: list[list[Tensor]] = []
        for level in (*LEVELS[:-1], float("inf")):
            found: list[list[Tensor]] = [[], []]
            squared: list[list[Tensor]] = [[], []]
            for number in range(self.n_judged):
                kind = int(number > 0)
                for _ in range(NOISE_DRAWS if np.isfinite(level) else 1):
                    sums = []
                    for piece in self.judge_starts.split(self.settings.batch):
                        which, sigma = torch.full((len(piece),), number), torch.full((len(piece),), level)
                        noise = torch.randn((len(piece), *shape), generator=generator)
                        sums.append(self._sums(*self.shifted(piece, which, sigma, noise)))
                    gain, power = (torch.cat(part) for part in zip(*sums, strict=True))
                    found[kind].append(gain)
                    squared[kind].append(power)
            gains.append([torch.stack(part).mean(dim=0) for part in found])
            powers.append([torch.stack(part).mean(dim=0) for part in squared])
        return tuple(torch.stack([torch.stack(row) for row in rows]) for rows in (gains, powers))  # type: ignore[return-value]

    def train_dataloader(self) -> DataLoader[Any]:
        settings = self.settings
        n_steps = max(FEWEST_STEPS, len(self.fit_starts) // (settings.frames * settings.batch))
        generator = np.random.default_rng(seed_of(self.seed, self.global_step, 1))
        chosen = generator.integers(len(self.fit_starts), size=n_steps * settings.batch)
        starts: Any = self.fit_starts[torch.from_numpy(chosen)]
        return DataLoader(starts, settings.batch)

    def val_dataloader(self) -> DataLoader[Any]:
        starts: Any = self.judge_starts
        return DataLoader(starts, len(self.judge_starts))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(
            self.member.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )


def gates(gain: Tensor, power: Tensor) -> Tensor:
    """How far to go, from sums over windows (..., W, G) to (..., G) within [0, 1].

    The least-squares step less its standard error over windows: 0 where a gain may be chance.
    """
    n_windows = gain.shape[-2]
    total, squared = gain.sum(dim=-2), power.sum(dim=-2)
    step = total / squared.clamp(min=1e-12)
    scatter = gain - step[..., None, :] * power
    error = scatter.square().sum(dim=-2).sqrt() * np.sqrt(n_windows / max(n_windows - 1, 1))
    return ((total - error) / squared.clamp(min=1e-12)).clamp(0, 1)


def mean_r(truth: Tensor, estimate: Tensor, importance: Tensor) -> Tensor:
    """Correlation in time of each latent (n, d), weighted by what it costs on the cortex."""
    truth, estimate = truth - truth.mean(dim=0), estimate - estimate.mean(dim=0)
    norm = (truth.square().sum(dim=0) * estimate.square().sum(dim=0)).sqrt().clamp(min=1e-12)
    return ((truth * estimate).sum(dim=0) / norm) @ importance.to(truth.device)


def fit_correction(
    segments: Sequence[Segment],
    backbone: Backbone,
    positions: NDArray[np.floating],
    filters: NDArray[np.floating],
    bands: dict[str, tuple[float, float]],
    settings: CorrectionSettings,
    tr: float,
    gap: float,
    *,
    folder: Path,
    seed: int = 0,
    **options: Any,
) -> Correction:
    """Train the members, each validated on a block of its own, and fit their gate.

    Parameters
    ----------
    segments : sequence of Segment, with EEG, of the training part
    backbone : Backbone, fitted to them
    positions : array, shape (C, 3), metres
    filters : array, shape (F, C), from which spatial filters start
    bands : dict from name to (low, high), Hz
    settings : CorrectionSettings
    tr, gap : float, seconds
        Step between frames; what is left out between what a member is fitted to and validated on.
    folder : Path
        For the state of training; to be removed once the model is written.
    seed : int
    **options
        Of `training.run.run`: accelerator, devices, precision, progress.
    """
    data = TrainingData.of(segments, backbone)
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        correction = Correction(settings, bands, backbone.prior.latents.group, positions, tr)
    n_frames = len(data.z)
    margin = int(np.ceil(gap / tr))
    sums = []
    for number, member in enumerate(correction.members):
        assert isinstance(member, Member)
        chosen = generator.permutation(len(filters))[: settings.virtual_channels]
        scaled = filters[chosen] / np.abs(filters[chosen]).sum(axis=1, keepdims=True)
        member.encoder.initialise_filters(positions, scaled)
        block = BLOCKS - 1 - number % BLOCKS
        low, high = n_frames * block // BLOCKS, n_frames * (block + 1) // BLOCKS
        row = torch.arange(n_frames)
        judge = (row >= low) & (row < high)
        near = (row >= low - margin) & (row < high + margin)
        training = CorrectionTraining(member, correction, data, backbone, ~near, judge, seed + number)
        if not len(training.fit_starts) or not len(training.judge_starts):
            logger.warning("the training part is too short to learn a correction; the backbone stays as it is")
            return correction.eval()
        logger.info("training network %d of %d", number + 1, settings.members)
        best = run(
            training,
            folder / f"member-{number}",
            max_epochs=settings.epochs,
            of={"settings": settings.to_json(), "seed": seed + number, "data": data.digest()},
            monitor="r",
            checkpoint_every=1,
            callbacks=[
                SeedEachStep(seed + number),
                EMAWeightAveraging(decay=settings.average),
                EarlyStopping("r", mode="max", patience=settings.patience),
            ],
            **options,
        )
        training.load_state_dict(best)
        training.cpu().eval()
        sums.append(training.gate_sums())
    gain, power = (torch.cat(part, dim=2) for part in zip(*sums, strict=True))
    correction.gate.copy_(gates(gain, power))
    return correction.eval()
