"""The pages of the program: a line each."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from textual.screen import Screen


class PageEntry(NamedTuple):
    """A page's key and name, and what makes it."""

    key: str
    name: str
    make: Callable[..., Screen[Any]]
    """Takes the presets; loads the page's module, so that no other page's first frame waits for it."""


def lazily(module: str, name: str) -> Callable[..., Screen[Any]]:
    """Return what makes a page of a module of this folder that is loaded when the page is first made."""

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
"""Those that a key opens, from everywhere."""
DETAILS = (
    PageEntry("", "Run", lazily("run_page", "RunPage")),
    PageEntry("", "Log", lazily("run_log", "LogPage")),
)
"""Those that are opened from another page, at what its cursor is on."""
