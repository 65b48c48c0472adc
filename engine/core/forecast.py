"""Forecasts of how long a run takes, from measured epochs. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from statistics import harmonic_mean, median

import msgspec

from engine.core.data_shape import DataShape, Shape
from engine.core.epoch_time import EpochTime
from engine.core.layers import trainable_parameters
from engine.core.spec import Configuration

RECENT = 5
"""Number of latest epoch times of a configuration; its figure is their median."""
KINDS = 200
"""Number of networks whose times are stored, those measured last."""
START_SECONDS = 1.0
"""Seconds of a run besides its epochs, for initial weights and its files; its worker runs already."""
SECONDS_AN_IMAGE = 1.5e-6
SECONDS_A_PARAMETER_AND_IMAGE = 3e-11
"""Default before anything was measured: two cores of a server of 2023."""


def cost(configuration: Configuration, train_images: int, shape: DataShape) -> float:
    """Return the seconds an epoch would take on the machine that the constants were measured on."""
    parameters = trainable_parameters(configuration.network, shape)
    smaller_batches = 32 / configuration.training.batch_size
    return train_images * (SECONDS_AN_IMAGE + parameters * SECONDS_A_PARAMETER_AND_IMAGE * smaller_batches)


class Forecast:
    """How long runs on a data set will take, on one kind of card or on several. Replaced when more is measured."""

    def __init__(
        self,
        times: Iterable[EpochTime],
        train_images: int,
        shape: DataShape,
        devices: Collection[str] = (),
    ) -> None:
        """Select the times of the devices that train now; where none of them was measured, of the one measured last.

        Args:
            times: the newest last.
            train_images: of the data set.
            shape: of its images.
            devices: names of the devices that train, as workers report them.
        """
        self._size = (train_images, shape)
        times = tuple(time for time in times if not time.inputs or time.inputs == shape.inputs)
        wanted = set(map(_kind, devices)) & {_kind(time.device) for time in times}
        wanted = wanted or {_kind(time.device) for time in times[-1:]}
        measured: dict[Configuration, dict[str, dict[int, list[float]]]] = {}
        for time in times:
            if (kind := _kind(time.device)) in wanted:
                lanes = measured.setdefault(essence(time.configuration), {}).setdefault(kind, {})
                lanes.setdefault(time.lanes, []).append(time.seconds * train_images / time.train_images)
        self._known = measured
        self._costs = {configuration: cost(configuration, *self._size) for configuration in measured}

    def is_measured(self, configuration: Configuration) -> bool:
        """Say whether this very network was measured, so that nothing is inferred from others."""
        return essence(configuration) in self._known

    def epoch_seconds(self, configuration: Configuration, runs: int = 1) -> float:
        """Return the seconds of the whole machine that one epoch of one run takes.

        The same network's own time is scaled by the number of images; else the measured times of others correct the
        cost model, by the network nearest in cost.

        Args:
            configuration: what is trained.
            runs: how many of it there are: a card trains them side by side.
        """
        alike = essence(configuration)
        if alike in self._known:
            return self._measured(alike, runs)
        expected = cost(configuration, *self._size)
        if not self._costs:
            return expected
        nearest = min(self._costs, key=lambda some: abs(self._costs[some] - expected))
        return expected * self._measured(nearest, runs) / self._costs[nearest]

    def run_seconds(self, configuration: Configuration, runs: int = 1) -> float:
        """Return the seconds of the whole machine that a run takes from start to file, being one of so many."""
        return START_SECONDS + configuration.training.epochs * self.epoch_seconds(configuration, runs)

    def total_seconds(self, configurations: Iterable[Configuration]) -> float:
        """Return the seconds of the whole machine that these runs take together."""
        return sum(runs * self.run_seconds(some, runs) for some, runs in Counter(configurations).items())

    def _measured(self, configuration: Configuration, runs: int) -> float:
        """Return what was measured with about as many lanes; of unlike cards the rates add up."""
        each = []
        for by_lanes in self._known[configuration].values():
            nearest = min(by_lanes, key=lambda lanes: (abs(lanes - runs), lanes))
            each.append(median(by_lanes[nearest]))
        return harmonic_mean(each)


class EpochTimes:
    """The newest few epoch times of each network on a device, by size of data and lanes."""

    def __init__(self, times: Iterable[EpochTime]) -> None:
        self._alike: dict[tuple[Configuration, int, str, Shape, int], tuple[EpochTime, ...]] = {}
        for time in times:
            self.add(time)

    def add(self, time: EpochTime) -> None:
        """Add a time, which replaces the oldest of its kind."""
        key = (essence(time.configuration), time.train_images, time.device, time.inputs, time.lanes)
        known = self._alike.pop(key, ())
        self._alike[key] = (*known[-(RECENT - 1) :], time)
        if len(self._alike) > KINDS:
            del self._alike[next(iter(self._alike))]

    @property
    def times(self) -> tuple[EpochTime, ...]:
        """All stored times; of each kind the oldest first."""
        return tuple(time for known in self._alike.values() for time in known)

    @property
    def medians(self) -> tuple[EpochTime, ...]:
        """The median time of each kind."""
        return tuple(
            msgspec.structs.replace(known[-1], seconds=median(time.seconds for time in known))
            for known in self._alike.values()
        )


@lru_cache(10_000)
def essence(configuration: Configuration) -> Configuration:
    """Return what an epoch's time depends on: how many epochs there are and how large steps are does not count."""
    training = msgspec.structs.replace(configuration.training, epochs=1, learning_rate=1.0)
    return msgspec.structs.replace(configuration, training=training)


def _kind(device: str) -> str:
    """Return the kind of a card; all that trains on cores is of one."""
    return device if device.startswith("gpu") else ""
