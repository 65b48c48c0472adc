"""A list of lines to tick; a tick is a character, not a colour."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets.option_list import Option

from svhn_tui.widgets.options import Options


class TickList(Options):
    """Lists lines with a box each; space ticks the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "tick", "tick")]

    def __init__(self, lines: Sequence[str], ticked: Iterable[int] = ()) -> None:
        self._labels, self._ticked = tuple(lines), set(ticked)
        super().__init__(*(Option(self._prompt(index)) for index in range(len(lines))))

    @property
    def ticked(self) -> tuple[int, ...]:
        """The indices of the ticked lines, in order."""
        return tuple(sorted(self._ticked))

    def action_tick(self) -> None:
        """Tick or untick the line under the cursor."""
        if self.highlighted is not None:
            self._ticked ^= {self.highlighted}
            self.replace_option_prompt_at_index(self.highlighted, self._prompt(self.highlighted))

    def _prompt(self, index: int) -> Text:
        return Text(
            f"{'[x]' if index in self._ticked else '[ ]'} {self._labels[index]}", no_wrap=True, overflow="ellipsis"
        )
