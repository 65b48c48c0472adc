"""The filter language of the runs: `activation=relu hidden=256 test_accuracy>0.5 tag:final`. Pure.

Terms are joined by and. A term is a field, an operator (= != > >= < <=) and a value, a tag, a data set (`data:cifar`),
`is:diverged`, or plain text that is searched in the label, the note and the run's name.
"""

import difflib
import operator
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile

from engine.core.options import LISTED
from engine.core.spec import Configuration
from engine.protocol import Note, RunResult
from svhn_tui.analysis import run_row, run_settings
from svhn_tui.analysis.metrics import METRICS, OPTIONAL, Metric, logged_in, metric_named
from svhn_tui.analysis.run_table import COLUMNS

FilterValue = float | str
ValueReader = Callable[[RunResult], FilterValue]
Test = Callable[[RunResult, Note | None], bool]


def _measured(metric: Metric) -> ValueReader:
    """Return a metric; of an unknown one only `!=` is true."""

    def value(run: RunResult) -> FilterValue:
        number = metric.read(run)
        return float("nan") if number is None else number

    return value


FIELDS: dict[str, ValueReader] = {
    "run": lambda run: run.run_id,
    "layers": run_settings.layers_of,
    "model": run_settings.model_of,
    "seed": lambda run: float(run.spec.seed),
    **{name: run_settings.reader_of(option) for name, option in LISTED.items()},
    "trainer": lambda run: run.trained_by,
    "parameters": lambda run: float(run.trainable_parameters),
    **{name: _measured(metric) for name, metric in {**METRICS, **OPTIONAL}.items()},
    "best_test_accuracy": lambda run: float("nan") if run.best_test_accuracy is None else run.best_test_accuracy,
    "seconds": lambda run: run.seconds,
    "data": lambda run: run.spec.data,
    "configuration": lambda run: run.spec.configuration.label,
    "finished": run_row.finished,
}
TEXTS = {"run", "model", "data", "configuration", *run_settings.TEXTS}
NONE = "none"
"""The value of a setting that was left to Keras."""
FAILED = "is:failed"
STATES: dict[str, Test] = {"is:diverged": lambda run, note: run.diverged, FAILED: lambda run, note: False,
                           "is:recorded": lambda run, note: run.is_recorded,
                           "is:interrupted": lambda run, note: run.interrupted}  # fmt: skip
"""Conditions on finished runs; failed ones are listed beside them, and chosen by `is:failed` alone."""
DATES = {"finished"}
DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d){0,2}Z?)?)?)?")
NAMES = {
    **{name: name for name in FIELDS},
    **{
        written: column.field or key
        for key, column in COLUMNS.items()
        for written in (column.title, column.title.replace(" ", "_"))
        if (column.field or key) in FIELDS
    },
}
"""Every name of a field: its own, and its column's title on the Runs page."""
HEADS = re.compile(rf"\b({'|'.join(name for name in NAMES if ' ' in name)})\s*(?=[=!<>])", re.IGNORECASE)
"""Heads of several words, before an operator."""
OPERATORS: dict[str, Callable[[FilterValue, FilterValue], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "=>": operator.ge,  # tab completes a field with `=`, behind which `>` may be typed
    "=<": operator.le,
}
TERM = re.compile(r"(\w+)(>=|<=|!=|==|=>|=<|=|>|<)(.*)", re.DOTALL)


class FilterError(ValueError):
    """The filter cannot be understood; the message says which term and what is allowed."""


def parse(text: str, logged: Collection[str] | None = ()) -> Test:
    """Parse a filter into a predicate; that of an empty filter is always true.

    Args:
        text: as it is typed.
        logged: metrics of recorded runs, which are fields too; None: they are not known yet, so that any name can be
            one.

    Raises:
        FilterError: a term is wrong.
    """
    tests = _tests(text, logged)
    return lambda run, note: all(test(run, note) for test in tests)


def matching(text: str, results: Mapping[str, RunResult], notes: Mapping[str, Note]) -> list[RunResult]:
    """Return the runs that match a filter; each term is evaluated only for the matches of the previous ones.

    Raises:
        FilterError: a term is wrong.
    """
    runs = list(results.values())
    for test in _tests(text, fields_logged_in(runs)) if text else ():
        runs = [run for run in runs if test(run, notes.get(run.run_id))]
    return runs


def _tests(text: str, logged: Collection[str] | None) -> list[Test]:
    """Return a test for each term of a filter."""
    text = HEADS.sub(lambda head: NAMES[head[1].lower()], text)
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.replace('"', " ").replace("'", " ").split()  # a quotation that is still being typed
    return [_term(term, logged) for term in words]


def completions(text: str, runs: Iterable[RunResult] = (), notes: Iterable[Note] = ()) -> tuple[str, ...]:
    """Return the completions of a filter's last word: fields, values that runs have, tags in use."""
    last = text.split(" ")[-1]
    if last.startswith("tag:"):
        terms = {f"tag:{tag}" for note in notes for tag in note.tags if " " not in tag}
    elif last.startswith("data:"):
        terms = {f"data:{run.data_name}" for run in runs if run.data_name and " " not in run.data_name}
    elif (term := TERM.fullmatch(last)) and (name := term[1]) in TEXTS:
        terms = {f"{name}{term[2]}{value}" for value in set(map(FIELDS[name], runs))}
    elif last:
        names = [*FIELDS, *fields_logged_in(runs), *STATES, "tag:", "data:"]
        return tuple(name for name in names if name.startswith(last) and name != last)
    else:
        return ()
    return tuple(sorted(word for word in terms if word.startswith(last) and word != last))


def fields_logged_in(runs: Iterable[RunResult]) -> tuple[str, ...]:
    """Return the metrics of recorded runs whose name no field has."""
    return tuple(metric.name for metric in logged_in(runs) if metric.name not in NAMES)


def without_last(text: str) -> str:
    """Return the filter without the word that is still being typed."""
    return text[: len(text) - len(text.split(" ")[-1])]


def completed(text: str, terms: Sequence[str]) -> str:
    """Return the filter with its last word extended by the common beginning of its completions."""
    if not terms:
        return text
    agreed = takewhile(lambda signs: len(set(signs)) == 1, zip(*terms, strict=False))
    longest = "".join(signs[0] for signs in agreed)
    return without_last(text) + (f"{longest}=" if terms == (longest,) and longest in FIELDS else longest)


def _term(term: str, logged: Collection[str] | None) -> Test:
    if term.startswith("is:"):
        if term not in STATES:
            raise FilterError(f"{term!r}: there is {', '.join(STATES)}.")
        return STATES[term]
    if term.startswith("tag:"):
        tag = term.removeprefix("tag:")
        return lambda run, note: note is not None and tag in note.tags
    if term.startswith("data:"):
        name = term.removeprefix("data:").lower()
        return lambda run, note: name in (run.data_name.lower(), run.spec.data)
    match = TERM.fullmatch(term)
    if match is None:
        return lambda run, note: _contains(run, note, term.lower())
    typed, sign, value = match.groups()
    name = NAMES.get(typed.lower(), typed)
    if name not in FIELDS and logged is not None and name not in logged:
        nearest = difflib.get_close_matches(name, [*NAMES, *logged], n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(FIELDS)}."
        raise FilterError(f"No field {name!r}: {hint}")
    if not value:
        raise FilterError(f"{term!r} lacks a value.")
    field, compare = FIELDS.get(name) or _measured(metric_named(name)), OPERATORS[sign]
    if name in TEXTS:
        if compare not in (operator.eq, operator.ne):
            raise FilterError(f"{term!r}: {name} is text; = and != compare it.")
        return lambda run, note: compare(field(run), value)
    if name in DATES:
        if not DATE.fullmatch(value):
            raise FilterError(f"{term!r}: {name} is a date, such as 2026-11-24 or 2026-11-24T10:05.")
        return lambda run, note: compare(str(field(run))[: len(value)], value)
    if value == NONE and name in LISTED:
        return lambda run, note: compare(float(field(run) != field(run)), 1.0)
    try:
        number = float(value)
    except ValueError:
        raise FilterError(f"{term!r}: {name} is a number.") from None
    return lambda run, note: compare(field(run), number)


def _contains(run: RunResult, note: Note | None, text: str) -> bool:
    if text in _label(run.spec.configuration) or text in run.run_id:
        return True
    return note is not None and any(text in part.lower() for part in (note.text, *note.tags))


@lru_cache(maxsize=4096)
def _label(configuration: Configuration) -> str:
    """Return a configuration's label for searching; thousands of runs share few labels."""
    return configuration.label.lower()
