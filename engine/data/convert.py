"""Writes a data set in the assignment's layout, whatever files it came in: `svhn-tui data convert`."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from engine.data import layouts
from engine.data.dataset import describe, load_from, report
from engine.data.images import Images
from engine.data.pairing import TEST_FILE, TRAIN_FILE
from engine.machine.files import make_folder, write_atomically_with
from engine.protocol import DataSet
from engine.storage.npz import DataError


def convert(source: Path, folder: Path, layout: str = "") -> DataSet:
    """Write the two files into a folder, and describe what they hold.

    Raises:
        DataError: the data cannot be used, has no images, or files of these names are there.
        OSError: they cannot be written.
    """
    images, _ = load_from([source], layout)
    if len(images.shape.inputs) != 3:
        raise DataError(f"{source} holds rows of features; the assignment's layout is one of images.")
    for name in (TRAIN_FILE, TEST_FILE):
        if (folder / name).exists():
            raise DataError(f"{folder / name} is there already; give another folder, or remove it.")
    make_folder(folder)
    for name, pixels, labels in _halves(images):
        arrays = {
            "images": layouts.in_files(pixels),
            "labels": np.array(images.names)[labels].reshape(-1, 1),
        }
        write_atomically_with(folder / name, partial(np.savez_compressed, **arrays))
    return describe([folder])


def _halves(images: Images) -> tuple[tuple[str, np.ndarray, np.ndarray], ...]:
    return (
        (TRAIN_FILE, images.train_images, images.train_labels),
        (TEST_FILE, images.test_images, images.test_labels),
    )


def main() -> int:
    """Convert, and describe the result as one line of JSON, or say on stderr what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.convert")
    parser.add_argument("--layout", default="", help="the order of the images' axes, such as NHWC")
    parser.add_argument("source", type=Path, help="a folder, or a file")
    parser.add_argument("folder", type=Path, help="where the two files go")
    given = parser.parse_args()
    return report(lambda: convert(given.source, given.folder, given.layout), given.folder)


if __name__ == "__main__":
    raise SystemExit(main())
