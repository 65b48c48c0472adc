"""The pages of the program, a line each, and the keys that work on all of them."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from textual.binding import Binding
from textual.screen import Screen


class PageEntry(NamedTuple):
    """A page's key, name and factory."""

    key: str
    name: str
    make: Callable[..., Screen[Any]]
    """Makes the page from the presets; it loads the page's module, so that no other page's first frame waits for it."""


def lazily(module: str, name: str) -> Callable[..., Screen[Any]]:
    """Return a factory of pages whose module, in this folder, is loaded at its first call."""

    def make(*arguments: object) -> Screen[Any]:
        page: Screen[Any] = getattr(import_module(f"svhn_tui.pages.{module}"), name)(*arguments)
        return page

    return make


PAGES = (
    PageEntry("1", "Questions", lazily("questions", "QuestionsPage")),
    PageEntry("2", "Live", lazily("live", "LivePage")),
    PageEntry("3", "Runs", lazily("runs", "RunsPage")),
    PageEntry("4", "Compare", lazily("compare", "ComparePage")),
    PageEntry("5", "Answers", lazily("answers", "AnswersPage")),
    PageEntry("6", "Data", lazily("data", "DataPage")),
)
"""The pages that a key opens, from everywhere."""
DETAILS = (
    PageEntry("", "Run", lazily("run_page", "RunPage")),
    PageEntry("", "Log", lazily("run_log", "LogPage")),
)
"""The pages that are opened from another page, for the run under its cursor."""
KEYS = (
    *(Binding(key, f"open_page('{name}')", name, show=False, tooltip=f"open {name}") for key, name, _ in PAGES),
    Binding("x", "export", "export", tooltip="export everything that is handed in"),
    Binding("W", "fleet", "where", show=False, tooltip="where to train: here, in Slurm, on other machines"),
    Binding("T", "theme", "theme", show=False, tooltip="dark, light or high contrast"),
    Binding("exclamation_mark", "messages", "messages", show=False, tooltip="past messages"),
    Binding("question_mark", "help", "keys", tooltip="all keys of the page"),
    Binding("ctrl+l", "repaint", "repaint", show=False, tooltip="redraw, after something else wrote to the terminal"),
    Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True,
            tooltip="suspend to the shell until fg; training continues"),
    Binding("q", "leave", "leave", tooltip="leave; training continues"),
    Binding("ctrl+c,ctrl+q", "leave", "leave", show=False, tooltip="leave; training continues"),
)  # fmt: skip
"""Keys of the app: they work on every page."""
