"""Runs of a Lightning trainer that can be interrupted at any moment and end where they would have ended.

What a module draws must follow from its seed and `global_step` alone, not from the epoch, whose number isn't
settled yet where training goes on: the order of its windows where it makes its loader, which every epoch asks
for anew, what a step draws, and dropout through `SeedEachStep`.
"""

import json
import logging
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from torch import Tensor

from neuroframes.errors import InputError
from neuroframes.models.device import default_device
from neuroframes.training.checkpoint import SafetensorsIO, read_state

logger = logging.getLogger(__name__)

STATE, BEST = "state.safetensors", "best.safetensors"


def seed_of(*parts: int) -> int:
    """One seed of several numbers, such as a seed and a step."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class Training(lightning.LightningModule):
    """Base of the trainings of our networks, by AdamW.

    Parameters
    ----------
    settings : of a preset
    seed : int
    """

    def __init__(self, settings: Any, seed: int) -> None:
        super().__init__()
        self.settings, self.seed = settings, seed

    def generator(self, *stream: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Of what this step draws; one for each `stream` of numbers."""
        return torch.Generator(device).manual_seed(seed_of(self.seed, self.global_step, *stream))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        return torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=decay)

    def trained(self, folder: Path, of: Mapping[str, Any], **options: Any) -> Self:
        """Itself with the best weights, on the default device.

        `of`, but for settings and seed, and `options` are those of `run`.
        """
        of = {"settings": self.settings.to_json(), "seed": self.seed, **of}
        self.load_state_dict(run(self, folder, max_epochs=self.settings.epochs, of=of, **options))
        return self.to(default_device()).eval()


class SeedEachStep(Callback):
    """Dropout follows from the seed and the step."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed = seed_of(self.seed, trainer.global_step, trainer.global_rank)
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)


class KeepState(ModelCheckpoint):
    """Keeps the best validation's weights, as lightning does, and the state every few epochs and at the end.

    When the state is written is ours: ModelCheckpoint skips a last epoch that isn't a multiple, and can't say
    that it was the last. What ends training early comes before: lightning calls what saves after the rest.
    """

    FILE_EXTENSION = ""  # that of BEST

    def __init__(self, folder: Path, monitor: str | None, every: int, of: Mapping[str, Any]) -> None:
        top = 0 if monitor is None else 1
        super().__init__(folder, BEST, monitor, save_top_k=top, mode="max", enable_version_counter=False)
        self.path, self.every, self.of, self.complete = folder / STATE, every, of, False

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        epochs = trainer.current_epoch + 1
        self.complete = trainer.should_stop or epochs == trainer.max_epochs
        super().on_train_epoch_end(trainer, pl_module)
        if self.complete or epochs % self.every == 0:
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint |= {"of": self.of, "complete": self.complete}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})  # or a folder moved loses its best


def run(
    module: lightning.LightningModule,
    folder: Path,
    *,
    max_epochs: int,
    of: Mapping[str, Any] | None = None,
    monitor: str | None = None,
    accelerator: str = "auto",
    devices: int | str = 1,
    precision: Any = "32-true",
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    checkpoint_every: int = 10,
) -> dict[str, Tensor]:
    """Train, from where an interrupted run left its state in `folder`.

    Parameters
    ----------
    module : LightningModule
        Its own weights are of no use afterwards: load those returned.
    folder : Path
        For the state; to be removed once the result is written.
    max_epochs : int
    of : mapping, optional
        What tells this training from others, in strings, numbers, lists and dicts: its settings, among them
        `max_epochs`, its seed, a digest of its data.
    monitor : str, optional
        What validation logs and is to be as large as possible.
    accelerator, devices, precision : see `lightning.Trainer`
    progress : bool
        Show a bar.
    callbacks : sequence of lightning Callback
    checkpoint_every : int, epochs
        The state is several times as large as the model, which epochs of seconds don't pay for.

    Returns
    -------
    dict of str to tensor, on the CPU
        `module`'s `state_dict` at the best validation by `monitor`, or else the last; averaged where a
        callback averages weights.

    Raises
    ------
    InputError
        If the state is another training's, or `monitor` was never a number.
    KeyboardInterrupt
        If interrupted; the state stays.
    """
    # As plain as a state may hold it: numbers of NumPy and tuples become Python's own and lists.
    path, of = folder / STATE, json.loads(json.dumps(of or {}))
    if path.exists() and read_state(path, "of") != of:
        raise InputError(
            f"{folder} holds an interrupted training with other settings, another seed or other data; "
            "repeat its options, or remove that folder to start anew"
        )
    keep = KeepState(folder, monitor, checkpoint_every, of)
    if not (path.exists() and read_state(path, "complete")):
        if path.exists():
            logger.info("going on with the training that was interrupted, from its state in %s", folder)
        bar = [RichProgressBar(console_kwargs={"stderr": True})] if progress else []
        with _lightning_as_a_guest():
            trainer = lightning.Trainer(
                accelerator=accelerator,
                devices=devices,
                precision=precision,
                max_epochs=max_epochs,
                logger=False,
                callbacks=[*callbacks, *bar, keep],
                plugins=[SafetensorsIO()],
                default_root_dir=folder,
                num_sanity_val_steps=0,
                deterministic=True,
                enable_progress_bar=progress,
                enable_model_summary=False,
                reload_dataloaders_every_n_epochs=1,
            )
            device = trainer.strategy.root_device
            with torch.random.fork_rng([device.index] if device.type == "cuda" else []):
                trainer.fit(module, ckpt_path=path if path.exists() else None)
    # From the files, which have the averaged weights as the module's own even where a run goes on at its end.
    if monitor is None:
        return dict(read_state(path, "state_dict"))
    if read_state(path, "callbacks", keep.state_key, "kth_value") == float("-inf"):
        raise InputError(f"no validation gave a number as {monitor}; try a smaller learning rate")
    return dict(read_state(folder / BEST, "state_dict"))


@contextmanager
def _lightning_as_a_guest() -> Iterator[None]:
    """Its chatter and tips silenced, its way to pass on an interrupt undone, global settings as before."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "Checkpoint directory", UserWarning)  # isn't empty: it is ours
            # Lightning's own business with newer versions of torch.
            warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec", FutureWarning)
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
    except SystemExit as stopped:
        interrupt = stopped.__context__
        if not isinstance(interrupt, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise interrupt from None  # the command line tells an interrupt from SIGTERM
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
