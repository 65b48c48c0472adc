"""The base of all dialogs."""

from typing import ClassVar

from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.screen import ModalScreen, ScreenResultType


class Dialog(ModalScreen[ScreenResultType]):
    """A box over a page. A burst of keys closes it only once: closing it twice would close the page too."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "back")]
    DEFAULT_CLASSES = "dialog"

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close the dialog if it is still open."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()  # type: ignore[no-untyped-call]
