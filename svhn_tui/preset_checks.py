"""Says what is wrong with presets: with their form, their values, and references between their entries. Pure."""

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import get_args, get_type_hints

import msgspec

from engine.core import limits
from engine.core.data_source import DataSource, source_problem
from engine.core.limits import MAX_RUNS
from engine.core.options import OPTIONS
from engine.core.spec import Configuration, Network, Training, Value, short_hash
from engine.core.sweep import FinalistRule
from svhn_tui.presets import EXPORT_PAGES, PARAMS, AnswerFormat, Presets, Question, Upload, choices

FILE_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9 ._-]{0,98}[A-Za-z0-9_-])?")
MAX_LABEL = 1_000
"""Longest name of a network, in characters."""
MAX_ID = 40
MAX_POINTS = 1_000
MAX_QUESTIONS = 1_000

KINDS: tuple[type[Value], ...] = (Presets, Question, DataSource, Network, Training, AnswerFormat, Upload, FinalistRule)
"""The types of the file's parts."""


def value_problems(presets: Presets, name: str) -> Iterator[str]:
    """Yield invalid values, and references between entries that are wrong."""
    if len(presets.questions) > MAX_QUESTIONS:
        yield f"{name}, questions: at most {MAX_QUESTIONS:,}."
        return
    for label, network in presets.networks.items():
        if not (label.isprintable() and 0 < len(label.strip()) <= len(label) <= MAX_LABEL):
            yield f"{name}, networks[{label[:100]!r}]: a name has 1 to {MAX_LABEL:,} printable characters."
        if problem := limits.network_problem(network):
            yield f"{name}, networks[{label!r}].{problem}"
    for label, source in presets.data.items():
        if problem := source_problem(label, source):
            yield f"{name}, data[{label[:40]!r}]{problem}"
    ids = Counter(question.id.lower() for question in presets.questions)
    files = Counter(question.upload.file.lower() for question in presets.questions if question.upload)
    runs = 0
    for index, question in enumerate(presets.questions):
        where = f"{name}, questions[{index}] ({question.id})"
        if ids[question.id.lower()] > 1:
            yield f"{where}: the id {question.id!r} stands twice."
        if not question.id.isalnum() or len(question.id) > MAX_ID:
            yield f"{where}.id: letters and digits only, at most {MAX_ID}."
        if question.upload and files[question.upload.file.lower()] > 1:
            yield f"{where}.upload.file: two questions hand in {question.upload.file!r}."
        yield from (wrong := tuple(_name_problems(presets, question, where)))
        yield from _question_problems(question, where)
        runs += _runs_of(question)
        if runs > MAX_RUNS:
            yield f"{where}: more than {MAX_RUNS:,} runs."
            return
        if wrong:
            continue  # its configurations are not known
        try:
            configurations = presets.configurations(question)
            problems = (limits.training_problem(some.training) for some in configurations)
            yield from (f"{where}.training.{problem}" for problem in dict.fromkeys(problems) if problem)
            if any(field.startswith(PARAMS) for field in question.grid):
                problems = (limits.network_problem(some.network) for some in configurations)
                yield from (f"{where}.grid.{problem}" for problem in dict.fromkeys(problems) if problem)
            yield from (f"{where}: it asks for {label!r} twice; leave one out." for label in _doubled(configurations))
        except msgspec.ValidationError as error:
            yield f"{where}.training.{explained(error)}"
        except ValueError as error:
            yield f"{where}.grid: {error}"


def _name_problems(presets: Presets, question: Question, where: str) -> Iterator[str]:
    """Check that the networks and questions that a question names exist."""
    for label in question.networks:
        if label not in presets.networks:
            yield f"{where}.networks: no network {label!r}; {choices(label, presets.networks)}"
    for name in question.grid:
        for label in question.networks if name.startswith(PARAMS) else ():
            if label in presets.networks and presets.networks[label].model is None:
                yield f"{where}.grid.{name}: {label!r} has no model file, so no such parameter."
    if question.data and question.data not in presets.data:
        known = choices(question.data, presets.data) if presets.data else "the file names none under `data`."
        yield f"{where}.data: no data set {question.data[:40]!r}; {known}"
    ids = {other.id: other for other in presets.questions}
    answered = [question.answer.of] if question.answer and question.answer.of is not None else []
    for name in [*answered, *question.evidence]:
        if name not in ids:
            yield f"{where}: no question {name!r}; {choices(name, ids)}"
    for name in answered:
        other = ids[name].answer if name in ids and name != question.id else None
        if other is not None and other.of is not None:
            yield f"{where}.answer.of: {name} is itself about another question; name that one."


def _question_problems(question: Question, where: str) -> Iterator[str]:
    if question.kind == "code" and not question.networks:
        yield f"{where}.networks: a code question is about a network; name it."
    if question.upload and (problem := _file_problem(question.upload.file, question)):
        yield f"{where}.upload.file: {problem}"
    if question.upload and question.upload.limit_mib is not None and not 0 < question.upload.limit_mib <= 1e6:
        yield f"{where}.upload.limit_mib: above 0, at most a million."
    if question.answer and not 3 <= question.answer.decimals <= 9:
        yield f"{where}.answer.decimals: from 3 to 9."
    if question.answer and question.answer.format == "file" and question.answer.of in (None, question.id):
        yield f"{where}.answer.of: name the question whose file this is about."
    if not 0 <= question.points <= MAX_POINTS:
        yield f"{where}.points: from 0 to {MAX_POINTS:,}."
    if problem := limits.seeds_problem(question.seeds):
        yield f"{where}.{problem}"
    rule = question.finalists or FinalistRule(())
    counted = {"seeds": question.seeds, "finalists.seeds": rule.seeds, "finalists.chosen": rule.chosen}
    for field, numbers in counted.items():
        if len(set(numbers)) < len(numbers):
            yield f"{where}.{field}: a {'seed' if 'seeds' in field else 'configuration'} stands twice."
    for name, values in question.grid.items():
        if not values:
            yield f"{where}.grid.{name}: at least one value."
    combinations = len(question.networks) * math.prod(map(len, question.grid.values()))
    if question.finalists and (problem := limits.rule_problem(question.finalists, combinations)):
        yield f"{where}.finalists.{problem}"


def _file_problem(name: str, question: Question) -> str:
    """Return what is wrong with the name of a file that is handed in; empty when nothing is."""
    if not FILE_NAME.fullmatch(name):
        return "a plain file name, without folders."
    if name.lower() in EXPORT_PAGES:
        return "an export writes a page of its own under this name; give another one."
    if question.kind != "code" and not name.endswith(".keras"):
        return "a trained network is handed in as a file whose name ends in .keras."
    return ""


def _doubled(configurations: tuple[Configuration, ...]) -> tuple[str, ...]:
    """Return the labels of those that are there twice: each is trained once, and its runs would be counted twice."""
    if len(set(configurations)) == len(configurations):
        return ()
    runs = Counter(map(short_hash, configurations))  # parameters of a model file that are equal, 1 and True, may differ
    return tuple(dict.fromkeys(some.label for some in configurations if runs[short_hash(some)] > 1))


def _runs_of(question: Question) -> int:
    seeds = len(question.seeds) + (len(question.finalists.seeds) if question.finalists else 0)
    return len(question.networks) * max(1, seeds) * math.prod(map(len, question.grid.values()))


def explained(error: msgspec.ValidationError, part: str = "") -> str:
    """Rewrite msgspec's message about a part: its path, what is wrong, and the nearest name."""
    problem, _, path = str(error).partition(" - at `")
    where = (part + path.rstrip("`").removeprefix("$")).removeprefix(".") or "the file"
    if "unknown field" in problem:
        wrong = problem.split("`")[1]
        where = wrong if where == "the file" else f"{where}.{wrong}"
        known = {field for kind in KINDS for field in kind.__struct_fields__}
        nearest = difflib.get_close_matches(wrong, known, n=1, cutoff=0.75)
        problem += f"; did you mean `{nearest[0]}`?" if nearest else ""
    field = re.search(r"(\w+)(?:\[\d+\])*$", where)
    is_text = "'" in problem
    if "enum value" in problem and field and (words := _allowed(field[1], is_text=is_text)):
        problem += f"; there are {', '.join(words)}" if is_text else f"; this version knows {', '.join(words)}"
    text = f"{where}: {problem[0].lower()}{problem[1:]}"
    return text if text.endswith("?") else text + "."


def _allowed(field: str, *, is_text: bool) -> tuple[str, ...]:
    """Return the words, or the numbers, that a field of this name accepts; empty if it accepts any."""
    if field in OPTIONS:
        return tuple(OPTIONS[field].choices)
    hints = (get_type_hints(kind)[field] for kind in KINDS if field in kind.__struct_fields__)
    kind = str if is_text else int
    words = (get_args(hint) for hint in hints)
    return next((tuple(map(str, some)) for some in words if some and all(type(one) is kind for one in some)), ())
