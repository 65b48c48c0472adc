"""One `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`, as `keras.datasets` stores MNIST and its like."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from engine.data.assignment_files import part_of
from engine.data.pairing import IN_ONE
from engine.data.part import Part
from engine.storage.npz import open_archive

LAYOUTS = ("NHWC", "NCHW", "NHW", "NF", "HWCN", "HWN")


def suits(train: Path, test: Path) -> bool:
    """Say whether this may be the file."""
    return train == test


@contextlib.contextmanager
def opened(train: Path, test: Path) -> Iterator[tuple[Part, Part]]:
    """Open the file.

    Raises:
        DataError: it cannot be used.
    """
    with open_archive(train, IN_ONE) as archive:
        yield part_of(archive, train, *IN_ONE[:2]), part_of(archive, test, *IN_ONE[2:])
