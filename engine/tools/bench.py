"""The benchmark: `model.fit` as it is written, `fit` tuned by an expert, JAX and native, in turn on the same work.

All four train the same network on the same images and evaluate the test images every epoch, warmed up, each in
processes of its own. On a GPU there are three, on the same card, one at a time. Figures are of the whole machine: where
two runs train side by side, an epoch of one run counts half. They are compared with what the machine could do:
multiply-adds a second, which the cores show in turn with them, and bytes. Prints JSON; `svhn-tui bench` makes the
tables. Without a C compiler there are three, and the engine is JAX.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from engine import protocol as p
from engine.core.layers import trainable_parameters
from engine.core.machine import Machine
from engine.core.spec import Configuration, Network, TrainerName, Training
from engine.data import dataset
from engine.machine import devices
from engine.scheduling.lanes import lanes_on
from engine.scheduling.placement import slots
from engine.scheduling.slot import Slot
from engine.storage.workspace import Workspace
from engine.tools.bench_contenders import Contender, Cores, Engine, Fit, Timings, fit_card, time_in_turn
from engine.tools.machine_limits import bandwidth, bytes_per_batch, cache_bytes, multiply_adds_per_batch
from engine.training.native import build
from engine.training.native.library import Library
from engine.workers.arrangement import Arrangement


class NetworkTimes(msgspec.Struct, frozen=True):
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
    bytes_per_batch: float
    share_of_bandwidth: float | None
    """Bytes that have to move, over what memory could move in this time. None on a GPU, whose own memory is not
    measured."""
    multiply_adds_per_batch: float
    multiply_adds_per_second: float | None
    """Of all cores in the same rounds; None on a GPU, and without the native library."""
    multiply_adds_range: tuple[float, float] | None
    share_of_multiply_adds: float | None
    """What has to be multiplied and added, over what the cores could in this time; None: it is not known."""
    fit_backend: str = "tensorflow"
    """Of both `fit`: on a GPU that TensorFlow does not see it is JAX."""


def _slots(configuration: Configuration, machine: Machine, data: p.DataSet) -> tuple[Slot, ...]:
    """Return where the host would train it: what was measured on this machine holds for the native trainer.

    On GPUs all contenders are on the first one, and one at a time.
    """
    if machine.gpus:
        return slots(configuration, machine, data.shape)[:1]
    if configuration.training.trainer == "native":
        machine = Arrangement(machine, lambda: None).machine
    return slots(configuration, machine, data.shape)


def timed(
    data: p.DataSet,
    network: Network,
    epochs: int,
    trainers: Sequence[TrainerName],
    library: Library | None,
    machine: Machine,
) -> tuple[list[Timings], str]:
    """Time one network: `fit`, tuned `fit`, the trainers, and with a library the cores alone.

    Return their times, and the backend of both `fit`.
    """
    gpu = machine.gpus[0].uuid if machine.gpus else None
    configurations = [Configuration(network, Training(epochs=epochs + 1, trainer=trainer)) for trainer in trainers]
    lanes = lanes_on(machine.gpus[0], machine, configurations[0], data.shape) if gpu else 1
    text, card = ",".join(map(str, network.hidden)) or "0", fit_card(gpu)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "w").root
        contenders: list[Callable[[], Contender]] = [
            *(partial(Fit, data, text, card, tuned=is_tuned) for is_tuned in (False, True)),
            *(partial(Engine, each, _slots(each, machine, data), lanes, data, workspace) for each in configurations),
            *([partial(Cores, library)] if library else []),
        ]
        return time_in_turn(contenders, epochs, network.label, at_once=gpu is None), card.backend


def measure(
    data: p.DataSet,
    hidden: tuple[int, ...],
    epochs: int,
    speed: float | None,
    library: Library | None,
    machine: Machine,
) -> NetworkTimes:
    """Time one network and compare with what the machine could do (`speed` and `library` are None on a GPU)."""
    network = Network(hidden, "relu" if hidden else "linear")
    trainers: tuple[TrainerName, ...] = ("jax", "native") if library else ("jax",)
    sides, backend = timed(data, network, epochs, trainers, library, machine)
    rates = sorted(1e9 / second for second in sides.pop().seconds) if library else []
    limit = median(rates) if rates else None
    parameters = trainable_parameters(network, data.shape)
    batches = -(-data.train_images // 32)
    fit, tuned_fit, jax, *others = ([1e6 * second / batches for second in side.seconds] for side in sides)
    ours = others[0] if others else jax
    bytes_moved = bytes_per_batch(parameters, data, batches, sides[-1].runs, cache_bytes())
    sizes = (math.prod(data.input_shape), *hidden, len(data.labels))
    work = multiply_adds_per_batch(sizes, data.test_images / batches)
    return NetworkTimes(
        hidden=hidden,
        parameters=parameters,
        batches=batches,
        fit_us_per_batch=median(fit),
        fit_range=(min(fit), max(fit)),
        tuned_fit_us_per_batch=median(tuned_fit),
        tuned_range=(min(tuned_fit), max(tuned_fit)),
        tuned_options=sides[1].options,
        jax_us_per_batch=median(jax),
        jax_range=(min(jax), max(jax)),
        jax_workers=sides[2].runs,
        trainer=trainers[-1],
        engine_us_per_batch=median(ours),
        engine_range=(min(ours), max(ours)),
        engine_workers=sides[-1].runs,
        ratio=median(fit) / median(ours),
        tuned_ratio=median(tuned_fit) / median(ours),
        images_per_second=32e6 / median(ours),
        fit_peak_bytes=sides[0].peak_bytes,
        engine_peak_bytes=sides[-1].peak_bytes,
        bytes_per_batch=bytes_moved,
        share_of_bandwidth=bytes_moved / (speed * median(ours) / 1e6) if speed else None,
        multiply_adds_per_batch=work,
        multiply_adds_per_second=limit,
        multiply_adds_range=(rates[0], rates[-1]) if rates else None,
        share_of_multiply_adds=work / (limit * median(ours) / 1e6) if limit else None,
        fit_backend=backend,
    )


def main() -> int:
    """Measure the networks and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m engine.tools.bench")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--layout", default="", help="the order of the images' axes, such as NHWC")
    parser.add_argument(
        "--hidden", action="append", default=[], help="such as 256 or 1024,256; 0 is the linear network"
    )
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    os.umask(0o077)
    data = dataset.describe(given.data, given.layout)
    chosen = [tuple(int(units) for units in text.split(",") if int(units)) for text in given.hidden]
    try:
        machine = devices.unused_machine()
        path = None if machine.gpus else build.library().path
        speed, library = None if machine.gpus else bandwidth(), Library(path) if path else None
        networks = chosen or [(), (64,), (256,)]
        measured = [measure(data, hidden, given.epochs, speed, library, machine) for hidden in networks]
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    answer = {
        "data": msgspec.to_builtins(data),
        "cores": len(machine.cores),
        "gpus": len(machine.gpus),
        "gpu": machine.gpus[0].kind if machine.gpus else "",
        "bandwidth_bytes_per_second": speed,
        "networks": [msgspec.to_builtins(network) for network in measured],
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
