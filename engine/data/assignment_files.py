"""The assignment's data: two `.npz` files with `images` and `labels`, or folders that they were unpacked into.

Images come as (height, width, channels, N), or in another order that follows from their shape.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engine.data import labels as label_forms
from engine.data.pairing import IMAGES, LABELS, MEMBERS, is_npz
from engine.data.part import Part, check_images, member_at
from engine.storage.npz import DataError, open_archive, read_array, read_header
from engine.storage.zip_check import Archive

LAYOUTS = ("HWCN", "NHWC", "NCHW", "NHW", "NF")
DEMO_MARK = "made_by.npy"
"""A member of this name says that the digits are drawn; loaders of the assignment ignore it."""
ONE_TO_TEN = {str(number) for number in range(1, 11)}
"""Labels of the original SVHN, in which 10 stands for the digit 0."""


def suits(train: Path, test: Path) -> bool:
    """Say whether these may be the two files."""
    return train != test and is_npz(train) and is_npz(test)


@contextlib.contextmanager
def opened(train: Path, test: Path) -> Iterator[tuple[Part, Part]]:
    """Open the two files.

    Raises:
        DataError: they cannot be used.
    """
    with open_archive(train, MEMBERS) as train_zip, open_archive(test, MEMBERS) as test_zip:
        yield part_of(train_zip, train, IMAGES, LABELS), part_of(test_zip, test, IMAGES, LABELS)


def part_of(archive: Archive, path: Path, images_member: str, labels_member: str) -> Part:
    """Read the headers and the labels of one half.

    Raises:
        DataError: they cannot be used.
    """
    images, labels = (read_header(archive, member, path) for member in (images_member, labels_member))
    images_at, labels_at = (
        str(path) if member in MEMBERS else member_at(path, member) for member in (images_member, labels_member)
    )
    check_images(images, images_at)
    label_forms.check(labels, labels_at)
    read = label_forms.read(read_array(archive, labels_member, path), labels_at)
    is_like_svhn = {32, 3}.issubset(images.shape) and labels.dtype.kind in "iu"
    if is_like_svhn and "10" in read.names and ONE_TO_TEN.issuperset(read.names):
        advice = "in the original SVHN files 10 stands for 0: labels[labels == 10] = 0, and save them again"
        raise DataError(
            f"{labels_at}: the label '10' is not a digit; {advice}, or save the names of other classes as text."
        )
    is_demo = DEMO_MARK in archive.namelist()
    return Part(path, images_at, labels_at, images, read, partial(read_array, archive, images_member, path), is_demo)
