"""A sweep in training that faults are done to, looked at through one bridge after another."""

import os
import signal
from pathlib import Path
from random import Random

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from tests.support.bridge import Bridge, worker_pids
from tests.support.paced_worker import PACED
from tests.support.patience import PATIENCE

FREQUENT = {"SVHN_TUI_CHECKPOINT_SECONDS": "0"}
"""A checkpoint every ten epochs."""
NETWORKS = (Network(), Network((8,), "relu"))
EPOCHS = 100
SEEDS = 5


def sweep_on(data: p.DataSet, seeds: int = SEEDS) -> Sweep:
    """Return two runs for each seed; with all seeds eight kills find something to kill on a fast machine too."""
    configurations = tuple(Configuration(network, Training(epochs=EPOCHS)) for network in NETWORKS)
    return Sweep("killed", data.fingerprint, configurations, tuple(range(seeds)))


class Scene:
    """A workspace in training, looked at through one bridge after another."""

    def __init__(self, workspace: Path, folder: Path, seed: str, *, seeds: int = SEEDS, **environment: str) -> None:
        self.random = Random(seed)
        self.pids: set[int] = set()
        self._workspace, self._folder, self._environment = workspace, folder, {**PACED, **environment}
        self._furthest: dict[str, int] = {}
        self.bridge = self.attach()
        self.sweep = sweep_on(self.bridge.state.data, seeds)
        self.bridge.send(p.Submit(sweep=self.sweep))

    @property
    def host(self) -> int:
        return next(event.host_pid for event in self.bridge.events if isinstance(event, p.Attached))

    @property
    def is_done(self) -> bool:
        return len(self.bridge.state.results) == len(self.sweep.configurations) * len(self.sweep.seeds)

    def attach(self) -> Bridge:
        """Attach as a screen does, which says first what data it is about."""
        self.bridge = Bridge(self._workspace, **self._environment)
        self.bridge.open(self._folder)
        return self.bridge

    def note(self) -> None:
        self.pids |= {self.host, self.bridge.process.pid, *worker_pids(self.bridge.state)}

    def wait(self) -> int:
        """Train on until a run is further than ever and some more has happened; return the pid of its worker."""
        kind = self.random.choice((p.EpochEnded, p.EpochEnded, p.CheckpointSaved, p.RunFinished, p.RunStarted))
        left = self.random.randrange(60) if kind is p.EpochEnded else 0
        worker = 0

        def met(state: object, event: p.AnyEvent) -> bool:
            nonlocal left, worker
            if isinstance(event, p.EpochEnded) and event.epoch > self._furthest.get(event.runs[0], 0):
                self._furthest[event.runs[0]] = event.epoch
                name = self.bridge.state.live[event.runs[0]].worker
                worker = self.bridge.state.workers[name].pid
            if worker and isinstance(event, kind):
                left -= 1
            return self.is_done or (worker > 0 and left < 0)

        self.bridge.until(met)
        self.note()
        return worker

    def finish(self) -> None:
        """Let the rest be trained, and end the host."""
        if not self.is_done:
            self.bridge.until(lambda state, event: self.is_done)
        self.note()
        self.bridge.end()
        self.bridge.process.wait(PATIENCE)


def kill(pid: int) -> None:
    """Of a process that this test started, by its host or bridge."""
    os.kill(pid, signal.SIGKILL)
