"""The order of the axes of an array of images, from its shape and the number of labels; the user decides in doubt.

N is the number of images, H and W are height and width, C the colours (1 or 3), F the features of a table.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core.data_shape import LAYOUTS, Shape
from engine.storage.npz import DataError

COLOURS = (1, 3)
OPTION = "--layout"


class Stored(NamedTuple):
    """The declared shape of a file's images, and its number of labels."""

    at: str
    """Name of the images in messages."""
    shape: Shape
    labels: int

    @property
    def holds(self) -> str:
        """Beginning of a message about them."""
        return f"{self.at}: images have the shape {self.shape}"


def layout_of(parts: Sequence[Stored], allowed: Sequence[str], asked: str = "") -> str:
    """Return the one layout in which train and test images can be read.

    Args:
        parts: the train and the test images.
        allowed: layouts that the kind of file may have; the first one is named where none fits.
        asked: the layout that the user named; empty: whichever fits.

    Raises:
        DataError: none fits, or several do.
    """
    if asked and asked not in LAYOUTS:
        raise DataError(f"{asked[:20]!r} is not a layout; there are {', '.join(LAYOUTS)}, such as {OPTION} NHWC.")
    possible = (asked,) if asked else tuple(allowed)
    for part in parts:
        if not any(_has_axes(part.shape, layout) for layout in possible):
            readings = "(height, width, channels, N)" if possible[0] == "HWCN" else _read_as(possible[0])
            others = f", or {' or '.join(map(_read_as, possible[1:4]))}" if possible[1:] else ""
            colours = ", with 1 or 3 channels" if len(part.shape) == 4 else ""
            raise DataError(f"{part.holds}; {readings} is expected{others}{colours}.")
    fitting = [layout for layout in possible if all(_fits(part, layout) for part in parts)]
    if not fitting:
        raise DataError(_mismatch(parts, possible))
    if len(fitting) > 1:
        readings = " or as ".join(f"{layout}, {_read_as(layout)}," for layout in fitting[:2])
        raise DataError(f"{parts[0].holds}, which can be read as {readings} here; say which: {OPTION} {fitting[0]}.")
    return fitting[0]


def inputs_of(shape: Shape, layout: str) -> Shape:
    """Return (channels, height, width) of an image, or (features,) of a row."""
    sides = dict(zip(layout, shape, strict=True))
    return (sides["F"],) if "F" in sides else (sides.get("C", 1), sides["H"], sides["W"])


def arranged(images: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return images as (N, channels, height, width), or (N, features), in one piece."""
    target = "NF" if "F" in layout else "NCHW"
    turned = images.transpose([layout.index(axis) for axis in target if axis in layout])
    whole = turned if len(layout) != 3 else turned[:, np.newaxis]
    return np.ascontiguousarray(whole)


def in_files(images: NDArray[Any]) -> NDArray[Any]:
    """Return (N, channels, height, width) as the assignment's files have them, (height, width, channels, N)."""
    return np.ascontiguousarray(images.transpose(2, 3, 1, 0))


def _has_axes(shape: Shape, layout: str) -> bool:
    return len(shape) == len(layout) and ("C" not in layout or shape[layout.index("C")] in COLOURS)


def _fits(part: Stored, layout: str) -> bool:
    return _has_axes(part.shape, layout) and part.shape[layout.index("N")] == part.labels


def _mismatch(parts: Sequence[Stored], possible: Sequence[str]) -> str:
    """Say what is wrong where no layout fits both files."""
    for part in parts:
        fitting = [layout for layout in possible if _has_axes(part.shape, layout)]
        if not any(_fits(part, layout) for layout in fitting):
            count = part.shape[fitting[0].index("N")]
            labels = f"{count:,} images but labels of shape ({part.labels}, 1)"
            return f"{part.holds}, {labels}; ({count}, 1) is expected."
    train, test = parts
    return (
        f"{train.holds} and those of {test.at} {test.shape}: their axes are in different orders, where "
        f"(height, width, channels, N) is expected of both; save both in one order."
    )


def _read_as(layout: str) -> str:
    """Return `(N, height, width)` of `NHW`."""
    words = {"N": "N", "H": "height", "W": "width", "C": "channels", "F": "features"}
    return f"({', '.join(words[axis] for axis in layout)})"
