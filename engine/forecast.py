"""How long a run will take, from what was measured. Pure."""

from collections.abc import Iterable, Sequence
from statistics import median

import msgspec

from engine.protocol import EpochTime
from engine.spec import Configuration, trainable_parameters

RECENT = 5
"""Epochs of a configuration that its figure is the median of."""
START_SECONDS = 1.0
"""What a run costs besides its epochs: fresh weights and writing its files, the worker being warm."""
SECONDS_AN_IMAGE = 1.5e-6
SECONDS_A_PARAMETER_AND_IMAGE = 3e-11
"""Before anything was measured: two cores of a server of 2023."""


def cost(configuration: Configuration, train_images: int, input_shape: tuple[int, int, int]) -> float:
    """Return the seconds an epoch would take on the machine that the constants were measured on."""
    parameters = trainable_parameters(configuration.network, input_shape)
    smaller_batches = 32 / configuration.training.batch_size
    return train_images * (SECONDS_AN_IMAGE + parameters * SECONDS_A_PARAMETER_AND_IMAGE * smaller_batches)


def epoch_seconds(
    configuration: Configuration,
    train_images: int,
    input_shape: tuple[int, int, int],
    times: Sequence[EpochTime],
) -> float:
    """Return the seconds of the whole machine that one epoch of one run takes.

    The same network's own time is scaled by the number of images; else the measured times of others correct the
    cost model, the network nearest in cost having the word.
    """
    own = [time for time in times if is_like(time.configuration, configuration)]
    if own:
        return median(time.seconds * train_images / time.train_images for time in own)
    expected = cost(configuration, train_images, input_shape)
    if not times:
        return expected
    nearest = min(times, key=lambda time: abs(cost(time.configuration, train_images, input_shape) - expected))
    known = epoch_seconds(nearest.configuration, train_images, input_shape, times)
    return expected * known / cost(nearest.configuration, train_images, input_shape)


def run_seconds(
    configuration: Configuration,
    train_images: int,
    input_shape: tuple[int, int, int],
    times: Sequence[EpochTime],
) -> float:
    """Return the seconds of the whole machine that a run takes from start to file."""
    each = epoch_seconds(configuration, train_images, input_shape, times)
    return START_SECONDS + configuration.training.epochs * each


def with_time(times: Iterable[EpochTime], measured: EpochTime) -> tuple[EpochTime, ...]:
    """Return the times with this one; the newest few of a network on a device and size of data are kept."""
    same = [time for time in times if _key(time) == _key(measured)]
    others = [time for time in times if _key(time) != _key(measured)]
    return (*others, *same[-(RECENT - 1) :], measured)


def is_like(one: Configuration, other: Configuration) -> bool:
    """Say whether an epoch of both costs the same: how many epochs and how large steps are does not count."""
    return _essence(one) == _essence(other)


def _essence(configuration: Configuration) -> Configuration:
    training = msgspec.structs.replace(configuration.training, epochs=1, learning_rate=1.0)
    return msgspec.structs.replace(configuration, training=training)


def _key(time: EpochTime) -> tuple[Configuration, int, str]:
    return _essence(time.configuration), time.train_images, time.device
