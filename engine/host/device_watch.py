"""Samples the load of the machine for clients; a driver that hangs delays nothing, and unobserved GPUs can sleep."""

import asyncio
import time
import traceback
from collections.abc import Collection

from engine import protocol as p
from engine.host.launcher import Publish
from engine.machine import devices
from engine.machine.gpus import GpuMonitor

ANSWER_SECONDS = 2.0
"""Time limit for a sample of the GPUs; a later answer is part of the next sample."""
WATCH_SECONDS = 60.0
"""Time for which GPUs are sampled after a client's request, while nothing trains."""


class DeviceWatch:
    """Samples of the machine's devices.

    Args:
        publish: sends an event to all clients.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._gpus = GpuMonitor()
        self._sampling: asyncio.Future[tuple[p.DeviceSample, ...]] | None = None
        self._until = 0.0
        self._problem = ""

    def wanted(self) -> None:
        """Sample the GPUs for a minute: a client asked for it."""
        self._until = time.monotonic() + WATCH_SECONDS

    async def samples(
        self, used: Collection[str], own: Collection[int], *, is_training: bool
    ) -> tuple[p.DeviceSample, ...]:
        """Return a sample of each GPU, as far as its driver answers, and of the CPU.

        Args:
            used: UUIDs of the GPUs to sample; empty: all.
            own: processes of ours, which do not count as other users.
            is_training: runs train on them, or wait for them.
        """
        if not is_training and time.monotonic() > self._until:
            await asyncio.to_thread(self.rest)
            return (devices.cpu_sample(),)
        if self._sampling is None:
            self._sampling = asyncio.ensure_future(asyncio.to_thread(self._gpus.sample, used, own))
        await asyncio.wait([self._sampling], timeout=ANSWER_SECONDS)
        if not self._sampling.done():
            return (devices.cpu_sample(),)
        try:
            seen = self._sampling.result()
            problem = self._gpus.problem
        except Exception:  # noqa: BLE001  a driver may raise anything; training does not depend on it
            seen, problem = (), "host.log says why."
            if problem != self._problem:
                traceback.print_exc()
        self._sampling = None
        if problem and used and problem != self._problem:
            text = f"How busy the GPUs are is not known: {problem}"
            self._publish(p.Noticed(text=text, severity="warning"), None)
        self._problem = problem
        return (*seen, devices.cpu_sample())

    def rest(self) -> None:
        """Let the GPUs sleep while no client is attached; a query that hangs is abandoned."""
        self._gpus.close()
        self._sampling = None
