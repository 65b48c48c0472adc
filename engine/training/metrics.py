"""What an epoch of a group measured. Pure."""

from typing import NamedTuple


class EpochMetrics(NamedTuple):
    """A value a lane; losses are means in nats, `seconds` the wall time of all lanes together."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_correct: tuple[int, ...]
    seconds: float


class Activity(NamedTuple):
    """Shares 0..1 over the hidden dense layers; None where the network has no units of the kind."""

    dead: float | None = None
    """Of ReLU units: those that no test image activates."""
    saturated: float | None = None
    """Of tanh activations: those beyond 0.99 in size."""
