"""Settings: frozen, checked once, without anything heavy."""

from dataclasses import asdict, dataclass
from typing import Any

from neuroframes.errors import InputError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # that networks are trained in, by Lightning's names
OPTIONS = ("latents", "width", "layers", "epochs", "members")  # of `train`; other settings are Python's
PAPER_DRAWS = 16  # of the paper's recipe, whose mean stands for the posterior's


class Settings:
    """What settings of every preset can do."""

    def to_json(self: Any) -> dict[str, Any]:
        return asdict(self)

    def check_positive(self, *names: str) -> None:
        """Raise InputError where one of these is below 1."""
        for name in names:
            if (value := getattr(self, name)) < 1:
                option = f"--{name}" if name in OPTIONS else name
                raise InputError(f"{option} {value}; expected at least 1")


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
        sizes = ("frames", "latents", "width", "layers", "heads", "batch", "epochs")
        self.check_positive(*sizes, "steps", "sampling_steps")
        if self.width % (4 * self.heads):
            raise InputError(
                f"--width {self.width} with {self.heads} heads; expected a multiple of 4 times the heads"
            )
        if not 0 < self.first_beta <= self.last_beta < 1:
            raise InputError(
                f"betas from {self.first_beta:g} to {self.last_beta:g}; expected them to rise between 0 and 1"
            )
        if self.sampling_steps > self.steps:
            raise InputError(f"sampling_steps {self.sampling_steps}; there are {self.steps} to choose from")
        if not (self.delay >= 0 and self.weight_decay >= 0 and self.learning_rate > 0 and self.clip > 0):
            raise InputError(
                "expected a delay and a weight decay of at least 0, a learning rate and a clip above 0"
            )


@dataclass(frozen=True)
class BackboneSettings(Settings):
    """The Gaussian model's.

    Attributes
    ----------
    latents : int
        Of the autoencoder; as many as the frames support if None.
    """

    latents: int | None = None

    def __post_init__(self) -> None:
        if self.latents is not None:
            self.check_positive("latents")


@dataclass(frozen=True)
class CorrectionSettings(BackboneSettings):
    """What is learned beside the backbone, and how.

    Attributes
    ----------
    latents : int
        Of the backbone's autoencoder; as many as the frames support if None.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = ("frames", "width", "depth", "heads", "virtual_channels", "filters", "members", "batch")
        self.check_positive(*whole, "epochs", "patience")
        if self.frames < 24:  # less than a gap and what surrounds it
            raise InputError(f"frames {self.frames}; expected at least 24")
        if self.width % self.heads:
            raise InputError(
                f"--width {self.width} with {self.heads} heads; expected a multiple of the heads"
            )


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
        self.check_positive("width", "embedding", "heads", "virtual_channels", "filters", "hidden")
        self.check_positive("batch", "epochs", "patience")
        if self.frames < 10:  # the shortest that has a measured stretch, a gap and a stretch again
            raise InputError(f"frames {self.frames}; expected at least 10")
        if self.filters % 2:  # two heads attend across the kernels
            raise InputError(f"filters {self.filters}; expected an even number")
        if self.width % (2 * self.heads):
            raise InputError(
                f"--width {self.width} with {self.heads} heads; expected a multiple of twice the heads"
            )
        if not (self.smoothness >= 0 and self.weight_decay >= 0 and self.learning_rate > 0):
            raise InputError(
                "expected a smoothness and a weight decay of at least 0, and a learning rate above 0"
            )
