"""The benchmark: `model.fit` as it is written, `fit` tuned by an expert, JAX and native, in turn on the same work.

All four train the same network on the same images and evaluate the test images every epoch, warmed up, each in
processes of its own. Figures are of the whole machine: where two runs train side by side, an epoch of one run counts
half. Beside them stands what the machine could do: multiply-adds and bytes a second. Prints JSON; `svhn-tui bench`
makes the tables. Without a C compiler there are three, and the engine is JAX.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from engine import protocol as p
from engine.core.layers import trainable_parameters
from engine.core.machine import Machine
from engine.core.spec import Configuration, Network, Trainer, Training
from engine.data import dataset
from engine.machine import devices
from engine.scheduling.placement import Slot, lanes_on, slots
from engine.storage.workspace import Workspace
from engine.tools.bench_contenders import Engine, Fit
from engine.tools.machine_limits import bandwidth, bytes_per_batch, multiply_adds, multiply_adds_per_batch
from engine.workers.arrangement import Arrangement

ROUNDS = 3


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
    share_of_bandwidth: float
    """Bytes that have to move, over what memory could move in the time taken; above 1 the caches help."""
    multiply_adds_per_batch: float
    share_of_multiply_adds: float | None
    """What has to be multiplied and added, over what the cores could in the time taken; None: it is not known."""


def _slots(configuration: Configuration, machine: Machine, found: p.DataSet) -> tuple[Slot, ...]:
    """Return where the host would train it: what was measured on this machine holds for the native trainer.

    On GPUs all contenders are on the first one, and one at a time.
    """
    if machine.gpus:
        return slots(configuration, machine, found.shape)[:1]
    if configuration.training.trainer == "native":
        machine = Arrangement(machine, lambda: None).machine
    return slots(configuration, machine, found.shape)


class Timed(NamedTuple):
    """The contenders on one network; `jax` is the first of `engines`, and the one that is the engine here the last."""

    fit: list[float]
    """Microseconds per batch of the whole machine, of each warm epoch; so are those below."""
    tuned_fit: list[float]
    engines: list[list[float]]
    workers: list[int]
    tuned_options: str
    fit_peak_bytes: int
    engine_peak_bytes: int


def timed(source: Sequence[str], found: p.DataSet, network: Network, epochs: int, trainers: Sequence[Trainer]) -> Timed:
    """Time one network, A B C D A B C D, each side warmed up before the first round."""
    machine = devices.machine()
    gpu = machine.gpus[0].uuid if machine.gpus else None
    configurations = [Configuration(network, Training(epochs=epochs + 1, trainer=trainer)) for trainer in trainers]
    lanes = lanes_on(machine.gpus[0], machine, configurations[0], found.shape) if gpu else 1
    text = ",".join(map(str, network.hidden)) or "0"
    fit, tuned_fit, seconds = list[float](), list[float](), [list[float]() for _ in trainers]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w").root
        engines = [Engine(_slots(each, machine, found), lanes, found, workspace) for each in configurations]
        plain, tuned = (Fit(source, text, gpu, tuned=is_tuned) for is_tuned in (False, True))
        for engine, configuration in zip(engines, configurations, strict=True):
            engine.epochs(configuration)
        for number in range(ROUNDS):
            print(f"{network.label}: round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
            fit += plain.epochs(epochs)
            tuned_fit += tuned.epochs(epochs)
            for side, engine, configuration in zip(seconds, engines, configurations, strict=True):
                side += engine.epochs(configuration)
        workers = [engine.workers for engine in engines]
        tuned.close()
        peaks = plain.close(), [engine.close() for engine in engines][-1]
    per_batch = 1e6 / -(-found.train_images // 32)
    fit, tuned_fit, *seconds = ([per_batch * second for second in side] for side in (fit, tuned_fit, *seconds))
    return Timed(fit, tuned_fit, seconds, workers, tuned.options, *peaks)


def measure(
    source: Sequence[str], found: p.DataSet, hidden: tuple[int, ...], epochs: int, speed: float, limit: float | None
) -> Measured:
    """Time one network and compare with what the machine could do."""
    network = Network(hidden, "relu" if hidden else "linear")
    trainers: tuple[Trainer, ...] = ("jax", "native") if limit and not devices.machine().gpus else ("jax",)
    took = timed(source, found, network, epochs, trainers)
    jax, ours = took.engines[0], took.engines[-1]
    parameters = trainable_parameters(network, found.shape)
    batches = -(-found.train_images // 32)
    bytes_moved = bytes_per_batch(trainers[-1], parameters, found)
    work = multiply_adds_per_batch(hidden, found, batches)
    return Measured(
        hidden=hidden,
        parameters=parameters,
        batches=batches,
        fit_us_per_batch=median(took.fit),
        fit_range=(min(took.fit), max(took.fit)),
        tuned_fit_us_per_batch=median(took.tuned_fit),
        tuned_range=(min(took.tuned_fit), max(took.tuned_fit)),
        tuned_options=took.tuned_options,
        jax_us_per_batch=median(jax),
        jax_range=(min(jax), max(jax)),
        jax_workers=took.workers[0],
        trainer=trainers[-1],
        engine_us_per_batch=median(ours),
        engine_range=(min(ours), max(ours)),
        engine_workers=took.workers[-1],
        ratio=median(took.fit) / median(ours),
        tuned_ratio=median(took.tuned_fit) / median(ours),
        images_per_second=32e6 / median(ours),
        fit_peak_bytes=took.fit_peak_bytes,
        engine_peak_bytes=took.engine_peak_bytes,
        bytes_per_batch=bytes_moved,
        share_of_bandwidth=bytes_moved / (speed * median(ours) / 1e6),
        multiply_adds_per_batch=work,
        share_of_multiply_adds=work / (limit * median(ours) / 1e6) if limit else None,
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
    speed, limit = bandwidth(), multiply_adds()
    chosen = [tuple(int(units) for units in text.split(",") if int(units)) for text in given.hidden]
    try:
        networks = chosen or [(), (64,), (256,)]
        measured = [measure(given.data, found, hidden, given.epochs, speed, limit) for hidden in networks]
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    machine = devices.machine()
    answer = {
        "data": msgspec.to_builtins(found),
        "cores": len(machine.cores),
        "gpus": len(machine.gpus),
        "bandwidth_bytes_per_second": speed,
        "multiply_adds_per_second": limit,
        "networks": [msgspec.to_builtins(network) for network in measured],
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
