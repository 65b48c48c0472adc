"""What a network needs of a data set: the shape of one image, and the number of classes. Pure."""

from typing import NamedTuple

Shape = tuple[int, ...]
"""Shape of one image or of a layer's output for it, without the batch axis."""


LAYOUTS = ("HWCN", "NHWC", "NCHW", "NHW", "HWN", "NF", "FN")
"""Orders of the axes of images in files: N images, H and W height and width, C colours, F features of a table."""


class DataShape(NamedTuple):
    """The input and the output of every network that is trained on a data set."""

    inputs: Shape
    """(channels, height, width) of an image, or (features,)."""
    classes: int
    dtype: str = "uint8"
    """Type of a pixel or a feature: uint8 or float32."""


ASSIGNMENT = DataShape((3, 32, 32), 10)
"""The assignment's shape, which is assumed as long as no data is open."""
ASSIGNMENT_IMAGES = 50_000
"""Number of the assignment's training images, assumed likewise."""
