"""Does a library compute what NumPy does? `python -m engine.training.native.trial PATH`, since it may crash."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from engine.training.native import reference
from engine.training.native.library import BETA_1, BETA_2, EPSILON, Library

WRONG = 3
"""The exit code of a library that computes something else: it would again."""


class Case(NamedTuple):
    """A small network and how it is trained."""

    sizes: tuple[int, ...]
    activation: str = "relu"
    batch_size: int = 32
    images: int = 70
    tests: int = 70
    adam: tuple[float, float, float] = (BETA_1, BETA_2, EPSILON)


CASES = (
    Case((48, 10), "linear"),
    Case((100, 33, 7)),
    Case((130, 64, 64, 10), images=100),
    Case((60, 20, 26), "tanh", 20),
    Case((416, 300, 5)),
)
"""Together they go through every kernel: one layer, a hidden one, one between two others, each activation, and a wide
layer on images that are read in place."""


def difference(library: Library, case: Case, threads: int = 1) -> float:
    """Return how far the weights end from NumPy's, as a share of what an epoch changes; NaN when they are none."""
    generator = np.random.default_rng(5)
    layers = reference.drawn_layers(case.sizes, generator)
    layers[0][0][...] /= 100  # pixels are up to 255: nothing is to saturate, or rounding alone would decide
    for kernel, *_ in layers[1:]:
        kernel *= 20 / np.sqrt(len(kernel))  # so that deep ones say something too
    train = reference.drawn_images(case.images, case.sizes[0], case.sizes[-1], generator)
    test = reference.drawn_images(case.tests, case.sizes[0], case.sizes[-1], generator)
    order = generator.permutation(case.images).astype(np.int32)
    beta_1, beta_2, epsilon = case.adam
    rates = np.geomspace(2e-4, 5e-5, -(-case.images // case.batch_size), dtype=np.float32)
    expected, measured = reference.epoch(
        layers, case.activation, train, order, test, step=2, learning_rate=rates, beta_1=beta_1, beta_2=beta_2,
        epsilon=epsilon, batch_size=case.batch_size,
    )  # fmt: skip
    trained = reference.copied(layers)
    metrics = library.epoch(
        trained, case.activation, train, order, test, step=2, learning_rate=rates, beta_1=beta_1, beta_2=beta_2,
        epsilon=epsilon, batch_size=case.batch_size, threads=threads,
    )  # fmt: skip
    assert metrics is not None
    apart = [abs(metrics.loss / measured.loss - 1), abs(metrics.test_loss / measured.test_loss - 1)]
    for ours, theirs, before in zip(trained, expected, layers, strict=True):
        for index in range(6):
            moved = np.abs(theirs[index] - before[index]).max()
            apart.append(float(np.abs(ours[index] - theirs[index]).max() / (moved or 1)))
    return max(apart) if np.isfinite(apart).all() else float("nan")


TOLERANCE = 2e-3
"""Of what an epoch changes: float32 against float64 is a tenth of it, a wrong term a thousand times as much."""


def main(arguments: Sequence[str]) -> int:
    """Try it; 0 when it is right, 3 when it is wrong."""
    library = Library(Path(arguments[0]))
    for case in CASES:
        largest = difference(library, case, threads=2)
        if not largest < TOLERANCE:
            print(f"it does not compute what NumPy does for layers of {case.sizes}", file=sys.stderr)
            return WRONG
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
