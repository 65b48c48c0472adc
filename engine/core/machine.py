"""The hardware that there is to train on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Machine(NamedTuple):
    """The cores, memory and GPUs that workers share."""

    cores: tuple[int, ...]
    memory: int
    """Bytes."""
    gpus: int = 0
    lanes: int = 10
    """Seeds that a GPU trains side by side at most."""
    measured: Mapping[int, int] = MappingProxyType({})
    """Cores that a run of each size class trains best on."""
