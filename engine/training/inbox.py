"""The commands of the host to a worker: tasks in their order, and stops."""

import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Literal, NamedTuple

from engine import protocol as p

StopReason = Literal["paused", "cancelled", "interrupted"]


class Stop(NamedTuple):
    """Why a run is to be released without a result."""

    why: StopReason
    reason: str
    """The same in a sentence for the user."""


HOST_GONE = Stop("interrupted", "The background process ended; the run continues from its checkpoint.")
TERMINATED = Stop("interrupted", "The worker was asked to end; the run continues from its checkpoint.")
REASONS = {"paused": "Paused.", "cancelled": "Stopped by the user.", "interrupted": "Stopped, to continue later."}


class Inbox:
    """The queue of tasks, and the stops that the main thread checks for between epochs; filled by another thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: deque[p.Train] = deque()
        self._stops: dict[str, Stop] = {}
        self._ended: Stop | None = None

    def read(self, file: IO[bytes]) -> None:
        """Read commands until the pipe ends; invalid lines are skipped."""
        while line := file.readline(p.MAX_LINE_BYTES):
            try:
                self._put(p.decode_worker_command(line))
            except p.UNREADABLE as error:
                print(f"Not a command: {str(error)[:200]}", file=sys.stderr)
        self.end(HOST_GONE)

    def _put(self, command: p.WorkerCommand) -> None:
        with self._changed:
            if isinstance(command, p.Train):
                self._tasks.append(command)
            else:
                self._stops |= dict.fromkeys(command.runs, Stop(command.why, REASONS[command.why]))
            self._changed.notify()

    def end(self, stop: Stop) -> None:
        """Stop all runs, and return None from `next`."""
        with self._changed:
            self._ended = self._ended or stop
            self._changed.notify()

    def next(self) -> p.Train | None:
        """Wait for the next task; None when the worker is to leave."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._ended)
            return None if self._ended else self._tasks.popleft()

    def stop_of(self, run_id: str) -> Stop | None:
        """Return why a run is to be released; None while it is to be trained."""
        with self._changed:
            return self._ended or self._stops.get(run_id)

    def forget(self, runs: Sequence[str]) -> None:
        """Drop the stops of runs that were released, so that these can be sent again."""
        with self._changed:
            for run_id in runs:
                self._stops.pop(run_id, None)
