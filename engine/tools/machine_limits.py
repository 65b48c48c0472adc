"""The limits of a machine, measured, and the work of a batch, counted."""

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from engine import protocol as p
from engine.machine.system import usable_cores

ADAM_MULTIPLY_ADDS = 4
"""Of a parameter's update: first moment, square and second moment, step. Its root and its division are not counted."""
CACHES = Path("/sys/devices/system/cpu")


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


def cache_bytes(folder: Path = CACHES) -> float:
    """Return what the second and third caches of the usable cores hold together; infinity where it is not known."""
    sizes = {}
    for core in usable_cores():
        for cache in folder.glob(f"cpu{core}/cache/index*"):
            level, size, cores = (_line(cache / name) for name in ("level", "size", "shared_cpu_list"))
            if level in ("2", "3") and size.endswith("K"):
                sizes[level, cores] = 1024 * int(size[:-1])
    return sum(sizes.values()) or float("inf")


def multiply_adds_per_batch(sizes: Sequence[int], tests_per_batch: float) -> float:
    """Count those of a batch of 32 for inputs and the units of each layer: forwards, to the weights, back to the inputs
    but for the pixels; Adam's; and those of the evaluation, shared out among the batches."""
    kernels = [below * above for below, above in pairwise(sizes)]
    adam = ADAM_MULTIPLY_ADDS * (sum(kernels) + sum(sizes[1:]))
    return 32 * (3 * sum(kernels) - kernels[0]) + adam + tests_per_batch * sum(kernels)


def bytes_per_batch(parameters: int, data: p.DataSet, batches: int, runs: int, caches: float) -> float:
    """Count those that no program can keep from crossing the memory bus for a batch of 32 where `runs` runs train side
    by side: each pixel once, also of the evaluation; and of weights and moments, read and written, what the caches do
    not hold."""
    pixels = (32 + data.test_images / batches) * int(np.prod(data.input_shape))
    state = 3 * 4 * parameters
    return pixels + 2 * max(0.0, state - caches / runs)


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
