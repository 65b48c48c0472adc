"""kill -9 at any moment: nothing that was trained is lost or counted twice, and it ends as if nothing had happened."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from engine import protocol as p
from engine.plan import Sweep, asked
from engine.spec import Configuration, Network, Training
from tests.bridge import Bridge, worker_pids
from tests.faults.aftermath import judge, left_behind, zombies
from tests.faults.conftest import Tally
from tests.test_program import Terminal

FREQUENT = {"SVHN_TUI_CHECKPOINT_SECONDS": "0"}
"""A checkpoint every ten epochs."""
NETWORKS = (Network(), Network((8,), "relu"))
EPOCHS = 300


def sweep_on(data: p.DataSet, seeds: int = 3) -> Sweep:
    configurations = tuple(Configuration(network, Training(epochs=EPOCHS)) for network in NETWORKS)
    return Sweep("killed", data.fingerprint, configurations, tuple(range(seeds)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, demo_folder: Path) -> Path:
    """The same sweep, left alone."""
    root = tmp_path_factory.mktemp("undisturbed")
    with Bridge(root) as bridge:
        sweep = sweep_on(bridge.open(demo_folder))
        bridge.send(p.Submit(sweep=sweep))
        bridge.until(lambda state, event: len(state.results) == 6)
        bridge.end()
    return root


class Scene:
    """A workspace in training, looked at through one bridge after another."""

    def __init__(self, workspace: Path, folder: Path, seed: str, **environment: str) -> None:
        self.random = Random(seed)
        self.pids: set[int] = set()
        self._workspace, self._folder, self._environment = workspace, folder, environment
        self._furthest: dict[str, int] = {}
        self.bridge = self.attach()
        self.sweep = sweep_on(self.bridge.state.data)
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
        self.bridge.process.wait(30)


def kill(pid: int) -> None:
    """Of a process that this test started, by its host or bridge."""
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def nothing_stays(tally: Tally) -> Iterator[None]:
    """Whatever was killed, in the end no process of the test is there."""
    yield
    row = tally("processes left behind by any of the kills")
    row.injected += 1
    row.found(wrong=len(left_behind(os.environ["XDG_RUNTIME_DIR"])))


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "kills"), [("worker", 5), ("host", 4), ("bridge", 8), ("screen", 2)])
def test_kill_9_at_random_moments(
    demo_folder: Path, tmp_path: Path, undisturbed: Path, nothing_stays: None, tally: Tally, victim: str, kills: int
):
    row = tally(f"kill -9 of a {victim}")
    scene = Scene(tmp_path, demo_folder, victim, **FREQUENT)
    for _ in range(kills):
        if victim == "screen":
            with Terminal(tmp_path, 80, 24) as terminal:
                terminal.until(lambda text: "Q11" in text and "training" in text)
                scene.wait()
                kill(terminal.process.pid)
            row.injected += 1
            continue
        worker = scene.wait()
        if scene.is_done:
            break
        kill({"worker": worker, "host": scene.host, "bridge": scene.bridge.process.pid}[victim])
        row.injected += 1
        if victim != "worker":
            scene.bridge.process.wait(30)
            scene.attach()
    scene.finish()
    row.found(wrong=len(zombies(scene.pids)))
    row.found(**judge(tmp_path, asked(scene.sweep, {}), undisturbed))
    assert row.injected >= kills - 1, "it was over too soon"


def test_control_without_checkpoints_the_kill_test_fails(demo_folder: Path, tmp_path: Path, undisturbed: Path):
    scene = Scene(tmp_path, demo_folder, "control", SVHN_TUI_CHECKPOINT_SECONDS="1000000")
    scene.bridge.until(lambda state, event: isinstance(event, p.EpochEnded) and event.epoch >= 20)
    kill(scene.wait())
    scene.finish()
    found = judge(tmp_path, asked(scene.sweep, {}), undisturbed)
    assert found["lost"] >= 1, "more than a checkpoint's interval was trained again"


def test_control_with_the_result_before_the_model_the_kill_test_fails(
    demo_folder: Path, tmp_path: Path, undisturbed: Path
):
    careless = f"{sys.executable} -m tests.faults.careless_worker"
    scene = Scene(tmp_path, demo_folder, "control", SVHN_TUI_WORKER=careless, **FREQUENT)
    scene.finish()
    found = judge(tmp_path, asked(scene.sweep, {}), undisturbed)
    assert found["wrong"] >= 1, "a result tells of a model that is not there"
