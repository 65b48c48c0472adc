"""The pages: each is made when it is first opened, and lives on while another one is seen."""

from typing import Any

from textual.app import App

from svhn_tui.presets import Presets
from svhn_tui.screens.page import Page


class Pages:
    """Those that were opened so far, by their names."""

    def __init__(self, app: App[Any], book: Presets) -> None:
        self._app, self._book = app, book
        self._made: dict[str, Page] = {}

    def named(self, name: str) -> Page:
        """Return the page of this name."""
        return self._made.get(name) or self._keep(name, page_of(name, self._book))

    async def renew(self, book: Presets, page: Page, name: str) -> None:
        """Take other presets: `page` was made with them and is seen, all others are made anew when they are opened."""
        self._book = book
        for old in self._made.values():
            self._app.uninstall_screen(old)
            await old.remove()
        self._made = {}
        self._keep(name, page)

    def _keep(self, name: str, page: Page) -> Page:
        """Install it: Textual removes a screen that is not when another one is seen."""
        self._made[name] = page
        self._app.install_screen(page, name)
        return page


def page_of(name: str, book: Presets) -> Page:
    """Make the page of this name; its module is loaded now, so that the first frame does not wait for it."""
    match name:
        case "Live":
            from svhn_tui.screens.live import LivePage

            return LivePage(book)
        case "Runs":
            from svhn_tui.screens.runs import RunsPage

            return RunsPage(book)
        case "Compare":
            from svhn_tui.screens.compare import ComparePage

            return ComparePage(book)
        case "Answers":
            from svhn_tui.screens.answers import AnswersPage

            return AnswersPage(book)
        case "Data":
            from svhn_tui.screens.data import DataPage

            return DataPage(book)
        case _:
            from svhn_tui.screens.questions import QuestionsPage

            return QuestionsPage(book)
