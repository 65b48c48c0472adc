"""The event file of a busy host: thousands of finished runs, then epochs of four groups without end."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import msgspec

from engine import protocol as p
from engine.core.spec import Configuration, Network, RunSpec, Training
from tests.support.epochs import epoch_ended
from tests.support.scenes import DATA, curve, relu, result, tanh

GROUPS = ((relu(256), 10), (tanh(256), 1), (relu(64, 64), 1), (relu(1024), 1))
"""Configurations that train side by side, and lanes of each."""
SETTINGS = tuple(
    Configuration(Network(hidden, activation), Training(epochs=epochs, learning_rate=rate))
    for hidden in ((64,), (256,), (1024,), (64, 64), (256, 64), (256, 256), (64, 64, 64))
    for activation in ("relu", "tanh", "sigmoid")
    for epochs in (20, 50, 100)
    for rate in (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
)
"""What the finished runs were trained with."""
BEGAN = 1.7e9


def finished_run(index: int) -> p.RunResult:
    """A run as a long project leaves it behind; its file's hash is its number."""
    spec = RunSpec(SETTINGS[index % len(SETTINGS)], index // len(SETTINGS), DATA.fingerprint)
    made = result(spec, 0.2 + 0.4 * (index * 7919 % 10_000) / 10_000)
    versions = {"keras": "3.11.3", "jax": "0.10.2", "tensorflow": "2.20.0"}
    return msgspec.structs.replace(
        made, finished_at=BEGAN + 60 * index, model_sha256=f"{index:064x}", versions=versions
    )


def training_of(group: int) -> Iterator[p.AnyEvent]:
    """One group of runs after another on one worker, epoch by epoch."""
    configuration, lanes = GROUPS[group]
    epochs = configuration.training.epochs
    for turn in count(1):
        specs = tuple(RunSpec(configuration, 1_000 * turn + lane, DATA.fingerprint) for lane in range(lanes))
        runs, name = tuple(spec.run_id for spec in specs), f"g{group}t{turn}"
        yield p.RunStarted(group=name, runs=runs, specs=specs, worker=f"w{group}", device="gpu0")
        curves = [curve(epochs, 0.4 + 0.05 * group, spec.seed % 7) for spec in specs]
        for epoch in range(1, epochs + 1):
            values = tuple(known[epoch - 1] for known in curves)
            yield epoch_ended(
                group=name, runs=runs, epoch=epoch, loss=values, accuracy=values, test_loss=values,
                test_accuracy=values, seconds=0.3, images_per_second=1.4e6,
            )  # fmt: skip
            if not epoch % 25:
                yield p.CheckpointSaved(runs=runs, epoch=epoch)
        for spec, known in zip(specs, curves, strict=True):
            finished = msgspec.structs.replace(result(spec, known[-1]), finished_at=BEGAN * 1.01 + turn)
            yield p.RunFinished(result=finished)


def training() -> Iterator[p.AnyEvent]:
    """The groups in turn, and a look at the devices now and then."""
    groups = [training_of(group) for group in range(len(GROUPS))]
    for number in count():
        if number % 75 == 0:
            load = 0.5 + 0.4 * (number % 700) / 700
            sample = p.DeviceSample("gpu0", load, 11_200_000_000, 80_000_000_000, 64, 310)
            yield p.DeviceSampled(samples=(sample,), at=float(number))
        yield from (next(group) for group in groups)


def write(file: Path, runs: int, events: int) -> Path:
    """Write so many finished runs, and so many events after them."""
    results = tuple(map(finished_run, range(runs)))
    known: list[p.AnyEvent] = [p.Attached(workspace="w", host_pid=1, versions={}, data=DATA, results=runs)]
    known += [p.RunsRead(results=results[start : start + 500]) for start in range(0, runs, 500)]
    file.write_bytes(b"".join(map(p.encode, [*known, p.CaughtUp(), *islice(training(), events)])))
    return file
