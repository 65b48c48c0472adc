"""The labels of a data set in the forms that people save them in, as names of classes and their indices.

Whole numbers, text or bytes, (N,) or (N, 1), or one-hot rows (N, classes). Names are in sorted order, numbers by their
value: the forms of the same labels are the same data.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.storage.npz import DataError, Header

MAX_CLASSES = 1_000
MAX_NAME = 100
"""Longest name of a class, in characters."""
MAX_BYTES = 2**24
"""Bytes of a file's labels, which are read and sorted before any pixel is. 50,000 as `<U21` are 4.2 MB."""
MAX_ONE_HOT_BYTES = 2**28
"""The same of one-hot rows; 50,000 rows of 100 classes in float64 are 40 MB."""


class Labels(NamedTuple):
    """The labels of a file's images, and the names of the classes."""

    names: tuple[str, ...]
    indices: NDArray[np.int32]
    """(N,), indexing `names`."""
    columns: int = 0
    """Number of columns of one-hot rows; 0 of labels in another form."""

    @property
    def present(self) -> frozenset[str]:
        """The names of the classes that an image has; a column of one-hot rows may have none."""
        return frozenset(self.names[index] for index in np.unique(self.indices).tolist())


def check(header: Header, where: str) -> None:
    """Check that an array can be labels, before it is read.

    Args:
        header: its declared shape and type.
        where: name of the file, and of the member, for messages.

    Raises:
        DataError: it cannot.
    """
    kind, shape = header.dtype.kind, header.shape
    if 0 in shape:
        raise DataError(f"{where} holds no label; is it the right file?")
    if is_one_hot(header):
        if kind not in "biuf" or header.size > MAX_ONE_HOT_BYTES or shape[1] > MAX_CLASSES:
            raise DataError(
                f"{where}: labels are {header.dtype} of shape {shape}; one row of 0 and 1 for each image is expected, "
                f"with at most {MAX_CLASSES:,} columns."
            )
        return
    if kind == "f":
        advice = "if each is whole, save them with astype(int)"
        raise DataError(f"{where}: labels are {header.dtype}; text or whole numbers are expected; {advice}.")
    if kind in "mM":
        advice = "if each is the name of a class, save them with astype(str)"
        raise DataError(f"{where}: labels are {header.dtype}; text or whole numbers are expected; {advice}.")
    if kind not in "USbiu" or header.dtype.itemsize == 0:
        raise DataError(f"{where}: labels are {header.dtype}; text or whole numbers are expected.")
    if len(shape) not in (1, 2):
        raise DataError(f"{where}: labels have the shape {shape}; (N, 1), (N,) or (N, classes) is expected.")
    if header.size > MAX_BYTES:
        limit = f"at most {MAX_BYTES // 2**20} MiB are read"
        raise DataError(f"{where}: the labels take {header.size:,} bytes and {limit}; save each as one character.")


def is_one_hot(header: Header) -> bool:
    """Say whether labels are rows of several columns."""
    return len(header.shape) == 2 and header.shape[1] != 1


def read(labels: NDArray[Any], where: str) -> Labels:
    """Return the classes' names and each label's index among them.

    Raises:
        DataError: they are not labels.
    """
    if labels.ndim == 2 and labels.shape[1] != 1:
        return _of_one_hot(labels, where)
    values, indices = np.unique(labels.reshape(-1), return_inverse=True)
    if len(values) > MAX_CLASSES:
        raise DataError(f"{where} has {len(values):,} different labels; 2 to {MAX_CLASSES:,} can be learned.")
    try:
        names = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    except UnicodeDecodeError as error:
        advice = "decode them as they were encoded, and save them with astype(str)"
        raise DataError(f"{where}: the label {error.object[:20]!r} is not UTF-8 text; {advice}.") from error
    for name in names:
        if not name.strip():
            raise DataError(f"{where}: a label is empty; each image needs the name of its class.")
        if len(name) > MAX_NAME:
            raise DataError(f"{where}: the label {name[:20]!r} is longer; names have at most {MAX_NAME} characters.")
    if labels.dtype.kind in "iu" and values[0] < 0:
        raise DataError(f"{where}: the label '{values[0]}' is negative; labels are counted from 0, or are names.")
    if all(name.isascii() and name.isdigit() for name in names):
        order = sorted(range(len(names)), key=lambda position: (int(names[position]), names[position]))
    else:
        order = list(range(len(names)))
    positions = np.empty(len(names), np.int32)
    positions[order] = np.arange(len(names))
    return Labels(tuple(names[position] for position in order), positions[indices.reshape(-1)])


def _of_one_hot(rows: NDArray[Any], where: str) -> Labels:
    """Return the labels of rows with a single 1 each; every column is a class, called by its number."""
    wrong = np.flatnonzero(~(((rows == 0) | (rows == 1)).all(axis=1) & ((rows == 1).sum(axis=1) == 1)))
    if len(wrong):
        raise DataError(
            f"{where}: row {wrong[0]} of the labels is not one 1 among 0; give (N,) labels, or one-hot rows."
        )
    names = tuple(map(str, range(rows.shape[1])))
    return Labels(names, rows.argmax(axis=1).astype(np.int32), len(names))
