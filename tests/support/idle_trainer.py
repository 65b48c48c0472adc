"""A trainer that trains nothing, without JAX: each epoch of each lane measures the same."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine import protocol as p
from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.results import Provenance
from engine.core.spec import Configuration, RunSpec
from engine.data.images import Images
from engine.storage.checkpoint import Snapshot
from engine.training.metrics import Activity
from engine.training.trainer import never


class IdleTrainer:
    name, device, reserved_bytes = "idle", "cpu", 0
    versions: dict[str, str] = {}

    def is_held(self) -> bool:
        """Say whether no epoch ends for now."""
        return False

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> "IdleGroup":
        return IdleGroup(self, specs, images, snapshots[0].epoch if snapshots[0] else 0)


class IdleGroup:
    remark = ""

    def __init__(self, trainer: IdleTrainer, specs: Sequence[RunSpec], images: Images, epoch: int) -> None:
        self.trainer, self.epoch = trainer, epoch
        self.training_images, self._test_images = len(images.train_labels), len(images.test_labels)
        self._specs = specs

    def train_epoch(self, is_stopped: Callable[[], bool] = never) -> tuple[p.EpochRow, ...] | None:
        while self.trainer.is_held():
            if is_stopped():
                return None
            time.sleep(0.02)
        self.epoch += 1
        row = p.EpochRow(loss=1.0, accuracy=0.5, test_loss=1.0, test_correct=0, test_images=self._test_images,
                         seconds=0.01)  # fmt: skip
        return (row,) * len(self._specs)

    def snapshot(self, lane: int, history: p.History) -> Snapshot:
        return Snapshot(self.epoch, history, [], [], [], self.trainer.name)

    def copy_best(self, lane: int) -> None:
        pass

    def finish(self, lane: int) -> "IdleLane":
        return IdleLane(self._specs[lane].configuration, len(self._specs))


class IdleLane:
    def __init__(self, configuration: Configuration, lanes: int) -> None:
        self._configuration = configuration
        self.provenance = Provenance(lanes)

    def save(self, path: Path, shape: DataShape) -> int:
        path.write_bytes(b"trained nothing")
        return trainable_parameters(self._configuration.network, shape)

    def activity(self) -> Activity:
        return Activity()
