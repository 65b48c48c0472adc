"""Configurations side by side: which ones, their differences, and whether these are significant. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import msgspec

from engine.core.options import LISTED, Option
from engine.core.spec import IN_LABEL, Configuration, Convolution, OwnModel
from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.analysis.metrics import metric_named
from svhn_tui.analysis.progress import progress_of, shown_of
from svhn_tui.analysis.statistics import Comparison, Summary, pairwise, summary_of
from svhn_tui.client.state import State
from svhn_tui.presets import Presets, Question

MOST = 8
"""Most configurations that are compared at once."""
NAMES = {"hidden": "hidden layers", "optimizer": "optimizer", "trainer": "trained by"}


class Side(msgspec.Struct, frozen=True):
    """One configuration of a comparison, with its finished runs; `runs` are all that are asked for."""

    configuration: Configuration
    runs: tuple[str, ...]
    results: tuple[RunResult, ...]
    parameters: int
    data: str = ""
    """Fingerprint of the data set of its runs."""
    name: str = ""
    """The settings that distinguish it from the other sides."""

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Test accuracy of each finished run."""
        return tuple(result.test_accuracy for result in self.results if result.test_accuracy is not None)

    @property
    def bests(self) -> tuple[float, ...]:
        """Best test accuracy of each finished run, whatever the epoch."""
        return tuple(best for result in self.results if (best := result.best_test_accuracy) is not None)

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric over the finished runs, after the last epoch."""
        return metric_named(metric).mean(self.results)

    @property
    def gap(self) -> float | None:
        """Train minus test accuracy, the mean over runs."""
        return self.mean("gap")

    @property
    def seconds(self) -> float | None:
        """Mean training time of a run, in seconds."""
        return fmean(run.seconds for run in self.results) if self.results else None

    @property
    def convergence(self) -> str:
        """Whether the curves still move at their end, in a word."""
        known = [run for run in self.results if run.slope is not None and run.slope_error is not None]
        if not known:
            return "–"
        error = fmean(run.slope_error or 0.0 for run in known) / len(known) ** 0.5
        return trend(fmean(run.slope or 0.0 for run in known), error)


class AccuracySample(NamedTuple):
    """The test accuracies of runs that belong together, after the last epoch and at their best."""

    name: str
    accuracies: tuple[float, ...]
    bests: tuple[float, ...] = ()


class Findings(msgspec.Struct, frozen=True):
    """A summary of each group (None without a run), and each comparison in words with its figures."""

    summaries: tuple[Summary | None, ...] = ()
    bests: tuple[Summary | None, ...] = ()
    verdicts: tuple[tuple[str, Comparison], ...] = ()


def sides_of_runs(runs: Iterable[str], state: State) -> tuple[Side, ...]:
    """Group chosen runs by configuration and data; runs that are not known yet are left out."""
    groups: dict[tuple[Configuration, str], list[str]] = {}
    for run_id in runs:
        spec = state.results[run_id].spec if run_id in state.results else None
        spec = state.live[run_id].spec if spec is None and run_id in state.live else spec
        if spec is not None:
            groups.setdefault((spec.configuration, spec.data), []).append(run_id)
    return tuple(_side(configuration, ids, state, data) for (configuration, data), ids in groups.items())


def sides_chosen(runs: Iterable[str], state: State) -> tuple[Side, ...]:
    """Return the sides that the user chose: configurations, or the seeds of a single one against each other."""
    sides = sides_of_runs(runs, state)
    if len(sides) != 1:
        return sides
    (side,) = sides
    return tuple(_side(side.configuration, (result.run_id,), state, side.data) for result in side.results)


def sides_of_question(question: Question, book: Presets, state: State) -> tuple[Side, ...]:
    """Return the configurations of a question, in its order; with other runs while there is none as asked."""
    progress = progress_of(question, book, state)
    data = progress.sweep.data if progress.sweep else ""
    return tuple(_side(row.configuration, row.runs, state, data) for row in shown_of(progress, state).rows)


def most_complete(questions: Sequence[Question], book: Presets, state: State) -> Question | None:
    """Return the question with the most finished runs, the first of equals; runs with other settings count after."""

    def share(question: Question) -> tuple[float, float]:
        progress = progress_of(question, book, state)
        rows = shown_of(progress, state).rows
        return progress.done / max(1, progress.needed), sum(bool(row.done) for row in rows) / max(1, len(rows))

    return max(questions, key=share, default=None)


def settings_that_differ(configurations: Sequence[Configuration]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each setting that differs: its name, and its value in each configuration."""
    differing = []
    for part in ("network", "training"):
        values = [getattr(configuration, part) for configuration in configurations]
        fields: tuple[str, ...] = values[0].__struct_fields__ if values else ()
        for field in fields:
            column = [getattr(value, field) for value in values]
            if any(value != column[0] for value in column):
                differing.append((NAMES.get(field, field.replace("_", " ")), tuple(map(_setting, column))))
    return (*differing, *_recorded_that_differ(configurations))


def _recorded_that_differ(configurations: Sequence[Configuration]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the settings in which recorded configurations differ."""
    known = [dict(some.recorded.settings) if some.recorded else {} for some in configurations]
    for name in dict.fromkeys(name for settings in known for name in settings):
        column = tuple(words.clean(settings.get(name, "–")) for settings in known)
        if len(set(column)) > 1:
            yield NAMES.get(name, name.replace("_", " ")), column


def names_of_sides(sides: Sequence[Side]) -> tuple[str, ...]:
    """Return the shortest distinct names of sides; runs of one configuration are named by their seeds.

    With several data sets, each name ends with that of its data set.
    """
    if len({side.data for side in sides}) > 1:
        configurations = tuple(dict.fromkeys(side.configuration for side in sides))
        labels = dict(zip(configurations, names_of(configurations), strict=True))
        called = data_names(run for side in sides for run in side.results)
        return tuple(f"{labels[side.configuration]} on {called.get(side.data, side.data)}" for side in sides)
    if len({side.configuration for side in sides}) == 1 < len(sides):
        if len({side.results[0].spec.seed for side in sides}) < len(sides):  # recorded without a seed
            return tuple(f"run {side.results[0].run_id}" for side in sides)
        return tuple(f"seed {side.results[0].spec.seed}" for side in sides)
    return names_of([side.configuration for side in sides])


def names_of(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the shortest distinct names of configurations: their only differing setting, or their labels."""
    differing = settings_that_differ(configurations)
    if len(differing) == 1 and differing[0][0] in ("hidden layers", "activation"):
        return differing[0][1]
    labels = [configuration.label for configuration in configurations]
    networks = [configuration.network_label for configuration in configurations]
    shortest = networks if len(set(networks)) == len(networks) else labels
    return _numbered(shortest)


def findings_of(groups: Sequence[AccuracySample]) -> Findings:
    """Summarise and compare named accuracies. Imports SciPy: not for the thread that answers keys."""
    return Findings(
        tuple(summary_of(group.accuracies) if group.accuracies else None for group in groups),
        tuple(summary_of(group.bests) if group.bests else None for group in groups),
        pairwise([(group.name, group.accuracies) for group in groups]),
    )


def full_names_of(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Name configurations by their networks and the other settings that they do not share."""
    others = (option for option in LISTED.values() if option.name not in IN_LABEL)
    differing = [option for option in others
                 if len({option.read(some) for some in configurations if _is_set_by(some, option)}) > 1]  # fmt: skip
    names = [
        [f"{option.title} {_in_name(option.read(some))}" for option in differing if _is_set_by(some, option)]
        for some in configurations
    ]
    return _numbered([" ".join([some.network_label, *more]) for some, more in zip(configurations, names, strict=True)])


def shared_settings(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the shared settings that differ from the defaults, which `full_names_of` leaves out."""
    shared = []
    for option in (option for option in LISTED.values() if option.name not in IN_LABEL):
        values = {option.read(some) for some in configurations if _is_set_by(some, option)}
        if len(values) == 1 and (value := values.pop()) != option.default:
            shared.append(f"{option.title} {_in_name(value)}")
    return tuple(shared)


def _is_set_by(configuration: Configuration, option: Option) -> bool:
    """Say whether an option applies to a configuration: a model file sets the network itself."""
    return option.part == "training" or configuration.network.model is None


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Append numbers to equal names, whose configurations differ in settings that no name includes."""
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name} ({index})" for index, name in enumerate(names, start=1))


def trend(slope: float, error: float) -> str:
    """Say in a word whether a curve still moves: its slope against two standard errors."""
    if abs(slope) <= 2 * error:
        return "flat"
    return "still rising" if slope > 0 else "falling"


def _side(configuration: Configuration, runs: Sequence[str], state: State, data: str) -> Side:
    results = tuple(state.results[run_id] for run_id in runs if run_id in state.results)
    recorded = configuration.recorded
    parameters = recorded.trainable_parameters if recorded else state.about(data).parameters_of(configuration.network)
    return Side(configuration, tuple(runs), results, parameters, data)


def data_names(results: Iterable[RunResult]) -> dict[str, str]:
    """Return the name of each data set by its fingerprint; the fingerprint itself if the name is shared or unknown."""
    called: dict[str, str] = {}
    for run in results:
        if called.get(run.spec.data, run.spec.data) == run.spec.data:
            called[run.spec.data] = run.data_name or run.spec.data
    names = list(called.values())
    return {data: name if names.count(name) == 1 else data for data, name in called.items()}


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, OwnModel):
        return value.label
    if value is None:
        return "none"
    if isinstance(value, tuple):
        items = (layer.filters if isinstance(layer, Convolution) else layer for layer in value)
        return (" " if value and isinstance(value[0], Convolution) else ", ").join(map(_in_name, items)) or "none"
    return words.number(value) if isinstance(value, float) else str(value)


def _in_name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else _setting(value)
