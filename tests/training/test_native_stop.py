"""A stop ends the native epoch wherever it is, at once, and leaves every weight as it was."""

import ctypes
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine.training.native import build, reference
from engine.training.native.library import EpochMetrics, Labelled, Library
from tests.training.native_epochs import NEEDS_COMPILER, compiled, is_same

pytestmark = NEEDS_COMPILER


def test_a_stop_leaves_everything_as_it_was_and_comes_before_the_second_batch(library: Library):
    """`order` names ten million batches of one image: an epoch that did not look at each would be here for minutes."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers((40, 12, 10), generator)
    before = reference.copied(layers)
    images = reference.drawn_images(50, 40, 10, generator)
    order = np.zeros(10_000_000, np.int32)
    for threads in (1, 3):
        metrics = library.epoch(
            layers, "relu", images, order, images, step=0, learning_rate=1e-3, batch_size=1, threads=threads,
            stop=np.ones(1, np.int32),
        )  # fmt: skip
        assert is_same((layers, metrics), (before, None))


LONG = [
    ("large batches", (200, 200, 200, 10), 3_000_000, 10_000, 1),
    ("many batches", (200, 64, 10), 5_000_000, 32, 1),
    ("many test images", (200, 3_000, 10), 32, 32, 100_000),
    ("a large layer", (200, 20_000, 10), 20_000, 32, 1),
]


@pytest.mark.parametrize(("sizes", "images", "batch_size", "tests"), [case[1:] for case in LONG],
                         ids=[case[0] for case in LONG])  # fmt: skip
def test_a_stop_in_the_middle_takes_effect_at_once(
    library: Library, sizes: tuple[int, ...], images: int, batch_size: int, tests: int
):
    """Whatever an epoch is at, which is long here (seconds to minutes): by processor time, others only disturb."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers(sizes, generator)
    before = reference.copied(layers)
    few = reference.drawn_images(2_000, sizes[0], sizes[-1], generator)
    test = reference.drawn_images(tests, sizes[0], sizes[-1], generator)
    order = (np.arange(images) % len(few.labels)).astype(np.int32)
    for threads in (1, 3):
        stop = np.zeros(1, np.int32)
        with ThreadPoolExecutor(1) as pool:
            began = pool.submit(library.epoch, layers, "relu", few, order, test, step=0, learning_rate=1e-3,
                                batch_size=batch_size, threads=threads, stop=stop)  # fmt: skip
            start = time.process_time()
            while time.process_time() < start + 0.3:
                time.sleep(0.01)
            stop[0], at = 1, time.process_time()
            metrics = began.result(60)
            assert time.process_time() - at < 0.1 * threads
        assert is_same((layers, metrics), (before, None))


COUNTING = """
#include <stdatomic.h>
#include <stdint.h>
long svhn_polls, svhn_stop_at;
int32_t *svhn_stop;
#undef atomic_load_explicit
#define atomic_load_explicit(p, order) (++svhn_polls == svhn_stop_at ? (*svhn_stop = 1) : 0, *(p))
"""
"""Counts how often a thread looks whether it is to stop, and stops it at one of these looks."""


def test_after_a_stop_every_loop_ends_at_its_next_look(tmp_path: Path):
    """By counting: however much is left of an epoch, it looks but a few times more, wherever the stop comes."""
    source = tmp_path / "counting.c"
    source.write_text(f'{COUNTING}#include "{build.SOURCE}"\n')
    path = compiled(tmp_path, "-O1", source=source)
    library, loaded = Library(path), ctypes.CDLL(str(path))
    polls, stop_at = (ctypes.c_long.in_dll(loaded, name) for name in ("svhn_polls", "svhn_stop_at"))
    stop, generator = np.zeros(1, np.int32), np.random.default_rng(1)
    ctypes.c_void_p.in_dll(loaded, "svhn_stop").value = stop.ctypes.data
    sizes = (200, 96, 64, 10)
    layers, images = reference.drawn_layers(sizes, generator), reference.drawn_images(1_000, 200, 10, generator)
    most = []
    for count in (100, 1_000):
        order, test = np.arange(count, dtype=np.int32), images._replace(pixels=images.pixels[:count],
                                                                        labels=images.labels[:count])  # fmt: skip

        def epoch(at: int, order: np.ndarray = order, test: Labelled = test) -> tuple[list, EpochMetrics | None]:
            polls.value, stop_at.value, stop[0] = 0, at, 0
            trained = reference.copied(layers)
            return trained, library.epoch(trained, "relu", images, order, test, step=0, learning_rate=1e-3, stop=stop)

        assert epoch(0)[1] is not None
        whole = polls.value
        later = []
        for at in range(1, whole, max(1, whole // 100)):
            assert is_same(epoch(at), (layers, None))
            later.append(polls.value - at)
        most.append(max(later))
    assert whole > 1_000
    assert most[0] == most[1] < 50
