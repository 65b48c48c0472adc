"""Which trainer trains a run, and that a run trained natively ends the same however often it is stopped."""

import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np
import pytest

from engine import protocol as p
from engine.core import compilation
from engine.core.options import TRAINING
from engine.core.spec import Configuration, Convolution, Network, RunSpec, Training
from engine.storage import checkpoint, journal
from engine.training import models, trainer_choice
from engine.training.inbox import Stop
from engine.training.native import build, native_trainer
from engine.training.trainer_choice import Circumstances, TrainerChoice, choose
from tests.training.test_training import EventLog, run_id_of, train, weights_of

needs_compiler = pytest.mark.skipif(build.find_compiler() is None, reason="no C compiler is on the path")
RELU = Network((32,), "relu")
CPU = Circumstances(10)
NONE = Circumstances(10, problem="No C compiler is on the path")


@pytest.mark.parametrize(
    ("network", "training", "here", "trainer"),
    [
        (Network(), Training(), CPU, "native"),
        (RELU, Training(), CPU, "native"),
        (Network((8, 8), "tanh"), Training(batch_size=7, learning_rate=1.0), CPU, "native"),
        (Network((8,) * 15, "linear"), Training(validation_split=0.5), Circumstances(1_000), "native"),
        (RELU, Training(beta_1=0.0, beta_2=0.9, epsilon=1e-3), CPU, "native"),
        (RELU, Training(schedule="step", decay_epochs=3, decay_rate=0.5), CPU, "native"),
        (RELU, Training(schedule="cosine", warmup_epochs=1, alpha=0.1), CPU, "native"),
        (Network((8,) * 16, "linear"), Training(), CPU, "jax"),
        (RELU, Training(), Circumstances(1_001), "jax"),
        (RELU, Training(), NONE, "jax"),
        (RELU, Training(), Circumstances(10, device="gpu0 H100"), "jax"),
        (RELU, Training(), Circumstances(10, lanes=2), "jax"),
        (RELU, Training(trainer="jax"), CPU, "jax"),
        (RELU, Training(trainer="native"), CPU, "native"),
        (Network((8,), "gelu"), Training(), CPU, "jax"),
        (Network((8,), "relu", dropout=0.1), Training(), CPU, "jax"),
        (Network((8,), "relu", batch_normalization=True), Training(), CPU, "jax"),
        (Network((8,), "relu", input_scaling=0.5), Training(), CPU, "jax"),
        (Network((8,), "relu", convolutions=(Convolution(4),)), Training(), CPU, "jax"),
        (RELU, Training(), CPU._replace(written_by="jax"), "jax"),
        (RELU, Training(), CPU._replace(written_by="native"), "native"),
        (RELU, Training(), NONE._replace(written_by="jax"), "jax"),
    ],
)
def test_what_trains_follows_from_configuration_machine_and_checkpoint(
    network: Network, training: Training, here: Circumstances, trainer: str
):
    assert choose(Configuration(network, training), here) == TrainerChoice(trainer)  # type: ignore[arg-type]


OF_JAX: dict[str, Any] = {
    "optimizer": "adamw", "amsgrad": True, "weight_decay": 0.1, "clipnorm": 1.0, "clipvalue": 1.0,
    "global_clipnorm": 1.0, "label_smoothing": 0.1, "class_weight": (1.0,) * 10, "patience": 1,
    "metrics": ("top_k_categorical_accuracy",),
}  # fmt: skip
"""Options that the native trainer does not have, with values not at their defaults."""


@pytest.mark.parametrize("name", OF_JAX)
def test_options_that_are_not_native_go_to_jax_and_are_named_where_native_is_asked_for(name: str):
    options = {name: OF_JAX[name]}
    assert choose(Configuration(RELU, Training(**options)), CPU) == TrainerChoice("jax")
    with pytest.raises(ValueError, match=f"cannot train this: the {name.replace('_', ' ')} is "):
        choose(Configuration(RELU, Training(**options, trainer="native")), CPU)


def test_every_option_is_native_or_of_jax_or_belongs_to_one_of_jax():
    refused = {option.name for option in TRAINING} - {*trainer_choice.KNOWN, *OF_JAX}
    owners = {owners for option in TRAINING if option.name in refused and (owners := option.owners)}
    assert {(of.field, *of.values) for of in owners} == {
        ("optimizer", "sgd", "rmsprop"), ("optimizer", "sgd"), ("optimizer", "rmsprop"), ("patience",),
    }  # fmt: skip


SCHEDULES: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {"schedule": "step", "decay_epochs": 1, "decay_rate": 0.3},
    "CosineDecay": {"schedule": "cosine", "warmup_epochs": 1, "alpha": 0.1},
}


@needs_compiler
@pytest.mark.parametrize("kind", SCHEDULES)
def test_adams_own_options_and_a_schedule_train_as_on_jax_and_stand_in_the_file(
    demo_folder: Path, tmp_path: Path, kind: str
):
    options: dict[str, Any] = {"beta_1": 0.7, "beta_2": 0.95, "epsilon": 1e-4, "learning_rate": 1e-4, "epochs": 4}
    options |= {**SCHEDULES[kind], "validation_split": 0.1}
    weights, files, validated = [], [], []
    for name in ("jax", "native"):
        log, configuration = EventLog(), Configuration(RELU, Training(**options, trainer=name))
        train(tmp_path / name, demo_folder, configuration, [1], EventLog(stop_at=2))
        train(tmp_path / name, demo_folder, configuration, [1], log)
        result = log.of(p.RunFinished)[0].result
        assert result.trained_by == name
        validated.append((result.val_loss, result.val_accuracy))
        run_id = run_id_of(demo_folder, configuration, 1)
        weights.append(weights_of(tmp_path / name, run_id))
        with zipfile.ZipFile(tmp_path / name / "runs" / run_id / "model.keras") as file:
            files.append(json.loads(file.read("config.json"))["compile_config"]["optimizer"]["config"])
    assert all(np.abs(one - other).max() < 1e-6 for one, other in zip(*weights, strict=True))
    assert validated[1] == pytest.approx(validated[0], rel=1e-5)
    assert files[0] == files[1]
    assert files[0]["learning_rate"]["class_name"] == kind


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "step"},
        {"schedule": "exponential"},
        {"schedule": "cosine", "alpha": 0.1},
        {"schedule": "cosine", "warmup_epochs": 2},
        {"warmup_epochs": 3},
    ],
    ids=str,
)
def test_the_rate_of_every_batch_is_the_compiled_epochs_to_the_last_bit(options: dict[str, Any]):
    training, batches = Training(epochs=6, decay_epochs=2, learning_rate=3e-4, **options), 157
    schedule = models.made(compilation.schedule_of(training, batches))
    on_jax = jax.jit(lambda: jax.lax.scan(lambda done, _: (done + 1, schedule(done)), 0, None, 6 * batches)[1])()
    rates = native_trainer.rates_of(training, batches)
    native = np.concatenate([np.full(batches, rates(epoch * batches), np.float32) for epoch in range(6)])
    assert native.tobytes() == np.asarray(on_jax).tobytes()
    assert len(set(native)) >= 3


def test_a_checkpoint_that_changes_its_trainer_is_remarked_and_what_was_asked_for_is_not_replaced():
    choice = choose(Configuration(RELU), NONE._replace(written_by="native"))
    assert choice.trainer == "jax"
    assert "JAX continues: No C compiler is on the path" in choice.remark
    with pytest.raises(ValueError, match="cannot train this: the optimizer is sgd"):
        choose(Configuration(RELU, Training(optimizer="sgd", trainer="native")), CPU)
    with pytest.raises(ValueError, match="No C compiler"):
        choose(Configuration(RELU, Training(trainer="native")), NONE)


def test_new_names_of_trainers_rename_no_run():
    plain = RunSpec(Configuration(), 0, "data")
    assert plain.run_id == "986279ac4143"
    auto = msgspec.json.decode(b'{"trainer":"auto"}', type=Training)
    assert RunSpec(Configuration(training=auto), 0, "data").run_id == plain.run_id
    assert Training(trainer="keras") == Training(trainer="keras-fit")
    assert [Training(trainer=name).worker for name in ("fast", "native", "jax", "keras")] == [
        *["fast"] * 3,
        "keras-fit",
    ]


class StopsInside(EventLog):
    """Stops a run in the middle of the epoch after so many: when it is asked about it not only between the two."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after
        self._asked = 0

    def stop_of(self, run_id: str) -> Stop | None:
        if self.of(p.RunStarted) and len(self.of(p.EpochEnded)) == self._after:
            self._asked += 1
        return Stop("paused", "Paused.") if self._asked > (1 if self._after else 0) else None


@needs_compiler
@pytest.mark.parametrize("after", [0, 2])
def test_a_pause_in_the_middle_of_an_epoch_trains_it_again_and_ends_with_the_same_bits(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    """Hundreds of batches of few images: an epoch is asked several times whether it is to stop."""
    monkeypatch.setattr(native_trainer, "POLL_SECONDS", 0.001)
    configuration = Configuration(Network((128, 64), "relu"), Training(epochs=3, batch_size=4))
    train(tmp_path / "whole", demo_folder, configuration, [1], EventLog())
    paused = StopsInside(after)
    train(tmp_path / "cut", demo_folder, configuration, [1], paused)
    assert [event.epoch for event in paused.of(p.RunPaused)] == [after]
    assert [event.epoch for event in paused.of(p.EpochEnded)] == list(range(1, after + 1))
    run_id = run_id_of(demo_folder, configuration, 1)
    snapshot = checkpoint.load(tmp_path / "cut" / "runs" / run_id)
    assert (snapshot.epoch, snapshot.trainer) == (after, "native") if snapshot else after == 0
    resumed = EventLog()
    train(tmp_path / "cut", demo_folder, configuration, [1], resumed)
    (finished,) = resumed.of(p.RunFinished)
    assert finished.result.trained_by == "native"
    assert "thread" in finished.result.versions["native"]
    pairs = zip(weights_of(tmp_path / "whole", run_id), weights_of(tmp_path / "cut", run_id), strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in pairs)


@needs_compiler
@pytest.mark.parametrize("network", [Network(), RELU, Network((12, 12), "relu")], ids=lambda network: network.label)
def test_each_trainer_goes_on_from_the_others_checkpoint_and_the_journal_says_so(
    demo_folder: Path, tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
):
    configuration = Configuration(network, Training(epochs=4))
    run_id = run_id_of(demo_folder, configuration, 1)
    train(tmp_path / "whole", demo_folder, configuration, [1], EventLog())
    train(tmp_path / "cut", demo_folder, configuration, [1], EventLog(stop_at=2))
    monkeypatch.setattr(build, "library", lambda: build.NO_COMPILER)
    log = EventLog()
    train(tmp_path / "cut", demo_folder, configuration, [1], log)
    (finished,) = log.of(p.RunFinished)
    assert finished.result.trained_by == "jax"
    noticed = [
        e for e in journal.read(tmp_path / "cut" / "runs" / run_id / "journal.jsonl").events if isinstance(e, p.Noticed)
    ]
    assert ["JAX continues" in event.text for event in noticed] == [True]
    for one, other in zip(weights_of(tmp_path / "whole", run_id), weights_of(tmp_path / "cut", run_id), strict=True):
        assert np.abs(one - other).max() < 1e-6
    train(tmp_path / "old", demo_folder, configuration, [1], EventLog(stop_at=2))
    monkeypatch.undo()
    log = EventLog()
    train(tmp_path / "old", demo_folder, configuration, [1], log)
    (finished,) = log.of(p.RunFinished)
    assert finished.result.trained_by == "jax", "what wrote the checkpoint can go on"
