"""Reads and checks `experiments.json`.

A file is read as text of bounded size and depth, then checked whole; every message names the file, the place inside
it, what is allowed, and the nearest name where one was misspelt.
"""

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from engine.core import limits
from engine.core.data_source import DataSource, source_problem
from engine.core.limits import MAX_RUNS
from engine.core.options import OPTIONS
from engine.core.spec import Network, Training, Value
from engine.core.sweep import FinalistRule
from engine.machine import os_errors
from svhn_tui import json_text, model_files
from svhn_tui.json_text import located
from svhn_tui.presets import PARAMS, AnswerFormat, ModelFile, PresetError, Presets, Question, Upload, choices

MAX_BYTES = 2**20
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]{0,99}")
MAX_POINTS = 1_000
MAX_QUESTIONS = 1_000

PARTS: tuple[tuple[str, type[Value], dict[str, Any] | list[Any]], ...] = (
    ("networks", Network, {}), ("data", DataSource, {}), ("questions", Question, []),
)  # fmt: skip
"""The file's collections: field, type of an entry, and the empty value."""
KINDS: tuple[type[Value], ...] = (Presets, Question, DataSource, Network, Training, AnswerFormat, Upload, FinalistRule)
"""The types of the file's parts."""


def find(workspace: Path) -> Path:
    """Return the path of the presets: the workspace's own `experiments.json`, or else the shipped one."""
    own = workspace / "experiments.json"
    if own.is_file():
        return own
    here = Path(__file__).parent
    shipped = here / "experiments.json"  # inside the wheel
    return shipped if shipped.is_file() else here.parent / "experiments.json"


def load(path: Path) -> Presets:
    """Read and check a presets file.

    Raises:
        PresetError: it cannot be read or is not valid; one sentence says where and what is allowed.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PresetError(
            os_errors.sentence_of(error, path) or f"{path}: cannot be read ({error.strerror})."
        ) from error
    if len(text) > MAX_BYTES:
        raise PresetError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; presets are a few kB.")
    return parse(text, str(path))


def parse(text: bytes, name: str) -> Presets:
    """Check the text of a presets file called `name`.

    Raises:
        PresetError: as `load`.
    """
    raw = _raw(text, name)
    sources: dict[str, ModelFile] = {}
    for problem in _untyped(raw, name, sources):
        raise PresetError(located(problem, text, name))
    presets = _typed(raw, sources)
    for problem in _problems(presets, name):
        raise PresetError(located(problem, text, name))
    return presets


def mistakes(text: bytes, name: str) -> tuple[str, ...]:
    """Return all errors of a presets file that can be detected in one pass; empty if there are none.

    References between entries are checked only if every entry is well formed.
    """
    sources: dict[str, ModelFile] = {}
    try:
        raw = _raw(text, name)
    except PresetError as error:
        return (str(error),)
    problems = tuple(_untyped(raw, name, sources)) or tuple(_problems(_typed(raw, sources), name))
    return tuple(located(problem, text, name) for problem in problems)


def _raw(text: bytes, name: str) -> Any:
    """Parse the text as JSON.

    Raises:
        PresetError: it is not valid.
    """
    try:
        return json_text.parse(text, name)
    except json_text.NotJSON as error:
        raise PresetError(str(error)) from error


def _typed(raw: Any, sources: dict[str, ModelFile]) -> Presets:
    return msgspec.structs.replace(msgspec.convert(raw, Presets), sources=sources)


def _untyped(raw: Any, name: str, sources: dict[str, ModelFile]) -> Iterator[str]:
    """Yield the errors of form. In `raw`, a network with a model file is replaced by one with the file's SHA-256,
    and the file is added to `sources`."""
    if isinstance(raw, dict) and "sources" in raw:
        yield f"{name}: sources: it follows from the networks; leave it out."
        return
    whole = dict(raw) if isinstance(raw, dict) else raw
    if isinstance(raw, dict):
        for field, kind, none in PARTS:
            given: Any = raw.get(field)
            if type(given) is not type(none):
                continue
            whole[field] = none
            parts: Iterable[tuple[Any, Any]] = given.items() if isinstance(given, dict) else enumerate(given)
            for key, part in tuple(parts):
                try:
                    if kind is Network and isinstance(part, dict):
                        given[key] = part = _network(part, name, key, sources)
                    msgspec.convert(part, kind)
                except PresetError as error:
                    yield str(error)
                except msgspec.ValidationError as error:
                    yield f"{name}: {_explained(error, f'{field}[{key!r:.60}]')}"
    try:
        msgspec.convert(whole, Presets)
    except msgspec.ValidationError as error:
        yield f"{name}: {_explained(error)}"


def _network(given: dict[str, Any], name: str, label: str, sources: dict[str, ModelFile]) -> dict[str, Any]:
    if "file" in given:
        return _own_network(given, name, label, sources)
    if "model" in given:
        raise PresetError(f"{name}, networks[{label!r}].model: name a model file in `file`.")
    return given


def _own_network(given: dict[str, Any], name: str, label: str, sources: dict[str, ModelFile]) -> dict[str, Any]:
    """Return a network with the model file's SHA-256 in place of its name; the file is added to `sources`."""
    try:
        models = model_files.read(given, Path(name).parent)
    except ValueError as error:
        raise PresetError(f"{name}, networks[{label!r}].{error}") from error
    sources[models.model.sha256] = ModelFile(str(models.path), models.text)
    return {"model": msgspec.to_builtins(models.model)}


def _problems(presets: Presets, name: str) -> Iterator[str]:
    """Yield invalid values, and references between entries that are wrong."""
    if len(presets.questions) > MAX_QUESTIONS:
        yield f"{name}, questions: at most {MAX_QUESTIONS:,}."
        return
    for label, network in presets.networks.items():
        if problem := limits.network_problem(network):
            yield f"{name}, networks[{label!r}].{problem}"
    for label, source in presets.data.items():
        if problem := source_problem(label, source):
            yield f"{name}, data[{label[:40]!r}]{problem}"
    ids = Counter(question.id.lower() for question in presets.questions)
    files = Counter(question.upload.file for question in presets.questions if question.upload)
    runs = 0
    for index, question in enumerate(presets.questions):
        where = f"{name}, questions[{index}] ({question.id})"
        if ids[question.id.lower()] > 1:
            yield f"{where}: the id {question.id!r} stands twice."
        if not question.id.isalnum():
            yield f"{where}.id: letters and digits only."
        if question.upload and files[question.upload.file] > 1:
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
            problems = (limits.training_problem(some.training) for some in presets.configurations(question))
            yield from (f"{where}.training.{problem}" for problem in dict.fromkeys(problems) if problem)
        except msgspec.ValidationError as error:
            yield f"{where}.training.{_explained(error)}"
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
        other = ids[name].answer if name in ids else None
        if other is not None and other.of is not None:
            yield f"{where}.answer.of: {name} is itself about another question; name that one."


def _question_problems(question: Question, where: str) -> Iterator[str]:
    if question.kind == "code" and not question.networks:
        yield f"{where}.networks: a code question is about a network; name it."
    if question.upload and not FILE_NAME.fullmatch(question.upload.file):
        yield f"{where}.upload.file: a plain file name, without folders."
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
    if len(set(question.seeds)) < len(question.seeds):
        yield f"{where}.seeds: a seed stands twice."
    for name, values in question.grid.items():
        if not values:
            yield f"{where}.grid.{name}: at least one value."
    combinations = len(question.networks) * math.prod(map(len, question.grid.values()))
    if question.finalists and (problem := limits.rule_problem(question.finalists, combinations)):
        yield f"{where}.finalists.{problem}"


def _runs_of(question: Question) -> int:
    seeds = len(question.seeds) + (len(question.finalists.seeds) if question.finalists else 0)
    return len(question.networks) * max(1, seeds) * math.prod(map(len, question.grid.values()))


def _explained(error: msgspec.ValidationError, part: str = "") -> str:
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
    if "enum value" in problem and field and (words := _allowed(field[1])):
        problem += f"; there are {', '.join(words)}"
    text = f"{where}: {problem[0].lower()}{problem[1:]}"
    return text if text.endswith("?") else text + "."


def _allowed(field: str) -> tuple[str, ...]:
    """Return the words that a field of this name accepts; empty if it accepts any text."""
    if field in OPTIONS:
        return tuple(OPTIONS[field].choices)
    hints = (get_type_hints(kind)[field] for kind in KINDS if field in kind.__struct_fields__)
    return next(
        (words for hint in hints if (words := get_args(hint)) and all(isinstance(some, str) for some in words)), ()
    )
