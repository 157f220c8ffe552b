"""The Gaussian backbone: ridge from EEG, temporal covariance, exact measurements.

    Z[:, j] ~ N(m_j(EEG), v_j K_j)    with EEG,        Z[:, j] ~ N(0, v'_j K'_j)    without.

The covariance with EEG is that of what the left-out ridge leaves over, so that the optimism of a fit on
its own data doesn't leak into it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import need_torch
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.prior import FramePrior, default_latents, fit_frame_prior, folds_for
from neuroframes.frames.temporal import TemporalCovariance, fit_temporal_covariance, reduced
from neuroframes.models.channels import ChannelCovariance
from neuroframes.models.eeg_ridge import EegRidge, fit_eeg_ridge
from neuroframes.models.features import eeg_features, whitening
from neuroframes.models.ridge import Standardisation
from neuroframes.models.stored import Stored, read_stored, write_stored
from neuroframes.recording.band_power import BandPower
from neuroframes.recording.segments import Segment, Split
from neuroframes.recording.signal import Signal

if TYPE_CHECKING:
    from neuroframes.models.correction import Correction

logger = logging.getLogger(__name__)

FORMAT = "neuroframes-model-2"
COVARIANCE_FIELDS = ("power", "noise", "group", "variance")
SAME_RATE = 1e-3
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Heard:
    """What a model takes from EEG.

    Attributes
    ----------
    power : BandPower, the features of the ridge
    tokens : what the learned correction takes, None where it has nothing to say
    """

    power: BandPower
    tokens: Any = None


@dataclass(frozen=True)
class GaussianModel:
    """A trained backbone and what it takes to apply it to another recording.

    Attributes
    ----------
    space : CorticalSpace
    tr : float, seconds
    scale : array, shape (V,)
        Standard deviation of the training part, in its BOLD's units; 0 where a vertex had no signal.
    prior : FramePrior without EEG
    with_eeg : TemporalCovariance of what the EEG leaves over
    eeg : EegRidge
    channel_covariance : ChannelCovariance
        Names of the channels, and what EEG that lacks some is filled from.
    eeg_settings : dict
        How the EEG is to be read: rate, l_freq, reference.
    bands : dict from name to (low, high), Hz
    split : Split
        What it was trained on, and what it must be tested on.
    correction : Correction, or None
        What was learned beside the backbone.
    """

    space: CorticalSpace
    tr: float
    scale: NDArray[np.float32]
    prior: FramePrior
    with_eeg: TemporalCovariance
    eeg: EegRidge
    channel_covariance: ChannelCovariance
    eeg_settings: Mapping[str, Any]
    bands: Mapping[str, tuple[float, float]]
    split: Split
    correction: "Correction | None" = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the C channels, in the order of the features."""
        return self.channel_covariance.channels

    @property
    def method(self) -> str:
        """What the model does, for sidecars."""
        learned = "" if self.correction is None else " with a learned correction of its mean"
        return f"ridge on lagged log band power, Gaussian backbone{learned}"

    def hear(self, eeg: Signal) -> Heard:
        """What the model takes from a recording, which may lack channels.

        Those that are missing are filled from the others, with the power that a conditional mean lacks.
        """
        known, filters = self.channel_covariance, whitening(self.channel_covariance.total)
        if eeg.channels != self.channels:
            eeg, names = Signal(known.fill(eeg.data, eeg.channels), eeg.rate, self.channels), eeg.channels
            power = eeg_features(eeg.data, eeg.rate, self.bands, filters)
            offsets = known.power_offset(names, np.concatenate([np.eye(len(filters)), filters]))
            power = BandPower(power.values + offsets.ravel().astype(np.float32), power.times)
        else:
            power = eeg_features(eeg.data, eeg.rate, self.bands, filters)
        learned = self.correction
        if learned is None or not learned.gate.any():
            return Heard(power)
        if abs(eeg.rate - learned.rate) > SAME_RATE * learned.rate:
            logger.warning(
                "EEG at %g Hz, but the networks were trained at %g Hz: the backbone alone is used",
                eeg.rate,
                learned.rate,
            )
            return Heard(power)
        return Heard(power, learned.hear(eeg))

    def given_eeg(
        self,
        heard: Heard | None,
        times: Float,
        seen: Float | None = None,
        measured: NDArray[np.bool_] | None = None,
    ) -> tuple[FramePrior, Float | None]:
        """The prior of frames, and its latents' mean as EEG and the learned correction have it.

        Parameters
        ----------
        heard : Heard, or None without EEG
        times : array, shape (K,), seconds on the EEG clock
        seen : array, shape (K, d)
            Latents of the measured frames, which inform the correction; what stands at others isn't read.
        measured : array, shape (K,)
            By default none.

        Returns
        -------
        FramePrior, and the mean (K, d) or None
        """
        if heard is None:
            return self.prior, None
        mean = self.eeg(heard.power, times)
        if self.correction is not None and heard.tokens is not None:
            query = self.correction.query(times, partial(self.eeg, heard.power), seen, measured)
            mean = mean + self.correction.shift(query, heard.tokens)[0].cpu().numpy()
        return replace(self.prior, latents=self.with_eeg), mean

    @property
    def n_parameters(self) -> int:
        """Numbers that the fit determined."""
        learned = () if self.correction is None else self.correction.parameters()
        return sum(tensor.size for tensor in self._tensors().values()) + sum(p.numel() for p in learned)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        """What is stored as arrays."""
        tensors: dict[str, NDArray[Any]] = {
            "scale": self.scale,
            "decoder": self.prior.autoencoder.decoder,
            "rest_scale": self.prior.autoencoder.rest,
            "eeg.centre": self.eeg.standardisation.centre,
            "eeg.spread": self.eeg.standardisation.spread,
            "eeg.responses": self.eeg.responses,
            "eeg.weights": self.eeg.weights,
            "eeg.lags": self.eeg.lags,
            "eeg.kernels": self.eeg.kernels,
            "channel_covariances": self.channel_covariance.covariances,
        }
        covariances = {"latents": self.prior.latents, "rest": self.prior.rest, "with_eeg": self.with_eeg}
        for name, covariance in covariances.items():
            for field in COVARIANCE_FIELDS:
                tensors[f"{name}.{field}"] = getattr(covariance, field)
        return tensors

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write a folder of `model.safetensors` (arrays) and `model.json` (the rest)."""
        about = {
            "space": self.space.to_json(),
            "tr": self.tr,
            "spread": self.prior.spread,
            "channels": self.channels,
            "eeg_settings": dict(self.eeg_settings),
            "bands": dict(self.bands),
            "split": self.split.to_json(),
        }
        beside = None if self.correction is None else self.correction.save
        write_stored(path, FORMAT, about, self._tensors(), overwrite=overwrite, beside=beside)

    @classmethod
    def load(cls, path: Path) -> "GaussianModel":
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If there is no model of this format at `path`.
        """
        return cls.from_stored(read_stored(path))

    @classmethod
    def from_stored(cls, stored: Stored) -> "GaussianModel":
        """The model that was read; see `load`."""
        with stored.opened(FORMAT):
            model, path = cls._backbone(stored.about, stored.tensors), stored.path
            if (path / "correction.json").exists():
                need_torch(f"{path.name} holds networks, which take PyTorch")
                from neuroframes.models.correction import Correction

                model = replace(model, correction=Correction.load(path))
            return model

    @classmethod
    def _backbone(cls, about: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> "GaussianModel":
        tr = about["tr"]

        def covariance(name: str) -> TemporalCovariance:
            fields = {field: tensors[f"{name}.{field}"] for field in COVARIANCE_FIELDS}
            return TemporalCovariance(**fields, tr=tr)

        autoencoder = LinearAutoencoder(tensors["decoder"], tensors["rest_scale"])
        standardisation = Standardisation(tensors["eeg.centre"], tensors["eeg.spread"])
        with_eeg = covariance("with_eeg")
        return cls(
            space=CorticalSpace.from_json(about["space"]),
            tr=tr,
            scale=tensors["scale"],
            prior=FramePrior(autoencoder, covariance("latents"), covariance("rest"), about["spread"]),
            with_eeg=with_eeg,
            eeg=EegRidge(
                standardisation,
                responses=tensors["eeg.responses"],
                lags=tensors["eeg.lags"],
                weights=tensors["eeg.weights"],
                kernels=tensors["eeg.kernels"],
                group=with_eeg.group,
                tr=tr,
            ),
            channel_covariance=ChannelCovariance(
                tuple(about["channels"]),
                tensors["channel_covariances"],
                average=about["eeg_settings"]["reference"] == "average",
            ),
            eeg_settings=about["eeg_settings"],
            bands={name: (low, high) for name, (low, high) in dict(about["bands"]).items()},
            split=Split.from_json(about["split"]),
        )


@dataclass(frozen=True)
class Backbone:
    """What `fit_backbone` found, and what it was found from.

    Attributes
    ----------
    prior, with_eeg, eeg : see `GaussianModel`
    latents : list of array, shape (K, d), one a segment
    left_out : list of array, shape (K, d)
        The ridge's prediction of each segment, or block, by a fit without it.
    """

    prior: FramePrior
    with_eeg: TemporalCovariance
    eeg: EegRidge
    latents: list[Float]
    left_out: list[Float]


def fit_backbone(
    segments: Sequence[Segment],
    powers: Sequence[BandPower],
    n_bands: int,
    tr: float,
    n_latents: int | None,
    generator: np.random.Generator,
) -> Backbone:
    """Fit prior, EEG ridge and the covariance of what it leaves over, on the training part.

    Parameters
    ----------
    segments : sequence of Segment, rows of one array (see `load_segments`)
    powers : sequence of BandPower, one a segment
        Features of its whole run, band fastest.
    n_bands : int
    tr : float, seconds
    n_latents : int
        By default as many as the measured frames support.
    generator : numpy.random.Generator
    """
    measured = [segment.measured for segment in segments]
    n_measured = int(sum(mask.sum() for mask in measured))
    n_latents = default_latents(n_measured) if n_latents is None else n_latents
    edges = np.cumsum([0, *(len(mask) for mask in measured)])
    rows = [slice(a, b) for a, b in pairwise(edges)]

    def columns(block: slice) -> NDArray[np.float32]:
        return np.concatenate([segment.frames[:, block] for segment in segments])

    n_vertices = segments[0].frames.shape[1]
    logger.info("fitting autoencoder and temporal covariance to %d frames", n_measured)
    runs = list(zip(rows, measured, strict=True))
    prior = fit_frame_prior(columns, n_vertices, runs, tr, n_latents, generator, folds_for(n_measured))
    every = prior.autoencoder.encode(columns)
    latents = [every[row] for row in rows]
    logger.info("fitting the EEG's ridge to %d latents", prior.autoencoder.n_latents)
    times = [segment.times for segment in segments]
    group = prior.latents.group
    eeg, left_out = fit_eeg_ridge(
        powers, times, latents, measured, group, prior.autoencoder.importance, tr, n_bands
    )
    before = list(zip(latents, measured, strict=True))
    after = [(z - m, mask) for z, m, mask in zip(latents, left_out, measured, strict=True)]
    # These are latents of frames that the autoencoder was fitted to; the prior's are of others. What EEG
    # explains is a ratio, and carries over.
    with_eeg = reduced(
        prior.latents, fit_temporal_covariance(before, tr, group), fit_temporal_covariance(after, tr, group)
    )
    return Backbone(prior, with_eeg, eeg, latents, left_out)
