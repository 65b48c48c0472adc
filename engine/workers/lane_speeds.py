"""Measures in training how many lanes train most seeds a second on a kind of card.

For each class of network sizes the rates are stored in the user's cache, which all workspaces share, by kind of card
and version of JAX.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Annotated

import msgspec

from engine.core.forecast import essence
from engine.core.layers import trainable_parameters
from engine.core.spec import NUMERICS_VERSION, Configuration
from engine.machine import json_file, system
from engine.machine.devices import LANES_VARIABLE
from engine.machine.user_folders import cache_folder
from engine.protocol import DataSet
from engine.scheduling.lanes import MOST_TIMES, compared, fastest, next_lanes
from engine.scheduling.rates import size_class

MOST_CONFIGURATIONS = 200
"""Number of configurations whose own rates are held in memory, those measured last."""

Rates = dict[Annotated[int, msgspec.Meta(ge=1)], Annotated[float, msgspec.Meta(ge=0)]]
"""Rates by number of lanes."""


class LaneSpeeds:
    """How many seeds train best side by side, by kind of card.

    Args:
        usual: lanes where nothing was measured.
    """

    def __init__(self, usual: int) -> None:
        self._usual = usual
        self.most = usual if os.environ.get(LANES_VARIABLE) else MOST_TIMES * usual
        """Lanes of a group; as many as usual where the user chose their number."""
        self._by_size: dict[str, dict[int, Rates]] = {}
        """Rates relative to the usual lanes, by kind of card and size class of the network."""
        self._by_configuration: dict[tuple[str, Configuration, str], Rates] = {}
        """Seeds a second, by kind of card, configuration and data."""

    def wanted(self, kind: str, configuration: Configuration, data: DataSet, waiting: int) -> int:
        """Return how many seeds of a configuration the next group on a kind of card has.

        Args:
            kind: the card's name in its driver; empty without a GPU.
            configuration: to be trained.
            data: to train on.
            waiting: runs of the configuration for each card, counted as far as `most`.
        """
        if not kind or self.most == self._usual:
            return self._usual
        if not (parameters := trainable_parameters(configuration.network, data.shape)):
            return self._usual
        rates = self._known(kind).get(size_class(parameters), {})
        own = self._by_configuration.get((kind, essence(configuration), data.fingerprint), {})
        return next_lanes(rates, own, self._usual, waiting)

    def add(self, kind: str, configuration: Configuration, data: DataSet, lanes: int, seconds: float) -> None:
        """Record how many seconds an epoch of a group took that had its card to itself."""
        usual = self._usual
        if not kind or seconds <= 0 or lanes % usual or configuration.training.worker != "fast":
            return
        if not (parameters := trainable_parameters(configuration.network, data.shape)):
            return
        key = kind, essence(configuration), data.fingerprint
        own = self._by_configuration.pop(key, {})
        self._by_configuration[key] = own | {lanes: max(own.get(lanes, 0.0), lanes / seconds)}
        if len(self._by_configuration) > MOST_CONFIGURATIONS:
            del self._by_configuration[next(iter(self._by_configuration))]
        size, classes = size_class(parameters), self._known(kind)
        before = classes.get(size, {})
        now = compared(before, self._by_configuration[key], usual)
        if len(now) > 1:
            classes[size] = now
            if now.keys() != before.keys() or fastest(now, usual) != fastest(before, usual):
                _write(kind, classes)

    def _known(self, kind: str) -> dict[int, Rates]:
        if kind not in self._by_size:
            self._by_size[kind] = _read(kind)
        return self._by_size[kind]


def _read(kind: str) -> dict[int, Rates]:
    with contextlib.suppress(OSError, RuntimeError):
        return json_file.read(_path(kind), dict[int, Rates]) or {}
    return {}


def _write(kind: str, classes: dict[int, Rates]) -> None:
    """Store the rates of a kind of card; where that fails, the next host begins with the usual lanes."""
    with contextlib.suppress(OSError, RuntimeError):
        json_file.write(_path(kind), classes)


def _path(kind: str) -> Path:
    about = f"{kind} {system.version('jax')} {NUMERICS_VERSION}"
    return cache_folder("gpu") / f"lanes-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
