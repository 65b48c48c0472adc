"""Groups, lanes, checkpoints and resume: a run's result does not depend on how it was trained."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import protocol as p
from engine.core.data_shape import ASSIGNMENT
from engine.core.spec import Configuration, Convolution, Network, RunSpec, Training
from engine.data import dataset
from engine.storage import checkpoint, checkpoint_index
from engine.storage.checkpoint import Snapshot
from engine.storage.journal import history
from engine.training.auto_trainer import AutoTrainer
from engine.training.inbox import Stop
from engine.training.jax_trainer import FastTrainer
from engine.training.trainer import Trainer
from engine.training.training_loop import Attempts

RELU = Configuration(Network((32,), "relu"), Training(epochs=4))


class EventLog:
    """Collects events; `stop_at` lets a run go after an epoch."""

    def __init__(self, stop_at: int | None = None, why: str = "paused") -> None:
        self.events: list[p.AnyEvent] = []
        self._stop_at, self._why = stop_at, why
        self._lock = threading.Lock()

    def __call__(self, event: p.AnyEvent) -> None:
        with self._lock:
            self.events.append(event)

    def stop_of(self, run_id: str) -> Stop | None:
        if self._stop_at is None:
            return None
        epochs = [event.epoch for event in self.of(p.EpochEnded) if run_id in event.runs]
        return Stop(self._why, "Stopped.") if epochs and epochs[-1] >= self._stop_at else None

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def train(
    workspace: Path,
    folder: Path,
    configuration: Configuration,
    seeds: list[int],
    log: EventLog,
    trainer: Trainer | None = None,
) -> None:
    """Train as a worker does: those seeds as one group."""
    data = dataset.describe([folder])
    (workspace / "runs").mkdir(parents=True, exist_ok=True)
    specs = tuple(RunSpec(configuration, seed, data.fingerprint) for seed in seeds)
    with Attempts("w0", trainer or AutoTrainer(), log, log.stop_of) as attempts:
        attempts.train(p.Train(group="g", workspace=str(workspace), specs=specs, data=data))


def weights_of(workspace: Path, run_id: str) -> list[NDArray[np.generic]]:
    import keras

    return keras.saving.load_model(workspace / "runs" / run_id / "model.keras").get_weights()


def same_weights(one: Path, other: Path, run_id: str) -> bool:
    pairs = zip(weights_of(one, run_id), weights_of(other, run_id), strict=True)
    return all(here.tobytes() == there.tobytes() for here, there in pairs)


def run_id_of(folder: Path, configuration: Configuration, seed: int) -> str:
    return RunSpec(configuration, seed, dataset.describe([folder]).fingerprint).run_id


def test_a_lane_equals_its_run_trained_alone(demo_folder: Path):
    images, _ = dataset.load_from([demo_folder])
    configuration = Configuration(Network((64,), "relu"), Training(epochs=17, batch_size=32))  # 17 x 32 > 500 batches
    specs = [RunSpec(configuration, seed, "data") for seed in (0, 1, 2)]
    together = FastTrainer().group(specs, images, [None] * 3)
    alone = FastTrainer().group(specs[1:2], images, [None])
    for _ in range(17):
        lanes, single = together.train_epoch(), alone.train_epoch()
    assert lanes[1].loss == pytest.approx(single[0].loss, rel=1e-5)
    for lane, run in zip(together.finish(1).weights(), alone.finish(0).weights(), strict=True):
        assert np.abs(lane - run).max() < 1e-6


def test_a_lane_that_diverges_does_not_disturb_the_others(demo_folder: Path):
    images, _ = dataset.load_from([demo_folder])
    specs = [RunSpec(RELU, seed, "data") for seed in (0, 1)]
    trainer = FastTrainer()
    group = trainer.group(specs, images, [None, None])
    snapshots = [group.snapshot(lane, p.History()) for lane in (0, 1)]
    broken = [np.full_like(array, np.nan) for array in snapshots[0].parameters]
    ill = trainer.group(specs, images, [msgspec.structs.replace(snapshots[0], parameters=broken), snapshots[1]])
    well = trainer.group(specs, images, snapshots)
    rows, expected = ill.train_epoch(), well.train_epoch()
    assert (rows[0].loss, rows[1].loss) == (None, expected[1].loss)
    assert rows[1].test_correct == expected[1].test_correct


def test_a_finished_run_leaves_its_files_and_no_checkpoint(demo_folder: Path, tmp_path: Path):
    log = EventLog()
    train(tmp_path, demo_folder, RELU, [5], log)
    (finished,) = log.of(p.RunFinished)
    folder = tmp_path / "runs" / finished.result.run_id
    assert msgspec.json.decode((folder / "result.json").read_bytes(), type=p.RunResult) == finished.result
    assert finished.result.trainable_parameters == 3072 * 32 + 32 + 32 * 10 + 10
    assert finished.result.test_accuracy == finished.result.test_correct / 100
    assert history(folder / "journal.jsonl")[0].epochs == 4
    assert sorted(path.name for path in folder.iterdir()) == [
        "engine.log",
        "journal.jsonl",
        "model.keras",
        "result.json",
        "spec.json",
    ]


@pytest.mark.parametrize("trainer", ["fast", "jax"])
@pytest.mark.parametrize("network", [Network((32,), "relu"), Network(), Network((32,), "relu", dropout=0.3)])
def test_pause_and_resume_end_byte_for_byte_where_an_undisturbed_run_does(
    demo_folder: Path, tmp_path: Path, network: Network, trainer: str
):
    configuration = Configuration(network, Training(epochs=4, trainer=trainer))
    train(tmp_path / "whole", demo_folder, configuration, [1], EventLog())
    paused = EventLog(stop_at=2)
    train(tmp_path / "cut", demo_folder, configuration, [1], paused)
    assert [event.epoch for event in paused.of(p.RunPaused)] == [2]
    assert not paused.of(p.RunFinished)
    resumed = EventLog()
    train(tmp_path / "cut", demo_folder, configuration, [1], resumed)
    assert [event.epoch for event in resumed.of(p.EpochEnded)] == [3, 4]
    run_id = run_id_of(demo_folder, configuration, 1)
    pairs = zip(weights_of(tmp_path / "whole", run_id), weights_of(tmp_path / "cut", run_id), strict=True)
    assert all(one.tobytes() == other.tobytes() for one, other in pairs)
    assert history(tmp_path / "cut" / "runs" / run_id / "journal.jsonl")[0].epochs == 4


def test_a_run_that_an_earlier_version_began_goes_on_and_ends_with_a_count(demo_folder: Path, tmp_path: Path):
    """Its checkpoint holds the shares of test images that were right, and not how many those were."""
    run_id = run_id_of(demo_folder, RELU, 1)
    train(tmp_path, demo_folder, RELU, [1], EventLog(stop_at=2))
    snapshot = checkpoint.load(tmp_path / "runs" / run_id)
    assert snapshot is not None
    shares = tuple(row.test_accuracy for row in snapshot.history.rows)
    kept = snapshot.history
    old = p.History(kept.loss, kept.accuracy, kept.test_loss, test_accuracy=shares, seconds=kept.seconds)
    checkpoint.save(tmp_path / "runs" / run_id, msgspec.structs.replace(snapshot, history=old))
    log = EventLog()
    train(tmp_path, demo_folder, RELU, [1], log)
    result, (*_, last) = log.of(p.RunFinished)[0].result, log.of(p.EpochEnded)
    assert (result.test_correct, result.test_images) == (last.rows[0].test_correct, 100)
    assert result.test_accuracy == result.test_correct / 100
    assert result.best_test_accuracy == max(*shares, *(event.rows[0].test_accuracy for event in log.of(p.EpochEnded)))


def test_stopping_one_lane_leaves_the_other_whole(demo_folder: Path, tmp_path: Path):
    gone = run_id_of(demo_folder, RELU, 0)
    log = EventLog(stop_at=2, why="cancelled")
    stop_of = log.stop_of
    log.stop_of = lambda run_id: stop_of(run_id) if run_id == gone else None  # type: ignore[method-assign]
    train(tmp_path, demo_folder, RELU, [0, 1], log)
    assert [event.run_id for event in log.of(p.RunInterrupted)] == [gone]
    assert [event.result.spec.seed for event in log.of(p.RunFinished)] == [1]
    assert checkpoint.load(tmp_path / "runs" / gone).epoch == 2


def test_a_convolutional_network_trains_and_loads(demo_folder: Path, tmp_path: Path):
    network = Network((16,), "relu", convolutions=(Convolution(4, pool=2),), batch_normalization=True)
    log = EventLog()
    train(tmp_path, demo_folder, Configuration(network, Training(epochs=1)), [0], log)
    (finished,) = log.of(p.RunFinished)
    from engine.core.layers import trainable_parameters

    assert finished.result.trainable_parameters == trainable_parameters(network, ASSIGNMENT)
    assert weights_of(tmp_path, finished.result.run_id)


def snapshot(epoch: int) -> Snapshot:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3) + epoch]
    return Snapshot(epoch, p.History((1.0,) * epoch), arrays, [], [np.array(epoch, np.int32), *arrays])


def test_the_newest_two_checkpoints_are_kept(tmp_path: Path):
    for epoch in (10, 20, 30):
        checkpoint.save(tmp_path, snapshot(epoch))
    names = sorted(path.name for path in (tmp_path / checkpoint_index.FOLDER).iterdir())
    assert names == ["epoch-20.npz", "epoch-30.npz", "latest.json"]
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded.history == p.History((1.0,) * 30)
    assert [array.tobytes() for array in loaded.optimizer] == [array.tobytes() for array in snapshot(30).optimizer]


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path: Path, damage: str):
    for epoch in (10, 20):
        checkpoint.save(tmp_path, snapshot(epoch))
    newest = tmp_path / checkpoint_index.FOLDER / "epoch-20.npz"
    content = bytearray(newest.read_bytes())
    if damage == "gone":
        newest.unlink()
    else:
        content[100] ^= 1
        newest.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded.epoch == 10
    (tmp_path / checkpoint_index.FOLDER / checkpoint_index.INDEX).write_text("{")
    assert checkpoint.load(tmp_path) is None
