"""What the lanes of this machine's cards, and of those elsewhere, proved to gain, as it is measured in training.

It is kept in the user's cache by kind of card and version of JAX, since all workspaces share it, for each class of
networks.
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

REMEMBERED = 200
"""Number of configurations whose own figures are stored, those measured last."""

Rates = dict[Annotated[int, msgspec.Meta(ge=1)], Annotated[float, msgspec.Meta(ge=0)]]


class LaneSpeeds:
    """How many seeds train best side by side, by kind of card."""

    def __init__(self, usual: int) -> None:
        """Begin with what is known.

        Args:
            usual: lanes where nothing was measured.
        """
        self._usual = usual
        self.most = usual if os.environ.get(LANES_VARIABLE) else MOST_TIMES * usual
        """Lanes of a group; as many as usual where the user chose their number."""
        self._classes: dict[str, dict[int, Rates]] = {}
        """By kind of card and size class of the network."""
        self._own: dict[tuple[str, Configuration, str], Rates] = {}
        """By kind of card, configuration and data: seeds a second, by lanes."""

    def wanted(self, kind: str, configuration: Configuration, data: DataSet, waiting: int) -> int:
        """Return how many seeds of a configuration are to train side by side on a kind of card.

        Args:
            kind: of the card, as its driver names it.
            configuration: to be trained.
            data: to train on.
            waiting: runs of the configuration for each card, counted as far as `most`.
        """
        parameters = trainable_parameters(configuration.network, data.shape)
        if not parameters or not kind or self.most == self._usual:
            return self._usual
        rates = self._known(kind).get(size_class(parameters), {})
        own = self._own.get((kind, essence(configuration), data.fingerprint), {})
        return next_lanes(rates, own, self._usual, waiting)

    def add(self, kind: str, configuration: Configuration, data: DataSet, lanes: int, seconds: float) -> None:
        """Record how many seconds an epoch of a group took that had its card for itself."""
        parameters, usual = trainable_parameters(configuration.network, data.shape), self._usual
        if not parameters or not kind or seconds <= 0 or lanes % usual or configuration.training.worker != "fast":
            return
        key = kind, essence(configuration), data.fingerprint
        own = self._own.pop(key, {})
        self._own[key] = own | {lanes: max(own.get(lanes, 0.0), lanes / seconds)}
        if len(self._own) > REMEMBERED:
            del self._own[next(iter(self._own))]
        size, classes = size_class(parameters), self._known(kind)
        before = classes.get(size, {})
        now = compared(before, self._own[key], usual)
        if len(now) > 1:
            classes[size] = now
            if now.keys() != before.keys() or fastest(now, usual) != fastest(before, usual):
                _write(kind, classes)

    def _known(self, kind: str) -> dict[int, Rates]:
        if kind not in self._classes:
            self._classes[kind] = _read(kind)
        return self._classes[kind]


def _read(kind: str) -> dict[int, Rates]:
    with contextlib.suppress(OSError, RuntimeError):
        return json_file.read(_path(kind), dict[int, Rates]) or {}
    return {}


def _write(kind: str, classes: dict[int, Rates]) -> None:
    """Remember what was measured on a kind of card; without it, the next host begins as usual."""
    with contextlib.suppress(OSError, RuntimeError):
        json_file.write(_path(kind), classes)


def _path(kind: str) -> Path:
    about = f"{kind} {system.version('jax')} {NUMERICS_VERSION}"
    return cache_folder("gpu") / f"lanes-{hashlib.sha256(about.encode()).hexdigest()[:16]}.json"
