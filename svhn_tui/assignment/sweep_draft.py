"""Sweeps of one's own: lists and ranges as text, read into a preset question. Pure, but for saving."""

import json
import math
import re
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, get_args

import msgspec

from engine.core import sweep as plan
from engine.core.spec import Activation, Configuration, Initializer, Network, Optimizer, Trainer
from engine.core.sweep import FinalistRule
from engine.machine.files import write_atomically
from svhn_tui import presets, words
from svhn_tui.analysis.progress import plan_text
from svhn_tui.client.state import State
from svhn_tui.presets import AnswerFormat, Presets, Question

MAX_VALUES = 200
MAX_NETWORKS = 5_000
RANGE = re.compile(r"(?P<first>[^.]+(?:\.\d+)?)\.\.(?P<last>[^/]+)(?:/(?P<steps>\d+))?")


class Draft(msgspec.Struct, frozen=True):
    """What was typed: a line a field, values with spaces between."""

    title: str = "my sweep"
    model: str = ""
    """A network with a model file, and values of its parameters; empty for networks of the fields below."""
    hidden: str = "64 256"
    activation: str = "relu"
    learning_rate: str = "1e-5"
    batch_size: str = "32"
    epochs: str = "100"
    optimizer: str = "adam"
    kernel_initializer: str = "random_normal"
    bias_initializer: str = "random_normal"
    dropout: str = "0"
    batch_normalization: str = "no"
    input_scaling: str = "1"
    validation_split: str = "0"
    trainer: str = "fast"
    seeds: str = "0..2"
    finalists: str = ""
    """Seeds of the finalists of a second stage; empty for one stage."""


class DraftError(ValueError):
    """A field that cannot be read; the message begins with its name."""


def networks_of(draft: Draft) -> dict[str, Network]:
    """Return the networks, by label.

    Raises:
        DraftError: a value cannot be read.
    """
    layers, kinds = _hidden(draft.hidden), _words("activation", draft.activation, get_args(Activation))
    settings: dict[str, tuple[Any, ...]] = {
        "kernel_initializer": _words("kernel initializer", draft.kernel_initializer, get_args(Initializer)),
        "bias_initializer": _words("bias initializer", draft.bias_initializer, get_args(Initializer)),
        "dropout": _numbers("dropout", draft.dropout, float),
        "batch_normalization": tuple(
            word == "yes" for word in _words("batch normalization", draft.batch_normalization, ("no", "yes"))
        ),
        "input_scaling": _numbers("input scaling", draft.input_scaling, float),
    }
    if len(layers) * len(kinds) * math.prod(map(len, settings.values())) > MAX_NETWORKS:
        raise DraftError(f"hidden: with all else that is listed these are more than {MAX_NETWORKS:,} networks.")
    found: dict[str, Network] = {}
    for hidden, values in product(layers, product(*settings.values())):
        for kind in kinds if hidden else ["linear"]:
            typed = {"hidden": hidden, "activation": kind, **dict(zip(settings, values, strict=True))}
            network = msgspec.convert(typed, Network)
            found[Configuration(network).label] = network
    return found


def question_of(draft: Draft, book: Presets) -> Question:
    """Return the draft as a question of a presets file, under the next free id S1, S2, ...

    Raises:
        DraftError: a value cannot be read, or is out of range.
    """
    grid: dict[str, tuple[Any, ...]] = {
        "learning_rate": _numbers("learning rate", draft.learning_rate, float),
        "batch_size": _numbers("batch size", draft.batch_size, int),
        "epochs": _numbers("epochs", draft.epochs, int),
        "optimizer": _words("optimizer", draft.optimizer, get_args(Optimizer)),
        "validation_split": _numbers("validation split", draft.validation_split, float),
        "trainer": _words("trainer", draft.trainer, get_args(Trainer)),
    }
    seeds = _numbers("seeds", draft.seeds, int)
    later = _numbers("finalists", draft.finalists, int) if draft.finalists.strip() else ()
    label, params = _own_model(draft.model, book) if draft.model.strip() else ("", {})
    number = next(number for number in range(1, 10_000) if f"S{number}" not in {some.id for some in book.questions})
    return Question(
        id=f"S{number}",
        kind="answer",
        title=words.clean(draft.title).strip() or "my sweep",
        text="A sweep of one's own.",
        networks=(label,) if label else tuple(networks_of(draft)),
        seeds=seeds,
        training={name: values[0] for name, values in grid.items() if len(values) == 1},
        grid={name: values for name, values in grid.items() if len(values) > 1} | params,
        finalists=FinalistRule(tuple(sorted({*seeds, *later}))) if later else None,
        answer=AnswerFormat("best" if later else "means"),
        own=True,
    )


def with_draft(draft: Draft, text: bytes, name: str) -> tuple[bytes, Question]:
    """Return a presets file's text with the draft's question at its end, and the question.

    Raises:
        DraftError: the draft cannot be read, or the file would not be valid with it.
        PresetError: the file is not valid as it is.
    """
    book = presets.parse(text, name)
    question = question_of(draft, book)
    raw = json.loads(text)
    labels = list(question.networks) if draft.model.strip() else []
    for label, network in () if labels else networks_of(draft).items():
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


def forecast(draft: Draft, text: bytes, name: str, state: State) -> str:
    """Say what the draft comes to: the grid, how many runs exist already, how many are new, and how long they take.

    Raises:
        DraftError: the draft cannot be read.
        PresetError: the presets file is not valid.
    """
    whole, question = with_draft(draft, text, name)
    book = presets.parse(whole, name)
    state = state.on(book.data_of(question))
    sweep = book.sweep(question, state.data.fingerprint if state.data else "")
    if sweep is None:
        return "No seeds, nothing to train."
    configurations, seeds = len(sweep.configurations), len(sweep.seeds)
    runs = len(plan.asked(sweep, {}))
    grid = (
        f"{words.plural(configurations, 'configuration')} x {words.plural(seeds, 'seed')} = {words.plural(runs, 'run')}"
    )
    return f"{grid}: {plan_text([sweep], state)}"


def save(draft: Draft, workspace: Path) -> Question:
    """Write the draft into the workspace's own presets, which are begun from those in force.

    Raises:
        DraftError: the draft cannot be read.
        PresetError: the presets in force are not valid.
        OSError: the file cannot be written; the one that was there is whole.
    """
    source = presets.find(workspace)
    whole, question = with_draft(draft, source.read_bytes(), str(source))
    workspace.mkdir(parents=True, exist_ok=True)
    for file in presets.load(source).sources.values() if source.parent != workspace else ():
        beside = workspace / Path(file.path).relative_to(source.parent)
        beside.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(beside, file.text.encode())
    write_atomically(workspace / "experiments.json", whole)
    return question


def _own_model(text: str, book: Presets) -> tuple[str, dict[str, tuple[Any, ...]]]:
    """Read `mine width=32,64 depth=1..3`: the label of a network with a model file, and a grid of its parameters."""
    first, *settings = re.split(r"\s+(?=\S+=)", text.strip())
    if first not in book.networks or book.networks[first].model is None:
        known = [label for label, network in book.networks.items() if network.model is not None]
        said = f"there are {', '.join(known)}" if known else "experiments.json names none"
        raise DraftError(f"model: {first[:40]!r} is no network with a model file and values as name=value; {said}.")
    grid = {}
    for setting in settings:
        name, _, values = setting.partition("=")
        found = [value for word in values.split(",") for value in _param_values(word.strip())]
        grid[f"{presets.PARAMS}{name}"] = tuple(dict.fromkeys(found))
    return first, grid


def _param_values(word: str) -> tuple[Any, ...]:
    """Read a value of a parameter, or a range of numbers: a number, true, false, or else text."""
    if word in ("true", "false"):
        return (word == "true",)
    is_whole = not re.search(r"(?<!\.)\.(?!\.)|e", word)
    try:
        return _numbers("model", word, int if is_whole else float)
    except DraftError:
        return (word,)


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


def _numbers(field: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    """Read `1 2 5`, `0..9` (whole steps) and `1e-5..1e-3/3` (so many values, each the same factor above the last)."""
    found: list[Any] = []
    for word in text.replace(",", " ").split():
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
