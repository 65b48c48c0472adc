"""Demo data: street-number-like digits, drawn, in the very layout of the assignment's files.

The digit to predict is at the centre; neighbours are cut off at the sides. Deterministic: the same sizes and seed draw
the same pixels. The fonts are those that come with Matplotlib (DejaVu and STIX, free to use).
"""

import argparse
import importlib.util
import os
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from engine.data.assignment_files import DEMO_MARK
from engine.data.dataset import describe, report
from engine.data.pairing import TEST_FILE, TRAIN_FILE
from engine.machine.files import make_folder, write_atomically_with
from engine.protocol import DataSet
from engine.storage.npz import DataError, open_archive, read_array, read_header

SIDE = 32
CANVAS = 128
"""Digits are drawn four times as large and brought down while they are slanted."""
FONTS = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf", "STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf",
)  # fmt: skip
FREQUENCIES = np.array([0.07, 0.19, 0.145, 0.115, 0.1, 0.094, 0.078, 0.076, 0.069, 0.063])
"""House numbers begin with small digits."""
LARGEST = (50_000, 10_000)
MAX_MARK_BYTES = 1_000

Floats = NDArray[np.float32]


class Masks(NamedTuple):
    """Where the ink is: float32 (N, 32, 32) from 0 to 1, and the centre digits (N,)."""

    ink: Floats
    digits: NDArray[np.int64]


def draw(count: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return uint8 images (count, 32, 32, 3) and their digits (count,)."""
    masks = _masks(count, random)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for start in range(0, count, 1_000):  # float pictures of a thousand at a time: 12 MB
        part = slice(start, min(start + 1_000, count))
        images[part] = _painted(masks.ink[part], random)
    return images, masks.digits


def write(folder: Path, *, train: int, test: int, seed: int = 0) -> None:
    """Write the two files into a folder.

    Raises:
        DataError: the folder is a link, or files of these names are there that are not demo data; they are left.
        OSError: they cannot be written.
    """
    if folder.is_symlink():
        raise DataError(f"{folder} is a link, which may lead to files of yours; give the folder itself, or remove it.")
    for name in (TRAIN_FILE, TEST_FILE):
        if os.path.lexists(folder / name) and _mark_of(folder / name) is None:
            raise DataError(f"{folder / name} is there and is not demo data; give another folder.")
    make_folder(folder)
    for name, count, stream in ((TRAIN_FILE, train, 0), (TEST_FILE, test, 1)):
        images, digits = draw(count, np.random.default_rng((seed, stream)))
        arrays: dict[str, Any] = {
            "images": np.ascontiguousarray(images.transpose(1, 2, 3, 0)),
            "labels": digits.astype("<U1").reshape(-1, 1),
            DEMO_MARK.removesuffix(".npy"): np.array(_mark(seed)),
        }
        write_atomically_with(folder / name, partial(np.savez, **arrays))


def _mark(seed: int) -> str:
    return f"svhn-tui demo data, seed {seed}"


def _mark_of(path: Path) -> str | None:
    """Return the parameters with which a file was drawn; None where it is not demo data."""
    try:
        with open_archive(path, (DEMO_MARK,)) as archive:
            header = read_header(archive, DEMO_MARK, path)
            if header.dtype.kind != "U" or header.size > MAX_MARK_BYTES:
                return None
            return str(read_array(archive, DEMO_MARK, path))
    except DataError:
        return None


def _masks(count: int, random: np.random.Generator) -> Masks:
    digits = random.choice(10, size=count, p=FREQUENCIES / FREQUENCIES.sum())
    digits[:10] = np.arange(10)[:count]  # the smallest file has every digit too
    neighbours = random.integers(-6, 10, size=(count, 2))  # below 0: none there
    fonts = random.integers(len(FONTS), size=count)
    sizes = random.integers(80, 120, size=count)
    slants = random.normal(0, 0.12, size=count)
    turns = random.normal(0, 0.08, size=count)
    shifts = random.normal(0, 4.0, size=(count, 2))
    blurs = random.choice([0.0, 0.5, 0.8, 1.2], size=count, p=[0.25, 0.3, 0.3, 0.15])
    ink = np.empty((count, SIDE, SIDE), np.float32)
    for index in range(count):
        picture = _row(str(digits[index]), neighbours[index], int(fonts[index]), int(sizes[index]))
        picture = _slanted(picture, float(slants[index]), float(turns[index]), shifts[index])
        if blurs[index]:
            picture = picture.filter(ImageFilter.GaussianBlur(float(blurs[index])))
        ink[index] = np.asarray(picture, np.float32) / 255
    return Masks(ink, digits)


def _row(digit: str, neighbours: NDArray[np.int64], font: int, size: int) -> Image.Image:
    """Draw the digit at the centre of the canvas, with the digits to its left and right."""
    picture = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(picture)
    face = _font(font, size)
    middle = CANVAS / 2
    pen.text((middle, middle), digit, fill=255, font=face, anchor="mm")
    reach = face.getlength(digit) / 2
    if neighbours[0] >= 0:
        pen.text((middle - reach, middle), str(neighbours[0]), fill=255, font=face, anchor="rm")
    if neighbours[1] >= 0:
        pen.text((middle + reach, middle), str(neighbours[1]), fill=255, font=face, anchor="lm")
    return picture


def _slanted(picture: Image.Image, slant: float, turn: float, shift: NDArray[np.float64]) -> Image.Image:
    """Bring the canvas down to 32x32 by one affine map: slant, a slight turn, the crop off its centre."""
    small = picture.resize((SIDE * 2, SIDE * 2), Image.Resampling.BOX)
    scale, middle = 2.0, float(SIDE)
    a, b, d, e = scale, scale * (slant - turn), scale * turn, scale
    half = SIDE / 2
    shifted = (middle + shift[0] / 2 - (a + b) * half, middle + shift[1] / 2 - (d + e) * half)
    matrix = (a, b, shifted[0], d, e, shifted[1])
    return small.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _painted(ink: Floats, random: np.random.Generator) -> NDArray[np.uint8]:
    """Give ink (N, 32, 32) colours, uneven light, sometimes a frame, and noise; return uint8 (N, 32, 32, 3)."""
    count = len(ink)
    ground = random.uniform(20, 160, size=(count, 1)) + random.normal(0, 22, size=(count, 3))
    contrast = random.uniform(40, 150, size=(count, 1)) * random.choice([-1, 1], size=(count, 1), p=[0.2, 0.8])
    paint = ground + contrast + random.normal(0, 15, size=(count, 3))
    picture = ground[:, None, None, :] + ink[..., None] * (paint - ground)[:, None, None, :]
    across = np.linspace(-1, 1, SIDE, dtype=np.float32)
    tilt = random.normal(0, 16, size=(2, count, 1, 1, 1))
    light = tilt[0] * across[None, :, None, None] + tilt[1] * across[None, None, :, None]
    framed = (random.random(count) < 0.15).astype(np.float32)[:, None, None, None]
    edge = np.zeros((SIDE, SIDE, 1), np.float32)
    edge[:3], edge[-2:] = 1, 1
    picture = picture + light + framed * edge * random.normal(0, 50, size=(count, 1, 1, 1))
    picture = picture + random.normal(0, 1, size=picture.shape) * random.uniform(1, 12, size=(count, 1, 1, 1))
    pixels: NDArray[np.uint8] = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


@lru_cache(maxsize=1_000)
def _font(index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_font_folder() / FONTS[index]), size)


@lru_cache(maxsize=1)
def _font_folder() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Matplotlib, whose fonts the demo digits are drawn with, is not installed.")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def main() -> int:
    """Write demo data into a folder, unless it is there, and describe it as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.demo")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=5_000)
    parser.add_argument("--test", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.umask(0o077)
    if not (10 <= given.train <= LARGEST[0] and 10 <= given.test <= LARGEST[1]):
        print(f"Demo data has 10 to {LARGEST[0]:,} training and 10 to {LARGEST[1]:,} test images.", file=sys.stderr)
        return 1
    if given.seed < 0:
        print(f"The seed {given.seed} is negative; give 0 or more.", file=sys.stderr)
        return 1
    return report(lambda: _drawn_once(given.folder, given.train, given.test, given.seed), given.folder)


def _drawn_once(folder: Path, train: int, test: int, seed: int) -> DataSet:
    """Describe the demo data of a folder; draw it where there is none such."""
    known = _drawn(folder, seed)
    if known is not None and (known.train_images, known.test_images) == (train, test):
        return known
    write(folder, train=train, test=test, seed=seed)
    return describe([folder])


def _drawn(folder: Path, seed: int) -> DataSet | None:
    """Describe the demo data of a folder; None where none of this seed is there whole."""
    if any(_mark_of(folder / name) != _mark(seed) for name in (TRAIN_FILE, TEST_FILE)):
        return None
    try:
        return describe([folder])
    except DataError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
