"""The benchmark: `model.fit` as it is written, `fit` tuned by an expert, JAX and native, in turn on the same work.

All four train the same network on the same images and evaluate the test images every epoch, warmed up, each in
processes of its own. On a GPU there are three, on the same card, one at a time. Figures are of the whole machine: where
two runs train side by side, an epoch of one run counts half. Beside them stands what the machine could do:
multiply-adds and bytes a second. Prints JSON; `svhn-tui bench` makes the tables. Without a C compiler there are three,
and the engine is JAX.

Whole because it is one measurement from beginning to end, read beside its table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from engine import protocol as p
from engine.core.layers import trainable_parameters
from engine.core.machine import Machine
from engine.core.spec import Configuration, Network, RunSpec, Trainer, Training
from engine.data import dataset
from engine.machine import child_process, devices
from engine.machine.system import peak_bytes, usable_cores
from engine.scheduling.placement import Slot, lanes_on, slots
from engine.storage.workspace import Workspace
from engine.training.native import build
from engine.training.native.library import Library
from engine.workers import process as launcher
from engine.workers.arrangement import Arrangement

ROUNDS = 3
PASSES = {"jax": 9, "native": 6}
"""Times that each parameter crosses the memory bus a batch. JAX: read forward, gradient written, Adam 7. Native: weight
and moments read and written, the next batch's outputs computed meanwhile."""


class Measured(msgspec.Struct, frozen=True):
    """One network: microseconds per batch of 32 of the whole machine, evaluation of the test images included."""

    hidden: tuple[int, ...]
    parameters: int
    batches: int
    fit_us_per_batch: float
    fit_range: tuple[float, float]
    tuned_fit_us_per_batch: float
    tuned_range: tuple[float, float]
    tuned_options: str
    jax_us_per_batch: float
    jax_range: tuple[float, float]
    jax_workers: int
    trainer: str
    """Which of the two the engine is here: `native` where that can be built."""
    engine_us_per_batch: float
    engine_range: tuple[float, float]
    engine_workers: int
    ratio: float
    tuned_ratio: float
    images_per_second: float
    fit_peak_bytes: int
    engine_peak_bytes: int
    bytes_per_batch: int
    share_of_bandwidth: float | None
    """Bytes that have to move, over what memory could move in the time taken; above 1 the caches help. None on a GPU,
    whose own memory is not measured."""
    multiply_adds_per_batch: float
    share_of_multiply_adds: float | None
    """What has to be multiplied and added, over what the cores could in the time taken; None: it is not known."""
    fit_backend: str = "tensorflow"
    """Of both `fit`: on a GPU that TensorFlow does not see it is JAX."""


class FitCard(NamedTuple):
    """What `model.fit` trains on."""

    gpu: str | None
    """UUID; None: the CPU."""
    backend: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to find, so that it trains there and nowhere else."""
        if self.gpu is None:
            return {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        return {"CUDA_VISIBLE_DEVICES": self.gpu, "JAX_PLATFORMS": "cuda"}


def fit_card(gpu: str | None) -> FitCard:
    """Return where `fit` trains: on the card that the engine has, with JAX where TensorFlow does not see it."""
    if gpu is None:
        return FitCard(None, "tensorflow")
    command = child_process.tool("engine.tools.bench_fit", "--sees-gpu")
    asked = subprocess.run(
        command.argv, env=command.environment | {"CUDA_VISIBLE_DEVICES": gpu}, cwd=child_process.FOLDER,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return FitCard(gpu, "tensorflow" if asked.stdout.strip() == "true" else "jax")


class Fit:
    """A `model.fit` process."""

    runs = 1

    def __init__(self, source: Sequence[str], hidden: str, card: FitCard, *, tuned: bool) -> None:
        options = ("--data", *source, "--hidden", hidden, "--backend", card.backend, *(["--tuned"] if tuned else []))
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
        told = self._answer()
        self.options = f"steps_per_execution={told['options'][0]}, jit_compile={told['options'][1]}"
        return list(told["seconds"])

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
        self.epochs(0)  # what is timed is warm

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
            found = list(pool.map(self._train, self._processes, groups))
        return [second / runs for seconds in found for second in seconds[1:]]

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
                seconds.append(now - before)  # by the clock of who waits, so that nothing between epochs is left out
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


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    """Wait until a worker has loaded what it trains with.

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


def bandwidth() -> float:
    """Return bytes a second that all cores together copy, what is read and what is written counted."""
    cores = len(usable_cores())
    arrays = [(np.ones(32 * 2**20, np.uint64), np.ones(32 * 2**20, np.uint64)) for _ in range(cores)]
    best = float("inf")
    for _ in range(5):
        threads = [threading.Thread(target=np.copyto, args=(target, source)) for source, target in arrays]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        best = min(best, time.perf_counter() - began)
    return sum(2 * source.nbytes for source, _ in arrays) / best


def multiply_adds() -> float | None:
    """Return multiply-adds a second of all cores together, in registers alone; None without the native library."""
    built = build.library()
    if built.path is None:
        return None
    library, cores = Library(built.path), len(usable_cores())
    rates = []
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(30):  # short and often: others only disturb
            began = time.perf_counter()
            done = sum(pool.map(library.multiply_adds, [4_000_000] * cores))
            rates.append(done / (time.perf_counter() - began))
    return max(rates)


def multiply_adds_per_batch(hidden: tuple[int, ...], found: p.DataSet, batches: int) -> float:
    """Count those of a batch of 32: forwards, to the weights, and back to the layers' inputs but for the pixels; and of
    the evaluation, shared out among the batches."""
    sizes = (int(np.prod(found.input_shape)), *hidden, len(found.labels))
    kernels = [below * above for below, above in pairwise(sizes)]
    return 32 * (3 * sum(kernels) - kernels[0]) + found.test_images / batches * sum(kernels)


def _slots(configuration: Configuration, machine: Machine, found: p.DataSet) -> tuple[Slot, ...]:
    """Return where the host would train it: what was measured on this machine holds for the native trainer.

    On GPUs all contenders are on the first one, and one at a time.
    """
    if machine.gpus:
        return slots(configuration, machine, found.shape)[:1]
    if configuration.training.trainer == "native":
        machine = Arrangement(machine, lambda: None).machine
    return slots(configuration, machine, found.shape)


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


class Timed(NamedTuple):
    """What became of a contender."""

    seconds: list[float]
    runs: int
    peak_bytes: int
    options: str


def take_turns(starts: Sequence[Callable[[], Contender]], epochs: int, label: str, *, at_once: bool) -> list[Timed]:
    """Time contenders.

    Args:
        starts: start each of them.
        epochs: of each in a round.
        label: of the network, for who waits.
        at_once: let all be there, and train A B C A B C: what disturbs then disturbs all. Else one at a time, from its
            start to its end: a card may take a single process, and has all its memory for it.
    """
    if not at_once and len(starts) > 1:
        return [timed for start in starts for timed in take_turns([start], epochs, label, at_once=True)]
    contenders = [start() for start in starts]
    seconds: list[list[float]] = [[] for _ in contenders]
    for number in range(ROUNDS):
        print(f"{label}: round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
        for side, contender in zip(seconds, contenders, strict=True):
            side += contender.epochs(epochs)
    return [
        Timed(side, contender.runs, contender.close(), contender.options)
        for side, contender in zip(seconds, contenders, strict=True)
    ]


def measure(
    source: Sequence[str],
    found: p.DataSet,
    hidden: tuple[int, ...],
    epochs: int,
    speed: float | None,
    limit: float | None,
) -> Measured:
    """Time one network. On a GPU `speed` and `limit`, which are of cores, are None."""
    network = Network(hidden, "relu" if hidden else "linear")
    machine = devices.machine()
    gpu = machine.gpus[0].uuid if machine.gpus else None
    trainers: tuple[Trainer, ...] = ("jax", "native") if limit and gpu is None else ("jax",)
    configurations = [Configuration(network, Training(epochs=epochs + 1, trainer=trainer)) for trainer in trainers]
    lanes = lanes_on(machine.gpus[0], machine, configurations[0], found.shape) if gpu else 1
    parameters = trainable_parameters(network, found.shape)
    batches = -(-found.train_images // 32)
    text = ",".join(map(str, hidden)) or "0"
    card = fit_card(gpu)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w").root
        contenders: list[Callable[[], Contender]] = [
            partial(Fit, source, text, card, tuned=False),
            partial(Fit, source, text, card, tuned=True),
            *(
                partial(Engine, configuration, _slots(configuration, machine, found), lanes, found, workspace)
                for configuration in configurations
            ),
        ]
        timed = take_turns(contenders, epochs, network.label, at_once=gpu is None)
    fit, tuned_fit, jax, *native = ([1e6 * second / batches for second in side.seconds] for side in timed)
    ours = native[0] if native else jax
    bytes_moved = parameters * 4 * PASSES[trainers[-1]] + 32 * int(np.prod(found.input_shape)) * 5
    work = multiply_adds_per_batch(hidden, found, batches)
    return Measured(
        hidden=hidden,
        parameters=parameters,
        batches=batches,
        fit_us_per_batch=median(fit),
        fit_range=(min(fit), max(fit)),
        tuned_fit_us_per_batch=median(tuned_fit),
        tuned_range=(min(tuned_fit), max(tuned_fit)),
        tuned_options=timed[1].options,
        jax_us_per_batch=median(jax),
        jax_range=(min(jax), max(jax)),
        jax_workers=timed[2].runs,
        trainer=trainers[-1],
        engine_us_per_batch=median(ours),
        engine_range=(min(ours), max(ours)),
        engine_workers=timed[-1].runs,
        ratio=median(fit) / median(ours),
        tuned_ratio=median(tuned_fit) / median(ours),
        images_per_second=32e6 / median(ours),
        fit_peak_bytes=timed[0].peak_bytes,
        engine_peak_bytes=timed[-1].peak_bytes,
        bytes_per_batch=bytes_moved,
        share_of_bandwidth=bytes_moved / (speed * median(ours) / 1e6) if speed else None,
        multiply_adds_per_batch=work,
        share_of_multiply_adds=work / (limit * median(ours) / 1e6) if limit else None,
        fit_backend=card.backend,
    )


def main() -> int:
    """Measure the networks and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m engine.tools.bench")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument(
        "--hidden", action="append", default=[], help="such as 256 or 1024,256; 0 is the linear network"
    )
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    os.umask(0o077)
    found = dataset.describe(given.data)
    machine = devices.machine()
    speed, limit = (None, None) if machine.gpus else (bandwidth(), multiply_adds())
    chosen = [tuple(int(units) for units in text.split(",") if int(units)) for text in given.hidden]
    try:
        networks = chosen or [(), (64,), (256,)]
        measured = [measure(given.data, found, hidden, given.epochs, speed, limit) for hidden in networks]
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    told = {
        "data": msgspec.to_builtins(found),
        "cores": len(machine.cores),
        "gpus": len(machine.gpus),
        "gpu": machine.gpus[0].kind if machine.gpus else "",
        "bandwidth_bytes_per_second": speed,
        "multiply_adds_per_second": limit,
        "networks": [msgspec.to_builtins(network) for network in measured],
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
