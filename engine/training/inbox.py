"""What the host asks of a worker: tasks in their order, and stops."""

import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import IO, Literal, NamedTuple

from engine import protocol as p

StopReason = Literal["paused", "cancelled", "interrupted"]


class Stop(NamedTuple):
    """Why a run is let go."""

    why: StopReason
    reason: str


HOST_GONE = Stop("interrupted", "The background process ended; the run goes on from its checkpoint.")
TERMINATED = Stop("interrupted", "The worker was told to end; the run goes on from its checkpoint.")
WORDS = {"paused": "Paused.", "cancelled": "Stopped by the user.", "interrupted": "Stopped to go on later."}


class Inbox:
    """The way in: tasks wait their turn, stops are seen between two epochs."""

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
                self._stops |= dict.fromkeys(command.runs, Stop(command.why, WORDS[command.why]))
            self._changed.notify()

    def end(self, stop: Stop) -> None:
        """Let everything go."""
        with self._changed:
            self._ended = self._ended or stop
            self._changed.notify()

    def next(self) -> p.Train | None:
        """Wait for the next task; None when the worker is to leave."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._ended)
            return None if self._ended else self._tasks.popleft()

    def stop_of(self, run_id: str) -> Stop | None:
        """Say whether a run is to be let go, and why."""
        with self._changed:
            return self._ended or self._stops.get(run_id)

    def forget(self, runs: Sequence[str]) -> None:
        """Drop the stops of runs that were let go, so that they can be sent again."""
        with self._changed:
            for run_id in runs:
                self._stops.pop(run_id, None)
