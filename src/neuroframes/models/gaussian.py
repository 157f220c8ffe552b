"""The Gaussian model: a prior over frames, perhaps with a mean from EEG, and exact measurements.

    Z[:, j] ~ N(m_j(EEG), v_j K_j)    with EEG,        Z[:, j] ~ N(0, v'_j K'_j)    without.

The covariance with EEG is that of what the left-out ridge leaves over, so that the optimism of a fit on
its own data doesn't leak into it. The prior of a run by itself is such a model without EEG.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from neuroframes.errors import need_torch
from neuroframes.frames.artefacts import suspicious
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.autoregression import Autoregression
from neuroframes.frames.filling import draw_exactly, draw_missing, fill_missing
from neuroframes.frames.prior import FramePrior
from neuroframes.frames.temporal import FEWEST_MEASURED, TemporalCovariance, windows
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.eeg_ridge import EegRidge
from neuroframes.models.features import eeg_features, equalised, whitening
from neuroframes.models.model import Estimate, Origin, TrainedModel
from neuroframes.models.ridge import Standardisation
from neuroframes.models.stored import Stored, write_stored
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment
from neuroframes.recording.signal import Signal

if TYPE_CHECKING:
    from torch import Tensor

    from neuroframes.models.correction import Correction
    from neuroframes.models.draws import MeanOf

logger = logging.getLogger(__name__)

COVARIANCE_FIELDS = ("power", "noise", "group", "variance")
RIDGE_FIELDS = ("responses", "lags", "weights", "kernels")
CHOSEN = ("response", "emphasis")  # of the ridge, by left-out error
SAME_RATE = 1e-3
DISAGREES = "the measured frames are as likely without it"
Float = NDArray[np.float64]


@dataclass(frozen=True)
class EegFeatures:
    """What the EEG of a run says, computed once.

    Attributes
    ----------
    power : BandPower, the features of the ridge
    tokens : what the learned correction takes, None where it has nothing to say
    """

    power: BandPower
    tokens: Any = None


@dataclass(frozen=True)
class EegPathway:
    """From EEG to the mean of the latents, and how they vary about it.

    Attributes
    ----------
    ridge : EegRidge
    covariance : TemporalCovariance of what the ridge leaves over
    channels : ChannelCovariance, or None where EEG comes as features of each frame
        Names of the channels, and what EEG that lacks some is filled from.
    bands : dict from name to (low, high), Hz
    correction : Correction, or None
        What was learned beside the ridge; moved to the GPU if there is one.
    least_gap : float
        Frames of the shortest gap in which EEG is believed: see `training.belief`.
    """

    ridge: EegRidge
    covariance: TemporalCovariance
    channels: ChannelCovariance | None
    bands: Mapping[str, tuple[float, float]]
    correction: "Correction | None" = None
    least_gap: float = 0.0
    # A run's EEG is asked for by each of its windows and draws; it goes when the run does.
    _known: WeakKeyDictionary[Signal, EegFeatures] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.correction is not None:
            from neuroframes.models.device import default_device

            self.correction.to(default_device())

    def about(self, covariance: TemporalCovariance) -> "EegPathway":
        """The same with another covariance about its mean."""
        other = replace(self, covariance=covariance)
        other._known.update(self._known)  # the features are the same
        return other

    def believed(self, segment: Segment) -> bool:
        """Whether EEG counts, all over a segment: where half of what is missing lies in long gaps."""
        if self.least_gap == 0 or not segment.measured.any():
            return True
        times, tr = segment.time_in_run, self.covariance.tr
        ends = times[[0, -1]] + [-tr, tr]
        known = np.concatenate([ends[:1], times[segment.measured], ends[1:]])
        lengths = np.rint(np.diff(known) / tr) - 1
        return 0 < float(lengths.sum()) <= 2 * float(lengths[lengths >= self.least_gap].sum())

    def agrees(self, eeg: Signal | BandPower, times: Float, known: Float) -> bool:
        """Whether latents of a run's measured frames are likelier about what the ridge says than about 0.

        EEG of another run doesn't agree. Too few frames say nothing of their run.

        Parameters
        ----------
        eeg : as in `mean`
        times : array, shape (n,), seconds on the EEG clock, of the measured frames
        known : array, shape (n, d)
        """
        if len(known) < FEWEST_MEASURED:
            return True
        said, gain = self.ridge(self.features(eeg).power, times), 0.0
        for part in windows(len(times)):
            for number, group in self.covariance.groups():
                m, z = said[part][:, group], known[part][:, group]
                factor = cho_factor(self.covariance.kernel(number, times[part]))
                variance = np.maximum(self.covariance.variance[group], np.finfo(float).tiny)
                gain += float((m * cho_solve(factor, z - m / 2) / variance).sum())
        return gain > 0

    def eeg_of(self, segment: Segment) -> Signal | BandPower | None:
        """What the model takes of a segment: its EEG, or the features that it comes as; None without."""
        return segment.power if self.channels is None else segment.eeg

    def features(self, eeg: Signal | BandPower) -> EegFeatures:
        """What the model takes from a recording; of the same one it is computed once.

        Channels that are missing are filled from the others, with the power that a conditional mean lacks.
        """
        if isinstance(eeg, BandPower):
            return EegFeatures(eeg)
        known = self.channels
        assert known is not None  # where EEG is raw
        if eeg not in self._known:
            filters, names = whitening(known.total), eeg.channels
            filled = eeg
            if names != known.channels:
                filled = Signal(known.fill(eeg.data, names), eeg.rate, known.channels)
            power = eeg_features(filled, self.bands, filters)
            tokens = self._tokens(filled, power)
            if names != known.channels:
                # What the conditional mean of a channel lacks in power is a constant of its log.
                offsets = known.power_offset(names, np.concatenate([np.eye(len(filters)), filters]))
                power = replace(power, values=power.values + offsets.ravel().astype(np.float32))
            self._known[eeg] = EegFeatures(power, tokens)
        return self._known[eeg]

    def _tokens(self, eeg: Signal, power: BandPower) -> Any:
        """Tokens of EEG with all channels, where the learned correction has something to say."""
        learned = self.correction
        if learned is None or not learned.gate.any():
            return None
        if abs(eeg.rate - learned.rate) > SAME_RATE * learned.rate:
            logger.warning(
                "EEG at %g Hz, but the networks were trained at %g Hz: the backbone alone is used",
                eeg.rate,
                learned.rate,
            )
            return None
        if self.ridge.standardisation is None:  # of several people
            eeg = equalised(eeg, power, self.bands)
        return learned.tokens(eeg)

    def mean(
        self,
        eeg: Signal | BandPower,
        times: Float,
        latents: Float | None = None,
        measured: NDArray[np.bool_] | None = None,
    ) -> Float:
        """Mean of the latents (K, d), as EEG and the learned correction have it.

        Parameters
        ----------
        eeg : Signal, or BandPower of features of each frame
        times : array, shape (K,), seconds on the EEG clock
        latents : array, shape (K, d)
            Of the measured frames, which inform the correction; what stands at others isn't read.
        measured : array, shape (K,)
            By default none.
        """
        features = self.features(eeg)
        mean = self.ridge(features.power, times)
        if self.correction is not None and features.tokens is not None:
            # Between the model's frames the ridge says what the networks start from.
            query = self.correction.query(times, partial(self.ridge, features.power), latents, measured)
            mean = mean + self.correction.shift(query, features.tokens)[0].cpu().numpy()
        return mean

    def mean_of_draws(
        self, eeg: Signal | BandPower, times: Float, latents: Float, measured: NDArray[np.bool_]
    ) -> "MeanOf | None":
        """The mean that a draw follows; None where no correction makes it depend on what is drawn."""
        features, correction = self.features(eeg), self.correction
        if correction is None or features.tokens is None:
            return None
        import torch

        from neuroframes.models.draws import STEPS

        mean_at = partial(self.ridge, features.power)

        def of(window: slice) -> "tuple[Any, int]":
            mean = torch.from_numpy(mean_at(times[window]))
            query = correction.query(times[window], mean_at, latents[window], measured[window])

            def corrected(x: "Tensor", sigma: float) -> "Tensor":
                return mean + correction.shift(query, features.tokens, query.on_grid(x), sigma).cpu()

            return corrected, STEPS

        return of


def stored_correction(stored: Stored) -> "Correction | None":
    """The learned correction of a model, or None where it has none."""
    if not (stored.path / "correction.json").exists():
        return None
    need_torch(f"{stored.path.name} holds networks, which take PyTorch")
    from neuroframes.models.correction import Correction

    return Correction.load(stored.path)


def n_parameters(tensors: Mapping[str, NDArray[Any]], correction: "Correction | None") -> int:
    """Numbers that a model consists of, those of its networks among them."""
    networks = () if correction is None else correction.parameters()
    return sum(tensor.size for tensor in tensors.values()) + sum(p.numel() for p in networks)


@dataclass(frozen=True)
class GaussianModel(TrainedModel):
    """A prior over frames and what EEG says of them.

    Attributes
    ----------
    origin : Origin
    prior : FramePrior without EEG
    eeg : EegPathway, or None: the model then does not use EEG
    """

    format = "neuroframes-model-gaussian-4"
    states_deviation = draws = any_time = fills_channels = True

    origin: Origin
    prior: FramePrior
    eeg: EegPathway | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        if self.eeg is None:
            return "neuroframes without EEG"
        return "neuroframes backbone" if self.eeg.correction is None else "neuroframes"

    @property
    def reads_eeg(self) -> bool:
        return self.eeg is not None

    @property
    def n_latents(self) -> int:
        return self.prior.autoencoder.n_latents

    def without_eeg(self) -> "GaussianModel":
        """The prior alone."""
        return replace(self, eeg=None)

    def describe(self, segment: Segment) -> str:
        measured = segment.measured & ~suspicious(segment.frames, segment.measured)
        if self.eeg is not None and (doubt := self._doubt(self.eeg, segment, measured)):
            return f"{self.without_eeg().describe(segment)}; {doubt}"
        known = ["the measured frames"] * bool(segment.measured.any())
        informed = self.eeg is not None and self.eeg.eeg_of(segment) is not None
        known += ["features of the EEG" if self.origin.features else "the EEG"] * informed
        learned = self.eeg is not None and informed and self.eeg.correction is not None
        uncoupled = segment.entries is not None and self.prior.latents.coupling is not None
        response = f"; {self.eeg.ridge}" if self.eeg is not None and informed else ""
        return f"exact Gaussian posterior given {' and '.join(known)}" + (
            ", its mean with a learned correction" * learned
            + ", without lead and lag since some frames are partial" * uncoupled
            + response
        )

    def _doubt(self, eeg: EegPathway, segment: Segment, measured: NDArray[np.bool_]) -> str:
        """Why a segment's EEG isn't used; "" where it is, or where there is none.

        `measured` (K,) are frames that don't look like artefacts.
        """
        given = eeg.eeg_of(segment)
        if given is None:
            return ""
        if not eeg.believed(segment):
            return "EEG isn't believed beside so many frames"
        prior = self.prior if segment.vertices is None else self.prior.restricted(segment.vertices)
        known = prior.encode(segment.frames, measured)[measured]
        return (
            ""
            if eeg.agrees(given, segment.times[measured], known)
            else f"the EEG isn't used, since {DISAGREES}"
        )

    def fill(
        self, segment: Segment, *, draws: int = 0, generator: np.random.Generator | None = None
    ) -> Estimate:
        """As `Model.fill`, partial frames included: see `frames.partial`.

        Only the standard deviation of draws holds how a learned correction varies, where latents don't lead
        and lag each other. What looks like an artefact informs nothing: see `frames.artefacts`. Beside
        partial frames lead and lag are left out, and EEG is where it isn't believed in such gaps, or not in
        this run.
        """
        generator = np.random.default_rng(0) if generator is None else generator
        doubted = suspicious(segment.frames, segment.measured)
        measured = segment.measured & ~doubted
        unused = self.eeg is not None and self._doubt(self.eeg, segment, measured)
        model = self.without_eeg() if unused else self
        if not doubted.any():
            return model._fill(segment, draws, generator)
        asked = ~doubted[~measured]
        found = model._fill(replace(segment, measured=measured), draws, generator)
        std = None if found.std is None else found.std[asked]
        return Estimate(found.mean[asked], std, (draw[asked] for draw in found.draws))

    def _fill(self, segment: Segment, draws: int, generator: np.random.Generator) -> Estimate:
        frames, measured, times = segment.frames, segment.measured, segment.time_in_run
        prior = self.prior if segment.vertices is None else self.prior.restricted(segment.vertices)
        latents, entries = prior.encode(frames, measured), segment.entries
        eeg, mean = self.eeg, None
        if eeg is not None and (given := eeg.eeg_of(segment)) is not None:
            prior = replace(prior, latents=eeg.covariance)
            mean = eeg.mean(given, segment.times, latents, measured)
        if entries is not None:  # `frames.partial` is exact for latents that are independent
            prior = replace(prior, latents=replace(prior.latents, coupling=None))
        if not draws:
            return Estimate(*fill_missing(prior, frames, measured, times, latents, mean, entries=entries))
        drawn = self._drawn(prior, segment, latents, mean, draws, generator)
        filled, std = fill_missing(prior, frames, measured, times, latents, mean, drawn, entries)
        each = draw_missing(prior, filled, measured, times, latents, mean, drawn, generator, entries)
        return Estimate(filled, std, each)

    def _drawn(
        self,
        prior: FramePrior,
        segment: Segment,
        latents: Float,
        mean: Float | None,
        draws: int,
        generator: np.random.Generator,
    ) -> NDArray[np.floating]:
        """Draws (S, K, d) of the latents given the measured frames and the EEG."""
        times, measured = segment.time_in_run, segment.measured
        mean_of = None
        # The flow along which a correction follows what is drawn knows no lead and lag.
        eeg = self.eeg if prior.latents.coupling is None else None
        if eeg is not None and (given := eeg.eeg_of(segment)) is not None:
            mean_of = eeg.mean_of_draws(given, segment.times, latents, measured)
        if mean_of is None:
            return draw_exactly(prior, times, latents, measured, mean, draws, generator)
        from neuroframes.models.draws import draw_latents

        return draw_latents(prior, mean_of, times, latents, measured, draws, generator)

    @property
    def n_parameters(self) -> int:
        return n_parameters(self._tensors(), None if self.eeg is None else self.eeg.correction)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """What is stored as arrays."""
        tensors: dict[str, NDArray[Any]] = {
            "scale": self.origin.scale,
            "decoder": self.prior.autoencoder.decoder,
            "rest_scale": self.prior.autoencoder.rest,
        }
        covariances = {"latents": self.prior.latents, "rest": self.prior.rest}
        if self.eeg is not None:
            ridge, covariances["with_eeg"] = self.eeg.ridge, self.eeg.covariance
            scale = ridge.standardisation
            assert scale is not None  # of the training part
            if self.eeg.channels is not None:
                tensors["channel_covariances"] = self.eeg.channels.covariances
            tensors |= {"eeg.centre": scale.centre, "eeg.spread": scale.spread}
            tensors["eeg.least_gap"] = np.array([self.eeg.least_gap])
            tensors |= {f"eeg.{part}": getattr(ridge, part) for part in RIDGE_FIELDS}
        for name, covariance in covariances.items():
            for part in COVARIANCE_FIELDS:
                tensors[f"{name}.{part}"] = getattr(covariance, part)
            if covariance.coupling is not None:
                tensors[f"{name}.lags"] = covariance.coupling.lags
        return tensors

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        about = self.origin.to_json() | {"spread": self.prior.spread}
        if self.eeg is not None:
            about |= {name: getattr(self.eeg.ridge, name) for name in CHOSEN}
        learned = None if self.eeg is None else self.eeg.correction
        beside = None if learned is None else learned.save
        write_stored(path, self.format, about, self._tensors(), overwrite=overwrite, beside=beside)

    @classmethod
    def from_stored(cls, stored: Stored) -> "GaussianModel":
        with stored.opened(cls.format):
            about, tensors = stored.about, stored.tensors
            origin = Origin.of(about, tensors["scale"])

            def covariance(name: str) -> TemporalCovariance:
                power, noise, group, variance = (tensors[f"{name}.{part}"] for part in COVARIANCE_FIELDS)
                lags = tensors.get(f"{name}.lags")
                coupling = None if lags is None else Autoregression(lags)
                return TemporalCovariance(power, noise, group, variance, origin.tr, coupling)

            autoencoder = LinearAutoencoder(tensors["decoder"], tensors["rest_scale"])
            prior = FramePrior(autoencoder, covariance("latents"), covariance("rest"), about["spread"])
            # What isn't stored wasn't fitted: without EEG in training there is no ridge.
            if "eeg.weights" not in tensors:
                return cls(origin, prior)
            scale = Standardisation(tensors["eeg.centre"], tensors["eeg.spread"])
            with_eeg = covariance("with_eeg")
            parts: dict[str, Any] = {part: tensors[f"eeg.{part}"] for part in RIDGE_FIELDS}
            parts |= {"response": about["response"], "emphasis": tuple(about["emphasis"])}
            ridge = EegRidge(scale, **parts, group=with_eeg.group, tr=origin.tr)
            channels = None
            if not origin.features:
                channels = ChannelCovariance(origin.channels, tensors["channel_covariances"], origin.average)
            least_gap = float(tensors["eeg.least_gap"][0])
            pathway = EegPathway(ridge, with_eeg, channels, origin.bands, least_gap=least_gap)
            correction = stored_correction(stored)
        # Out here, since a GPU without room is no damage.
        return cls(origin, prior, replace(pathway, correction=correction))
