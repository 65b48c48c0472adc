"""How busy one device is at one moment."""

import msgspec

from engine.core.results import Number


class DeviceSample(msgspec.Struct, frozen=True, gc=False):
    """The load of a device. Utilisation 0..1, memory in bytes, power in watts, temperature in degrees Celsius."""

    name: str
    utilisation: Number
    memory_used: int
    memory_total: int
    temperature: Number = None
    power: Number = None
    kind: str = ""
    """What a GPU is called by its maker."""
    busy: str = ""
    """Why it is left to others, in a few words."""
