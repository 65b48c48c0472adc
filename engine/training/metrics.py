"""Measurements of networks in training. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core.results import EpochRow, Number, finite

Indices = NDArray[np.integer[Any]]


def rows_of(measured: Mapping[str, Sequence[float]], test_images: int, seconds: float) -> tuple[EpochRow, ...]:
    """Return the row of each lane of an epoch.

    Args:
        measured: for each measured field of a row, such as `loss` or `test_correct`, a value a lane.
        test_images: their number.
        seconds: wall time of all lanes together.
    """
    lanes: Sequence[tuple[Any, ...]] = list(zip(*map(finite, measured.values()), strict=True))
    return tuple(
        EpochRow(**dict(zip(measured, lane, strict=True)), test_images=test_images, seconds=seconds) for lane in lanes
    )


class Activity(NamedTuple):
    """The activity of a trained network on the test images.

    Shares 0..1 over the hidden dense layers are None where the network has no units of the kind.
    """

    dead: float | None = None
    """Of ReLU units: those that no test image activates."""
    saturated: float | None = None
    """Of tanh activations: those beyond 0.99 in size."""
    recall: tuple[Number, ...] = ()
    """Of each class."""


def recall_of(predicted: Indices, labels: Indices, classes: int) -> tuple[Number, ...]:
    """Return the share of each class's images that is predicted right; None of a class without any."""
    images = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    return tuple(count / among if among else None for count, among in zip(right.tolist(), images.tolist(), strict=True))
