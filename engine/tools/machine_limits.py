"""What a machine can do at most, measured, and what a batch needs of it, counted."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from engine import protocol as p
from engine.core.spec import TrainerName
from engine.machine.system import usable_cores
from engine.training.native import build
from engine.training.native.library import Library

PASSES: dict[TrainerName, int] = {"jax": 9, "native": 6}
"""Times that each parameter crosses the memory bus a batch. JAX: read forward, gradient written, Adam 7. Native: weight
and moments read and written, the next batch's outputs computed meanwhile."""


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


def multiply_adds_per_batch(hidden: tuple[int, ...], data: p.DataSet, batches: int) -> float:
    """Count those of a batch of 32: forwards, to the weights, and back to the layers' inputs but for the pixels; and of
    the evaluation, shared out among the batches."""
    sizes = (int(np.prod(data.input_shape)), *hidden, len(data.labels))
    kernels = [below * above for below, above in pairwise(sizes)]
    return 32 * (3 * sum(kernels) - kernels[0]) + data.test_images / batches * sum(kernels)


def bytes_per_batch(trainer: TrainerName, parameters: int, data: p.DataSet) -> int:
    """Count those that cross the memory bus for a batch of 32: parameters, and pixels, also as float32."""
    return parameters * 4 * PASSES[trainer] + 32 * int(np.prod(data.input_shape)) * 5
