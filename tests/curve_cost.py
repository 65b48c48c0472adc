"""What one more epoch of a run costs the worker, the host and the screen: `python -m tests.curve_cost` prints a table.

Each takes in the epochs of one run one by one, as it does in the program: the worker adds its row, writes it to the
run's journal and tells it; the host reads the line and knows the run's curve; the screen reads the same line.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from engine import protocol as p
from engine.core.curve import Curve
from engine.core.spec import Configuration, Network, RunSpec, Training
from engine.scheduling.queue import Queue
from engine.training.run import Run
from engine.training.training_loop import Attempts
from svhn_tui.client.reducer import apply, fold
from tests.support.epochs import epoch_ended, row_of
from tests.support.scenes import DATA

EPOCHS, REPEATED = (1, 1_000, 10_000), 100
"""From where on epochs are timed, and how many."""
SPEC = RunSpec(Configuration(Network((256,), "relu"), Training(epochs=100_000)), 0, DATA.fingerprint)
STARTED = p.RunStarted(group="g", runs=(SPEC.run_id,), specs=(SPEC,), worker="w", device="d")

Epochs = Iterator[Curve]
"""Takes in one epoch each time it is asked for the curve."""


def epoch_line(epoch: int) -> bytes:
    """Return what a worker tells of an epoch."""
    values = (1.0 / epoch,)
    return p.encode(epoch_ended(runs=STARTED.runs, epoch=epoch, loss=values, accuracy=values, test_loss=values,
                                test_accuracy=values, seconds=0.3, images_per_second=1e6))  # fmt: skip


def worker() -> Epochs:
    """Record epoch after epoch of a run in its journal."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "runs").mkdir()
        run, lines = Run(SPEC, Path(folder), print), []
        attempts = Attempts("w", SimpleNamespace(), lambda event: lines.append(p.encode(event)), lambda run_id: None)
        group = SimpleNamespace(epoch=0, training_images=1_000)
        with attempts:
            while True:
                group.epoch += 1
                value = 1.0 / group.epoch
                attempts._record("g", [run], group, (row_of(value, value, value, value, 0.3),))
                lines.clear()
                yield run.curve


def host() -> Epochs:
    """Follow a run in training."""
    queue = Queue(lambda event: None, data={DATA.fingerprint: DATA})
    waiting_run = p.WaitingRun(SPEC.run_id, SPEC, "s", "t")
    queue.waiting.join(waiting_run)
    queue.assign([waiting_run])
    queue.fold(STARTED)
    epoch = 0
    while True:
        epoch += 1
        queue.fold(p.decode_event(epoch_line(epoch)))
        yield queue.runs.training[SPEC.run_id].curve


def screen() -> Epochs:
    """Know a run in training, and what is left of it."""
    state, epoch = fold((STARTED,)), 0
    while True:
        epoch += 1
        state = apply(state, p.decode_event(epoch_line(epoch)))
        assert state.live[SPEC.run_id].seconds_left is not None
        yield state.history(SPEC.run_id)


PARTS: dict[str, Callable[[], Epochs]] = {"worker": worker, "host": host, "screen": screen}


def costs(epochs: Epochs) -> list[float]:
    """Return the microseconds of an epoch, from each of `EPOCHS` on: the median of `REPEATED`."""
    times, epoch = [], 0
    for first in EPOCHS:
        while epoch < first - 1:
            next(epochs)
            epoch += 1
        took = []
        for _ in range(REPEATED):
            began = time.perf_counter()
            next(epochs)
            took.append(1e6 * (time.perf_counter() - began))
            epoch += 1
        times.append(median(took))
    return times


def main() -> None:
    """Print the table."""
    print("µs an epoch, from epoch", *(f"{first:>9,}" for first in EPOCHS))
    for name, part in PARTS.items():
        print(f"{name:<23}", *(f"{cost:9.1f}" for cost in costs(part())))


if __name__ == "__main__":
    main()
