"""The user's own sweeps: lists and ranges as text, parsed into a preset question. Pure except for saving."""

import json
import math
import re
from itertools import product
from pathlib import Path
from typing import Any, cast

import msgspec

from engine.core import sweep as plan
from engine.core.options import LISTED, OPTIONS, Option, applies
from engine.core.spec import Configuration, Network
from engine.core.sweep import FinalistRule
from engine.machine.files import write_atomically
from svhn_tui import preset_file, presets, words
from svhn_tui.analysis.progress import plan_text
from svhn_tui.assignment.typed_values import NONE, DraftError, numbers_of, values_of
from svhn_tui.client.state import State
from svhn_tui.presets import AnswerFormat, Presets, Question

MAX_NETWORKS = 5_000
FIRST = ("hidden", "activation", "learning_rate", "batch_size", "epochs", "optimizer")
"""The options that most sweeps are about."""
SWEPT = tuple(LISTED[name] for name in dict.fromkeys((*FIRST, *LISTED)))
"""All fields, in the order of the form and of the grid; those not listed here follow in the order of their table."""
IN_FILE = re.compile(r".*(?:\(S\d+\)|, networks\['.*'\])[., ]*")
"""The path in the presets file before a field's name, which is removed from messages to the user of the form."""
BEGUN = {"hidden": "64 256", "activation": "relu"}
"""Initial values of a draft that are not the options' defaults."""


class SweepTexts(msgspec.Struct, frozen=True):
    """The typed text of each field, values with spaces between. A `Draft` has a field for each option besides."""

    title: str = "my sweep"
    data: str = ""
    """The name of a data set of `experiments.json`; empty: the one in use."""
    model: str = ""
    """A network with a model file, and values of its parameters; empty for networks of the fields below."""
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
    "type[SweepTexts]",
    msgspec.defstruct(
        "Draft",
        [(option.name, str, BEGUN.get(option.name, text_of(option))) for option in SWEPT],
        bases=(SweepTexts,),
        frozen=True,
    ),
)


def networks_of(draft: SweepTexts) -> dict[str, Network]:
    """Return the networks, by label.

    Raises:
        DraftError: a value cannot be read.
    """
    layers = _values(draft, OPTIONS["hidden"])
    kinds = _values(draft, OPTIONS["activation"])
    others = (option for option in SWEPT if option.part == "network" and option.name not in BEGUN)
    settings = {option.name: _values(draft, option) for option in others}
    if len(layers) * len(kinds) * math.prod(map(len, settings.values())) > MAX_NETWORKS:
        raise DraftError(f"hidden: with all else that is listed these are more than {MAX_NETWORKS:,} networks.")
    networks: dict[str, Network] = {}
    for hidden, values in product(layers, product(*settings.values())):
        for kind in kinds if hidden else ["linear"]:
            typed = {"hidden": hidden, "activation": kind, **dict(zip(settings, values, strict=True))}
            network = msgspec.convert(typed, Network)
            networks[Configuration(network).label] = network
    return networks


def question_of(draft: SweepTexts, book: Presets) -> Question:
    """Return the draft as a question of a presets file, under the next free id S1, S2, ...

    Raises:
        DraftError: a value cannot be read, or is out of range.
    """
    grid = {option.name: _values(draft, option) for option in SWEPT if option.part == "training"}
    single = {name: values[0] for name, values in grid.items() if len(values) == 1}
    usual = {name for name, value in single.items() if value == OPTIONS[name].default == getattr(book.training, name)}
    seeds = numbers_of("seeds", draft.seeds, int)
    later = numbers_of("finalists", draft.finalists, int) if draft.finalists.strip() else ()
    label, params = _own_model(draft.model, book) if draft.model.strip() else ("", {})
    number = next(number for number in range(1, 10_000) if f"S{number}" not in {some.id for some in book.questions})
    return Question(
        id=f"S{number}",
        kind="answer",
        title=words.clean(draft.title).strip() or "my sweep",
        text="A sweep of your own.",
        networks=(label,) if label else tuple(networks_of(draft)),
        seeds=seeds,
        training={name: value for name, value in single.items() if name not in usual},
        grid={name: values for name, values in grid.items() if len(values) > 1} | params,
        finalists=FinalistRule(tuple(sorted({*seeds, *later}))) if later else None,
        answer=AnswerFormat("best" if later else "means"),
        data=draft.data.strip(),
        own=True,
    )


def with_draft(draft: SweepTexts, text: bytes, name: str) -> tuple[bytes, Question]:
    """Return a presets file's text with the draft's question at its end, and the question.

    Raises:
        DraftError: the draft cannot be read, or the file would not be valid with it.
        PresetError: the file is not valid as it is.
    """
    book = preset_file.parse(text, name)
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
        preset_file.parse(whole, name)
    except presets.PresetError as error:
        raise DraftError(IN_FILE.sub("", str(error))) from error
    return whole, question


def forecast(draft: SweepTexts, text: bytes, name: str, state: State) -> str:
    """Describe the draft's sweep: the grid, how many runs exist, how many are new, and how long they take.

    Raises:
        DraftError: the draft cannot be read.
        PresetError: the presets file is not valid.
    """
    whole, question = with_draft(draft, text, name)
    book = preset_file.parse(whole, name)
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


def save(draft: SweepTexts, workspace: Path) -> Question:
    """Write the draft into the workspace's own presets, which begin as a copy of those in force.

    Raises:
        DraftError: the draft cannot be read.
        PresetError: the presets in force are not valid.
        OSError: the file cannot be written; the previous one is intact.
    """
    source = preset_file.find(workspace)
    whole, question = with_draft(draft, source.read_bytes(), str(source))
    workspace.mkdir(parents=True, exist_ok=True)
    for file in preset_file.load(source).sources.values() if source.parent != workspace else ():
        beside = workspace / Path(file.path).relative_to(source.parent)
        beside.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(beside, file.text.encode())
    write_atomically(workspace / "experiments.json", whole)
    return question


def _typed(draft: SweepTexts, option: Option) -> str:
    text: str = getattr(draft, option.name)
    return text


def in_use(draft: SweepTexts, option: Option) -> bool:
    """Say whether an option has a meaning with one of the values typed for the field that it belongs to."""
    if option.owners is None:
        return True
    typed = _typed(draft, OPTIONS[option.owners.field]).replace(",", " ").split()
    return any(applies(option, word) for word in typed)


def _values(draft: SweepTexts, option: Option) -> tuple[Any, ...]:
    return values_of(option, _typed(draft, option))


def _own_model(text: str, book: Presets) -> tuple[str, dict[str, tuple[Any, ...]]]:
    """Read `mine width=32,64 depth=1..3`: the label of a network with a model file, and a grid of its parameters."""
    first, *settings = re.split(r"\s+(?=\S+=)", text.strip())
    if first not in book.networks or book.networks[first].model is None:
        known = [label for label, network in book.networks.items() if network.model is not None]
        advice = f"there are {', '.join(known)}" if known else "experiments.json names none"
        raise DraftError(
            f"model: {first[:40]!r} is not a network with a model file and values as name=value; {advice}."
        )
    grid = {}
    for setting in settings:
        name, _, values = setting.partition("=")
        parts = [value for word in values.split(",") for value in _param_values(word.strip())]
        grid[f"{presets.PARAMS}{name}"] = tuple(dict.fromkeys(parts))
    return first, grid


def _param_values(word: str) -> tuple[Any, ...]:
    """Read a value of a parameter, or a range of numbers: a number, true, false, or else text."""
    if word in ("true", "false"):
        return (word == "true",)
    is_whole = not re.search(r"(?<!\.)\.(?!\.)|e", word)
    try:
        return numbers_of("model", word, int if is_whole else float)
    except DraftError:
        return (word,)
