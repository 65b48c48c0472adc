"""How long an epoch of a configuration took."""

import msgspec

from engine.core.spec import Configuration


class EpochTime(msgspec.Struct, frozen=True, gc=False):
    """Measured speed: seconds of the whole machine that one epoch of one run took, evaluation included."""

    configuration: Configuration
    train_images: int
    seconds: float
    device: str = ""
    lanes: int = 1
    """Runs that were trained side by side, which share the time."""
