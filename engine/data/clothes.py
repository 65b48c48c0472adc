"""The data of the example course: six kinds of clothes, drawn, 28 x 28 and grey, in one `.npz` as Keras stores its own.

Deterministic: the same sizes and seed draw the same pixels.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from engine.data.dataset import describe, report
from engine.machine.files import make_folder, write_atomically_with
from engine.protocol import DataSet
from engine.storage.npz import DataError

SIDE = 28
CANVAS = 112
"""Clothes are drawn four times as large."""
LARGEST = 10_000

Outline = tuple[tuple[float, float], ...]
"""The corners of one half from top to bottom: (distance from the middle line, height), both from 0 to 1."""
OUTLINES: dict[str, Outline] = {
    "coat": ((0.14, 0.10), (0.42, 0.18), (0.48, 0.62), (0.36, 0.64), (0.32, 0.36), (0.30, 0.95)),
    "dress": ((0.12, 0.06), (0.20, 0.10), (0.13, 0.42), (0.36, 0.95)),
    "hat": ((0.16, 0.28), (0.21, 0.36), (0.22, 0.62), (0.46, 0.66), (0.46, 0.74)),
    "shirt": ((0.14, 0.16), (0.28, 0.19), (0.46, 0.36), (0.36, 0.46), (0.28, 0.40), (0.28, 0.86)),
    "skirt": ((0.17, 0.24), (0.20, 0.30), (0.40, 0.82)),
    "trousers": ((0.24, 0.08), (0.27, 0.30), (0.28, 0.94), (0.12, 0.94), (0.04, 0.40)),
}
NAMES = tuple(OUTLINES)


class Drawn(NamedTuple):
    """Half of a data set: uint8 images (N, 28, 28), and the names of their classes (N,)."""

    images: NDArray[np.uint8]
    names: NDArray[np.str_]


def draw(count: int, random: np.random.Generator) -> Drawn:
    """Draw so many clothes, as many of each kind as can be."""
    kinds = random.permutation(np.arange(count) % len(NAMES))
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for index, kind in enumerate(kinds):
        images[index] = _pixels(OUTLINES[NAMES[kind]], random)
    return Drawn(images, np.array(NAMES)[kinds])


def write(file: Path, *, train: int, test: int, seed: int = 0) -> None:
    """Write the data set into one file.

    Raises:
        DataError: something of this name is there; it is left.
        OSError: it cannot be written.
    """
    if os.path.lexists(file):
        raise DataError(f"{file} is there already; nothing is overwritten.")
    make_folder(file.parent)
    train_half, test_half = (
        draw(count, np.random.default_rng((seed, stream))) for stream, count in enumerate((train, test))
    )
    arrays = {
        "x_train": train_half.images,
        "y_train": train_half.names,
        "x_test": test_half.images,
        "y_test": test_half.names,
    }
    write_atomically_with(file, partial(np.savez_compressed, **arrays))  # type: ignore[arg-type]


def _pixels(outline: Outline, random: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one piece, each time of another width, height and shade, off the middle, turned and with noise."""
    wide, high = random.uniform(0.75, 1.1, 2)
    right, down = random.normal(0, 0.04, 2)
    half = [(x * wide + random.normal(0, 0.012), 0.5 + (y - 0.5) * high) for x, y in outline]
    corners = [(0.5 + right + x, y + down) for x, y in half] + [(0.5 + right - x, y + down) for x, y in reversed(half)]
    picture = Image.new("L", (CANVAS, CANVAS))
    shade = int(random.integers(90, 256))
    ImageDraw.Draw(picture).polygon([(x * CANVAS, y * CANVAS) for x, y in corners], fill=shade)
    picture = picture.rotate(float(random.normal(0, 6)), Image.Resampling.BILINEAR)
    picture = picture.filter(ImageFilter.GaussianBlur(2)).resize((SIDE, SIDE), Image.Resampling.BOX)
    noisy = np.asarray(picture, np.float64) + random.normal(0, 12, (SIDE, SIDE))
    pixels: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels


def main() -> int:
    """Write the data set into a new file and describe it as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.clothes")
    parser.add_argument("file", type=Path)
    parser.add_argument("--train", type=int, default=1_200)
    parser.add_argument("--test", type=int, default=300)
    given = parser.parse_args()
    os.umask(0o077)
    if not all(len(NAMES) <= count <= LARGEST for count in (given.train, given.test)):
        print(f"There are {len(NAMES)} to {LARGEST:,} images to train on, and as many to test with.", file=sys.stderr)
        return 1
    return report(lambda: _written(given.file, given.train, given.test), given.file)


def _written(file: Path, train: int, test: int) -> DataSet:
    write(file, train=train, test=test)
    return describe([file])


if __name__ == "__main__":
    raise SystemExit(main())
