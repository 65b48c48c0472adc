"""The benchmark: `model.fit` as it is written, `fit` tuned by an expert, and the engine, in turn on the same work.

All three train the same network on the same images and evaluate the test images every epoch, warmed up, each in
processes of its own. Figures are of the whole machine: where the engine trains two runs side by side, an epoch of one
run counts half. Prints JSON; `svhn-tui bench` makes the tables.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec, Training, trainable_parameters
from engine.data import dataset
from engine.machine import child_process, devices
from engine.machine.system import peak_bytes, usable_cores
from engine.scheduling.placement import Slot, lanes_on, slots
from engine.storage.workspace import Workspace
from engine.workers import process as launcher

ROUNDS = 3
PASSES = 9
"""Times that each parameter crosses the memory bus a batch: read forward, gradient written, Adam 7."""


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
    engine_us_per_batch: float
    engine_range: tuple[float, float]
    engine_workers: int
    ratio: float
    tuned_ratio: float
    images_per_second: float
    fit_peak_bytes: int
    engine_peak_bytes: int
    bytes_per_batch: int
    share_of_bandwidth: float
    """Bytes that have to move, over what memory could move in the time taken; above 1 the caches help."""


class Fit:
    """A `model.fit` process."""

    def __init__(self, source: Sequence[str], hidden: str, gpu: str | None, *, tuned: bool) -> None:
        options = ("--data", *source, "--hidden", hidden, *(["--tuned"] if tuned else []))
        command = child_process.tool("engine.tools.bench_fit", *options)
        self._process = subprocess.Popen(
            command.argv, env=command.environment | {"CUDA_VISIBLE_DEVICES": gpu or ""}, cwd=child_process.FOLDER,
            text=True,
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

    def __init__(self, chosen: Sequence[Slot], lanes: int, data_set: p.DataSet, workspace: Path) -> None:
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
            _await_ready(process)  # a card that another contender is on already would be left to it

    def epochs(self, configuration: Configuration) -> list[float]:
        """Train a group of runs a worker, side by side; return the seconds of each warm epoch, divided by the runs."""
        runs = self.workers * self._lanes
        seeds = range(self._seed, self._seed + runs)
        specs = [RunSpec(configuration, seed, self._data.fingerprint) for seed in seeds]
        self._seed += runs
        groups = [tuple(specs[index :: self.workers]) for index in range(self.workers)]
        with ThreadPoolExecutor(self.workers) as pool:
            found = list(pool.map(self._train, self._processes, groups))
        return [second / runs for seconds in found for second in seconds[1:]]

    @property
    def workers(self) -> int:
        """Processes that train side by side."""
        return len(self._processes)

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


def measure(source: Sequence[str], found: p.DataSet, hidden: tuple[int, ...], epochs: int, speed: float) -> Measured:
    """Time one network, A B C A B C, each side warmed up before the first round."""
    network = Network(hidden, "relu" if hidden else "linear")
    configuration = Configuration(network, Training(epochs=epochs + 1))
    parameters = trainable_parameters(network, found.input_shape)
    batches = -(-found.train_images // 32)
    text = ",".join(map(str, hidden)) or "0"
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w").root
        machine = devices.machine()
        chosen = slots(configuration, machine, found.input_shape)
        gpu = chosen[0].gpu  # all contenders on one card, one at a time
        lanes = lanes_on(chosen[0], machine, configuration, found.input_shape) if gpu else 1
        engine = Engine(chosen[:1] if gpu else chosen, lanes, found, workspace)
        plain, tuned = (Fit(source, text, gpu, tuned=is_tuned) for is_tuned in (False, True))
        engine.epochs(configuration)
        seconds: tuple[list[float], ...] = ([], [], [])
        for number in range(ROUNDS):
            print(f"{network.label}: round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
            seconds[0].extend(plain.epochs(epochs))
            seconds[1].extend(tuned.epochs(epochs))
            seconds[2].extend(engine.epochs(configuration))
        fit_peak, engine_peak, options, workers = plain.close(), engine.close(), tuned.options, engine.workers
        tuned.close()
    fit, tuned_fit, ours = ([1e6 * second / batches for second in side] for side in seconds)
    bytes_moved = parameters * 4 * PASSES + 32 * int(np.prod(found.input_shape)) * 5
    return Measured(
        hidden=hidden,
        parameters=parameters,
        batches=batches,
        fit_us_per_batch=median(fit),
        fit_range=(min(fit), max(fit)),
        tuned_fit_us_per_batch=median(tuned_fit),
        tuned_range=(min(tuned_fit), max(tuned_fit)),
        tuned_options=options,
        engine_us_per_batch=median(ours),
        engine_range=(min(ours), max(ours)),
        engine_workers=workers,
        ratio=median(fit) / median(ours),
        tuned_ratio=median(tuned_fit) / median(ours),
        images_per_second=32e6 / median(ours),
        fit_peak_bytes=fit_peak,
        engine_peak_bytes=engine_peak,
        bytes_per_batch=bytes_moved,
        share_of_bandwidth=bytes_moved / (speed * median(ours) / 1e6),
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
    speed = bandwidth()
    chosen = [tuple(int(units) for units in text.split(",") if int(units)) for text in given.hidden]
    try:
        measured = [measure(given.data, found, hidden, given.epochs, speed) for hidden in chosen or [(), (64,), (256,)]]
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    machine = devices.machine()
    told = {
        "data": msgspec.to_builtins(found),
        "cores": len(machine.cores),
        "gpus": len(machine.gpus),
        "bandwidth_bytes_per_second": speed,
        "networks": [msgspec.to_builtins(network) for network in measured],
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
