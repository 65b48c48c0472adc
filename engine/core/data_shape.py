"""What a data set asks of a network: the shape of one image, and how many classes there are. Pure."""

from typing import NamedTuple

Shape = tuple[int, ...]
"""Of one image, or of what a layer makes of it: without the batch."""


class DataShape(NamedTuple):
    """The input and the output of every network that is trained on a data set."""

    inputs: Shape
    """(channels, height, width) of an image, or (features,)."""
    classes: int


ASSIGNMENT = DataShape((3, 32, 32), 10)
"""The assignment's, which is assumed as long as no data is open."""
