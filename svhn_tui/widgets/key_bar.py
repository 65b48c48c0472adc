"""The bar below every page: the keys that have an effect now, as many as fit."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from rich.text import Text
from textual import events
from textual.binding import ActiveBinding, Binding
from textual.screen import Screen
from textual.widget import Widget

from svhn_tui.themes import dim_of

SIGNS = {
    "question_mark": "?", "exclamation_mark": "!", "plus": "+", "equals_sign": "=", "minus": "-", "slash": "/",
    "left": "←", "right": "→", "up": "↑", "down": "↓", "escape": "esc", "shift+left": "shift ←",
    "shift+right": "shift →", "pageup": "pgup", "pagedown": "pgdn", "ctrl+c": "^c", "ctrl+p": "^p", "ctrl+q": "^q",
    "ctrl+l": "^l", "ctrl+z": "^z", "shift+tab": "shift tab",
}  # fmt: skip
"""Displayed names of keys, where they differ from Textual's."""
ALWAYS = 2
"""So many of the last keys are always shown, in any window: how to see all keys, and how to leave."""
GAP = 2


class Hint(NamedTuple):
    """Keys that belong together, and their action in a word or two."""

    keys: tuple[str, ...]
    text: str

    @property
    def width(self) -> int:
        """The width in cells."""
        return sum(len(sign_of(key)) + 1 for key in self.keys) + len(self.text)


class KeyBar(Widget):
    """Shows the bindings in one line; a click presses the key."""

    DEFAULT_CSS = "KeyBar { dock: bottom; height: 1; background: $panel; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[Hint, ...] = ()

    def on_mount(self) -> None:
        """Follow changes of the bindings."""
        self.screen.bindings_updated_signal.subscribe(self, lambda screen: self._follow())

    def _follow(self) -> None:
        if self.hints != self._drawn:
            self.refresh()

    @property
    def hints(self) -> tuple[Hint, ...]:
        """The hints that fit now."""
        return fitting(hints_of(ranked_bindings(self.screen)), self.content_size.width)

    def render(self) -> Text:
        """Draw the keys, the most important first."""
        theme, text = self.app.current_theme, Text(no_wrap=True, overflow="crop")
        self._drawn = self.hints
        for hint in self._drawn:
            text.append(" " * GAP if text else "")
            text.append("".join(f"{sign_of(key)} " for key in hint.keys), f"bold {theme.primary}")
            text.append(hint.text, dim_of(theme))
        return text

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        if (key := key_at(self.hints, event.x - 1)) is not None:
            self.app.simulate_key(key)


def sign_of(key: str) -> str:
    """Return a key's name on the screen."""
    return SIGNS.get(key, key)


def ranked_bindings(screen: Screen[Any]) -> list[ActiveBinding]:
    """Return the active bindings, the screen's own first, in the order of their declaration."""
    rank = _ranks_of(type(screen))
    return sorted(screen.active_bindings.values(), key=lambda some: rank.get(some.binding.key, len(rank)))


@cache
def _ranks_of(kind: type[Screen[Any]]) -> Mapping[str, int]:
    """Return the index of each key among the declared ones of a screen's class."""
    declared = (binding.key for binding in Binding.make_bindings(kind.BINDINGS))
    return {key: index for index, key in enumerate(declared)}


def hints_of(bindings: Iterable[ActiveBinding]) -> tuple[Hint, ...]:
    """Return the hints: one for each binding, or for a group of adjacent ones."""

    def hints() -> Iterator[Hint]:
        shown = [active.binding for active in bindings if active.enabled and active.binding.show]
        for alike, some in groupby(shown, key=lambda binding: binding.group or binding.action):
            members = list(some)
            group = members[0].group
            keys = tuple(binding.key for binding in members) if group is alike else (members[0].key,)
            yield Hint(keys, group.description if group is not None else members[0].description)

    return tuple(hints())


def fitting(hints: tuple[Hint, ...], width: int) -> tuple[Hint, ...]:
    """Return the hints that fit, the last ones in any case."""
    last = hints[-ALWAYS:]
    room = width - sum(hint.width + GAP for hint in last)
    shown = []
    for hint in hints[:-ALWAYS]:
        if hint.width > room:
            break
        shown.append(hint)
        room -= hint.width + GAP
    return (*shown, *last)


def key_at(hints: Iterable[Hint], column: int) -> str | None:
    """Return the key whose hint covers a column."""
    left = 0
    for hint in hints:
        for key in hint.keys:
            left += len(sign_of(key)) + 1
            if 0 <= column < left:
                return key
        left += len(hint.text) + GAP
        if column < left - GAP:
            return hint.keys[0]
    return None
