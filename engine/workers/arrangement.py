"""How fast runs train on this machine, by the cores of each run, measured once for each class of networks.

A process of its own measures it (`engine.training.native.measure`, about two seconds) before the first run of a class
trains and while nothing trains here. It trains in each arrangement on all cores at once, so that memory's bandwidth
counts. The rates are stored in the user's cache, which all workspaces on the machine share, by processor, cores and
source. Where a measurement fails, since the machine is busy, runs are placed as usual and it is tried again later.
"""

import asyncio
import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Machine
from engine.core.spec import Configuration
from engine.machine import child_process, json_file, tool_process
from engine.machine.user_folders import cache_folder
from engine.scheduling.cores import HUGE, SMALL
from engine.scheduling.rates import size_class
from engine.training.native import build
from engine.training.trainer_choice import Circumstances, unsuited
from engine.workers.process import WORKER_VARIABLE

MEASURE_SECONDS = 60.0
"""Time limit of a measurement; on a quiet machine it takes two seconds, and a few more where C is compiled first."""
AGAIN_SECONDS = 600.0
"""Seconds after which a failed measurement is tried again, when nothing trains here."""

Rates = dict[Annotated[int, msgspec.Meta(ge=1)], Annotated[float, msgspec.Meta(gt=0)]]


class Arrangement:
    """The machine with all that was measured of it. `changed` is called once a measurement has ended."""

    def __init__(self, machine: Machine, changed: Callable[[], None]) -> None:
        self.machine = machine._replace(measured=_read(machine)) if _is_worthwhile(machine) else machine
        self._changed = changed
        self._failed_at: dict[int, float] = {}
        self._measuring: asyncio.Task[None] | None = None

    def is_open(self, configuration: Configuration, shape: DataShape) -> bool:
        """Say whether the cores that suit a run are being measured; start the measurement if it is missing."""
        if self._measuring is not None:
            return True
        parameters = trainable_parameters(configuration.network, shape)
        size = size_class(parameters)
        has_failed = time.monotonic() < self._failed_at.get(size, -math.inf) + AGAIN_SECONDS
        is_known = size in self.machine.measured or has_failed
        if is_known or not SMALL <= parameters < HUGE or not _is_worthwhile(self.machine):
            return False
        here = Circumstances(shape.classes, dtype=shape.dtype)
        if configuration.training.trainer == "jax" or unsuited(configuration, here):
            return False
        sizes = (math.prod(shape.inputs), *configuration.network.hidden, shape.classes)
        self._measuring = asyncio.create_task(self._measure(size, sizes))
        return True

    async def _measure(self, size: int, sizes: tuple[int, ...]) -> None:
        options = {"--sizes": sizes, "--cores": self.machine.cores}
        words = [word for name, numbers in options.items() for word in (name, ",".join(map(str, numbers)))]
        try:
            rates = await _measured(words)
            self.machine = self.machine._replace(measured={**self.machine.measured, size: rates})
            _write(self.machine)
        except (OSError, TimeoutError, msgspec.MsgspecError):
            self._failed_at[size] = time.monotonic()
        finally:
            self._measuring = None
            self._changed()

    async def close(self) -> None:
        """Cancel a measurement in progress."""
        if self._measuring is not None:
            self._measuring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._measuring


async def _measured(words: list[str]) -> Rates:
    """Return the batches a second of all runs together, by the cores of each run.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took too long.
        msgspec.MsgspecError: its output holds no rates.
    """
    command = child_process.tool("engine.training.native.measure", *words)
    outcome = await asyncio.wait_for(tool_process.run_beside(command), MEASURE_SECONDS)
    rates: Rates = msgspec.json.decode(outcome.stdout, type=Annotated[Rates, msgspec.Meta(min_length=1)])
    return rates


def _is_worthwhile(machine: Machine) -> bool:
    """Say whether there are several cores to choose from, and a native trainer that uses them."""
    is_stand_in = bool(os.environ.get(WORKER_VARIABLE))
    return len(machine.cores) > 1 and not machine.gpus and not is_stand_in and build.absence() is None


def _path(machine: Machine) -> Path:
    about = f"{build.processor()} {machine.cores} {build.source_hash()}"
    return cache_folder("native") / f"cores-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"


def _read(machine: Machine) -> dict[int, Rates]:
    with contextlib.suppress(OSError, RuntimeError):
        return json_file.read(_path(machine), dict[int, Rates]) or {}
    return {}


def _write(machine: Machine) -> None:
    """Store what was measured; if that fails, the next host measures again."""
    with contextlib.suppress(OSError, RuntimeError):
        json_file.write(_path(machine), dict(machine.measured))
