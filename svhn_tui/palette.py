"""The command palette: everything that a key does can be found there by its name."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.screen import Screen

from svhn_tui.themes import TITLES
from svhn_tui.widgets.keys import sign_of

UNNAMED = {"command_palette", "copy_text", "focus_next", "focus_previous"}


def commands_of(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Return what can be done on a screen now, each thing once, and the themes."""
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
