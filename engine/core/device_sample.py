"""The load of one device at one moment."""

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
    """Product name of a GPU."""
    busy: str = ""
    """Why it is not used because others use it, in a few words."""
