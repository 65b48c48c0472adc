"""A list of lines to choose from, which may change while one is chosen."""

from collections.abc import Sequence

from rich.text import Text
from textual.message import Message
from textual.widgets.option_list import Option

from svhn_tui.widgets.options import Options


class Lines(Options):
    """Lists lines by key; the cursor stays on its line when others change, and can leave the list."""

    DEFAULT_CSS = (
        "Lines { scrollbar-size-vertical: 0; }"  # a scrollbar that appears and disappears would wrap the lines
    )

    class Left(Message):
        """The cursor moved past the first line (`step` -1) or the last one (1)."""

        def __init__(self, lines: "Lines", step: int) -> None:
            super().__init__()
            self.lines, self.step = lines, step

        @property
        def control(self) -> "Lines":
            """The list that the cursor left."""
            return self.lines

    def show(self, lines: Sequence[tuple[str, Text]]) -> None:
        """Show these keys and lines; without any, the list is hidden."""
        self.display = bool(lines)
        keys = [key for key, _ in lines]
        if [option.id for option in self.options] != keys:
            chosen, highlighted = self.chosen, self.highlighted or 0
            self.set_options(Option(line, id=key) for key, line in lines)
            if keys:
                self.highlighted = keys.index(chosen) if chosen in keys else min(highlighted, len(keys) - 1)
            return
        for index, (_, line) in enumerate(lines):
            if self.get_option_at_index(index).prompt != line:
                self.replace_option_prompt_at_index(index, line)

    @property
    def chosen(self) -> str | None:
        """The key of the line under the cursor."""
        if self.highlighted is None or self.highlighted >= self.option_count:
            return None
        return self.get_option_at_index(self.highlighted).id

    def action_cursor_down(self) -> None:
        """Go down, or leave the list at its end."""
        if self.highlighted == self.option_count - 1:
            self.post_message(self.Left(self, 1))
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """Go up, or leave the list at its start."""
        if not self.highlighted:
            self.post_message(self.Left(self, -1))
        else:
            super().action_cursor_up()
