"""Values as they are typed into the sweep form: words, numbers, ranges and lists, by the kind of an option. Pure."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from engine.core.options import Option

MAX_VALUES = 200
RANGE = re.compile(r"(?P<first>[^.]+(?:\.\d+)?)\.\.(?P<last>[^/]+)(?:/(?P<steps>\d+))?")
NONE = "none"


class DraftError(ValueError):
    """A field has no valid value; the message begins with its name."""


def values_of(option: Option, text: str) -> tuple[Any, ...]:
    """Parse what was typed for an option, by its kind.

    Raises:
        DraftError: it cannot be read.
    """
    title = option.title
    match option.kind:
        case "integers":
            return _hidden(text)
        case "choice":
            return _words(title, text, option.choices)
        case "switch":
            return tuple(word == "yes" for word in _words(title, text, ("no", "yes")))
        case "choices" | "reals":
            return _lists(option, text)
        case _:
            kind = int if option.kind == "integer" else float
            return numbers_of(title, text, kind, may_be_none=option.may_be_none)


def _lists(option: Option, text: str) -> tuple[tuple[Any, ...], ...]:
    """Read lists with spaces between, their items with commas between; `none` is the empty one."""
    lists: list[tuple[Any, ...]] = []
    for word in text.split():
        items = [] if word == NONE else word.strip("()").split(",")
        if option.kind == "reals":
            lists.append(tuple(_number(option.title, item, float) for item in items))
        else:
            lists.append(_words(option.title, " ".join(items), option.choices) if items else ())
    if not lists:
        raise DraftError(f"{option.title}: {option.example}, with spaces between.")
    return tuple(dict.fromkeys(lists))


def _hidden(text: str) -> tuple[tuple[int, ...], ...]:
    """Read `linear 64 256,64 64..1024/5`: layers with commas between, networks with spaces."""
    networks: list[tuple[int, ...]] = []
    for word in text.split():
        if word == "linear":
            networks.append(())
        elif "," in word:
            networks.append(tuple(_number("hidden", part, int) for part in word.strip("()").split(",")))
        else:
            networks += [(units,) for units in numbers_of("hidden", word.strip("()"), int)]
    if not networks:
        raise DraftError("hidden: `linear`, `256`, `256,64` or `64..1024/5`, with spaces between.")
    return tuple(dict.fromkeys(networks))


def _words(field: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Read words with spaces between, each one of the allowed ones."""
    words = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for word in words:
        if word not in known:
            raise DraftError(f"{field}: {word[:30]!r}; there are {', '.join(known)}.")
    if not words:
        raise DraftError(f"{field}: at least one of {', '.join(known)}.")
    return words


def numbers_of(field: str, text: str, kind: Callable[[str], Any], *, may_be_none: bool = False) -> tuple[Any, ...]:
    """Read `1 2 5`, `0..9` (whole steps) and `1e-5..1e-3/3` (so many values, each the same factor above the last)."""
    numbers: list[Any] = []
    for word in text.replace(",", " ").split():
        if may_be_none and word == NONE:
            numbers.append(None)
            continue
        span = RANGE.fullmatch(word)
        numbers += _span(field, span.groupdict(), kind) if span else [_number(field, word, kind)]
        if len(numbers) > MAX_VALUES:
            raise DraftError(f"{field}: more than {MAX_VALUES} values.")
    if not numbers:
        raise DraftError(f"{field}: at least one value.")
    return tuple(dict.fromkeys(numbers))


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
        raise DraftError(f"{field}: {text[:30]!r} is not a {'whole number' if kind is int else 'number'}.") from None
    if not math.isfinite(value) or abs(value) > 1e9:
        raise DraftError(f"{field}: {text[:30]} is out of range.")
    return value
