"""Epochs of the native trainer for tests: built in one way or another, trained from one case, compared bit by bit."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from engine.training.native import build, reference
from engine.training.native.library import EpochMetrics, Library
from engine.training.native.trial import Case

NEEDS_COMPILER = pytest.mark.skipif(build.find_compiler() is None, reason="no C compiler is on the path")


def compiled(folder: Path, *flags: str, source: Path = build.SOURCE, compiler: str | None = None) -> Path:
    compiler, path = compiler or build.find_compiler(), folder / "epoch.so"
    assert compiler is not None
    subprocess.run([compiler, *build.FLAGS, *flags, source, "-o", path, "-lm"], check=True, capture_output=True)
    return path


def trained(library: Library, case: Case, *, threads: int = 1, shift: int = 0) -> tuple[list, EpochMetrics | None]:
    """Train a case's epoch on arrays that begin `shift` bytes (a multiple of 4) behind a cache line."""
    generator = np.random.default_rng(1)
    layers = reference.drawn_layers(case.sizes, generator)
    train = reference.drawn_images(case.images, case.sizes[0], case.sizes[-1], generator)
    test = reference.drawn_images(case.tests, case.sizes[0], case.sizes[-1], generator)
    order = generator.permutation(case.images).astype(np.int32)
    layers = [tuple(shifted(array, shift) for array in layer) for layer in layers]
    metrics = library.epoch(
        layers, case.activation, train, order, test, step=0, learning_rate=1e-3, batch_size=case.batch_size,
        threads=threads,
    )  # fmt: skip
    return layers, metrics


def shifted(array: np.ndarray, shift: int) -> np.ndarray:
    room = np.empty(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + shift
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def is_same(one: tuple[list, EpochMetrics | None], other: tuple[list, EpochMetrics | None]) -> bool:
    arrays = zip(*([array for layer in layers for array in layer] for layers, _ in (one, other)), strict=True)
    return one[1] == other[1] and all(a.tobytes() == b.tobytes() for a, b in arrays)
