"""A real engine at the other end of a real pipe, for tests: send commands, wait for events."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from typing import Self

from engine import protocol as p
from svhn_tui.client.reducer import apply
from svhn_tui.client.state import State
from tests.support.patience import PATIENCE


class Bridge:
    """One connection to a workspace's host; like a screen it wants what waits trained, unless it only looks."""

    def __init__(self, workspace: Path, *, begins: bool = True, **environment: str) -> None:
        command = [sys.executable, "-m", "engine", "--workspace", str(workspace)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
        )
        self.state = State()
        self.events: list[p.AnyEvent] = []
        self._queue: Queue[bytes] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        if begins:
            with contextlib.suppress(
                BrokenPipeError
            ):  # a bridge that ends at once is noticed where its events are read
                self.send(p.Begin())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    def _read(self) -> None:
        for line in self.process.stdout:
            self._queue.put(line)
        self._queue.put(b"")

    def send(self, command: p.AnyCommand) -> None:
        self.write(p.encode(command))

    def write(self, content: bytes) -> None:
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def until(self, met: Callable[[State, p.AnyEvent], bool]) -> p.AnyEvent:
        """Fold events until one meets the condition; fail after some minutes."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                line = self._queue.get(timeout=deadline - time.monotonic())
            except Empty:
                break
            if not line:
                raise AssertionError(f"the engine ended; last: {self.events[-3:]}")
            event = p.decode_event(line)
            self.events.append(event)
            self.state = apply(self.state, event)
            if met(self.state, event):
                return event
        workers = {name: (worker.state, worker.text) for name, worker in self.state.workers.items()}
        notices = [event.text for event in self.events if isinstance(event, p.Noticed)]
        trains = {run_id: run.worker for run_id, run in self.state.live.items()}
        raise AssertionError(f"waited in vain; {workers=}, {trains=}, {notices=}, last: {self.events[-3:]}")

    def until_kind(self, kind: type) -> p.AnyEvent:
        return self.until(lambda state, event: isinstance(event, kind))

    def open(self, folder: Path) -> p.DataSet:
        self.send(p.OpenData(source=(str(folder),), request="open"))
        event = self.until(lambda state, event: getattr(event, "request", "") == "open")
        assert isinstance(event, p.DataOpened), event
        return event.data

    def end(self) -> None:
        """End the host and wait until it is gone."""
        self.send(p.Shutdown())
        self.until_kind(p.HostEnded)


def worker_pids(state: State) -> list[int]:
    return [worker.pid for worker in state.workers.values() if worker.state != "ended" and worker.pid]
