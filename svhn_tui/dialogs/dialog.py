"""What all dialogs have in common."""

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType


class Dialog(ModalScreen[ScreenResultType]):
    """A box over a page. It is left once, however often a burst of keys asks for it: twice would take the page too."""

    DEFAULT_CLASSES = "dialog"

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave, if the dialog is still there."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()  # type: ignore[no-untyped-call]
