"""The dialog with the latest notices, which disappear from the screen after a while."""

import time
from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from svhn_tui import words
from svhn_tui.client.notice_log import LoggedNotice
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.themes import dim_of

SIGNS = {"information": "·", "warning": "!", "error": "✗"}


class Messages(Dialog[None]):
    """Lists the notices, the newest on top."""

    BINDINGS: ClassVar[list[BindingType]] = [("exclamation_mark,q,enter", "dismiss(None)", "back")]
    DEFAULT_CLASSES = "dialog wide"

    def __init__(self, notices: Iterable[LoggedNotice]) -> None:
        """Store the notices, which are in the order of time."""
        super().__init__()
        self._notices = tuple(notices)

    def compose(self) -> ComposeResult:
        """Compose one text that scrolls."""
        with VerticalScroll():
            yield Static(self._text())

    def _text(self) -> Text:
        theme = self.app.current_theme
        dim, colors = dim_of(theme), {"warning": str(theme.warning), "error": str(theme.error)}
        text = Text.assemble(("Messages", "bold"), ("   esc goes back\n", dim))
        if not self._notices:
            text.append("\nNo messages so far.", dim)
        for at, severity, sentence in reversed(self._notices):
            text.append(f"\n{time.strftime('%H:%M', time.localtime(at))} ", dim)
            text.append(f"{SIGNS[severity]} ", colors.get(severity, dim))
            text.append(words.clean(sentence, newlines=True))
        return text
