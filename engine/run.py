"""A run in training, on disk: its folder, its journal, its curve and where it goes on from."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from engine import checkpoint, run_folder
from engine import protocol as p
from engine.spec import RunSpec
from engine.worker import Stop


class Run:
    """Owned by the worker that trains it: nobody else writes there meanwhile."""

    def __init__(self, spec: RunSpec, workspace: Path, told: Callable[[str], object]) -> None:
        """Open them, once a worker whose host has died writes them no more; `told` hears what is damaged.

        Raises:
            OSError: they cannot be written or read.
        """
        self.spec = spec
        self.run_id = spec.run_id
        self.folder, self.journal = run_folder.begin(workspace, spec)
        self.result = run_folder.result_in(self.folder)
        self.snapshot = checkpoint.load(self.folder, told)
        self.history = self.snapshot.history if self.snapshot else p.History()
        self.let_go: Stop | None = None
        self.is_over = False
        """Its outcome is told, or others tell it."""
        self.started_at = time.time()

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.history.epochs

    def close(self) -> None:
        """Let others write here. What the disk does not take is lost with the worker, and trained again."""
        self.is_over = True
        with contextlib.suppress(OSError):
            self.journal.close()
