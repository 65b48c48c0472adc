"""A list to choose from that lives through windows in which there is no room for it."""

from textual.widgets import OptionList


class Options(OptionList):
    """Textual's list; where it has no cells, going by pages does nothing instead of ending the program."""

    def action_page_up(self) -> None:
        """Go up by what is seen."""
        if self.scrollable_content_region:
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """Go down by what is seen."""
        if self.scrollable_content_region:
            super().action_page_down()  # type: ignore[no-untyped-call]
