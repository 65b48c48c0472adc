"""Which trainer trains a run, and that a run trained natively ends the same however often it is stopped."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Convolution, Network, RunSpec, Training
from engine.storage import checkpoint, journal
from engine.training.inbox import Stop
from engine.training.native import build
from engine.training.trainer_choice import Circumstances, TrainerChoice, choose
from tests.training.test_training import Told, run_id_of, train, weights_of

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
        (Network((8,) * 16, "linear"), Training(), CPU, "jax"),
        (RELU, Training(), Circumstances(1_001), "jax"),
        (RELU, Training(), NONE, "jax"),
        (RELU, Training(), Circumstances(10, device="gpu0 H100"), "jax"),
        (RELU, Training(), Circumstances(10, lanes=2), "jax"),
        (RELU, Training(trainer="jax"), CPU, "jax"),
        (RELU, Training(trainer="native"), CPU, "native"),
        (RELU, Training(optimizer="sgd"), CPU, "jax"),
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


def test_a_checkpoint_that_changes_its_trainer_is_remarked_and_what_was_asked_for_is_not_replaced():
    choice = choose(Configuration(RELU), NONE._replace(written_by="native"))
    assert choice.trainer == "jax"
    assert "JAX goes on: No C compiler is on the path" in choice.remark
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


class StopsInside(Told):
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
    demo_folder: Path, tmp_path: Path, after: int
):
    """A thousand batches of one image: an epoch is asked several times whether it is to stop."""
    configuration = Configuration(Network((128, 64), "relu"), Training(epochs=4, batch_size=1))
    train(tmp_path / "whole", demo_folder, configuration, [1], Told())
    paused = StopsInside(after)
    train(tmp_path / "cut", demo_folder, configuration, [1], paused)
    assert [event.epoch for event in paused.of(p.RunPaused)] == [after]
    assert [event.epoch for event in paused.of(p.EpochEnded)] == list(range(1, after + 1))
    run_id = run_id_of(demo_folder, configuration, 1)
    snapshot = checkpoint.load(tmp_path / "cut" / "runs" / run_id)
    assert (snapshot.epoch, snapshot.trainer) == (after, "native") if snapshot else after == 0
    resumed = Told()
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
    train(tmp_path / "whole", demo_folder, configuration, [1], Told())
    train(tmp_path / "cut", demo_folder, configuration, [1], Told(stop_at=2))
    monkeypatch.setattr(build, "library", lambda: build.NO_COMPILER)
    told = Told()
    train(tmp_path / "cut", demo_folder, configuration, [1], told)
    (finished,) = told.of(p.RunFinished)
    assert finished.result.trained_by == "jax"
    noticed = [
        e for e in journal.read(tmp_path / "cut" / "runs" / run_id / "journal.jsonl").events if isinstance(e, p.Noticed)
    ]
    assert ["JAX goes on" in event.text for event in noticed] == [True]
    for one, other in zip(weights_of(tmp_path / "whole", run_id), weights_of(tmp_path / "cut", run_id), strict=True):
        assert np.abs(one - other).max() < 1e-6
    train(tmp_path / "old", demo_folder, configuration, [1], Told(stop_at=2))
    monkeypatch.undo()
    told = Told()
    train(tmp_path / "old", demo_folder, configuration, [1], told)
    (finished,) = told.of(p.RunFinished)
    assert finished.result.trained_by == "jax", "what wrote the checkpoint can go on"
