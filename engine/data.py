"""The assignment's data: two `.npz` files, loaded exactly as it says.

Images come as (height, width, channels, N) and are transposed to (N, channels, height, width); labels are squeezed and
mapped to integers by their sorted order. Pixels stay uint8, unscaled.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.npz import MAX_LABEL_BYTES, DataError, open_archive, read_array, read_header
from engine.protocol import DataSet
from engine.spec import CLASSES

TRAIN_FILE = "p4_2026_svhn_train.npz"
TEST_FILE = "p4_2026_svhn_test.npz"
MEMBERS = ("images.npy", "labels.npy")
DEMO_MARK = "made_by.npy"
"""A member of this name says that the digits are drawn; loaders of the assignment ignore it."""


class Part(msgspec.Struct, frozen=True):
    """One file: images uint8 (N, channels, height, width), labels int32 (N,) indexing `names`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    names: tuple[str, ...]
    is_demo: bool


class Images(msgspec.Struct, frozen=True):
    """A data set in memory."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int32]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width


def locate(source: Sequence[str | Path]) -> tuple[Path, Path]:
    """Return the train and the test file of a folder, or of two files given in any order.

    Raises:
        DataError: they cannot be told.
    """
    paths = [Path(path) for path in source]
    if len(paths) == 2:
        swapped = "test" in paths[0].name.lower() and "train" in paths[1].name.lower()
        return (paths[1], paths[0]) if swapped else (paths[0], paths[1])
    if len(paths) != 1:
        raise DataError("Give one folder, or the train file and the test file.")
    folder = paths[0]
    if not folder.exists():
        raise DataError(f"{folder} is not there; give the folder that holds {TRAIN_FILE} and {TEST_FILE}.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a single file; give the folder that holds {TRAIN_FILE} and {TEST_FILE}, or both.")
    return _one_of(folder, TRAIN_FILE, "train"), _one_of(folder, TEST_FILE, "test")


def _one_of(folder: Path, name: str, word: str) -> Path:
    if (folder / name).exists():
        return folder / name
    found = sorted(folder.glob(f"*{word}*.npz"))
    if len(found) != 1:
        problem = f"has no {name}" if not found else f"has {len(found)} files *{word}*.npz and none is {name}"
        raise DataError(f"{folder} {problem}; give the folder with the assignment's files, or the two files.")
    return found[0]


def load(data: DataSet) -> Images:
    """Load a data set that was described before.

    Raises:
        DataError: the files cannot be used, or their content is no longer what was described.
    """
    images, found = _read(Path(data.train_path), Path(data.test_path))
    if found.fingerprint != data.fingerprint:
        raise DataError(f"{data.train_path} and {data.test_path} changed since they were opened; open the data again.")
    return images


def load_from(source: Sequence[str | Path]) -> tuple[Images, DataSet]:
    """Load the data set of a folder or of two files, and describe it.

    Raises:
        DataError: the files cannot be used.
    """
    return _read(*locate(source))


def describe(source: Sequence[str | Path]) -> DataSet:
    """Say what is in a folder or in two files.

    Raises:
        DataError: the files cannot be used.
    """
    return load_from(source)[1]


def _read(train_path: Path, test_path: Path) -> tuple[Images, DataSet]:
    train, test = _read_part(train_path), _read_part(test_path)
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = f"{train.images.shape[1:]} and {test.images.shape[1:]}"
        raise DataError(
            f"{train_path} and {test_path} have images of different sizes, {sizes}; they do not belong together."
        )
    if not 2 <= len(train.names) <= CLASSES:
        raise DataError(f"{train_path} has {len(train.names)} different labels; 2 to {CLASSES} can be learned.")
    unknown = sorted(set(test.names) - set(train.names))
    if unknown:
        raise DataError(f"{test_path} has the label {unknown[0]!r}, which {train_path} has not; are they a pair?")
    order = np.array([train.names.index(name) for name in test.names], dtype=np.int32)
    images = Images(train.images, train.labels, test.images, order[test.labels])
    channels, height, width = images.input_shape
    found = DataSet(
        fingerprint=_fingerprint(images, train.names),
        name=train_path.resolve().parent.name,
        train_path=str(train_path.absolute()),
        test_path=str(test_path.absolute()),
        train_images=len(images.train_labels),
        test_images=len(images.test_labels),
        input_shape=(channels, height, width),
        train_counts=_counts(images.train_labels, len(train.names)),
        test_counts=_counts(images.test_labels, len(train.names)),
        labels=train.names,
        is_demo=train.is_demo or test.is_demo,
    )
    return images, found


def _read_part(path: Path) -> Part:
    with open_archive(path, MEMBERS) as archive:
        images, labels = (read_header(archive, member, path) for member in MEMBERS)
        if images.dtype != np.uint8:
            raise DataError(f"{path}: images are {images.dtype}; uint8 is expected, pixels from 0 to 255.")
        if len(images.shape) != 4 or images.shape[2] not in (1, 3):
            raise DataError(f"{path}: images have the shape {images.shape}; (height, width, channels, N) is expected.")
        if labels.dtype.kind not in "USiu" or labels.dtype.itemsize > MAX_LABEL_BYTES:
            raise DataError(f"{path}: labels are {labels.dtype}; text or whole numbers are expected.")
        count = images.shape[3]
        if labels.shape not in ((count,), (count, 1)):
            raise DataError(f"{path}: {count} images but labels of shape {labels.shape}; ({count}, 1) is expected.")
        if count == 0 or 0 in images.shape:
            raise DataError(f"{path} holds no image; is it the right file?")
        pixels = np.ascontiguousarray(read_array(archive, MEMBERS[0], path).transpose(3, 2, 0, 1))
        names, indices = _indices(read_array(archive, MEMBERS[1], path), path)
        return Part(pixels, indices, names, DEMO_MARK in archive.namelist())


def _indices(labels: NDArray[Any], path: Path) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the labels' names in sorted order and each label's place among them."""
    values, indices = np.unique(labels.reshape(-1), return_inverse=True)
    names = [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in values.tolist()]
    for name in names:
        if not (name.isascii() and name.isdigit()):
            raise DataError(f"{path}: the label {name[:20]!r} is no digit; labels are '0' to '9'.")
    return tuple(names), indices.reshape(-1).astype(np.int32)


def _counts(labels: NDArray[np.int32], classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(labels, minlength=classes))


def _fingerprint(images: Images, names: tuple[str, ...]) -> str:
    """Hash what is trained on, however it was stored: equal pixels and labels have equal fingerprints."""
    digest = hashlib.sha256(repr((images.train_images.shape, images.test_images.shape, names)).encode())
    for array in (images.train_images, images.train_labels, images.test_images, images.test_labels):
        digest.update(array.data)
    return digest.hexdigest()[:16]


def main() -> int:
    """Describe a data set as one line of JSON, or say on stderr what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m engine.data")
    parser.add_argument("action", choices=["describe"])
    parser.add_argument("source", nargs="+", help="a folder, or the two files")
    arguments = parser.parse_args()
    try:
        found = describe(arguments.source)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
