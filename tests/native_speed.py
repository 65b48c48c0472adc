"""How fast the native trainer is alone: `make native` trains on one core, in turn with what the core can do at most.

    python -m tests.native_speed linear 64 --beside FOLDER

also compiles the `epoch.c` of another folder, trains the same with it in turn, and says whether any bit differs. Times
are of the processor, in microseconds a batch of 32 images of noise; a fifth as many images are evaluated in that time.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from engine.tools.machine_limits import multiply_adds_per_batch
from engine.training.native import build, reference
from engine.training.native.library import EpochMetrics, Labelled, Library
from tests.training.native_epochs import compiled, is_same

BATCH, INPUTS, CLASSES = 32, 3072, 10
BURST = 1_000_000
"""Rounds of multiply-adds at a time: some milliseconds."""


def images(count: int, generator: np.random.Generator) -> Labelled:
    """Draw as many at a time as keep what the generator needs small: many pixels are to come from memory."""
    drawn = [
        reference.drawn_images(min(5_000, count - at), INPUTS, CLASSES, generator) for at in range(0, count, 5_000)
    ]
    return Labelled(*(np.concatenate(arrays) for arrays in zip(*drawn, strict=True)))


def epoch(library: Library, sizes: tuple[int, ...], train: Labelled, test: Labelled) -> tuple[float, tuple]:
    """Return the seconds of an epoch, and what it trained."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers(sizes, generator)
    order = generator.permutation(len(train.labels)).astype(np.int32)
    began = time.thread_time()
    metrics: EpochMetrics | None = library.epoch(
        layers, "relu" if len(sizes) > 2 else "linear", train, order, test, step=0, learning_rate=1e-5
    )
    return time.thread_time() - began, (layers, metrics)


def rate(library: Library) -> float:
    """Return multiply-adds a second of this core."""
    began = time.thread_time()
    return library.multiply_adds(BURST) / (time.thread_time() - began)


def main() -> int:
    """Compile, train in turn and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.native_speed")
    parser.add_argument("hidden", nargs="*", default=["linear", "64", "256"], help="such as 64 or 1024,256; linear")
    parser.add_argument("--beside", type=Path, help="a folder with another epoch.c")
    parser.add_argument("--flag", default=build.tuned_for_this(), help="for the compiler, such as --flag=-mavx2")
    parser.add_argument("--compiler", help="instead of the first one on the path")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    sources = [build.SOURCE, *([given.beside / "epoch.c"] if given.beside else [])]
    libraries = []
    for source in sources:
        with tempfile.TemporaryDirectory() as folder:
            libraries.append(Library(compiled(Path(folder), given.flag, source=source, compiler=given.compiler)))
    generator = np.random.default_rng(0)
    train, test = images(given.images, generator), images(given.images // 5, generator)
    print(f"{libraries[0].instructions}, {given.images:,} / {given.images // 5:,} images, {given.rounds} rounds")
    print(f"{'hidden':12} {'median':>8} {'least':>8} {'of limit':>9}")
    for hidden in given.hidden:
        sizes = (INPUTS, *(int(units) for units in hidden.split(",") if units != "linear"), CLASSES)
        work = multiply_adds_per_batch(sizes, BATCH / 5)
        seconds: list[list[float]] = [[] for _ in libraries]
        rates = []
        for _ in range(given.rounds):
            ends = []
            for library, times in zip(libraries, seconds, strict=True):
                taken, end = epoch(library, sizes, train, test)
                times.append(taken * BATCH / given.images)
                ends.append(end)
                rates += [rate(library) for _ in range(5)]
        for source, times in zip(sources, seconds, strict=True):
            share = work / (median(rates) * median(times))
            note = "" if source is sources[0] else f"  beside: {'the same' if is_same(*ends) else 'OTHER'} bits"
            print(f"{hidden:12} {1e6 * median(times):8.1f} {1e6 * min(times):8.1f} {share:9.1%}{note}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
