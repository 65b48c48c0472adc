"""The train or the test half of a data set, whose headers and labels were checked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.data.labels import Labels
from engine.storage.npz import DataError, Header

Pixels = NDArray[np.uint8] | NDArray[np.float32]

MAX_IMAGES = 800_000
"""Most images of a half; the larger half of EMNIST has 697,932."""
CHUNK = 2**22
"""Values that are checked at a time."""


class Part(msgspec.Struct, frozen=True):
    """One half. Its pixels are read by `read`, after everything else was checked."""

    path: Path
    images_at: str
    """Name of its images in messages: the file, and the member where that has another name."""
    labels_at: str
    images: Header
    labels: Labels
    read: Callable[[], NDArray[Any]]
    is_demo: bool = False


def member_at(path: Path, member: str) -> str:
    """Name a member of a file in a sentence: `mnist.npz (x_train)`."""
    return f"{path} ({member.removesuffix('.npy')})"


def check_images(header: Header, where: str) -> None:
    """Check that images are numbers, before they are read.

    Raises:
        DataError: they are not.
    """
    if header.dtype.kind not in "biuf":
        raise DataError(f"{where}: images are {header.dtype}; numbers are expected, such as uint8 from 0 to 255.")
    if 0 in header.shape or not header.shape:
        raise DataError(f"{where} holds no image; is it the right file?")
    if max(header.shape) > MAX_IMAGES:
        raise DataError(f"{where} declares {max(header.shape):,} images; at most {MAX_IMAGES:,} can be trained on.")


def as_trained(*halves: NDArray[Any]) -> list[Pixels]:
    """Return bytes as they are, other whole numbers as uint8 if those of all halves are from 0 to 255, else float32."""
    whole = [images for images in halves if images.dtype.kind in "bui"]
    are_bytes = all(images.min() >= 0 and images.max() <= 255 for images in whole)
    return [_converted(images, to_bytes=are_bytes and images.dtype.kind != "f") for images in halves]


def _converted(images: NDArray[Any], *, to_bytes: bool) -> Pixels:
    if images.dtype == np.uint8:
        return images
    return images.astype(np.uint8) if to_bytes else images.astype(np.float32, copy=False)


def check_finite(images: NDArray[Any], where: str) -> None:
    """Check that float32 holds each value.

    Raises:
        DataError: a value is not a finite number, or too large.
    """
    if images.dtype.kind != "f":
        return
    flat = images.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        with np.errstate(over="ignore"):
            broken = int(np.count_nonzero(~np.isfinite(chunk.astype(np.float32))))
        if broken:
            raise DataError(
                f"{where}: {broken:,} of the first {start + chunk.size:,} values are not finite numbers "
                "(NaN or infinite); replace them, and save the file again."
            )
