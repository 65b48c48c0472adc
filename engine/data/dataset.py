"""Reads data sets from files of several kinds into memory, and describes them.

Images become (N, channels, height, width) and rows of features stay (N, features); labels become integers by the sorted
order of the classes' names. Pixels stay uint8, unscaled; other numbers become float32.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.data import layouts
from engine.data.doubts import doubts_of
from engine.data.images import Images
from engine.data.labels import MAX_CLASSES
from engine.data.layouts import Stored
from engine.data.pairing import locate
from engine.data.part import Part, as_trained, check_finite
from engine.data.readers import reader_of
from engine.machine import os_errors
from engine.protocol import DataSet
from engine.storage.npz import DataError


def load(data: DataSet) -> Images:
    """Load a data set that was described before.

    Raises:
        DataError: the files cannot be used, or their content is no longer what was described.
    """
    images, read = _read(Path(data.train_path), Path(data.test_path), data.layout)
    if read.fingerprint != data.fingerprint:
        files = " and ".join(data.paths)
        raise DataError(f"{files} changed since they were opened; open the data again.")
    return images


def load_from(source: Sequence[str | Path], layout: str = "") -> tuple[Images, DataSet]:
    """Load the data set of a folder or of its files, and describe it.

    Args:
        source: a folder, the train and the test file, or one file that holds both.
        layout: the order of the images' axes, such as `NHWC`; empty: as their shape says.

    Raises:
        DataError: the files cannot be used.
    """
    return _read(*locate(source), layout)


def describe(source: Sequence[str | Path], layout: str = "") -> DataSet:
    """Describe the data set of a folder or of files, as `load_from` reads it.

    Raises:
        DataError: the files cannot be used.
    """
    images, data = load_from(source, layout)
    return msgspec.structs.replace(data, doubts=doubts_of(images))


def _read(train_path: Path, test_path: Path, asked: str) -> tuple[Images, DataSet]:
    """Read the files: headers first, then labels, and pixels only once all else is checked."""
    reader = reader_of(train_path, test_path)
    with reader.open(train_path, test_path) as (train, test):
        stored = [Stored(part.images_at, part.images.shape, len(part.labels.indices)) for part in (train, test)]
        layout = layouts.layout_of(stored, reader.layouts, asked)
        _check_inputs(train, test, layout)
        test_labels = _labels_as_in(train, test)
        is_demo = train.is_demo or test.is_demo
        if not is_demo and train_path != test_path and len(train.labels.indices) < len(test_labels):
            counts = (
                f"{len(train.labels.indices):,} images to train on and {test_path} {len(test_labels):,} to test with"
            )
            raise DataError(f"{train_path} has {counts}: they seem exchanged; name the larger one the train file.")
        pixels = as_trained(*(layouts.arranged(_read_finite(part), layout) for part in (train, test)))
        images = Images(pixels[0], train.labels.indices, pixels[1], test_labels, train.labels.names)
    if pixels[0].dtype != pixels[1].dtype:
        kinds = f"{pixels[0].dtype} to train on and {pixels[1].dtype} to test with"
        raise DataError(f"{train_path} holds {kinds}; save both alike: uint8 from 0 to 255, or both as float32.")
    if np.array_equal(images.train_images, images.test_images):
        advice = "give the train file and the test file"
        raise DataError(f"{train.images_at} and {test.images_at} hold the same images; {advice}.")
    description = DataSet(
        fingerprint=_fingerprint(images),
        name=_name(train_path, test_path),
        train_path=str(train_path.absolute()),
        test_path=str(test_path.absolute()),
        train_images=len(images.train_labels),
        test_images=len(images.test_labels),
        input_shape=images.shape.inputs,
        train_counts=_counts(images.train_labels, images.shape.classes),
        test_counts=_counts(images.test_labels, images.shape.classes),
        labels=images.names,
        is_demo=is_demo,
        dtype=images.shape.dtype,
        layout=asked,
    )
    return images, description


def _read_finite(part: Part) -> NDArray[Any]:
    """Return a half's images.

    Raises:
        DataError: they are damaged, or a value is not a finite number.
    """
    images = part.read()
    check_finite(images, part.images_at)
    return images


def _name(train_path: Path, test_path: Path) -> str:
    """Return the name of a data set: that of its one file, or of the folder with both."""
    if train_path == test_path:
        return train_path.stem
    return Path(os.path.commonpath([train_path.resolve().parent, test_path.resolve().parent])).name


def _check_inputs(train: Part, test: Part, layout: str) -> None:
    """Check that train and test images have one size.

    Raises:
        DataError: they do not belong together.
    """
    sizes = [layouts.inputs_of(part.images.shape, layout) for part in (train, test)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{train.images_at} and {test.images_at} have images of different sizes, {sizes[0]} and {sizes[1]}; "
            "they do not belong together."
        )


def _labels_as_in(train: Part, test: Part) -> NDArray[np.int32]:
    """Return the test labels (N,) as indices into the train file's names.

    Raises:
        DataError: the two files are not a pair.
    """
    names = train.labels.names
    if len(names) < 2:
        raise DataError(f"{train.labels_at} has only the label {names[0]!r}; 2 to {MAX_CLASSES:,} can be learned.")
    columns = [part.labels.columns for part in (train, test)]
    if all(columns) and columns[0] != columns[1]:
        raise DataError(
            f"{train.labels_at} has one-hot rows of {columns[0]} and {test.labels_at} of {columns[1]}; both need a "
            "column for each class."
        )
    unknown = sorted(test.labels.present - train.labels.present)
    if unknown:
        why = f"{test.labels_at} has the label {unknown[0]!r}, which {train.labels_at} has not"
        raise DataError(f"{why}; are they a pair?" if train.path != test.path else f"{why}, so it cannot be learned.")
    positions = np.array([names.index(name) for name in test.labels.names], dtype=np.int32)
    return positions[test.labels.indices]


def _counts(labels: NDArray[np.int32], classes: int) -> tuple[int, ...]:
    return tuple(int(count) for count in np.bincount(labels, minlength=classes))


def _fingerprint(images: Images) -> str:
    """Hash what is trained on, however it was stored: equal pixels and labels have equal fingerprints."""
    about: tuple[object, ...] = (images.train_images.shape, images.test_images.shape, images.names)
    if images.shape.dtype != "uint8":
        about = (*about, images.shape.dtype)
    digest = hashlib.sha256(repr(about).encode())
    for array in (images.train_images, images.train_labels, images.test_images, images.test_labels):
        digest.update(array.data)
    return digest.hexdigest()[:16]


def main() -> int:
    """Describe a data set as one line of JSON, or say on stderr what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.dataset")
    parser.add_argument("action", choices=["describe"])
    parser.add_argument("--layout", default="", help="the order of the images' axes, such as NHWC")
    parser.add_argument("source", nargs="+", help="a folder, or the two files")
    arguments = parser.parse_args()
    return report(lambda: describe(arguments.source, arguments.layout))


def report(described: Callable[[], DataSet], folder: Path | None = None) -> int:
    """Print a description as one line of JSON, or on stderr what is wrong; return the exit status.

    Args:
        described: reads or writes the data set, and describes it.
        folder: where it is, for errors of the machine that do not name it.
    """
    try:
        description = described()
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, MemoryError) as error:
        print(os_errors.sentence_of(error, folder or "") or error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(description) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
