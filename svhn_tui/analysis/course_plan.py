"""The effort that a set of questions asks of students: runs, hours and sizes of files. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from engine.core import sweep as plan
from engine.core.compilation import data_problem
from engine.core.epoch_time import EpochTime
from engine.core.forecast import Forecast
from engine.core.layers import shape_problem, trainable_parameters
from engine.core.spec import Configuration, OwnModel, Training
from engine.protocol import DataSet
from svhn_tui.presets import Presets, Question

BYTES = 4
"""Size of a weight in bytes: float32."""


class CourseFacts(msgspec.Struct, frozen=True):
    """Facts beside the questions."""

    data: Mapping[str, DataSet] = {}
    """Data sets by the name that questions use; empty: the one in use."""
    parameters: Mapping[tuple[OwnModel, str], int] = {}
    """Parameters of own models that could be built, for the data of this name."""
    times: tuple[EpochTime, ...] = ()


class QuestionPlan(msgspec.Struct, frozen=True):
    """The effort of a question; the runs are those it would need alone."""

    question: str
    kind: str
    title: str
    points: int
    data: str
    configurations: int
    fewest_runs: int
    most_runs: int


class FileSize(msgspec.Struct, frozen=True):
    """A trained file to hand in; None where the network's size is not known without data or a trial."""

    question: str
    file: str
    limit_mib: float | None
    parameters: int | None
    weights_mib: float | None
    """Without the optimizer's state, which export leaves out where the limit asks for it."""
    whole_mib: float | None


class Hours(msgspec.Struct, frozen=True):
    """How long all distinct runs take on one kind of machine, as far as that is known."""

    fewest_seconds: float
    most_seconds: float
    unknown_runs: int
    """Greatest number of runs whose network was not measured and which no formula covers."""
    is_measured: bool


class CoursePlan(msgspec.Struct, frozen=True):
    """The effort of all questions together."""

    questions: tuple[QuestionPlan, ...]
    fewest_runs: int
    most_runs: int
    files: tuple[FileSize, ...]
    cpu: Hours
    gpu: Hours | None
    """Hours on a GPU; None where nothing was measured on one."""


class DataConfiguration(NamedTuple):
    """A configuration on a data set."""

    configuration: Configuration
    data: str


Counts = Counter[DataConfiguration]
"""Numbers of runs."""


def plan_of(book: Presets, given: CourseFacts) -> CoursePlan:
    """Work out what a course asks for."""
    asked = tuple(_asked(book, question) for question in book.questions)
    first, second = _distinct(book)
    on_gpu = tuple(time for time in given.times if time.device.startswith("gpu"))
    on_cpu = tuple(time for time in given.times if not time.device.startswith("gpu"))
    extra = [_fewest_and_most(book, question, counts) for question, counts in second.items()]
    runs = first.total()
    return CoursePlan(
        asked,
        runs + sum(some.total() for some, _ in extra),
        runs + sum(some.total() for _, some in extra),
        tuple(_file(book, question, given) for question in book.questions
              if question.upload is not None and question.kind == "training" and question.networks),
        _hours(first, extra, given, on_cpu),
        _hours(first, extra, given, on_gpu) if on_gpu else None,
    )  # fmt: skip


def problems(book: Presets, given: CourseFacts, name: str) -> Iterable[str]:
    """Yield conflicts with the data, or with the limits of uploads."""
    for index, question in enumerate(book.questions):
        where, data = f"{name}, questions[{index}] ({question.id})", given.data.get(book.data_of(question))
        if problem := _lacking(question):
            yield f"{where}.{problem}"
        sentences = [data_problem(some.training, data.train_images, len(data.labels))
                 for some in book.configurations(question)] if data is not None else []  # fmt: skip
        yield from (f"{where}.training: {problem}" for problem in dict.fromkeys(sentences) if problem)
    yield from dict.fromkeys(
        f"{name}, networks[{label!r}].{problem}"
        for question in book.questions if (data := given.data.get(book.data_of(question))) is not None
        for label in question.networks if (problem := shape_problem(book.networks[label], data.shape))
    )  # fmt: skip
    paths = {question.id: f"questions[{index}] ({question.id})" for index, question in enumerate(book.questions)}
    for file in plan_of(book, given).files:
        if file.limit_mib is not None and file.weights_mib is not None and file.weights_mib > file.limit_mib:
            yield (
                f"{name}, {paths[file.question]}.upload.limit_mib: the weights of {file.parameters:,} parameters "
                f"alone take {file.weights_mib:.2f} MiB, and the limit is {file.limit_mib:g}; raise it, or take a "
                "smaller network."
            )


def _lacking(question: Question) -> str:
    """Return the missing field without which a question asks for nothing, and why; empty if there is none."""
    is_trained = question.kind == "training" or (question.answer is not None and question.answer.format != "file")
    if question.kind == "answer" and question.answer is None:
        return "answer: missing; `format` says how the answer is written."
    if is_trained and not question.networks:
        return "networks: missing; name the networks that are trained."
    if is_trained and not question.seeds:
        return "seeds: missing; each of them is a run of each network."
    return ""


def _asked(book: Presets, question: Question) -> QuestionPlan:
    sweep = book.sweep(question, "")
    configurations = book.configurations(question)
    fewest = most = len(plan.asked(sweep, {})) if sweep is not None else 0
    if sweep is not None and sweep.finalists is not None:
        more, rule = len(set(sweep.finalists.seeds) - set(sweep.seeds)), sweep.finalists
        count = len(rule.chosen)
        fewest += more * (count or min(rule.at_least, len(configurations)))
        most += more * (count or min(rule.at_most, len(configurations)))
    kind, data = question.kind, book.data_of(question)
    return QuestionPlan(question.id, kind, question.title, question.points, data, len(configurations), fewest, most)


def _distinct(book: Presets) -> tuple[Counts, dict[str, Counts]]:
    """Count the runs that are needed in any case, and by question those of finalists besides."""
    seen: set[tuple[DataConfiguration, int]] = set()
    sweeps = {some.id: sweep for some in book.questions if (sweep := book.sweep(some, book.data_of(some))) is not None}
    for sweep in sweeps.values():
        seen |= {(DataConfiguration(some, sweep.data), seed) for some in sweep.configurations for seed in sweep.seeds}
    first = Counter(wanted for wanted, _ in seen)
    second: dict[str, Counts] = {}
    for name, sweep in sweeps.items():
        rule = sweep.finalists
        if rule is not None and book.question(name).networks:
            each = [DataConfiguration(some, sweep.data) for some in sweep.configurations]
            second[name] = Counter({some: sum((some, seed) not in seen for seed in rule.seeds) for some in each})
    return first, second


def _fewest_and_most(book: Presets, name: str, counts: Counts) -> tuple[Counts, Counts]:
    """Return the numbers of finalists' runs, for the fewest and for the most finalists."""
    rule = book.question(name).finalists
    assert rule is not None
    each = list(counts)
    if rule.chosen:
        chosen = Counter({each[index]: counts[each[index]] for index in rule.chosen if index < len(each)})
        return chosen, chosen
    sized = sorted(each, key=lambda some: (counts[some], sum(some.configuration.network.hidden)))
    fewest, most = sized[: rule.at_least], sized[-rule.at_most :]
    return Counter({some: counts[some] for some in fewest}), Counter({some: counts[some] for some in most})


def _hours(
    first: Counts,
    extra: list[tuple[Counts, Counts]],
    given: CourseFacts,
    times: tuple[EpochTime, ...],
) -> Hours:
    forecasts = {name: Forecast(times, data.train_images, data.shape) for name, data in given.data.items()}

    def seconds(key: DataConfiguration, runs: int) -> float | None:
        forecast, network = forecasts.get(key.data), key.configuration.network
        if forecast is None or not runs:
            return None if runs else 0.0
        is_dense = network.model is None and not network.convolutions
        if not is_dense and not forecast.is_measured(key.configuration):
            return None
        return runs * forecast.run_seconds(key.configuration, runs)

    def total(counts: Counts) -> float:
        return sum(seconds(some, runs) or 0.0 for some, runs in counts.items())

    fewest = first + sum((some for some, _ in extra), Counter())
    most = first + sum((some for _, some in extra), Counter())
    unknown = sum(runs for some, runs in most.items() if seconds(some, runs) is None)
    return Hours(total(fewest), total(most), unknown, bool(times))


def _file(book: Presets, question: Question, given: CourseFacts) -> FileSize:
    assert question.upload is not None
    configuration, name = book.configurations(question)[0], book.data_of(question)
    model, data = configuration.network.model, given.data.get(name)
    parameters: int | None = None
    if model is not None:
        parameters = given.parameters.get((model, name))
    elif data is not None and not shape_problem(configuration.network, data.shape):
        parameters = trainable_parameters(configuration.network, data.shape)
    weights = None if parameters is None else parameters * BYTES / 2**20
    whole = None if weights is None else weights * (1 + _state_of(configuration.training))
    return FileSize(question.id, question.upload.file, question.upload.limit_mib, parameters, weights, whole)


def _state_of(training: Training) -> int:
    """Return how many values Keras's optimizer stores for each weight, which the file contains too."""
    if training.optimizer == "sgd":
        return int(training.momentum > 0)
    if training.optimizer == "rmsprop":
        return 1 + (training.momentum > 0) + training.centered
    return 1 if training.optimizer == "adagrad" else 2 + training.amsgrad
