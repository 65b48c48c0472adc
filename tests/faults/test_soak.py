"""One host for a long time: runs, pauses, kills, screens that come and go; nothing is lost and nothing grows.

SOAK_MINUTES=20 trains 300 runs in that time; without it a short form does.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

import psutil
import pytest

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep, asked
from tests.faults.aftermath import judge, left_behind
from tests.faults.conftest import Tally
from tests.faults.scene import FREQUENT, kill
from tests.support.bridge import Bridge, worker_pids
from tests.support.terminal import Terminal

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
ROUNDS, SEEDS, EPOCHS = (50 if MINUTES else 4), 3, 30
NETWORKS = {"fast": Network(), "jax": Network((8,), "relu")}
"""By trainer: the first one is trained natively, where that is built."""
ACTIONS = ("kill a worker", "pause and resume", "attach and detach", "attach and kill", "submit again")


class Held(NamedTuple):
    """What a process holds: MB of memory of its own, and file descriptors without its workers' pipes."""

    memory: float
    descriptors: int


def held(pid: int, workers: int = 0) -> Held:
    process = psutil.Process(pid)
    return Held(process.memory_full_info().uss / 2**20, process.num_fds() - 3 * workers)


def sweep_of_round(data: p.DataSet, number: int) -> Sweep:
    configurations = tuple(
        Configuration(network, Training(epochs=EPOCHS, trainer=trainer)) for trainer, network in NETWORKS.items()
    )
    return Sweep(
        f"round {number}", data.fingerprint, configurations, tuple(range(number * SEEDS, (number + 1) * SEEDS))
    )


class Soak:
    """The host, somebody who looks on all the time, and what is done meanwhile."""

    def __init__(self, workspace: Path, folder: Path, tally: Tally) -> None:
        self._workspace, self._random, self._tally = workspace, Random("soak"), tally
        self.bridge = Bridge(workspace, **FREQUENT)
        self.data = self.bridge.open(folder)
        self.host = self.bridge.events[0].host_pid

    def act(self, sweep: Sweep) -> None:
        """Do one thing at random."""
        action, bridge = self._random.choice(ACTIONS), self.bridge
        if action == "kill a worker":
            pids = [pid for pid in worker_pids(bridge.state) if psutil.pid_exists(pid)]
            if not pids or not bridge.state.running:
                return
            kill(self._random.choice(pids))
        elif action == "pause and resume":
            if not bridge.state.running and not bridge.state.queue:
                return
            bridge.send(p.Pause())
            bridge.until(lambda state, event: not state.running)
            bridge.send(p.Resume())
        elif action == "submit again":
            bridge.send(p.Submit(sweep=sweep, request="again"))
            bridge.until(lambda state, event: getattr(event, "request", "") == "again")
        else:
            self._come_and_go(kill_it=action == "attach and kill")
        self._tally(f"soak: {action}").injected += 1

    def _come_and_go(self, *, kill_it: bool) -> None:
        with Bridge(self._workspace, **FREQUENT) as other:
            if kill_it:
                kill(other.process.pid)
                return
            other.until_kind(p.CaughtUp)
            assert other.events[0].host_pid == self.host, "it is the same host all the time"

    def train(self, number: int, until: float) -> Sweep:
        """Train one round's runs, disturbed; then act on until its time is over."""
        sweep = sweep_of_round(self.data, number)
        wanted = {spec.run_id for spec in asked(sweep, {})}
        self.bridge.send(p.Submit(sweep=sweep))
        self.bridge.until_kind(p.SweepSubmitted)
        while not wanted <= set(self.bridge.state.results):
            left = self._random.randrange(1, 40)

            def met(state: object, event: p.AnyEvent) -> bool:
                nonlocal left
                left -= isinstance(event, p.EpochEnded)
                return left < 0 or wanted <= set(self.bridge.state.results)

            self.bridge.until(met)
            self.act(sweep)
        while time.monotonic() < until:
            self.act(sweep)
            self.bridge.until_kind(p.DeviceSampled)  # comes every two seconds
        self.bridge.until_kind(p.DeviceSampled)
        return sweep

    def look(self, screen: int) -> tuple[Held, Held, Held]:
        workers = sum(psutil.pid_exists(pid) for pid in set(worker_pids(self.bridge.state)))
        return held(self.host, workers), held(screen), held(self.bridge.process.pid)


@pytest.mark.slow
def test_a_host_that_runs_for_long_loses_nothing_and_does_not_grow(
    demo_folder: Path, tmp_path: Path, tally: Tally, measures: list[str]
):
    soak = Soak(tmp_path / "w", demo_folder, tally)
    began, seen, sweeps = time.monotonic(), [], []
    with Terminal(tmp_path / "w", 100, 30, keeps_all=False) as screen:
        for number in range(ROUNDS):
            until = began + 60 * MINUTES * (number + 1) / ROUNDS
            sweeps.append(soak.train(number, until))
            screen.drain()
            seen.append(soak.look(screen.process.pid))
    soak.bridge.end()
    wanted = [spec for sweep in sweeps for spec in asked(sweep, {})]
    row = tally("soak: runs through one host")
    row.injected += len(wanted)
    row.expect_none(**judge(tmp_path / "w", wanted, undisturbed(tmp_path / "reference", demo_folder, sweeps)))
    row.expect_none(wrong=len(left_behind(os.environ["XDG_RUNTIME_DIR"])))
    for index, name in enumerate(("host", "screen", "bridge")):
        is_flat([some[index] for some in seen], name, measures)


def undisturbed(root: Path, folder: Path, sweeps: Sequence[Sweep]) -> Path:
    """Train the same without any of it."""
    with Bridge(root) as bridge:
        bridge.open(folder)
        for sweep in sweeps:
            bridge.send(p.Submit(sweep=sweep))
        runs = sum(len(asked(sweep, {})) for sweep in sweeps)
        while len(bridge.state.results) < runs:
            bridge.until_kind(p.RunFinished)
        bridge.end()
    return root


def is_flat(seen: Sequence[Held], name: str, measures: list[str]) -> None:
    """Compare the second quarter of the time with the last: memory within 10 %, not one descriptor more."""
    quarter = max(1, len(seen) // 4)
    early, late = seen[quarter : 2 * quarter], seen[-quarter:]
    memory = [median(some.memory for some in part) for part in (early, late)]
    descriptors = [min(some.descriptors for some in part) for part in (early, late)]
    measures.append(f"| {name:8} | {memory[0]:11.1f} | {memory[1]:10.1f} | {descriptors[0]:9} | {descriptors[1]:8} |")
    assert memory[1] < 1.1 * memory[0] + 2, f"the {name} grows"
    assert descriptors[1] <= descriptors[0] + 1, f"the {name} keeps files open"
