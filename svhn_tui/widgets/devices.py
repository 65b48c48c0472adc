"""The load of the machine, now and over the last seconds."""

from collections import deque

from rich.text import Text

from engine.protocol import DeviceSample
from svhn_tui import words

BLOCKS = "▁▂▃▄▅▆▇█"
SAMPLES = 30


class DeviceHistory:
    """The last samples of each device, in the order of arrival."""

    def __init__(self) -> None:
        self._last: tuple[DeviceSample, ...] = ()
        self._shares: dict[str, deque[float | None]] = {}

    def add(self, samples: tuple[DeviceSample, ...]) -> None:
        """Add samples, unless they are the latest ones already."""
        if samples is self._last:
            return
        self._last = samples
        for sample in samples:
            self._shares.setdefault(sample.name, deque(maxlen=SAMPLES)).append(sample.utilisation)

    def lines(self, dim: str, color: str) -> Text:
        """Return a line a device: its known load, memory, temperature and power, and its history."""
        width = max((len(sample.name) for sample in self._last), default=0)
        lines = []
        for sample in self._last:
            used = "  –  " if sample.utilisation is None else f"{100 * sample.utilisation:3.0f} %"
            memory = f"{words.size(sample.memory_used)} of {words.size(sample.memory_total)}"
            memory = memory if sample.memory_total else "memory unknown"
            text = f"left alone: {sample.busy}" if sample.busy else sample.kind
            temperature = "" if sample.temperature is None else f"   {sample.temperature:.0f} °C"
            power = "" if sample.power is None else f"   {sample.power:.0f} W"
            spark = sparkline(self._shares[sample.name])
            lines.append(
                Text.assemble(
                    (f"{words.clean(sample.name):<{width}}  ", dim),
                    used,
                    (f"   {memory}{temperature}{power}   ", dim),
                    (spark, color),
                    (f"   {words.clean(text)}" if text else "", dim),
                    no_wrap=True,
                    overflow="ellipsis",
                )
            )
        return Text("\n").join(lines)


def sparkline(shares: deque[float | None]) -> str:
    """Return a block for each share of 0 to 1, and a space for an unknown one."""
    top = len(BLOCKS) - 1
    return "".join(" " if share is None else BLOCKS[round(min(1.0, max(0.0, share)) * top)] for share in shares)
