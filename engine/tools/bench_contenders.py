"""The contenders of the benchmark: a `model.fit` process, and the worker processes that the host would start."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from engine import protocol as p
from engine.core.spec import Configuration, RunSpec
from engine.machine import child_process, tool_process
from engine.machine.system import peak_bytes, usable_cores
from engine.scheduling.slot import Slot
from engine.training.native.library import Library
from engine.workers import process as launcher

ROUNDS = 3
BURSTS, BURST_MULTIPLY_ADDS = 60, 1e9
"""How often in a round the cores multiply and add, and how often each of them does in a burst of some milliseconds. The
most of the bursts come after what a worker still does when its run has finished."""


class FitCard(NamedTuple):
    """What `model.fit` trains on."""

    gpu: str | None
    """UUID; None: the CPU."""
    backend: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment with which a process trains on this device alone."""
        if self.gpu is None:
            return {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        return {"CUDA_VISIBLE_DEVICES": self.gpu, "JAX_PLATFORMS": "cuda"}


def fit_card(gpu: str | None) -> FitCard:
    """Return where `fit` trains: on the card that the engine has, with JAX where TensorFlow does not see it."""
    if gpu is None:
        return FitCard(None, "tensorflow")
    command = child_process.tool("engine.tools.bench_fit", "--sees-gpu")
    asked = tool_process.run(command._replace(environment={**command.environment, "CUDA_VISIBLE_DEVICES": gpu}))
    return FitCard(gpu, "tensorflow" if asked.stdout.strip() == b"true" else "jax")


class Fit:
    """A `model.fit` process."""

    runs = 1

    def __init__(self, data: p.DataSet, hidden: str, card: FitCard, *, tuned: bool) -> None:
        options = ["--data", *data.paths, "--hidden", hidden, "--backend", card.backend]
        options += [*(["--layout", data.layout] if data.layout else []), *(["--tuned"] if tuned else [])]
        command = child_process.tool("engine.tools.bench_fit", *options)
        self._process = subprocess.Popen(
            command.argv, env=command.environment | card.environment, cwd=child_process.FOLDER, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.options = ""
        self._answer()

    def epochs(self, count: int) -> list[float]:
        """Train so many warm epochs; return the seconds of each."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"go {count}\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.options = f"steps_per_execution={answer['options'][0]}, jit_compile={answer['options'][1]}"
        return list(answer["seconds"])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("model.fit ended before it was asked to.")
        return json.loads(line)

    def close(self) -> int:
        """End it; return the most memory it had, in bytes."""
        peak = peak_bytes(self._process.pid)
        self._process.kill()
        self._process.wait()
        return peak


class Engine:
    """The worker processes that the host would start for a network."""

    options = ""

    def __init__(
        self,
        configuration: Configuration,
        chosen: Sequence[Slot],
        lanes: int,
        data_set: p.DataSet,
        workspace: Path,
    ) -> None:
        self._configuration = configuration
        self._data, self._workspace, self._lanes = data_set, workspace, lanes
        self._seed = 0
        self._processes = [
            subprocess.Popen(
                command.argv, env=command.environment, cwd=child_process.FOLDER,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            for command in map(launcher.command_of, chosen)
        ]  # fmt: skip
        for process in self._processes:
            _await_ready(process)
        self.epochs(0)  # the timed epochs are warm

    def epochs(self, count: int) -> list[float]:
        """Train a group of runs a worker, side by side; return the seconds of each warm epoch, divided by the runs.

        How many epochs there are follows from the configuration.
        """
        runs, workers = self.runs, len(self._processes)
        seeds = range(self._seed, self._seed + runs)
        specs = [RunSpec(self._configuration, seed, self._data.fingerprint) for seed in seeds]
        self._seed += runs
        groups = [tuple(specs[index::workers]) for index in range(workers)]
        with ThreadPoolExecutor(workers) as pool:
            measured = list(pool.map(self._train, self._processes, groups))
        return [second / runs for seconds in measured for second in seconds[1:]]

    @property
    def runs(self) -> int:
        """Runs that train side by side."""
        return len(self._processes) * self._lanes

    def _train(self, process: subprocess.Popen[bytes], specs: tuple[RunSpec, ...]) -> list[float]:
        """Return the seconds of each epoch.

        Raises:
            RuntimeError: the worker could not train; the message says why.
        """
        assert process.stdin is not None and process.stdout is not None
        task = p.Train(group=specs[0].run_id, workspace=str(self._workspace), specs=specs, data=self._data)
        process.stdin.write(p.encode(task))
        process.stdin.flush()
        seconds: list[float] = []
        finished = 0
        before = time.perf_counter()
        for line in process.stdout:
            event = p.decode_event(line)
            now = time.perf_counter()
            if isinstance(event, p.EpochEnded):
                seconds.append(now - before)  # measured by this process, so that nothing between epochs is left out
                before = now
            finished += isinstance(event, p.RunFinished)
            if finished == len(specs):
                return seconds
            if isinstance(event, p.RunFailed):
                raise RuntimeError(event.reason)
        raise RuntimeError("A worker ended in the middle of a run.")

    def close(self) -> int:
        """End them; return the most memory that one of them had, in bytes."""
        peak = max(peak_bytes(process.pid) for process in self._processes)
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()
        return peak


class Cores:
    """All cores at once, which multiply and add in registers alone: no trainer can do more in the same minutes."""

    options = ""
    runs = 1

    def __init__(self, library: Library) -> None:
        self._library = library
        self._cores = len(usable_cores())
        self._pool = ThreadPoolExecutor(self._cores)
        self._rounds = int(BURST_MULTIPLY_ADDS / library.multiply_adds(1))

    def epochs(self, count: int) -> list[float]:
        """Return the seconds of a billion multiply-adds of all cores together, of each burst."""
        return [second for _ in range(count) for second in map(self._burst, range(BURSTS))]

    def _burst(self, _: int) -> float:
        began = time.perf_counter()
        done = sum(self._pool.map(self._library.multiply_adds, [self._rounds] * self._cores))
        return 1e9 * (time.perf_counter() - began) / done

    def close(self) -> int:
        """End its threads; they need no memory."""
        self._pool.shutdown()
        return 0


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    """Wait until a worker has loaded its trainer.

    Raises:
        RuntimeError: it ended before; the message says why.
    """
    assert process.stdout is not None
    for line in process.stdout:
        event = p.decode_event(line)
        if isinstance(event, p.WorkerChanged) and event.state == "ended":
            raise RuntimeError(event.text)
        if isinstance(event, p.WorkerChanged) and event.state == "ready":
            return
    raise RuntimeError("A worker ended before it could train.")


class Contender(Protocol):
    """A process, or several, that train the network when they are asked to; warm from the start."""

    options: str

    @property
    def runs(self) -> int:
        """Runs that train side by side."""

    def epochs(self, count: int) -> list[float]:
        """Return the seconds of each epoch of one run."""

    def close(self) -> int:
        """End it; return the most memory it had, in bytes."""


class Timings(NamedTuple):
    """The measurements of a contender."""

    seconds: list[float]
    runs: int
    peak_bytes: int
    options: str


def time_in_turn(starts: Sequence[Callable[[], Contender]], epochs: int, label: str, *, at_once: bool) -> list[Timings]:
    """Time contenders.

    Args:
        starts: start each of them.
        epochs: of each in a round.
        label: of the network, for progress messages.
        at_once: start all, and train in turn, A B C A B C, so that a disturbance affects all. Else one contender after
            the other: a card may allow a single process, which gets all its memory.
    """
    if not at_once and len(starts) > 1:
        return [side for start in starts for side in time_in_turn([start], epochs, label, at_once=True)]
    contenders = [start() for start in starts]
    seconds: list[list[float]] = [[] for _ in contenders]
    for number in range(ROUNDS):
        print(f"{label}: round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        for side, contender in zip(seconds, contenders, strict=True):
            side += contender.epochs(epochs)
    return [
        Timings(side, contender.runs, contender.close(), contender.options)
        for side, contender in zip(seconds, contenders, strict=True)
    ]
