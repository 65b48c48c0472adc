"""The progress of a question: its finished and missing runs, and the forecast. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Literal

import msgspec

from engine.core import sweep as plan
from engine.core.forecast import Forecast
from engine.core.spec import Configuration, RunSpec, Training, setting_text
from engine.core.sweep import FinalistRule, Sweep
from engine.protocol import RunResult
from svhn_tui import words
from svhn_tui.client.state import Live, State
from svhn_tui.presets import Presets, Question

Status = Literal["done", "running", "partial", "missing", "diverged", "code", "evidence"]
MARKS: dict[Status, str] = {"done": "✓", "running": "◐", "partial": "◔", "missing": "○", "diverged": "✗", "code": "✓",
                            "evidence": "·"}  # fmt: skip


class Overrides(msgspec.Struct, frozen=True):
    """Settings that replace those of the question; such runs have other run_ids."""

    epochs: int | None = None
    seeds: int | None = None


class ProgressRow(msgspec.Struct, frozen=True):
    """One configuration of a question. Accuracies are those of its finished runs."""

    configuration: Configuration
    runs: tuple[str, ...]
    done: int
    accuracies: tuple[float, ...]
    parameters: int
    running: int
    diverged: tuple[int, ...]
    """Seeds of the finished runs that diverged, and of those in training that have."""
    seconds_left: float | None

    @property
    def needed(self) -> int:
        """The number of runs that are needed, as far as that is known."""
        return len(self.runs)

    @property
    def mean(self) -> float | None:
        """Mean of the test accuracies; None without a run."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the test accuracies; None below two runs."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None


class Progress(msgspec.Struct, frozen=True):
    """A question's state, derived from the workspace's."""

    question: Question
    status: Status
    rows: tuple[ProgressRow, ...]
    sweep: Sweep | None
    missing: tuple[RunSpec, ...]
    other: str = ""
    """Settings in which the runs of the rows differ from the question: `epochs 8 instead of 100`; empty without any."""

    @property
    def done(self) -> int:
        """Runs that are finished."""
        return sum(row.done for row in self.rows)

    @property
    def needed(self) -> int:
        """The number of runs that are needed, as far as that is known."""
        return sum(row.needed for row in self.rows)

    @property
    def seconds_left(self) -> float | None:
        """Forecast for all missing runs, in seconds; None while nothing was measured."""
        known = [row.seconds_left for row in self.rows if row.seconds_left is not None]
        return sum(known) if known else None


class TotalProgress(msgspec.Struct, frozen=True):
    """The progress of several questions together; runs that they share count once."""

    done: int
    needed: int
    seconds_left: float


def sweep_for(question: Question, book: Presets, state: State, overrides: Overrides) -> Sweep | None:
    """Return the sweep of a question on its data, with the settings of the overrides."""
    state = state.on(book.data_of(question))
    sweep = book.sweep(question, state.data.fingerprint if state.data else "")
    if sweep is None or overrides == Overrides():
        return sweep and state.as_chosen(sweep)
    configurations = sweep.configurations
    if overrides.epochs is not None:
        configurations = tuple(
            Configuration(some.network, msgspec.structs.replace(some.training, epochs=overrides.epochs))
            for some in configurations
        )
    seeds, finalists = sweep.seeds, sweep.finalists
    if overrides.seeds is not None:
        if finalists is None:
            seeds = tuple(range(overrides.seeds))
        else:  # the number of seeds applies to the second stage
            finalists = msgspec.structs.replace(finalists, seeds=tuple(range(overrides.seeds)))
            seeds = seeds[: overrides.seeds]
    return state.as_chosen(
        msgspec.structs.replace(sweep, configurations=configurations, seeds=seeds, finalists=finalists)
    )


def progress_of(question: Question, book: Presets, state: State, overrides: Overrides | None = None) -> Progress:
    """Return the progress of a question on its data."""
    state = state.on(book.data_of(question))
    sweep = sweep_for(question, book, state, overrides or Overrides())
    if sweep is None:
        status: Status = "code" if question.kind == "code" else "evidence"
        return Progress(question, status, (), None, ())
    runs: dict[Configuration, list[str]] = {configuration: [] for configuration in sweep.configurations}
    missing = []
    for spec in plan.asked(sweep, state.accuracies):
        run_id = spec.run_id
        runs[spec.configuration].append(run_id)
        if run_id not in state.results:
            missing.append(spec)
    forecast = state.forecast
    rows = tuple(_row(configuration, runs[configuration], state, forecast) for configuration in sweep.configurations)
    return Progress(question, _status(rows), rows, sweep, tuple(missing))


class OtherRuns(msgspec.Struct, frozen=True):
    """Runs of a question's networks on its data with other settings than it asks for."""

    training: Training
    """The training settings of these runs."""
    runs: tuple[tuple[str, ...], ...]
    """The runs of each configuration that are finished or in training, by seed."""
    other: str
    """Settings in which they differ from the question."""


def other_runs(sweep: Sweep, state: State) -> OtherRuns | None:
    """Return the most complete, then the newest set of finished runs with other settings, or else those in training.

    Table, curves, comparison and answer of a question show these while no run has the settings asked for.
    """
    networks = [configuration.network for configuration in sweep.configurations]

    def is_near(spec: RunSpec) -> bool:
        is_ours = spec.recording is None and spec.data == sweep.data
        return is_ours and spec.configuration.network in networks

    finished: dict[Training, list[RunResult]] = {}
    for layers in dict.fromkeys(some.hidden for some in networks):
        for result in state.results.by_layers.get(layers, ()):
            if is_near(result.spec):
                finished.setdefault(result.spec.configuration.training, []).append(result)
    begun = [live.spec for live in state.live.values() if is_near(live.spec)]
    if finished:
        training = max(finished, key=lambda some: _fullness(finished[some]))
    elif begun:
        training = begun[-1].configuration.training
    else:
        return None
    specs = [result.spec for result in finished.get(training, ())]
    specs += [spec for spec in begun if spec.configuration.training == training]
    specs.sort(key=lambda spec: spec.seed)
    runs = tuple(tuple(spec.run_id for spec in specs if spec.configuration.network == network) for network in networks)
    other = difference_of(training, sweep.configurations[0].training)
    return OtherRuns(training, runs, other or f"seed {specs[0].seed} instead of the first one")


def difference_of(given: Training, wanted: Training) -> str:
    """Return the settings that differ from the wanted ones: `epochs 8 instead of 100`."""
    names = [name for name in given.__struct_fields__ if getattr(given, name) != getattr(wanted, name)]
    values = ((name, *(setting_text(getattr(some, name)) for some in (given, wanted))) for name in names)
    return ", ".join(f"{name.replace('_', ' ')} {own} instead of {other}" for name, own, other in values)


def shown_of(progress: Progress, state: State) -> Progress:
    """Return the runs that a question shows: those with its settings, or while there are none those with other ones."""
    runs = (run_id for row in progress.rows for run_id in row.runs)
    is_known = any(run_id in state.results or state.is_to_come(run_id) for run_id in runs)
    if is_known or progress.sweep is None or (others := other_runs(progress.sweep, state)) is None:
        return progress
    state = state.about(progress.sweep.data)
    forecast = state.forecast
    rows = tuple(
        _row(Configuration(configuration.network, others.training), runs, state, forecast)
        for configuration, runs in zip(progress.sweep.configurations, others.runs, strict=True)
    )
    return msgspec.structs.replace(progress, rows=rows, other=others.other)


def _fullness(results: Sequence[RunResult]) -> tuple[int, int, float]:
    """Rank a set of runs: by the networks it covers, then by its runs, then by how new it is."""
    networks = {result.spec.configuration.network for result in results}
    return len(networks), len(results), max(result.finished_at for result in results)


def whole_of(progresses: Iterable[Progress], state: State) -> TotalProgress:
    """Add up the progress of questions; runs that train at the same time are waited for once."""
    asked: set[str] = set()
    missing: dict[str, RunSpec] = {}
    for progress in progresses:
        asked.update(run_id for row in progress.rows for run_id in row.runs)
        missing.update((spec.run_id, spec) for spec in progress.missing)
    running = [live.seconds_left or 0.0 for run_id in missing if (live := state.running.get(run_id))]
    waiting = [spec for run_id, spec in missing.items() if run_id not in state.running]
    return TotalProgress(len(asked) - len(missing), len(asked), max(running, default=0.0) + _seconds(waiting, state))


def rule_text(rule: FinalistRule) -> str:
    """State the rule by which finalists are chosen."""
    runs = f"get {len(rule.seeds)} runs"
    if rule.chosen:
        return f"{words.plural(len(rule.chosen), 'configuration')} chosen by hand {runs}."
    return (
        f"Configurations whose mean is at most {rule.standard_errors:g} standard errors of the difference below "
        f"the best {runs}: at least {rule.at_least}, at most {rule.at_most}."
    )


def with_finalists(sweep: Sweep, chosen: tuple[int, ...]) -> Sweep:
    """Return the sweep with these finalists; none means those of the rule."""
    if sweep.finalists is None:
        return sweep
    return msgspec.structs.replace(sweep, finalists=msgspec.structs.replace(sweep.finalists, chosen=chosen))


def cheapest_first(sweeps: Sequence[Sweep], state: State) -> list[Sweep]:
    """Sort sweeps by the forecast of their missing runs, so that the first answers come early."""
    return sorted(sweeps, key=lambda sweep: _seconds(plan.missing(sweep, state.accuracies), state))


def plan_text(sweeps: Sequence[Sweep], state: State) -> str:
    """Describe sweeps: `79 runs to train, 4 finished before, about 5 h 10 m; then up to 28 for the finalists`."""
    asked = {spec.run_id: spec for sweep in sweeps for spec in plan.asked(sweep, state.accuracies)}
    lacking = [spec for spec in asked.values() if spec.run_id not in state.accuracies]
    done, text = len(asked) - len(lacking), f"{words.plural(len(lacking), 'run')} to train"
    text += f", {done} finished before" if done else ""
    text += f", about {words.duration(_seconds(lacking, state))}" if lacking else ""
    open_finalists = sum(
        sweep.finalists.at_most * len(set(sweep.finalists.seeds) - set(sweep.seeds))
        for sweep in sweeps
        if sweep.finalists and not plan.finalists(sweep, state.accuracies)
    )
    return f"{text}; then up to {open_finalists} more for the finalists" if open_finalists else text


def _seconds(specs: Iterable[RunSpec], state: State) -> float:
    """Forecast runs, each on its data."""
    kinds = Counter((spec.data, spec.configuration) for spec in specs)
    known = {data: state.about(data).forecast for data, _ in kinds}
    return sum(runs * about.run_seconds(some, runs) for (data, some), runs in kinds.items() if (about := known[data]))


def _row(configuration: Configuration, runs: Sequence[str], state: State, forecast: Forecast | None) -> ProgressRow:
    finished = [state.results[run_id] for run_id in runs if run_id in state.results]
    running = [live for run_id in runs if (live := state.live.get(run_id)) and live.status == "running"]
    return ProgressRow(
        configuration=configuration,
        runs=tuple(runs),
        done=len(finished),
        accuracies=tuple(result.accuracy_or_nan for result in finished),
        parameters=state.parameters_of(configuration.network),
        running=len(running),
        diverged=(
            *(result.spec.seed for result in finished if result.diverged),
            *(live.spec.seed for live in running if live.history.diverged_at),
        ),
        seconds_left=_seconds_left(configuration, running, len(runs) - len(finished) - len(running), forecast),
    )


def _seconds_left(
    configuration: Configuration, running: Sequence[Live], waiting: int, forecast: Forecast | None
) -> float | None:
    """Add up the time that workers still need, whose runs end together, and the forecast of the waiting runs."""
    if forecast is None:
        return None
    left = {name: seconds for seconds, name in sorted((live.seconds_left or 0.0, live.worker) for live in running)}
    return sum(left.values()) + forecast.total_seconds([configuration] * waiting)


def _status(rows: Sequence[ProgressRow]) -> Status:
    done, needed = sum(row.done for row in rows), sum(row.needed for row in rows)
    if needed and done == needed:
        return "diverged" if any(row.diverged for row in rows) else "done"
    if any(row.running for row in rows):
        return "running"
    return "partial" if done else "missing"
