"""The interface of a trainer; there are three: native, JAX, and Keras's own `fit`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from engine import protocol as p
from engine.core.data_shape import DataShape
from engine.core.results import EpochRow, Provenance
from engine.core.spec import RunSpec
from engine.data.images import Images
from engine.storage.checkpoint import Snapshot
from engine.training.metrics import Activity


def never() -> bool:
    """Return False: nothing is to stop."""
    return False


class FinishedLane(Protocol):
    """A trained network that is no longer changed."""

    def save(self, path: Path, shape: DataShape) -> int:
        """Write the `.keras` file and return the number of trainable parameters."""

    def activity(self) -> Activity:
        """Return the activity of its units on the test images."""

    @property
    def provenance(self) -> Provenance:
        """All on which its last bits may depend."""


class Group(Protocol):
    """Runs of one configuration in training, side by side."""

    epoch: int
    training_images: int
    remark: str
    """A sentence for the run's journal on how it is resumed; usually empty."""

    @property
    def trainer(self) -> "Trainer":
        """The trainer that trains it."""

    def train_epoch(self, is_stopped: Callable[[], bool] = never) -> tuple[EpochRow, ...] | None:
        """Train and evaluate every lane; return a row a lane.

        None if it ended early since `is_stopped`: then the epoch was not trained.
        """

    def snapshot(self, lane: int, history: p.History) -> Snapshot:
        """Copy the state from which a lane is resumed."""

    def copy_best(self, lane: int) -> None:
        """Copy a lane's weights, which are its best so far; `finish` restores them."""

    def finish(self, lane: int) -> FinishedLane:
        """Return a lane that trains no more, with its best weights where they were copied."""


class Trainer(Protocol):
    """Trains groups one after the other, and keeps what they share."""

    name: str

    @property
    def device(self) -> str:
        """The device that trains: `cpu`, `gpu`, or `gpu` and its name."""

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries on which the numbers depend."""

    @property
    def reserved_bytes(self) -> int:
        """Bytes of its GPU's memory that this process has reserved; 0 where that is not known."""

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> Group:
        """Begin or resume runs of one configuration that have trained the same number of epochs."""
