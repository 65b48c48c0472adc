"""The hardware that there is to train on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Card(NamedTuple):
    """A GPU, or a slice of one, that workers of this machine may be given."""

    uuid: str
    label: str
    """`gpu1`, as nvidia-smi numbers it."""
    kind: str = ""
    memory: int | None = None
    """Bytes that are free once no others use it, where that is known."""
    seats: int = 1
    """Groups of different configurations that may train on it at a time, each in a process of its own."""


class Machine(NamedTuple):
    """The cores, memory and GPUs that workers share."""

    cores: tuple[int, ...]
    memory: int
    """Usable memory, in bytes."""
    gpus: tuple[Card, ...] = ()
    lanes: int = 10
    """Seeds that a GPU trains side by side at most, unless `wanted_lanes` has another number."""
    has_tensorflow_gpus: bool = True
    """TensorFlow sees the GPUs, as far as is known; else `keras-fit` trains on the cores beside them."""
    measured: Mapping[int, Mapping[int, float]] = MappingProxyType({})
    """Batches a second of all runs together, by size class and cores a run, with as many runs as there is room for."""
    wanted_lanes: Mapping[str, int] = MappingProxyType({})
    """The same of the configuration that is next, by kind of card."""
    load: Mapping[int, float] = MappingProxyType({})
    """Share of each core's time that other users' processes take; a core that is not listed is idle."""
