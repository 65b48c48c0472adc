"""Chooses the number of cores for each run. Pure.

A small network gains nothing from a second thread, so as many runs as there are cores train side by side, each on a
core of its own; a large one is bound by memory and gets all cores. Where it was measured on this machine, each run
takes as many cores as proved best for the number of runs. No run gets more cores than other users leave free:
the threads of a run wait for each other several times a batch, so the slowest core decides.
"""

from collections.abc import Mapping
from typing import NamedTuple

from engine.core.data_shape import DataShape
from engine.core.layers import trainable_parameters
from engine.core.machine import Machine
from engine.core.spec import Configuration
from engine.scheduling.rates import GAIN, size_class

LARGE = 2_000_000
"""Trainable parameters from which a run takes all cores: between 256 and 1,024 hidden units (`svhn-tui bench`)."""
SMALL, HUGE = 2**18, 2**24
"""Trainable parameters between which the cores a run takes are worth a measurement."""
WORKER_BYTES = 1_500_000_000
"""Bytes of memory that a worker may need: JAX, the data, and the largest network of the assignment."""
ALIKE = 1 + 1e-9
"""A difference of times that is rounding: it makes none which runs come first."""
FEW = 4
"""Runs for each core beyond which their number makes no difference to what suits them."""


def cores_of(configuration: Configuration, machine: Machine, shape: DataShape, runs: int | None = None) -> int:
    """Return how many cores a run takes while so many runs train or wait; None: as many as there are cores."""
    parameters, cores = trainable_parameters(configuration.network, shape), len(machine.cores)
    free = max(1, cores - round(sum(machine.load.get(core, 0.0) for core in machine.cores)))
    most = cores if free == cores else 2 ** (free.bit_length() - 1)  # halves and quarters: slots that share no core
    usual = 1 if parameters < LARGE else most
    rates = machine.measured.get(size_class(parameters), {})
    waves = {
        count: Wave(side_by_side(machine, count), (cores // count) / (rate * (GAIN if count == usual else 1)))
        for count, rate in sorted(rates.items())
        if count <= most
    }
    times = _times(waves, _few(runs or cores, cores))
    least = min(times.values(), default=0.0)
    return next((count for count, seconds in times.items() if seconds <= least * ALIKE), usual)


class Wave(NamedTuple):
    """Runs that train side by side, each on as many cores."""

    runs: int
    seconds: float
    """A batch."""


def _few(runs: int, cores: int) -> int:
    """Return a number of runs, at most a few for each core, for which the same arrangement is best.

    Many more runs are as many more waves of the best kind: what is left for the last ones is what decides.
    """
    most = FEW * cores
    return runs if runs <= most else most - cores + runs % cores


def _times(waves: Mapping[int, Wave], runs: int) -> dict[int, float]:
    """Return how long so many runs take if the first ones have so many cores each, and the others as many as is best.

    All runs are as long as a batch. What is left at the end, fewer runs than cores, is trained on more cores each.
    """
    seconds_by_cores: dict[int, float] = {}
    best = [0.0]  # by the number of runs
    for left in range(1, runs + 1):
        seconds_by_cores = {count: wave.seconds + best[max(0, left - wave.runs)] for count, wave in waves.items()}
        best.append(min(seconds_by_cores.values(), default=0.0))
    return seconds_by_cores


def side_by_side(machine: Machine, count: int) -> int:
    """Return how many runs of so many cores each train at a time."""
    return max(1, min(len(machine.cores) // count, machine.memory // WORKER_BYTES))
