"""A run in training, on disk: its folder, its journal, its curve and its checkpoint."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from engine.core.curve import EMPTY, Curve
from engine.core.spec import RunSpec
from engine.storage import checkpoint, claims
from engine.storage.run_folder import RunFolder
from engine.training import early_stopping
from engine.training.inbox import Stop

LOOK_SECONDS = 1.0
"""How often an attempt looks whether it is still the one."""


class Run:
    """Owned by the worker that trains it: nobody else writes there meanwhile."""

    def __init__(
        self, spec: RunSpec, workspace: Path, report: Callable[[str], object], attempt: str = "", source: str = ""
    ) -> None:
        """Open them, once a worker whose host has died writes them no more; `report` is called with what is damaged.

        Raises:
            OSError: they cannot be written or read.
        """
        self.spec = spec
        self.run_id = spec.run_id
        self.folder = RunFolder(workspace, spec.run_id)
        self.journal = self.folder.begin(spec, attempt, source)
        self.attempt = attempt
        self._looked_at = time.monotonic()
        self.result = self.folder.result()
        self.snapshot = checkpoint.load(self.folder.path, report)
        self.curve = Curve.of(self.snapshot.history.rows) if self.snapshot else EMPTY
        self.let_go: Stop | None = None
        self.is_over = False
        """Its outcome has been reported, or another task reports it."""
        self.started_at = time.time()
        self._began = time.monotonic()

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.curve.epochs

    @property
    def is_trained(self) -> bool:
        """It has all its epochs, or early stopping ended it."""
        return early_stopping.is_over(self.spec.configuration.training, self.curve.rows)

    @property
    def is_at_best(self) -> bool:
        """Its weights are those that it would be left with now, and not just because they are the last ones."""
        training = self.spec.configuration.training
        return (
            training.restore_best_weights and early_stopping.epoch_of_weights(training, self.curve.rows) == self.epoch
        )

    @property
    def is_superseded(self) -> bool:
        """A newer attempt has it: this one must write nothing more."""
        self._looked_at = time.monotonic()
        return claims.is_superseded(self.folder.path, self.attempt)

    @property
    def is_seen_superseded(self) -> bool:
        """The same, looked at now and then: for what would do no harm."""
        return time.monotonic() - self._looked_at > LOOK_SECONDS and self.is_superseded

    @property
    def now(self) -> float:
        """Seconds since 1970, never before `started_at`, however the clock is put back meanwhile."""
        return self.started_at + time.monotonic() - self._began

    def close(self) -> None:
        """Let others write here. What cannot be written is lost with the worker, and trained again."""
        self.is_over = True
        with contextlib.suppress(OSError):
            self.journal.close()
