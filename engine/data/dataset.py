"""The assignment's data: two `.npz` files, loaded exactly as it says.

Images come as (height, width, channels, N) and are transposed to (N, channels, height, width); labels are squeezed and
mapped to integers by their sorted order, and say how many classes there are. Pixels stay uint8, unscaled.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.data_shape import DataShape
from engine.data import labels as label_forms
from engine.data.labels import MAX_CLASSES, Labels
from engine.data.pairing import IMAGES, LABELS, MEMBERS, locate
from engine.machine import os_errors
from engine.protocol import DataSet
from engine.storage.npz import DataError, open_archive, read_array, read_header
from engine.storage.zip_check import Archive

ONE_TO_TEN = {str(number) for number in range(1, 11)}
"""Labels of the original SVHN, in which 10 stands for the digit 0."""
MAX_IMAGES = 400_000
"""Of a file; more of the assignment's 3,072 pixels would not fit in the largest member."""
DEMO_MARK = "made_by.npy"
"""A member of this name says that the digits are drawn; loaders of the assignment ignore it."""


class Part(msgspec.Struct, frozen=True):
    """One file whose headers and labels were found good; its pixels are still to be read."""

    path: Path
    archive: Archive
    image_shape: tuple[int, int, int]
    """(channels, height, width)."""
    labels: Labels


class Images(msgspec.Struct, frozen=True):
    """A data set in memory."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int32]
    names: tuple[str, ...]
    """Of the classes, in the order of their indices."""

    @property
    def shape(self) -> DataShape:
        """What a network is built for."""
        return DataShape(self.train_images.shape[1:], len(self.names))


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
    """Read the two files: headers first, then labels, and pixels only once all else is found good."""
    with open_archive(train_path, MEMBERS) as train_zip, open_archive(test_path, MEMBERS) as test_zip:
        train, test = _part(train_zip, train_path), _part(test_zip, test_path)
        test_labels = _labels_as_in(train, test)
        is_demo = any(DEMO_MARK in archive.namelist() for archive in (train_zip, test_zip))
        if not is_demo and len(train.labels.indices) < len(test_labels):
            counts = (
                f"{len(train.labels.indices):,} images to train on and {test_path} {len(test_labels):,} to test with"
            )
            raise DataError(f"{train_path} has {counts}: they seem exchanged; name the larger one the train file.")
        images = Images(_pixels(train), train.labels.indices, _pixels(test), test_labels, train.labels.names)
    if np.array_equal(images.train_images, images.test_images):
        raise DataError(f"{train_path} and {test_path} hold the same images; give the train file and the test file.")
    found = DataSet(
        fingerprint=_fingerprint(images),
        name=Path(os.path.commonpath([train_path.resolve().parent, test_path.resolve().parent])).name,
        train_path=str(train_path.absolute()),
        test_path=str(test_path.absolute()),
        train_images=len(images.train_labels),
        test_images=len(images.test_labels),
        input_shape=images.shape.inputs,
        train_counts=_counts(images.train_labels, images.shape.classes),
        test_counts=_counts(images.test_labels, images.shape.classes),
        labels=images.names,
        is_demo=is_demo,
    )
    return images, found


def _part(archive: Archive, path: Path) -> Part:
    images, labels = (read_header(archive, member, path) for member in MEMBERS)
    if images.dtype != np.uint8:
        raise DataError(f"{path}: images are {images.dtype}; uint8 is expected, pixels from 0 to 255.")
    if len(images.shape) != 4 or images.shape[2] not in (1, 3):
        raise DataError(f"{path}: images have the shape {images.shape}; (height, width, channels, N) is expected.")
    height, width, channels, count = images.shape
    if 0 in images.shape:
        raise DataError(f"{path} holds no image; is it the right file?")
    if count > MAX_IMAGES:
        raise DataError(f"{path} declares {count:,} images; at most {MAX_IMAGES:,} can be trained on.")
    if label_forms.count_of(labels, path) != count:
        raise DataError(f"{path}: {count} images but labels of shape {labels.shape}; ({count}, 1) is expected.")
    found = label_forms.read(read_array(archive, LABELS, path), path)
    if labels.dtype.kind in "iu" and "10" in found.names and ONE_TO_TEN.issuperset(found.names):
        advice = "in the original SVHN files 10 stands for 0: labels[labels == 10] = 0, and save them again"
        raise DataError(f"{path}: the label '10' is no digit; {advice}, or save the names of other classes as text.")
    return Part(path, archive, (channels, height, width), found)


def _labels_as_in(train: Part, test: Part) -> NDArray[np.int32]:
    """Return the test labels (N,) as indices into the train file's names.

    Raises:
        DataError: the two files are no pair.
    """
    if train.image_shape != test.image_shape:
        sizes = f"{train.image_shape} and {test.image_shape}"
        raise DataError(
            f"{train.path} and {test.path} have images of different sizes, {sizes}; they do not belong together."
        )
    names = train.labels.names
    if len(names) < 2:
        raise DataError(f"{train.path} has only the label {names[0]!r}; 2 to {MAX_CLASSES:,} can be learned.")
    unknown = sorted(set(test.labels.names) - set(names))
    if unknown:
        raise DataError(f"{test.path} has the label {unknown[0]!r}, which {train.path} has not; are they a pair?")
    places = np.array([names.index(name) for name in test.labels.names], dtype=np.int32)
    return places[test.labels.indices]


def _pixels(part: Part) -> NDArray[np.uint8]:
    """Read images (height, width, channels, N) and return them as (N, channels, height, width)."""
    return np.ascontiguousarray(read_array(part.archive, IMAGES, part.path).transpose(3, 2, 0, 1))


def _counts(labels: NDArray[np.int32], classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(labels, minlength=classes))


def _fingerprint(images: Images) -> str:
    """Hash what is trained on, however it was stored: equal pixels and labels have equal fingerprints."""
    digest = hashlib.sha256(repr((images.train_images.shape, images.test_images.shape, images.names)).encode())
    for array in (images.train_images, images.train_labels, images.test_images, images.test_labels):
        digest.update(array.data)
    return digest.hexdigest()[:16]


def main() -> int:
    """Describe a data set as one line of JSON, or say on stderr what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.dataset")
    parser.add_argument("action", choices=["describe"])
    parser.add_argument("source", nargs="+", help="a folder, or the two files")
    arguments = parser.parse_args()
    try:
        found = describe(arguments.source)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        print(os_errors.sentence_of(error) or error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
