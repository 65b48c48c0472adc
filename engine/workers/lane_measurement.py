"""How many seeds of a network a card trains side by side: what is to be measured for that, and what was.

Ten are usual. More of them are measured where at least twice as many runs of one configuration wait for each card, once
for each kind of card, class of networks and version of JAX.
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Card, Machine
from engine.core.spec import NUMERICS_VERSION, Configuration
from engine.machine import child_process, json_file, system
from engine.machine.child_process import ChildCommand
from engine.machine.devices import LANES_VARIABLE
from engine.machine.user_folders import cache_folder
from engine.scheduling.lanes import lanes_on
from engine.scheduling.rates import GAIN, size_class

TIMES = (1, 2, 4)
"""How many times as many lanes as usual are tried."""
MOST_LANES = TIMES[-1] * Machine((), 0).lanes

LaneRates = dict[Annotated[int, msgspec.Meta(ge=1)], Annotated[float, msgspec.Meta(ge=0)]]
"""0 is what did not fit."""


class Demand(NamedTuple):
    """What waits to be trained on cards."""

    card: Card
    """That may be measured."""
    runs: int
    """Of the configuration that is next, for each card."""
    images: tuple[int, int]
    """To train on and to test with."""
    host: str
    """Whose workers may be on the card already."""


def command_for(
    configuration: Configuration, shape: DataShape, machine: Machine, demand: Demand
) -> ChildCommand | None:
    """Return what measures the lanes of a configuration; None where that gains nothing, or is known."""
    card = demand.card
    if os.environ.get(LANES_VARIABLE) or not card.kind or configuration.network.model is not None:
        return None
    usual, unmeasured = machine.lanes, machine._replace(lane_rates={})
    wanted = [usual * times for times in TIMES if usual * times <= demand.runs]
    fitting = [some for some in wanted if lanes_on(card, unmeasured._replace(lanes=some), configuration, shape) == some]
    kind = size_class(trainable_parameters(configuration.network, shape))
    known = machine.lane_rates.get(card.kind, {}).get(kind, {})
    if len(fitting) < 2 or max(known, default=0) >= fitting[-1] or is_over(known):
        return None
    options = {
        "--gpu": card.uuid, "--host": demand.host, "--lanes": ",".join(map(str, fitting)),
        "--images": ",".join(map(str, demand.images)), "--configuration": msgspec.json.encode(configuration).decode(),
        "--shape": msgspec.json.encode(shape).decode(),
    }  # fmt: skip
    words = [f"{name}={value}" for name, value in options.items()]
    return child_process.tool("engine.training.lane_speed", *words)


def is_over(rates: Mapping[int, float]) -> bool:
    """Say whether the largest number of lanes that was tried did not fit, or gained too little to try more."""
    *fewer, last = sorted(rates) or [0]
    return bool(fewer) and rates[last] < GAIN * max(rates[lanes] for lanes in fewer)


def read(machine: Machine) -> Mapping[str, Mapping[int, LaneRates]]:
    """Return what is known of this machine's kinds of cards."""
    found = {}
    for kind in {card.kind for card in machine.gpus}:
        with contextlib.suppress(OSError, RuntimeError):
            found[kind] = json_file.read(_path(kind), dict[int, LaneRates]) or {}
    return found


def write(kind: str, rates: Mapping[int, Mapping[int, float]]) -> None:
    """Remember what was measured on a kind of card; without it, the next host measures again."""
    with contextlib.suppress(OSError, RuntimeError):
        json_file.write(_path(kind), dict(rates))


def _path(kind: str) -> Path:
    about = f"{kind} {system.version('jax')} {NUMERICS_VERSION}"
    return cache_folder("gpu") / f"lanes-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
