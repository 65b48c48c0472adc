"""How busy the machine is, for the clients: a driver that hangs delays nothing, and GPUs sleep while nobody looks."""

import asyncio
import time
import traceback
from collections.abc import Collection

from engine import protocol as p
from engine.host.launcher import Publish
from engine.machine import devices
from engine.machine.gpus import GpuMonitor

LOOK_SECONDS = 2.0
"""For which an answer is waited for; what comes later is in a later sample."""
WATCH_SECONDS = 60.0
"""For which GPUs are looked at after somebody wanted to see them, while nothing trains."""


class DeviceWatch:
    """Samples of the machine's devices.

    Args:
        publish: sends an event to all clients.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._gpus = GpuMonitor()
        self._looking: asyncio.Future[tuple[p.DeviceSample, ...]] | None = None
        self._until = 0.0
        self._problem = ""

    def wanted(self) -> None:
        """Look at the GPUs for a minute: somebody wants to see them."""
        self._until = time.monotonic() + WATCH_SECONDS

    async def samples(
        self, used: Collection[str], own: Collection[int], *, is_training: bool
    ) -> tuple[p.DeviceSample, ...]:
        """Return a sample of each GPU, as far as its driver answers, and of the CPU.

        Args:
            used: UUIDs of the GPUs that may be used; all are looked at where none is named.
            own: processes of ours, beside which a card is nobody else's.
            is_training: something trains on them, or waits for them.
        """
        if not is_training and time.monotonic() > self._until:
            await asyncio.to_thread(self.rest)
            return (devices.cpu_sample(),)
        if self._looking is None:
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._gpus.sample, used, own))
        await asyncio.wait([self._looking], timeout=LOOK_SECONDS)
        if not self._looking.done():
            return (devices.cpu_sample(),)
        try:
            seen = self._looking.result()
            problem = self._gpus.problem
        except Exception:  # noqa: BLE001  a driver may raise anything; training has nothing to do with it
            seen, problem = (), "host.log says why."
            if problem != self._problem:
                traceback.print_exc()
        self._looking = None
        if problem and used and problem != self._problem:
            text = f"How busy the GPUs are is not known: {problem}"
            self._publish(p.Noticed(text=text, severity="warning"), None)
        self._problem = problem
        return (*seen, devices.cpu_sample())

    def rest(self) -> None:
        """Let the GPUs sleep while no client is attached; a query that hangs is abandoned."""
        self._gpus.close()
        self._looking = None
