"""Measured times of epochs."""

import msgspec

from engine.core.data_shape import Shape
from engine.core.spec import Configuration


class EpochTime(msgspec.Struct, frozen=True, gc=False):
    """Measured speed: seconds of the whole machine that one epoch of one run took, evaluation included."""

    configuration: Configuration
    train_images: int
    seconds: float
    device: str = ""
    inputs: Shape = ()
    """Shape of one image; empty where it is not known: measured before a workspace had several data sets."""
    lanes: int = 1
    """Runs that were trained side by side, which share the time."""
