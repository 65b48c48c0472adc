"""How fast runs train on this machine by the cores that each takes, or on its cards by the seeds side by side.

Measured once for each class of networks by a process of its own, `engine.training.native.measure` in about two seconds
or `engine.training.lane_speed`, before the first of a class trains and while nothing trains here. Cores are measured in
each arrangement on all of them at once, so that memory's bandwidth counts. It is kept in the user's cache for this
processor, these cores and this source, since all workspaces on the machine share it, and measured again when one of
them changes. What cannot be measured, because others keep the machine busy, is placed as usual and tried again later.
"""

import asyncio
import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Machine
from engine.core.spec import Configuration
from engine.machine import child_process, json_file, tool_process
from engine.machine.child_process import ChildCommand
from engine.machine.user_folders import cache_folder
from engine.scheduling.cores import HUGE, SMALL
from engine.scheduling.rates import size_class
from engine.training.native import build
from engine.training.trainer_choice import Circumstances, unsuited
from engine.workers import lane_measurement
from engine.workers.lane_measurement import Demand
from engine.workers.process import WORKER_VARIABLE

MEASURE_SECONDS = 60.0
"""Time limit of a measurement; on a quiet machine it takes two seconds, and a few more where C is compiled first."""
LANES_SECONDS = 240.0
"""The same of cards: an epoch is compiled for each number of lanes, and tried twice."""
AGAIN_SECONDS = 600.0
"""Seconds after which a failed measurement is tried again, when nothing trains here."""

Rates = dict[Annotated[int, msgspec.Meta(ge=1)], Annotated[float, msgspec.Meta(gt=0)]]


class Measurement(NamedTuple):
    """What is to be measured."""

    kind: str
    """Of the card; empty: the cores."""
    size: int
    """Class of the network."""
    command: ChildCommand
    seconds: float
    """After which it is given up."""


class Arrangement:
    """The machine, as far as it was measured. `changed` is called once a measurement has ended."""

    def __init__(self, machine: Machine, changed: Callable[[], None]) -> None:
        if machine.gpus:
            machine = machine._replace(lane_rates=lane_measurement.read(machine))
        self.machine = machine._replace(measured=_read(machine)) if _is_worthwhile(machine) else machine
        self._changed = changed
        self._given_up: dict[tuple[str, int], float] = {}
        self._measuring: asyncio.Task[None] | None = None

    @property
    def is_measuring(self) -> bool:
        """A measurement is under way."""
        return self._measuring is not None

    def is_open(self, configuration: Configuration, shape: DataShape, demand: Demand | None = None) -> bool:
        """Say whether it is still being found out how a run trains best; begin with it if that was not done.

        Args:
            configuration: of the run.
            shape: of its data.
            demand: what waits for cards, if that may be measured.
        """
        if self._measuring is not None:
            return True
        wanted = self._lanes(configuration, shape, demand) if demand else self._cores(configuration, shape)
        if wanted is None:
            return False
        given_up = self._given_up.get((wanted.kind, wanted.size), -math.inf)
        if time.monotonic() < given_up + AGAIN_SECONDS:
            return False
        self._measuring = asyncio.create_task(self._measure(wanted))
        return True

    def _cores(self, configuration: Configuration, shape: DataShape) -> Measurement | None:
        parameters = trainable_parameters(configuration.network, shape)
        size = size_class(parameters)
        if size in self.machine.measured or not SMALL <= parameters < HUGE or not _is_worthwhile(self.machine):
            return None
        here = Circumstances(shape.classes, dtype=shape.dtype)
        if configuration.training.trainer == "jax" or unsuited(configuration, here):
            return None
        sizes = (math.prod(shape.inputs), *configuration.network.hidden, shape.classes)
        options = {"--sizes": sizes, "--cores": self.machine.cores}
        words = [word for name, numbers in options.items() for word in (name, ",".join(map(str, numbers)))]
        return Measurement("", size, child_process.tool("engine.training.native.measure", *words), MEASURE_SECONDS)

    def _lanes(self, configuration: Configuration, shape: DataShape, demand: Demand) -> Measurement | None:
        command = lane_measurement.command_for(configuration, shape, self.machine, demand)
        if command is None or os.environ.get(WORKER_VARIABLE):
            return None
        size = size_class(trainable_parameters(configuration.network, shape))
        return Measurement(demand.card.kind, size, command, LANES_SECONDS)

    async def _measure(self, wanted: Measurement) -> None:
        try:
            rates = await _measured(wanted)
            if wanted.kind:
                known = {**self.machine.lane_rates.get(wanted.kind, {}), wanted.size: rates}
                self.machine = self.machine._replace(lane_rates={**self.machine.lane_rates, wanted.kind: known})
                lane_measurement.write(wanted.kind, known)
            else:
                self.machine = self.machine._replace(measured={**self.machine.measured, wanted.size: rates})
                _write(self.machine)
        except (OSError, TimeoutError, msgspec.MsgspecError):
            self._given_up[wanted.kind, wanted.size] = time.monotonic()
        finally:
            self._measuring = None
            self._changed()

    async def close(self) -> None:
        """Cancel a measurement in progress."""
        if self._measuring is not None:
            self._measuring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._measuring


async def _measured(wanted: Measurement) -> Rates:
    """Return how fast all runs together are, by the cores of each run or by lanes.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took too long.
        msgspec.MsgspecError: it found nothing.
    """
    outcome = await asyncio.wait_for(tool_process.run_beside(wanted.command), wanted.seconds)
    of_kind = lane_measurement.LaneRates if wanted.kind else Rates
    rates: Rates = msgspec.json.decode(outcome.answer, type=Annotated[of_kind, msgspec.Meta(min_length=1)])
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
    """Remember what was measured; without it, the next host measures again."""
    with contextlib.suppress(OSError, RuntimeError):
        json_file.write(_path(machine), dict(machine.measured))
