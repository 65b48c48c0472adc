"""`epoch.c` called from Python: what goes in is checked here, since C would not."""

import ctypes
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LayerArrays = tuple[Floats, Floats, Floats, Floats, Floats, Floats]
"""Kernel (in, out) and bias (out,), then the first moments of both, then the second."""

ACTIVATIONS = {"linear": 0, "relu": 1, "tanh": 2}
MAX_LAYERS, MAX_CLASSES, MAX_THREADS = 16, 1_000, 64
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
"""Adam's defaults in Keras."""
DONE, NO_MEMORY, NOT_TRAINABLE, NO_THREAD, STOPPED = range(5)

_I64, _F64, _AT = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


def untrained(kernel: Floats, bias: Floats) -> LayerArrays:
    """Return a layer that no update has changed yet."""
    zeros = np.zeros_like
    return kernel, bias, zeros(kernel), zeros(bias), zeros(kernel), zeros(bias)


class Labelled(NamedTuple):
    """Images and what they show: uint8 (N, ...) and int32 (N,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]


class EpochMetrics(NamedTuple):
    """Of one epoch: means over the training images, at the weights before each batch's update; then the test images."""

    loss: float
    accuracy: float
    test_loss: float
    test_correct: int


class Library:
    """The compiled `epoch.c`."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises:
            OSError: it cannot be loaded.
        """
        loaded = ctypes.CDLL(str(path))
        self._epoch = loaded.svhn_epoch
        self._epoch.restype = ctypes.c_int
        self._epoch.argtypes = [
            ctypes.c_int, _AT, ctypes.c_int, _I64, _I64, _AT, _AT, _AT, _I64, _AT, _AT, _AT, _I64,
            _AT, _F64, _F64, _F64, ctypes.c_int, _AT, _AT,
        ]  # fmt: skip
        loaded.svhn_instructions.restype = ctypes.c_char_p
        self.instructions: str = loaded.svhn_instructions().decode()
        """The instruction set it was compiled for, such as `avx512`."""
        self._multiply_adds = loaded.svhn_multiply_adds
        self._multiply_adds.argtypes, self._multiply_adds.restype = [_I64], _F64

    def multiply_adds(self, rounds: int) -> int:
        """Do nothing but multiply and add in registers, on one core; return how many times."""
        return int(self._multiply_adds(rounds))

    def epoch(
        self,
        layers: Sequence[LayerArrays],
        activation: str,
        train: Labelled,
        order: NDArray[np.int32],
        test: Labelled,
        *,
        step: int,
        learning_rate: float | Floats,
        beta_1: float = BETA_1,
        beta_2: float = BETA_2,
        epsilon: float = EPSILON,
        batch_size: int = 32,
        threads: int = 1,
        stop: NDArray[np.int32] | None = None,
    ) -> EpochMetrics | None:
        """Train one epoch in place and evaluate it; None when it was stopped before its end: then nothing changed.

        Args:
            layers: what is trained, changed in place.
            activation: of the layers but the last: `linear`, `relu` or `tanh`.
            train: the images to choose from.
            order: indices of those to train on.
            test: the images to evaluate on.
            step: updates that were made before.
            learning_rate: Adam's: one for all batches, or one for each.
            beta_1: decay of Adam's first moment.
            beta_2: the same of the second.
            epsilon: what Adam adds to the root of the second moment, above 0.
            batch_size: images of an update; the last one of the epoch has the remaining ones.
            threads: at most; they change the time and nothing else.
            stop: one number, which another thread may set to 1 to end the epoch early.

        Raises:
            ValueError: an array or a size is not as `epoch.c` needs it.
            MemoryError: there is too little.
        """
        _need(len(order) > 0, "order names no image")
        rates = np.full(-(-len(order) // max(1, batch_size)), learning_rate, np.float32)
        adam = (step, rates, beta_1, beta_2, epsilon)
        return self._run(layers, activation, train, order, test, adam, batch_size, threads, stop)

    def evaluate(
        self, layers: Sequence[LayerArrays], activation: str, images: Labelled, *, threads: int = 1
    ) -> tuple[float, int]:
        """Return the mean loss over images, and the number of right ones.

        Raises:
            ValueError, MemoryError: as of `epoch`.
        """
        nothing, adam = np.zeros(0, np.int32), (0, np.zeros(0, np.float32), BETA_1, BETA_2, EPSILON)
        metrics = self._run(layers, activation, images, nothing, images, adam, 1, threads, None)
        assert metrics is not None  # nothing stops it
        return metrics.test_loss, metrics.test_correct

    def _run(
        self,
        layers: Sequence[LayerArrays],
        activation: str,
        train: Labelled,
        order: NDArray[np.int32],
        test: Labelled,
        adam: tuple[int, Floats, float, float, float],
        batch_size: int,
        threads: int,
        stop: NDArray[np.int32] | None,
    ) -> EpochMetrics | None:
        """Train on what `order` names, with as many threads as the system gives; then evaluate `test`."""
        sizes = _checked(layers, train, order, test)
        step, rates, *decays = adam
        stop = np.zeros(1, np.int32) if stop is None else stop
        flat = [array for layer in layers for array in layer]
        addresses = (_AT * len(flat))(*(array.ctypes.data for array in flat))
        metrics = np.zeros(4)
        for count in dict.fromkeys((max(1, min(threads, MAX_THREADS)), 1)):
            status = self._epoch(
                len(layers), sizes.ctypes.data, ACTIVATIONS[activation], batch_size,
                len(order), train.pixels.ctypes.data, train.labels.ctypes.data, order.ctypes.data,
                len(test.labels), test.pixels.ctypes.data, test.labels.ctypes.data,
                ctypes.cast(addresses, _AT), step, rates.ctypes.data, *decays, count,
                stop.ctypes.data, metrics.ctypes.data,
            )  # fmt: skip
            if status != NO_THREAD:  # the system gives no more threads: one will do
                break
        if status == NO_MEMORY:
            raise MemoryError("There is no memory for an epoch.")
        if status in (NOT_TRAINABLE, NO_THREAD):
            raise ValueError(f"The native trainer cannot train layers of {sizes.tolist()} in batches of {batch_size}.")
        return (
            None
            if status == STOPPED
            else EpochMetrics(float(metrics[0]), float(metrics[1]), float(metrics[2]), int(metrics[3]))
        )


def _checked(
    layers: Sequence[LayerArrays], train: Labelled, order: NDArray[np.int32], test: Labelled
) -> NDArray[np.int64]:
    """Return the inputs and the units of each layer.

    Raises:
        ValueError: a shape, a dtype, an index or a label is none that C may be given.
    """
    sizes = [train.pixels[0].size if len(train.pixels) else 0, *(layer[1].size for layer in layers)]
    for (below, above), layer in zip(pairwise(sizes), layers, strict=True):
        for array, shape in zip(layer, 3 * ((below, above), (above,)), strict=True):
            _need(array.shape == shape, f"an array is {array.shape} and not {shape}")
            _need(array.dtype == np.float32 and array.flags.writeable, "weights and moments are float32, writeable")
    arrays: list[NDArray[Any]] = [order, *train, *test, *(array for layer in layers for array in layer)]
    _need(all(array.flags.c_contiguous and array.flags.aligned for array in arrays), "an array is not contiguous")
    for images in (train, test):
        _need(images.pixels.dtype == np.uint8, "pixels are uint8")
        _need(images.labels.dtype == np.int32 and len(images.labels) == len(images.pixels), "a label an image, int32")
        _need(images.pixels[:1].size in (0, sizes[0]), "the test images have another size")
        _need(_is_within(images.labels, sizes[-1]), f"labels are from 0 to {sizes[-1] - 1}")
    _need(order.dtype == np.int32 and order.ndim == 1, "order is one row of int32")
    _need(_is_within(order, len(train.labels)), "order names an image that is not there")
    return np.array(sizes, np.int64)


def _is_within(values: NDArray[np.int32], end: int) -> bool:
    return not len(values) or (int(values.min()) >= 0 and int(values.max()) < end)


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"The native trainer was given what it cannot take: {otherwise}.")
