"""One sweep through a real host, measured from outside: times as a screen sees them, CPU and memory of the host."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from engine import protocol as p
from engine.core.spec import Configuration, Network, Training
from engine.core.sweep import Sweep
from engine.storage.index import RunIndex

SEEDS = 100
"""Of each configuration."""
PROBE_SECONDS = 0.25


class Measured(NamedTuple):
    """The figures of one size."""

    runs: int
    answered_s: float
    first_s: float
    seconds: float
    events_a_second: float
    cpu_us: float
    cores: float
    memory_mb: float
    median_ms: float
    worst_ms: float
    bytes_a_run: float
    attach_s: float
    attach_mb: float
    restart_s: float
    index_read_s: float
    index_write_s: float
    index_mb: float


ROWS = {
    "answered_s": "submit to its answer, s",
    "first_s": "submit to the first run's start, s",
    "seconds": "submit to the last result, s",
    "events_a_second": "workers' events a second",
    "cpu_us": "host CPU an event, µs",
    "cores": "host CPU, cores",
    "memory_mb": "host memory, MB",
    "median_ms": "a screen's question is answered in, median ms",
    "worst_ms": "the slowest answer, ms",
    "bytes_a_run": "bytes to a screen for each run",
    "attach_s": "another screen attaches in, s",
    "attach_mb": "and is told, MB",
    "restart_s": "the host starts again and tells all in, s",
    "index_read_s": "TinyDB: reading the index, s of CPU",
    "index_write_s": "TinyDB: 100 more runs, and writing it, s of CPU",
    "index_mb": "index, MB",
}


class Screen:
    """A client that reads everything, and decodes next to nothing of it."""

    def __init__(self, workspace: Path, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "engine", "--workspace", str(workspace)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.bytes = 0
        self.finished = 0
        """Runs whose result was told, one by one or, where this client was too slow for that, all together."""
        self.answers: list[float] = []
        """Milliseconds that a question took."""
        self._asked_at = 0.0
        self._has_ended = threading.Event()

    def send(self, command: p.AnyCommand) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(p.encode(command))
        self.process.stdin.flush()

    def until(self, *kinds: str, finished: int = 0) -> bytes:
        """Read until an event of these kinds has come and so many runs are finished; return the event."""
        wanted = {kind.encode() for kind in kinds}
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.bytes += len(line)
            event_kind = line[9 : line.index(b'"', 9)]
            if event_kind == b"FilesChecked":
                self.answers.append(1e3 * (time.perf_counter() - self._asked_at))
                self._asked_at = 0.0
            if event_kind == b"RunFinished":
                self.finished += 1
            elif event_kind == b"Attached":
                self.finished = 0
            elif event_kind == b"RunsRead":
                self.finished += line.count(b'{"run_id":')
            if event_kind in wanted and self.finished >= finished:
                return line
            if event_kind in (b"Refused", b"RunFailed"):
                raise RuntimeError(line.decode())
        raise RuntimeError(f"the host ended before {kinds}")

    def keep_asking(self) -> None:
        """Ask something small now and then, until `close`."""
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        while not self._has_ended.wait(PROBE_SECONDS):
            if not self._asked_at:
                self._asked_at = time.perf_counter()
                self.send(p.CheckFiles(runs=()))

    def close(self) -> None:
        self._has_ended.set()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()  # else the bridge waits until somebody reads the rest
        self.process.wait(60)


def sweep_of(data: p.DataSet, runs: int, epochs: int) -> Sweep:
    """Return a grid of networks, some seeds each."""
    seeds = min(SEEDS, runs)
    configurations = tuple(
        Configuration(Network((16 + units,), "relu"), Training(epochs=epochs)) for units in range(runs // seeds)
    )
    return Sweep("grid", data.fingerprint, configurations, tuple(range(seeds)))


def measure(workspace: Path, environment: dict[str, str], *, workers: int, runs: int, epochs: int) -> Measured:
    """Send a sweep through the host and look at what it takes, while it goes on and afterwards."""
    screen = Screen(workspace, environment)
    host = psutil.Process(p.decode_event(screen.until("Attached")).host_pid)
    screen.until("CaughtUp")
    screen.send(p.OpenData(demo_train=64, demo_test=32))
    data = p.decode_event(screen.until("DataOpened")).data
    screen.send(p.SetFleet(fleet=p.Fleet(slurm="", workers=workers)))
    screen.until("FleetChanged")
    sweep = sweep_of(data, runs, epochs)
    runs = len(sweep.configurations) * len(sweep.seeds)
    before, screen.bytes = host.cpu_times(), 0
    submitted = time.perf_counter()
    screen.send(p.Submit(sweep=sweep))
    screen.until("SweepSubmitted")
    answered = time.perf_counter()
    screen.keep_asking()
    screen.until("RunStarted")
    first = time.perf_counter()
    screen.until("RunFinished", "CaughtUp", finished=runs)
    seconds = time.perf_counter() - submitted
    after, memory = host.cpu_times(), host.memory_info().rss
    cpu = after.user + after.system - before.user - before.system
    events = runs * (epochs + 2)  # of the workers: each run starts, ends its epochs and finishes
    attach_s, second = attached(workspace, environment)
    screen.close()  # not before: a host that nobody looks at and that has nothing to do ends
    second.send(p.Shutdown())
    second.until("HostEnded")
    second.close()
    host.wait(60)
    restart_s, third = attached(workspace, environment)
    third.send(p.Shutdown())
    third.until("HostEnded")
    third.close()
    answers = sorted(screen.answers) or [0.0]
    return Measured(
        runs=runs, answered_s=answered - submitted, first_s=first - submitted, seconds=seconds,
        events_a_second=events / seconds, cpu_us=1e6 * cpu / events, cores=cpu / seconds, memory_mb=memory / 1e6,
        median_ms=answers[len(answers) // 2], worst_ms=answers[-1],
        bytes_a_run=screen.bytes / runs, attach_s=attach_s, attach_mb=second.bytes / 1e6, restart_s=restart_s,
        **index_times(workspace / "runs.json"),
    )  # fmt: skip


def attached(workspace: Path, environment: dict[str, str]) -> tuple[float, Screen]:
    """Attach a screen, starting the host if there is none; return how long it took until all was told."""
    began = time.perf_counter()
    screen = Screen(workspace, environment)
    screen.until("CaughtUp")
    return time.perf_counter() - began, screen


def index_times(path: Path) -> dict[str, float]:
    """Read the index as a host does, add runs to it and write it."""
    began = time.process_time()
    store = RunIndex(path)
    results = list(store.results().values())
    read = time.process_time()
    store.add(results[:100])
    store.flush()
    return {
        "index_read_s": read - began,
        "index_write_s": time.process_time() - read,
        "index_mb": path.stat().st_size / 1e6,
    }
