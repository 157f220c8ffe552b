"""Settings: frozen, checked once, without anything heavy."""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from neuroframes.errors import InputError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # that networks are trained in, by Lightning's names
# Of `train`; other settings are Python's.
OPTIONS = ("latents", "response", "width", "layers", "epochs", "members")
RESPONSES = ("auto", "haemodynamic", "free", "convolved")
POSITIVE = ("learning_rate", "clip")  # not even 0; other fractions may be, and whole numbers are at least 1
PAPER_DRAWS = 16  # of the paper's recipe, whose mean stands for the posterior's


@dataclass(frozen=True)
class Settings:
    """What settings of every preset can do.

    Attributes
    ----------
    shortest : int
        Frames that a window has at least.
    per_head : int
        The width is a multiple of so many times the heads; 0 without a transformer.

    Raises
    ------
    InputError
        If one is out of its range.
    """

    shortest: ClassVar[int] = 1
    per_head: ClassVar[int] = 0

    def __post_init__(self: Any) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if value is None or field.type in (bool, str):
                continue
            least = self.shortest if name == "frames" else 0 if field.type is float else 1
            if not (value > 0 if name in POSITIVE else value >= least):
                expected = "above 0" if name in POSITIVE else f"at least {least}"
                raise InputError(f"{'--' * (name in OPTIONS)}{name} {value}; expected {expected}")
        if self.per_head and self.width % (step := self.per_head * self.heads):
            raise InputError(f"--width {self.width} with {self.heads} heads; expected a multiple of {step}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PaperSettings(Settings):
    """The recipe of Qu, Gao, Wang and Fu (2026, arXiv 2603.24176); defaults are theirs.

    Attributes
    ----------
    frames : int
        K of a window.
    latents : int
        d of the linear autoencoder; fewer where the training frames have a lower rank.
    width, layers, heads : int
        Of the transformer.
    delay : float, seconds
        A frame is explained by the EEG this long before it.
    steps : int
        Of the diffusion; variances grow linearly from `first_beta` to `last_beta`.
    sampling_steps : int
        Of DDIM.
    learning_rate : float
    batch : int, windows
    epochs : int
    clip : float
        Estimates of the noise-free latents are kept within this many units (their variance is about 1); inf
        doesn't. Not stated: DDIM's reference code clips, and without it a small error in epsilon is up to
        158 times as large in the first estimates.
    weight_decay : float
        AdamW's; not stated, so its usual value.
    joint : bool
        The diffusion loss reaches the autoencoder too; otherwise only the reconstruction does.
    """

    per_head = 4

    frames: int = 10
    latents: int = 1024
    width: int = 1024
    layers: int = 6
    heads: int = 8
    delay: float = 4.0
    steps: int = 1000
    first_beta: float = 1e-4
    last_beta: float = 2e-2
    sampling_steps: int = 50
    learning_rate: float = 1e-4
    batch: int = 32
    epochs: int = 200
    clip: float = 4.0
    weight_decay: float = 0.01
    joint: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.first_beta <= self.last_beta < 1:
            raise InputError(
                f"betas from {self.first_beta:g} to {self.last_beta:g}; expected them to rise between 0 and 1"
            )
        if self.sampling_steps > self.steps:
            raise InputError(f"sampling_steps {self.sampling_steps}; there are {self.steps} to choose from")


@dataclass(frozen=True)
class BackboneSettings(Settings):
    """The Gaussian model's.

    Attributes
    ----------
    latents : int
        Of the autoencoder; as many as the frames support if None.
    response : str, one of `RESPONSES`
        Prior over the response of frames to EEG along lags; "auto" is chosen by left-out error.
    """

    latents: int | None = None
    response: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.response not in RESPONSES:
            raise InputError(f"--response {self.response}; choose from {', '.join(RESPONSES)}")


@dataclass(frozen=True)
class CorrectionSettings(BackboneSettings):
    """What is learned beside the backbone, and how.

    Attributes
    ----------
    latents, response : as in `BackboneSettings`
    frames : int
        K of a window.
    width, depth, heads : int
        Of the transformer.
    virtual_channels, filters : int
        Of the EEG encoder: spatial filters, and temporal filters for each size of kernel.
    dropout : float
    members : int
        Networks that are averaged, each with another block of the training part for validation.
    batch : int, windows
    epochs, patience : int
        Most epochs, and how many without a better validation r end the training.
    learning_rate, weight_decay : float
        AdamW's.
    average : float
        Decay of the moving average of weights.
    channel_dropout, band_dropout : float
        Share of channels, and of frequency bands, that a window goes without in training.
    shift : float, seconds
        EEG is moved in time by up to this, less than what haemodynamic delays differ by.
    """

    shortest, per_head = 24, 1  # a gap and what surrounds it

    frames: int = 48
    width: int = 64
    depth: int = 2
    heads: int = 4
    virtual_channels: int = 32
    filters: int = 8
    dropout: float = 0.3
    members: int = 2
    batch: int = 8
    epochs: int = 40
    patience: int = 6
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    average: float = 0.98
    channel_dropout: float = 0.1
    band_dropout: float = 0.1
    shift: float = 0.4


@dataclass(frozen=True)
class SurfaceSettings(Settings):
    """The surface model and its training (see `neuroframes.models.surface_network`).

    Attributes
    ----------
    frames : int
        K of a window.
    width : int
        Of the EEG's tokens, the graph convolutions and the decoder, whose perceptron is width, 2 width,
        width, 1.
    embedding : int
        Learned features of each vertex.
    heads : int
        Of the frames' attention to the EEG.
    virtual_channels, filters : int
        Of the EEG encoder: spatial filters, and temporal filters for each size of kernel.
    hidden : int
        Of the LSTM over frames, in each direction.
    smoothness : float
        Weight in the loss of mean (x_{t+1} - x_t)^2.
    learning_rate, weight_decay : float
        AdamW's.
    batch : int, windows
    epochs, patience : int
        Most epochs, and how many without a better validation r end the training.
    """

    shortest, per_head = 10, 2  # a measured stretch, a gap and a stretch again

    frames: int = 10
    width: int = 512
    embedding: int = 32
    heads: int = 4
    virtual_channels: int = 32
    filters: int = 64
    hidden: int = 16
    smoothness: float = 0.1
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    batch: int = 4
    epochs: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.filters % 2:  # two heads attend across the kernels
            raise InputError(f"filters {self.filters}; expected an even number")
