"""The command palette: it finds the actions of keys by their names."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import OptionList

from svhn_tui.themes import TITLES
from svhn_tui.widgets.key_bar import sign_of

UNNAMED = {"command_palette", "copy_text", "focus_next", "focus_previous"}


def commands_of(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Return the actions that a screen offers now, each once, and the themes."""
    known: set[str] = set()
    for active in screen.active_bindings.values():
        action = active.binding.action
        name = active.binding.tooltip or active.binding.description
        is_offered = active.enabled and active.node in (screen, app) and name not in known
        if is_offered and action.rpartition(".")[2].partition("(")[0] not in UNNAMED:
            known.add(name)
            title = f"{name[0].upper()}{name[1:]}"
            yield SystemCommand(
                title, f"key: {sign_of(active.binding.key)}", partial(app.run_action, action, active.node)
            )
    for theme, title in TITLES.items():
        yield SystemCommand(f"Theme: {title}", "kept for the next start", partial(app.run_action, f"theme('{theme}')"))


class Palette(CommandPalette):
    """Textual's palette, without two of its crashes: paging in a list that has no room, and dismissing it twice."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page('page_up')", show=False),
        Binding("pagedown", "page('page_down')", show=False),
    ]

    async def action_page(self, action: str) -> None:
        """Scroll the list by one page."""
        listed = self.query_one("CommandList", OptionList)
        if listed.scrollable_content_region:
            await self.app.run_action(action, listed)

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the palette if it is still open."""
        return super().dismiss(result) if self.is_active else AwaitComplete.nothing()  # type: ignore[no-untyped-call]
