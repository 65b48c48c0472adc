"""What a way of training has to offer: the fast one and Keras's own `fit` do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from engine import protocol as p
from engine.core.results import Circumstances
from engine.core.spec import RunSpec
from engine.data.dataset import Images
from engine.storage.checkpoint import Snapshot
from engine.training.metrics import Activity, EpochMetrics


class FinishedLane(Protocol):
    """A trained network that is no longer changed."""

    def save(self, path: Path, input_shape: tuple[int, int, int]) -> int:
        """Write the `.keras` file and return the number of trainable parameters."""

    def activity(self) -> Activity:
        """Look at what its hidden units do."""

    @property
    def circumstances(self) -> Circumstances:
        """What may have decided its last bits."""


class Group(Protocol):
    """Runs of one configuration in training, side by side."""

    epoch: int
    training_images: int

    def train_epoch(self) -> EpochMetrics:
        """Train and evaluate every lane."""

    def snapshot(self, lane: int, history: p.History) -> Snapshot:
        """Copy all that a lane goes on from."""

    def keep(self, lane: int) -> FinishedLane:
        """Take a lane out as it is."""


class Trainer(Protocol):
    """A way of training, warm between groups."""

    name: str

    @property
    def device(self) -> str:
        """What trains."""

    @property
    def versions(self) -> dict[str, str]:
        """Of the libraries that decide the numbers."""

    def group(self, specs: Sequence[RunSpec], images: Images, snapshots: Sequence[Snapshot | None]) -> Group:
        """Begin or go on with runs that have the same number of epochs behind them."""
