"""Warnings about a data set whose test accuracy may be misleading; they do not prevent its use."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.data.images import Images

MOST_RATIO = 20.0
"""Between the largest values of two halves that are scaled alike: no real set's halves are so far apart."""


class _Half(NamedTuple):
    """The images to train on or to test with, as hashes of their pixels, and their labels."""

    purpose: str
    pixels: list[int]
    labels: NDArray[np.int32]


def doubts_of(images: Images) -> tuple[str, ...]:
    """Return the warnings about a data set, a sentence each."""
    train = _Half("train on", _hashes(images.train_images), images.train_labels)
    test = _Half("test with", _hashes(images.test_images), images.test_labels)
    kind = "images" if len(images.shape.inputs) == 3 else "rows"
    doubts = (
        *(_repeated(half, kind) for half in (train, test)),
        _contradictory(train) if kind == "images" else "",
        _in_both(train, test, kind),
        _scale(images),
        _untested(images),
    )
    return tuple(filter(None, doubts))


def _hashes(images: NDArray[np.generic]) -> list[int]:
    return [hash(image.tobytes()) for image in images]


def _repeated(half: _Half, kind: str) -> str:
    """Warn where most images are another one over again; rows of few features may well be."""
    count, distinct = len(half.pixels), len(set(half.pixels))
    if distinct == 1 < count:
        return f"All {count:,} {kind} to {half.purpose} are equal: there is nothing to tell classes by."
    if kind == "images" and distinct <= count / 2:
        return f"Of {count:,} images to {half.purpose} only {distinct:,} differ; the others repeat them."
    return ""


def _contradictory(train: _Half) -> str:
    """Count the images that are there again as another class."""
    labels: dict[int, set[int]] = {}
    for pixels, label in zip(train.pixels, train.labels.tolist(), strict=True):
        labels.setdefault(pixels, set()).add(label)
    both = sum(len(labels[pixels]) > 1 for pixels in train.pixels)
    if not both or len(labels) == 1:  # all are equal, which is said already
        return ""
    return f"{both:,} images to train on are there again as another class: no network can learn both."


def _in_both(train: _Half, test: _Half, kind: str) -> str:
    """Count the test images that are train images too, to the last pixel."""
    known = set(train.pixels)
    shared = sum(pixels in known for pixels in test.pixels)
    if not shared:
        return ""
    share = f"{shared:,} of {len(test.pixels):,} test {kind} are among those to train on"
    return f"{share}: what a network learnt by heart counts as right there."


def _scale(images: Images) -> str:
    """Warn where one half was scaled and the other was not."""
    train, test = (max(float(half.max()), -float(half.min())) for half in (images.train_images, images.test_images))
    if max(train, test) <= MOST_RATIO * min(train, test):
        return ""
    return f"The largest value to train on is {train:g} and to test with {test:g}; scale both alike."


def _untested(images: Images) -> str:
    """Warn of classes without test images."""
    seen = np.unique(images.test_labels).tolist()
    if len(seen) == 1:
        name = images.names[seen[0]]
        return f"Every test image is of the class {name!r}: a network that always answers it is right each time."
    names = [repr(name) for index, name in enumerate(images.names) if index not in seen]
    return f"No test image is of the class {_some(names)}: nothing says whether it is recognised." if names else ""


def _some(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
