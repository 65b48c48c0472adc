"""Sweeps: which runs they ask for, and which of these are missing. Pure; host and screen use the same code."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, variance

import msgspec

from engine.core.spec import Configuration, RunSpec, Value, short_hash


class FinalistRule(Value, frozen=True):
    """Which configurations enter the second stage: all whose mean is not clearly below the best one.

    Clearly below means by more than `standard_errors` standard errors of the difference of the two means. The best
    `at_least` always continue and never more than `at_most`; `chosen` (indices of configurations) overrides the rule.
    """

    seeds: tuple[int, ...]
    """All seeds of the second stage; those of the first stage count."""
    standard_errors: float = 2.0
    at_least: int = 2
    at_most: int = 4
    chosen: tuple[int, ...] = ()


class Sweep(Value, frozen=True):
    """Configurations times seeds on one data set, with a second stage for the finalists if there is a rule."""

    title: str
    data: str
    """Fingerprint of the data set."""
    configurations: tuple[Configuration, ...]
    seeds: tuple[int, ...]
    finalists: FinalistRule | None = None

    @property
    def sweep_id(self) -> str:
        """Equal sweeps have equal names, so submitting one twice trains it once."""
        return short_hash(self)


def is_other_choice(one: Sweep, other: Sweep) -> bool:
    """Say whether two different sweeps differ in the finalists chosen by hand alone; the later one counts then."""
    return one != other and _by_rule(one) == _by_rule(other)


def _by_rule(sweep: Sweep) -> Sweep:
    if sweep.finalists is None or not sweep.finalists.chosen:
        return sweep
    return msgspec.structs.replace(sweep, finalists=msgspec.structs.replace(sweep.finalists, chosen=()))


def runs_of(configuration: Configuration, seeds: Iterable[int], data: str) -> tuple[RunSpec, ...]:
    """Return one run a seed."""
    return tuple(RunSpec(configuration, seed, data) for seed in seeds)


def asked(sweep: Sweep, accuracies: Mapping[str, float]) -> tuple[RunSpec, ...]:
    """Return every run that the sweep asks for as far as it is known, the first stage first.

    Args:
        sweep: the sweep.
        accuracies: test accuracy of each finished run, by run_id; the second stage is known once it has the first's.
    """
    first = tuple(
        spec for configuration in sweep.configurations for spec in runs_of(configuration, sweep.seeds, sweep.data)
    )
    second: tuple[RunSpec, ...] = ()
    if sweep.finalists is not None:
        seen = {spec.run_id for spec in first}
        second = tuple(
            spec
            for index in finalists(sweep, accuracies)
            for spec in runs_of(sweep.configurations[index], sweep.finalists.seeds, sweep.data)
            if spec.run_id not in seen
        )
    return first + second


def missing(sweep: Sweep, accuracies: Mapping[str, float]) -> tuple[RunSpec, ...]:
    """Return what is asked for and not finished."""
    return tuple(spec for spec in asked(sweep, accuracies) if spec.run_id not in accuracies)


def finalists(sweep: Sweep, accuracies: Mapping[str, float]) -> tuple[int, ...]:
    """Return the indices of the configurations that continue, best first; empty while the first stage is incomplete.

    Ties in the mean go to the earlier configuration, so every process names the same finalists.
    """
    rule = sweep.finalists
    if rule is None:
        return ()
    if rule.chosen:
        return tuple(index for index in rule.chosen if index < len(sweep.configurations))
    values = [_accuracies_of(sweep, configuration, accuracies) for configuration in sweep.configurations]
    if any(len(some) < len(sweep.seeds) for some in values):
        return ()
    ranked = sorted(range(len(values)), key=lambda index: (-fmean(values[index]), index))
    best = values[ranked[0]]
    near = [index for index in ranked if not _is_clearly_below(values[index], best, rule.standard_errors)]
    far = [index for index in ranked if index not in near]
    return tuple(near[: rule.at_most] + far[: max(0, rule.at_least - len(near))])


def _accuracies_of(sweep: Sweep, configuration: Configuration, accuracies: Mapping[str, float]) -> list[float]:
    ids = (spec.run_id for spec in runs_of(configuration, sweep.seeds, sweep.data))
    return [accuracies[run_id] for run_id in ids if run_id in accuracies]


def _is_clearly_below(values: Sequence[float], best: Sequence[float], standard_errors: float) -> bool:
    difference = fmean(best) - fmean(values)
    if len(values) < 2 or len(best) < 2:
        return False  # one run says nothing about the spread
    error = math.sqrt(variance(best) / len(best) + variance(values) / len(values))
    return difference > standard_errors * error
