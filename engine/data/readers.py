"""The kinds of files that hold a data set. Each is opened, its headers and labels checked, before any pixel is read."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from engine.data import assignment_files, keras_files, matlab_files
from engine.data.part import Part
from engine.storage.npz import DataError


class Reader(NamedTuple):
    """A kind of files."""

    suits: Callable[[Path, Path], bool]
    """Says whether it suits, by the names of the train and the test file, which are equal where one file holds both."""
    open: Callable[[Path, Path], AbstractContextManager[tuple[Part, Part]]]
    """Raises DataError where the files cannot be used."""
    layouts: Sequence[str]
    """Layouts in which its images may be."""


READERS = (
    Reader(matlab_files.suits, matlab_files.opened, matlab_files.LAYOUTS),
    Reader(keras_files.suits, keras_files.opened, keras_files.LAYOUTS),
    Reader(assignment_files.suits, assignment_files.opened, assignment_files.LAYOUTS),
)
"""All kinds; the first one that suits reads the files."""


def reader_of(train: Path, test: Path) -> Reader:
    """Return the kind of these files.

    Raises:
        DataError: it is not known.
    """
    for reader in READERS:
        if reader.suits(train, test):
            return reader
    raise DataError(f"{train} and {test} are files of different kinds; give two .npz files, or two .mat files.")
