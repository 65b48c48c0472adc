"""`python -m engine.training.native.measure`: how fast runs of a network train on these cores, by the threads of each.

Tries the arrangements for a moment each, on noise in place of images, and prints batches a second by threads a run as
JSON; none when others keep the machine so busy that no comparison is possible.
"""

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import psutil

from engine.machine import system
from engine.training.native import build, reference
from engine.training.native.library import Library

ROUNDS, SECONDS = 2, 0.15
"""How often each arrangement is tried, in turn, and for how long; its best counts, since others only disturb."""
IMAGES = 10_000
FLOPS_A_CALL = 1e10
"""Some tens of milliseconds: copying the weights in and out is to be a small part, as in an epoch."""
MEMORY_SHARE = 0.25
BUSY_PERCENT, LOOKS, LOOK_SECONDS = 30, 10, 0.3
"""Of the machine, in use: as long as it is more, nothing is measured. A worker of ours that starts meanwhile takes some
seconds, which are not lost: no run can begin before it is ready."""


def arrangements(cores: int) -> Iterator[int]:
    """Yield threads a run: one, all, and the powers of two between."""
    threads = 1
    while threads < cores:
        yield threads
        threads *= 2
    yield cores


def batches_per_second(library: Library, sizes: Sequence[int], cores: Sequence[int], threads: int) -> float:
    """Train as many runs as fit side by side, each on cores of its own; return the batches of all of them a second."""
    runs = len(cores) // threads
    batches = max(4, int(FLOPS_A_CALL / (6 * 32 * sum(a * b for a, b in pairwise(sizes)))))
    train = reference.drawn_images(IMAGES, sizes[0], sizes[-1], np.random.default_rng(0))
    test = train._replace(pixels=train.pixels[:0], labels=train.labels[:0])
    orders = np.random.default_rng(1).integers(0, IMAGES, (runs, 32 * batches), dtype=np.int32)
    done = [0] * runs
    start, end = threading.Barrier(runs + 1), threading.Event()

    def train_on(index: int) -> None:
        with contextlib.suppress(OSError):
            system.claim_cores(tuple(cores[index * threads : (index + 1) * threads]))  # of this thread alone
        layers = reference.drawn_layers(sizes, np.random.default_rng(index))
        start.wait()
        while not end.is_set():
            library.epoch(layers, "relu", train, orders[index], test, step=0, learning_rate=1e-5, threads=threads)
            done[index] += batches

    workers = [threading.Thread(target=train_on, args=(index,)) for index in range(runs)]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    time.sleep(SECONDS)
    end.set()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - began)


def rates(library: Library, sizes: Sequence[int], cores: Sequence[int]) -> dict[int, float]:
    """Return the batches a second of all runs together, by the threads of each, for which there is memory."""
    bytes_a_run = 32 * sum(below * above for below, above in pairwise(sizes))
    room = MEMORY_SHARE * psutil.virtual_memory().available / bytes_a_run
    speeds = {threads: 0.0 for threads in arrangements(len(cores)) if len(cores) // threads <= room}
    for _ in range(ROUNDS):
        for threads in speeds:
            speeds[threads] = max(speeds[threads], batches_per_second(library, sizes, cores, threads))
    return speeds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.native.measure")
    parser.add_argument("--sizes", required=True, help="inputs and the units of each layer, such as 3072,256,10")
    parser.add_argument("--cores", required=True, help="such as 0,1")
    given = parser.parse_args()
    sizes, cores = ([int(number) for number in text.split(",")] for text in (given.sizes, given.cores))
    built = build.library()
    measured: dict[int, float] = {}
    is_quiet = any(psutil.cpu_percent(interval=LOOK_SECONDS) < BUSY_PERCENT for _ in range(LOOKS))
    if built.path is not None and is_quiet:
        measured = rates(Library(built.path), sizes, cores)
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
