"""Images of the data set, as they are shown."""

import msgspec

from engine.core.results import Number


class Picture(msgspec.Struct, frozen=True, gc=False):
    """An image of the data set, and the class that a run predicts for it."""

    label: int
    """Index of its class."""
    pixels: bytes
    """Red, green and blue, row by row."""
    predicted: int | None = None
    confidence: Number = None
    """Probability that the run gives to that class."""
