"""The train or the test half of a data set, whose headers and labels were checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.data.labels import Labels
from engine.storage.npz import DataError, Header

MAX_IMAGES = 400_000
"""Of a file; more of the assignment's 3,072 pixels would not fit in the largest member."""
CHUNK = 2**22
"""Numbers that are looked at together."""


class Part(msgspec.Struct, frozen=True):
    """One half. Its pixels are read by `read`, once everything else is known to be right."""

    path: Path
    images: Header
    labels: Labels
    read: Callable[[], NDArray[Any]]
    is_demo: bool = False


def check_images(header: Header, path: Path) -> None:
    """See that images are numbers, before they are read.

    Raises:
        DataError: they are not.
    """
    if header.dtype.kind not in "biuf":
        raise DataError(f"{path}: images are {header.dtype}; numbers are expected, such as uint8 from 0 to 255.")
    if 0 in header.shape or not header.shape:
        raise DataError(f"{path} holds no image; is it the right file?")
    if max(header.shape) > MAX_IMAGES:
        raise DataError(f"{path} declares {max(header.shape):,} images; at most {MAX_IMAGES:,} can be trained on.")


def as_trained(images: NDArray[Any], path: Path) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return uint8 where all values are whole numbers from 0 to 255 by their type; else float32.

    Raises:
        DataError: a value is no finite number, or none that float32 holds.
    """
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "bui":
        if images.size and (images.min() < 0 or images.max() > 255):
            return images.astype(np.float32)
        return images.astype(np.uint8)
    flat = images.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        with np.errstate(over="ignore"):
            broken = int(np.count_nonzero(~np.isfinite(chunk.astype(np.float32))))
        if broken:
            raise DataError(
                f"{path}: {broken:,} of the first {start + chunk.size:,} values are no finite numbers "
                "(NaN or infinite); replace them, and save the file again."
            )
    return images.astype(np.float32, copy=False)
