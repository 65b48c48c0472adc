"""What the keys do, read from the bindings themselves."""

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from svhn_tui.themes import dim_of

SIGNS = {
    "question_mark": "?", "plus": "+", "equals_sign": "=", "minus": "-", "slash": "/", "left": "←", "right": "→",
    "up": "↑", "down": "↓", "escape": "esc", "shift+left": "shift ←", "shift+right": "shift →",
}  # fmt: skip


class HelpPage(ModalScreen[None]):
    """Lists the keys of the page that it was opened on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "back"),
        ("question_mark", "dismiss", "back"),
        ("q", "dismiss", "back"),
    ]

    def __init__(self, bindings: Mapping[str, ActiveBinding]) -> None:
        super().__init__()
        self._listed = bindings

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll():
            yield Static(self._text())

    def _text(self) -> Text:
        lines: dict[str, list[str]] = {}
        for key, active in self._listed.items():
            if active.enabled and active.binding.description:
                lines.setdefault(active.binding.description, []).append(SIGNS.get(key, key))
        text = Text("esc closes this\n\n", dim_of(self.app.current_theme))
        for description, keys in sorted(lines.items(), key=lambda line: line[1][0]):
            text.append(f"{' '.join(keys):>14}  ", f"bold {self.app.current_theme.primary}")
            text.append(f"{description}\n")
        return text
