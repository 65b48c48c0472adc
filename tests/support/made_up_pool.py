"""A host's dispatcher over made-up workers: they start at once, and train what the test lets them."""

import os
from pathlib import Path

from engine import protocol as p
from engine.core.machine import Machine
from engine.core.results import EpochRow
from engine.core.spec import Configuration
from engine.core.sweep import Sweep
from engine.host.dispatcher import Dispatcher
from engine.scheduling.queue import Queue
from engine.scheduling.slot import Slot
from engine.storage.workspace import Workspace
from engine.workers.process import Worker, WorkerEnd
from tests.support import scenes

DIGITS = p.DataSet("f", "digits", "a", "b", 50_000, 10_000, (3, 32, 32), (), (), tuple("0123456789"))


class Process:
    pid, stdin = os.getpid(), None


class MadeUpPool:
    """A dispatcher; what it tells clients is in `told`, the slots where it started workers in `started`."""

    def __init__(self, root: Path, machine: Machine) -> None:
        self.events: list[p.AnyEvent] = []
        self.started: list[Slot] = []
        self.kinds = {card.uuid: card.kind for card in machine.gpus}
        self._root = root
        self.queue = Queue(self.events.append)
        self.queue.open(DIGITS)
        self.dispatch = Dispatcher(
            Workspace(root / "w"), machine, self.queue, lambda event, line: self.events.append(event)
        )
        self.dispatch.pool.start = self._start  # type: ignore[method-assign]
        self.dispatch.pool.dismiss = self._dismiss  # type: ignore[method-assign]

    def _start(self, slot: Slot, files: object = ()) -> None:
        self.started.append(slot)
        worker = Worker(slot, Process(), self._root / "log")  # type: ignore[arg-type]
        worker.changed = p.WorkerChanged(worker=slot.name, state="starting", node="here", where=slot.where)
        self.dispatch.pool._workers[slot] = worker
        self.dispatch.pool._unoccupied[worker] = None

    def _dismiss(self, worker: Worker) -> None:
        worker.is_leaving = True

    def want(self, configuration: Configuration, seeds: range) -> None:
        self.queue.want(Sweep("many", "f", (configuration,), tuple(seeds)))
        self.dispatch.begin()

    def ready(self, device: str = "") -> None:
        """Let every worker that starts be ready, and be given work."""
        workers = self.dispatch.pool.workers
        while late := [(slot, some) for slot, some in workers.items() if some.changed.state == "starting"]:
            for slot, worker in late:
                kind = device or (f"gpu {self.kinds.get(slot.gpu, '')}" if slot.gpu else "cpu")
                state = p.WorkerChanged(worker=slot.name, state="ready", device=kind, node="here")
                self.dispatch.pool._receive(worker, state, b"")
        self.dispatch.advance()

    @property
    def training(self) -> dict[str, int]:
        """Lanes of what trains, by slot."""
        return {slot.name: len(worker.training) for slot, worker in self.dispatch.pool.workers.items()
                if worker.training}  # fmt: skip

    def worker(self, name: str) -> Worker:
        return next(worker for slot, worker in self.dispatch.pool.workers.items() if slot.name == name)

    def epoch(self, name: str, seconds: float, epoch: int = 1) -> None:
        """Let what a slot trains be an epoch further."""
        worker = self.worker(name)
        runs, row = tuple(worker.training), EpochRow(1.0, 0.5, 1.0, 5, 10, seconds=seconds)
        event = p.EpochEnded(group="g", runs=runs, epoch=epoch, rows=(row,) * len(runs),
                             images_per_second=1.0)  # fmt: skip
        self.dispatch.pool._receive(worker, event, b"")

    def finish(self, name: str, seconds: float) -> None:
        """Let what a slot trains finish, after an epoch of so many seconds."""
        worker, specs = self.worker(name), tuple(self.worker(name).runs.values())
        self.epoch(name, seconds, specs[0].configuration.training.epochs)
        for spec in specs:
            self.dispatch.pool._receive(worker, p.RunFinished(result=scenes.result(spec, 0.5)), b"")

    def end(self, name: str, status: int = 0) -> None:
        """Let a worker end by itself, or after it was dismissed."""
        worker = self.worker(name)
        del self.dispatch.pool._workers[worker.slot]
        self.dispatch.pool._unoccupied.pop(worker, None)
        self.dispatch._worker_ended(worker, WorkerEnd("", status=status))
