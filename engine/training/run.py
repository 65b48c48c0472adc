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

CHECK_SECONDS = 1.0
"""Time between two checks whether a newer attempt has the run."""


class Run:
    """A run's files and curve, owned by the worker that trains it: no other process writes them meanwhile."""

    def __init__(
        self, spec: RunSpec, workspace: Path, report: Callable[[str], object], attempt: str = "", source: str = ""
    ) -> None:
        """Open the files; a worker whose host has died may have to end first.

        Args:
            spec: the run.
            workspace: its folder.
            report: is called with a sentence for each damaged file.
            attempt: name of this attempt at the run.
            source: text of its model file, if it has one.

        Raises:
            OSError: they cannot be written or read.
        """
        self.spec = spec
        self.run_id = spec.run_id
        self.folder = RunFolder(workspace, spec.run_id)
        self.journal = self.folder.begin(spec, attempt, source)
        self.attempt = attempt
        self._checked_at = time.monotonic()
        self.result = self.folder.result()
        self.snapshot = checkpoint.load(self.folder.path, report)
        self.curve = Curve.of(self.snapshot.history.rows) if self.snapshot else EMPTY
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
        """Its weights are the best so far, and are to be restored at the end."""
        training = self.spec.configuration.training
        return (
            training.restore_best_weights and early_stopping.epoch_of_weights(training, self.curve.rows) == self.epoch
        )

    @property
    def is_superseded(self) -> bool:
        """A newer attempt has the run: this one must write nothing more."""
        self._checked_at = time.monotonic()
        return claims.is_superseded(self.folder.path, self.attempt)

    @property
    def is_seen_superseded(self) -> bool:
        """The same, checked once a second at most, for work that would be useless but harmless."""
        return time.monotonic() - self._checked_at > CHECK_SECONDS and self.is_superseded

    @property
    def now(self) -> float:
        """Seconds since 1970, never before `started_at`, even if the clock was set back meanwhile."""
        return self.started_at + time.monotonic() - self._began

    def close(self) -> None:
        """Let other processes write here. Lines that cannot be written are lost, and their epochs trained again."""
        self.is_over = True
        with contextlib.suppress(OSError):
            self.journal.close()
