"""What a way of training has to offer: native, JAX and Keras's own `fit` do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from engine import protocol as p
from engine.core.data_shape import DataShape
from engine.core.results import EpochRow, Provenance
from engine.core.spec import RunSpec
from engine.data.dataset import Images
from engine.storage.checkpoint import Snapshot
from engine.training.metrics import Activity


def never() -> bool:
    """Nothing is to stop."""
    return False


class FinishedLane(Protocol):
    """A trained network that is no longer changed."""

    def save(self, path: Path, shape: DataShape) -> int:
        """Write the `.keras` file and return the number of trainable parameters."""

    def activity(self) -> Activity:
        """Say what it does with the test images."""

    @property
    def provenance(self) -> Provenance:
        """What may have decided its last bits."""


class Group(Protocol):
    """Runs of one configuration in training, side by side."""

    epoch: int
    training_images: int
    remark: str
    """What the run's journal is to say of how it is resumed; mostly nothing."""

    @property
    def trainer(self) -> "Trainer":
        """What trains it."""

    def train_epoch(self, is_stopped: Callable[[], bool] = never) -> tuple[EpochRow, ...] | None:
        """Train and evaluate every lane; return a row a lane.

        None if it ended early since `is_stopped`: then the epoch was not trained.
        """

    def snapshot(self, lane: int, history: p.History) -> Snapshot:
        """Copy all that a lane is resumed from."""

    def remember(self, lane: int) -> None:
        """Copy a lane's weights, which are its best so far: `finish` returns the lane with them."""

    def finish(self, lane: int) -> FinishedLane:
        """Return a lane that trains no more, with its best weights where some are remembered."""


class Trainer(Protocol):
    """A way of training, warm between groups."""

    name: str

    @property
    def device(self) -> str:
        """What trains."""

    @property
    def versions(self) -> dict[str, str]:
        """Of the libraries that decide the numbers."""

    @property
    def reserved_bytes(self) -> int:
        """What this process holds of its GPU's memory; 0 where that is not known."""

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> Group:
        """Begin or resume runs that have trained the same number of epochs."""
