"""The pages: each is made when it is first opened, and lives on while another one is seen."""

from typing import Any

from textual.app import App

from svhn_tui.client.state import State
from svhn_tui.pages.page import Page
from svhn_tui.pages.questions import QuestionsPage
from svhn_tui.presets import Presets


class Pages:
    """Those that were opened so far, by their names."""

    def __init__(self, app: App[Any], book: Presets) -> None:
        self._app, self._book = app, book
        self._made: dict[str, Page] = {}

    def named(self, name: str) -> Page:
        """Return the page of this name."""
        return self._made.get(name) or self._keep(name, page_of(name, self._book))

    def show(self, name: str, state: State) -> None:
        """Switch to the page of this name, unless a dialog is open."""
        page = self.named(name)
        if self._app.screen is not page and isinstance(self._app.screen, Page):
            page.state = state
            self._app.switch_screen(page)

    def visit(self, name: str, subject: str, state: State) -> None:
        """Switch to the page of this name and show this question or run there; none: as it was left."""
        origin, page = self._app.screen, self.named(name)
        if subject and isinstance(origin, Page):
            page.state = state
            page.turn_to(subject, origin.TITLE_IN_BAR)
        self.show(name, state)

    async def renew(self, book: Presets, state: State, chosen: str) -> QuestionsPage:
        """Take other presets and show this question of theirs; all other pages are made anew when they are opened."""
        self._book = book
        page = QuestionsPage(book, chosen)
        page.state = state
        while not isinstance(self._app.screen, Page):  # a dialog that the same burst of keys had opened
            await self._app.pop_screen()
        await self._app.switch_screen(page)
        for old in self._made.values():
            self._app.uninstall_screen(old)
            await old.remove()
        self._made = {}
        self._keep("Questions", page)
        return page

    def _keep(self, name: str, page: Page) -> Page:
        """Install it: Textual removes a screen that is not when another one is seen."""
        self._made[name] = page
        self._app.install_screen(page, name)
        return page


def page_of(name: str, book: Presets) -> Page:
    """Make the page of this name; its module is loaded now, so that the first frame does not wait for it."""
    match name:
        case "Live":
            from svhn_tui.pages.live import LivePage

            return LivePage(book)
        case "Runs":
            from svhn_tui.pages.runs import RunsPage

            return RunsPage(book)
        case "Compare":
            from svhn_tui.pages.compare import ComparePage

            return ComparePage(book)
        case "Answers":
            from svhn_tui.pages.answers import AnswersPage

            return AnswersPage(book)
        case "Data":
            from svhn_tui.pages.data import DataPage

            return DataPage(book)
        case "Run":
            from svhn_tui.pages.run_page import RunPage

            return RunPage(book)
        case "Log":
            from svhn_tui.pages.run_log import LogPage

            return LogPage(book)
        case _:
            return QuestionsPage(book)
