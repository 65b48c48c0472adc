"""Warnings about a data set whose test accuracy may be misleading; they do not prevent its use."""

import numpy as np

from engine.data.images import Images

MOST_RATIO = 20.0
"""Between the largest values of two halves that are scaled alike: no real set's halves are so far apart."""


def doubts_of(images: Images) -> tuple[str, ...]:
    """Return the warnings about a data set, a sentence each."""
    return tuple(filter(None, (_in_both(images), _scale(images), _untested(images))))


def _in_both(images: Images) -> str:
    """Count the test images that are train images too, to the last pixel."""
    known = {hash(image.tobytes()) for image in images.train_images}
    shared = sum(hash(image.tobytes()) in known for image in images.test_images)
    if not shared:
        return ""
    kind = "images" if len(images.shape.inputs) == 3 else "rows"
    share = f"{shared:,} of {len(images.test_labels):,} test {kind} are among those to train on"
    return f"{share}: what a network learnt by heart counts as right there."


def _scale(images: Images) -> str:
    """Warn where one half was scaled and the other was not."""
    if images.shape.dtype == "uint8":
        return ""
    train, test = (float(max(half.max(), -half.min())) for half in (images.train_images, images.test_images))
    if max(train, test) <= MOST_RATIO * min(train, test):
        return ""
    return f"The largest value to train on is {train:g} and to test with {test:g}; scale both alike."


def _untested(images: Images) -> str:
    """Warn of classes without test images."""
    seen = set(np.unique(images.test_labels).tolist())
    names = [repr(name) for index, name in enumerate(images.names) if index not in seen]
    return f"No test image is of the class {_some(names)}: nothing says whether it is recognised." if names else ""


def _some(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
