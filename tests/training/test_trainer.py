"""Interrupted runs end as uninterrupted ones do, with the best weights, and leave nothing behind."""

import logging
import os
import signal

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader

from neuroframes.errors import InputError
from neuroframes.training.checkpoint import read_state
from neuroframes.training.trainer import BEST, STATE, SeedEachStep, run, seed_of

EPOCHS = 12


class Toy(lightning.LightningModule):
    """Dropout, a scheduler, and a validation that is best some epochs before the last."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 1))
            self.x = torch.randn(48, 4)
            self.y = self.x[:, :1] + 0.5 * torch.randn(48, 1)
        self.validated = []

    def training_step(self, which):
        return (self.network(self.x[which]) - self.y[which]).square().mean()

    def validation_step(self, which):
        miss = (self.network(self.x[which, :]) - 0.4 * self.x[which, :1]).square().mean()
        self.validated.append((self.weights(), -float(miss)))
        self.log("score", -miss)

    def weights(self):
        return {name: tensor.clone() for name, tensor in self.state_dict().items()}

    def train_dataloader(self):
        order = np.random.default_rng(seed_of(0, self.global_step)).permutation(32)
        return DataLoader(order.tolist(), 8)

    def val_dataloader(self):
        return DataLoader(range(32, 48), 16)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.005)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)]


class Stop(Callback):
    """Ends training before a step, by an error or a signal."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            if isinstance(self.error, signal.Signals):
                os.kill(os.getpid(), self.error)
            else:
                raise self.error


class Steps(Callback):
    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, *_):
        self.steps.append(trainer.global_step)


def fit(folder, *more, module=None, patience=2, monitor="score", **options):
    callbacks = [
        SeedEachStep(0),
        EMAWeightAveraging(decay=0.8),
        EarlyStopping("score", mode="max", patience=patience),
        *more,
    ]
    options = {"max_epochs": EPOCHS, "checkpoint_every": 1, "accelerator": "cpu", **options}
    return run(module or Toy(), folder, monitor=monitor, callbacks=callbacks, **options)


def assert_same(one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that stops early: its module, its weights, its folder."""
    module, folder = Toy(), tmp_path_factory.mktemp("whole")
    return module, fit(folder, module=module), folder


def test_the_best_averaged_weights_come_back(whole):
    module, weights, _ = whole
    scores = [score for _, score in module.validated]
    best = int(np.argmax(scores))
    assert best == 4 and len(scores) == 7  # patience of two
    assert_same(weights, module.validated[best][0])
    assert not weights["network.0.weight"].is_inference()


def test_averages_are_those_of_the_steps(tmp_path):
    class Weights(Callback):
        def __init__(self):
            self.each = []

        def on_train_batch_end(self, trainer, module, *_):
            self.each.append(module.weights())

    after = Weights()
    averaged = fit(tmp_path, after, monitor=None, max_epochs=2)
    expected = after.each[0]
    for weights in after.each[1:]:
        expected = {name: 0.8 * expected[name] + 0.2 * weights[name] for name in expected}
    for name in expected:
        torch.testing.assert_close(averaged[name], expected[name])
    # Also where nothing is left to be trained.
    assert_same(fit(tmp_path, Stop(0, AssertionError("trained again")), monitor=None, max_epochs=2), averaged)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("error", [RuntimeError("power cut"), signal.SIGINT], ids=["error", "interrupt"])
@pytest.mark.parametrize("step", [12, 22], ids=["before the best", "after the best"])
def test_interrupted_runs_end_where_they_would_have_ended(whole, tmp_path, error, every, step):
    expected = KeyboardInterrupt if error is signal.SIGINT else RuntimeError
    with pytest.raises(expected):
        fit(tmp_path, Stop(step, error), checkpoint_every=every)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    torch.rand(step)  # what others drew meanwhile is of no account
    rest, module = Steps(), Toy()
    weights = fit(tmp_path, rest, module=module, checkpoint_every=every)
    assert rest.steps[0] == 4 * (step // 4 // every) * every + 1
    assert_same(weights, whole[1])
    for ours, theirs in zip(reversed(module.validated), reversed(whole[0].validated), strict=False):
        assert_same(ours[0], theirs[0])
    ours, theirs = read_state(tmp_path / STATE), read_state(whole[2] / STATE)
    for part in ("current_model_state", "state_dict", "averaging_state"):
        assert_same(ours[part], theirs[part])
    for name in ("lr_schedulers", "epoch", "global_step", "complete"):
        assert ours[name] == theirs[name], name
    for ours_of, theirs_of in zip(
        ours["optimizer_states"][0]["state"].values(),
        theirs["optimizer_states"][0]["state"].values(),
        strict=True,
    ):
        assert_same(ours_of, theirs_of)


def test_a_run_that_stopped_early_is_complete(whole):
    _, weights, folder = whole
    assert_same(fit(folder, Stop(0, AssertionError("trained again"))), weights)
    assert sorted(path.name for path in folder.iterdir()) == [BEST, STATE]


def test_a_folder_may_move_between_interrupt_and_rest(whole, tmp_path, caplog):
    caplog.set_level("INFO", "neuroframes")
    with pytest.raises(RuntimeError):
        fit(tmp_path / "here", Stop(22, RuntimeError("power cut")))
    moved = (tmp_path / "here").rename(tmp_path / "there")
    assert "going on" not in caplog.text
    assert_same(fit(moved), whole[1])
    assert f"going on with the training that was interrupted, from its state in {moved}" in caplog.text
    assert sorted(path.name for path in moved.iterdir()) == [BEST, STATE]


def test_the_first_of_equal_validations_counts(tmp_path):
    class Same(Toy):
        def validation_step(self, which):
            self.validated.append(self.weights())
            self.log("score", 1.0)

    module = Same()
    weights = fit(tmp_path, module=module)
    assert len(module.validated) == 3
    assert_same(weights, module.validated[0])


def test_dropout_follows_from_the_seed(whole, tmp_path):
    weights = [
        run(Toy(), tmp_path / f"{i}", max_epochs=1, accelerator="cpu", callbacks=[SeedEachStep(seed)])
        for i, seed in enumerate((1, 1, 2))
    ]
    assert_same(weights[0], weights[1])
    assert not torch.equal(weights[0]["network.0.weight"], weights[2]["network.0.weight"])


def test_global_settings_stay_as_they_were(tmp_path, caplog, capfd):
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]

    def settings():
        return (
            torch.get_rng_state().tolist(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            [logger.level for logger in loggers],
            signal.getsignal(signal.SIGINT),
        )

    class Ended(KeyboardInterrupt):
        """As the command line raises on SIGTERM."""

    class Impatient(Callback):
        def setup(self, *_, **__):
            raise Ended

    before = settings()
    assert not before[1]
    fit(tmp_path / "done", max_epochs=1)
    with pytest.raises(Ended):
        fit(tmp_path / "interrupted", Impatient())
    with pytest.raises(RuntimeError):
        fit(tmp_path / "failed", Stop(2, RuntimeError()))
    assert settings() == before
    assert capfd.readouterr() == ("", "") and not caplog.records


def test_the_bar_goes_to_stderr(tmp_path, capfd):
    fit(tmp_path, max_epochs=1, progress=True)
    out, err = capfd.readouterr()
    assert not out and "Epoch 0/0" in err


def test_the_state_of_another_training_is_refused(tmp_path):
    of = {"seed": 0, "lags": (1, 2.5), "data": [7]}
    fit(tmp_path, max_epochs=1, of=of)
    fit(tmp_path, max_epochs=1, of=dict(of))
    for other in ({**of, "seed": 1}, {**of, "more": None}, {}):
        with pytest.raises(InputError, match="other settings, another seed or other data"):
            fit(tmp_path, max_epochs=1, of=other)


def test_what_validation_must_log(tmp_path):
    with pytest.raises(MisconfigurationException, match=r"could not find the monitored key.*'score'"):
        fit(tmp_path, monitor="r")

    class Lost(Toy):
        def validation_step(self, which):
            self.log("score", torch.tensor(torch.nan))

    with pytest.raises(InputError, match="no validation gave a number as score"):
        fit(tmp_path, module=Lost())
