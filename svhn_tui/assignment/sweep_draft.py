"""Sweeps of one's own: lists and ranges as text, read into a preset question. Pure, but for saving."""

import json
import math
import re
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, cast

import msgspec

from engine.core import sweep as plan
from engine.core.options import LISTED, OPTIONS, Option, applies
from engine.core.spec import Configuration, Network
from engine.core.sweep import FinalistRule
from engine.machine.files import write_atomically
from svhn_tui import presets, words
from svhn_tui.analysis.progress import plan_text
from svhn_tui.client.state import State
from svhn_tui.presets import AnswerFormat, Presets, Question

MAX_VALUES = 200
MAX_NETWORKS = 5_000
RANGE = re.compile(r"(?P<first>[^.]+(?:\.\d+)?)\.\.(?P<last>[^/]+)(?:/(?P<steps>\d+))?")


FIRST = ("hidden", "activation", "learning_rate", "batch_size", "epochs", "optimizer")
"""The options that most sweeps are about."""
SWEPT = tuple(LISTED[name] for name in dict.fromkeys((*FIRST, *LISTED)))
"""All that can be typed, in the order of the form and of the grid; the others follow in the order of their table."""
NONE = "none"
BEGUN = {"hidden": "64 256", "activation": "relu"}
"""What a draft begins with that is no default."""


class Typed(msgspec.Struct, frozen=True):
    """What was typed: a line a field, values with spaces between. A `Draft` has a field for each option besides."""

    title: str = "my sweep"
    seeds: str = "0..2"
    finalists: str = ""
    """Seeds of the finalists of a second stage; empty for one stage."""


def text_of(option: Option) -> str:
    """Return an option's default as it is typed."""
    value = option.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    return NONE if value in (None, ()) else str(value)


Draft = cast(
    "type[Typed]",
    msgspec.defstruct(
        "Draft",
        [(option.name, str, BEGUN.get(option.name, text_of(option))) for option in SWEPT],
        bases=(Typed,),
        frozen=True,
    ),
)


class DraftError(ValueError):
    """A field that cannot be read; the message begins with its name."""


def networks_of(draft: Typed) -> dict[str, Network]:
    """Return the networks, by label.

    Raises:
        DraftError: a value cannot be read.
    """
    layers = _hidden(_typed(draft, OPTIONS["hidden"]))
    kinds = _values(draft, OPTIONS["activation"])
    others = (option for option in SWEPT if option.part == "network" and option.name not in BEGUN)
    settings = {option.name: _values(draft, option) for option in others}
    if len(layers) * len(kinds) * math.prod(map(len, settings.values())) > MAX_NETWORKS:
        raise DraftError(f"hidden: with all else that is listed these are more than {MAX_NETWORKS:,} networks.")
    found: dict[str, Network] = {}
    for hidden, values in product(layers, product(*settings.values())):
        for kind in kinds if hidden else ["linear"]:
            typed = {"hidden": hidden, "activation": kind, **dict(zip(settings, values, strict=True))}
            network = msgspec.convert(typed, Network)
            found[Configuration(network).label] = network
    return found


def question_of(draft: Typed, book: Presets) -> Question:
    """Return the draft as a question of a presets file, under the next free id S1, S2, ...

    Raises:
        DraftError: a value cannot be read, or is out of range.
    """
    grid = {option.name: _values(draft, option) for option in SWEPT if option.part == "training"}
    single = {name: values[0] for name, values in grid.items() if len(values) == 1}
    usual = {name for name, value in single.items() if value == OPTIONS[name].default == getattr(book.training, name)}
    seeds = _numbers("seeds", draft.seeds, int)
    later = _numbers("finalists", draft.finalists, int) if draft.finalists.strip() else ()
    number = next(number for number in range(1, 10_000) if f"S{number}" not in {some.id for some in book.questions})
    return Question(
        id=f"S{number}",
        kind="answer",
        title=words.clean(draft.title).strip() or "my sweep",
        text="A sweep of one's own.",
        networks=tuple(networks_of(draft)),
        seeds=seeds,
        training={name: value for name, value in single.items() if name not in usual},
        grid={name: values for name, values in grid.items() if len(values) > 1},
        finalists=FinalistRule(tuple(sorted({*seeds, *later}))) if later else None,
        answer=AnswerFormat("best" if later else "means"),
        own=True,
    )


def with_draft(draft: Typed, text: bytes, name: str) -> tuple[bytes, Question]:
    """Return a presets file's text with the draft's question at its end, and the question.

    Raises:
        DraftError: the draft cannot be read, or the file would not be valid with it.
        PresetError: the file is not valid as it is.
    """
    book = presets.parse(text, name)
    question = question_of(draft, book)
    raw = json.loads(text)
    labels = []
    for label, network in networks_of(draft).items():
        free = next(
            label + " *" * number
            for number in range(100)
            if book.networks.get(label + " *" * number, network) == network
        )
        labels.append(free)
        raw["networks"].setdefault(free, msgspec.to_builtins(network))
    question = msgspec.structs.replace(question, networks=tuple(labels))
    raw["questions"].append(msgspec.to_builtins(question))
    whole = json.dumps(raw, indent=2).encode() + b"\n"
    try:
        presets.parse(whole, name)
    except presets.PresetError as error:
        raise DraftError(str(error).rpartition(f"({question.id})")[2].lstrip("., ")) from error
    return whole, question


def forecast(draft: Typed, text: bytes, name: str, state: State) -> str:
    """Say what the draft comes to: the grid, how many runs exist already, how many are new, and how long they take.

    Raises:
        DraftError: the draft cannot be read.
        PresetError: the presets file is not valid.
    """
    whole, question = with_draft(draft, text, name)
    book = presets.parse(whole, name)
    sweep = book.sweep(question, state.data.fingerprint if state.data else "")
    if sweep is None:
        return "No seeds, nothing to train."
    configurations, seeds = len(sweep.configurations), len(sweep.seeds)
    runs = len(plan.asked(sweep, {}))
    grid = (
        f"{words.plural(configurations, 'configuration')} x {words.plural(seeds, 'seed')} = {words.plural(runs, 'run')}"
    )
    return f"{grid}: {plan_text([sweep], state)}"


def save(draft: Typed, workspace: Path) -> Question:
    """Write the draft into the workspace's own presets, which are begun from those in force.

    Raises:
        DraftError: the draft cannot be read.
        PresetError: the presets in force are not valid.
        OSError: the file cannot be written; the one that was there is whole.
    """
    source = presets.find(workspace)
    whole, question = with_draft(draft, source.read_bytes(), str(source))
    workspace.mkdir(parents=True, exist_ok=True)
    write_atomically(workspace / "experiments.json", whole)
    return question


def _typed(draft: Typed, option: Option) -> str:
    text: str = getattr(draft, option.name)
    return text


def in_use(draft: Typed, option: Option) -> bool:
    """Say whether an option has a meaning with one of the values typed for the field that it belongs to."""
    if option.owners is None:
        return True
    typed = _typed(draft, OPTIONS[option.owners.field]).replace(",", " ").split()
    return any(applies(option, word) for word in typed)


def _values(draft: Typed, option: Option) -> tuple[Any, ...]:
    """Read what was typed for an option, by its kind.

    Raises:
        DraftError: it cannot be read.
    """
    text, title = _typed(draft, option), option.title
    match option.kind:
        case "choice":
            return _words(title, text, option.choices)
        case "switch":
            return tuple(word == "yes" for word in _words(title, text, ("no", "yes")))
        case "choices" | "reals":
            return _lists(option, text)
        case _:
            kind = int if option.kind == "integer" else float
            return _numbers(title, text, kind, may_be_none=option.may_be_none)


def _lists(option: Option, text: str) -> tuple[tuple[Any, ...], ...]:
    """Read lists with spaces between, their items with commas between; `none` is the empty one."""
    found: list[tuple[Any, ...]] = []
    for word in text.split():
        items = [] if word == NONE else word.strip("()").split(",")
        if option.kind == "reals":
            found.append(tuple(_number(option.title, item, float) for item in items))
        else:
            found.append(_words(option.title, " ".join(items), option.choices) if items else ())
    if not found:
        raise DraftError(f"{option.title}: {option.example}, with spaces between.")
    return tuple(dict.fromkeys(found))


def _hidden(text: str) -> tuple[tuple[int, ...], ...]:
    """Read `linear 64 256,64 64..1024/5`: layers with commas between, networks with spaces."""
    found: list[tuple[int, ...]] = []
    for word in text.split():
        if word == "linear":
            found.append(())
        elif "," in word:
            found.append(tuple(_number("hidden", part, int) for part in word.strip("()").split(",")))
        else:
            found += [(units,) for units in _numbers("hidden", word.strip("()"), int)]
    if not found:
        raise DraftError("hidden: `linear`, `256`, `256,64` or `64..1024/5`, with spaces between.")
    return tuple(dict.fromkeys(found))


def _words(field: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Read words with spaces between, each one of those that there are."""
    found = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for word in found:
        if word not in known:
            raise DraftError(f"{field}: {word[:30]!r}; there are {', '.join(known)}.")
    if not found:
        raise DraftError(f"{field}: at least one of {', '.join(known)}.")
    return found


def _numbers(field: str, text: str, kind: Callable[[str], Any], *, may_be_none: bool = False) -> tuple[Any, ...]:
    """Read `1 2 5`, `0..9` (whole steps) and `1e-5..1e-3/3` (so many values, each the same factor above the last)."""
    found: list[Any] = []
    for word in text.replace(",", " ").split():
        if may_be_none and word == NONE:
            found.append(None)
            continue
        span = RANGE.fullmatch(word)
        found += _span(field, span.groupdict(), kind) if span else [_number(field, word, kind)]
        if len(found) > MAX_VALUES:
            raise DraftError(f"{field}: more than {MAX_VALUES} values.")
    if not found:
        raise DraftError(f"{field}: at least one value.")
    return tuple(dict.fromkeys(found))


def _span(field: str, span: Mapping[str, str | None], kind: Callable[[str], Any]) -> list[Any]:
    first, last = (_number(field, span[name] or "", kind) for name in ("first", "last"))
    if last < first:
        raise DraftError(f"{field}: {first}..{last} runs backwards.")
    if span["steps"] is None:
        if kind is not int or last - first >= MAX_VALUES:
            raise DraftError(f"{field}: say how many values, as in {first}..{last}/3.")
        return list(range(first, last + 1))
    steps = int(span["steps"])
    if not 2 <= steps <= MAX_VALUES or first <= 0:
        raise DraftError(f"{field}: 2 to {MAX_VALUES} values, the first above 0.")
    factor = (last / first) ** (1 / (steps - 1))
    exact = [first * factor**step for step in range(steps)]
    return [round(value) if kind is int else float(f"{value:.6g}") for value in exact]


def _number(field: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise DraftError(f"{field}: {text[:30]!r} is no {'whole number' if kind is int else 'number'}.") from None
    if not math.isfinite(value) or abs(value) > 1e9:
        raise DraftError(f"{field}: {text[:30]} is out of range.")
    return value
