"""The dialog that shows a model file before it runs for the first time."""

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Label, Static

from svhn_tui import words
from svhn_tui.dialogs.dialog import Dialog
from svhn_tui.presets import ModelFile


class TrustModelFiles(Dialog[bool]):
    """Shows files and asks whether they may run."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "dismiss(True)", "yes"), ("n,escape", "dismiss(False)", "no")]
    DEFAULT_CLASSES = "dialog wide"

    def __init__(self, files: Iterable[ModelFile]) -> None:
        super().__init__()
        self._files = tuple(files)

    def compose(self) -> ComposeResult:
        """Compose the question and the files, which scroll."""
        names = ", ".join(words.clean(file.path) for file in self._files)
        with VerticalScroll():
            yield Label(Text(f"Let {names} run, with all your rights?\ny yes   n no\n", style="bold"))
            for file in self._files:
                yield Static(Text(words.clean(file.text, newlines=True)))
