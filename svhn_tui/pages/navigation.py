"""Navigation between pages: each is made when it is first opened, and exists until the presets change."""

from svhn_tui.client.notice_log import NoticeLog
from svhn_tui.client.state import State
from svhn_tui.pages.command_palette import Palette
from svhn_tui.pages.page import Page
from svhn_tui.pages.registry import DETAILS, PAGES
from svhn_tui.presets import Presets
from svhn_tui.terminal.terminal_app import TerminalApp

FIRST = PAGES[0].name


class Navigation:
    """Holds the pages that were opened so far, and sets the state of the one that is shown."""

    def __init__(self, app: TerminalApp, book: Presets) -> None:
        self._app, self._book = app, book
        self._made: dict[str, Page] = {}
        """The pages by name."""
        self._drawn = State()

    @property
    def current(self) -> Page | None:
        """The page that is shown, with or without a dialog over it."""
        return next((screen for screen in reversed(self._app.screen_stack) if isinstance(screen, Page)), None)

    def named(self, name: str) -> Page:
        """Return the page of this name."""
        return self._made.get(name) or self._install(name, page_of(name, self._book))

    def open_first(self) -> None:
        """Open the first page."""
        self._app.push_screen(self.named(FIRST))

    def receive(self, state: State) -> None:
        """Draw a new state at once if it is the first complete one or its data differs; others wait for `draw`."""
        if self._drawn.caught_up != state.caught_up or self._drawn.data != state.data:
            self.draw(state)

    def draw(self, state: State) -> None:
        """Set the state of the page that is shown."""
        if self._drawn.caught_up and state.connected and not state.caught_up:
            return  # after a lost connection all is sent again: the previous state is better than half of the new one
        if not self._app.screen_stack:
            return  # the program ends
        self._app.fit_screen()
        page = self.current
        if page is not None and page.state is not state:
            self._drawn = page.state = state

    def show(self, name: str, state: State, subjects: tuple[str, ...] = ()) -> None:
        """Switch to the page of this name, unless a dialog is open.

        Args:
            name: as in the registry.
            state: to be drawn.
            subjects: the question or runs to show there; without any, the page is unchanged.
        """
        origin, page = self._app.screen, self.named(name)
        if not isinstance(origin, Page):
            return
        page.state = state
        if subjects:
            page.turn_to(subjects, origin.TITLE_IN_BAR)
        if origin is not page:
            self._app.switch_screen(page)

    async def renew(self, book: Presets, state: State, chosen: str) -> None:
        """Use other presets and show this question of theirs; all other pages are made again when they are opened."""
        self._book = book
        page = page_of(FIRST, book, chosen)
        page.state = state
        while not isinstance(self._app.screen, Page):  # a dialog that the same burst of keys had opened
            await self._app.pop_screen()
        await self._app.switch_screen(page)
        for old in self._made.values():
            self._app.uninstall_screen(old)
            await old.remove()
        self._made = {}
        self._install(FIRST, page)

    def open_help(self) -> None:
        """Show what the keys of the page do."""
        from svhn_tui.pages.help import HelpPage

        if isinstance(page := self._app.screen, Page):
            self._app.push_screen(HelpPage(page))

    def open_messages(self, log: NoticeLog) -> None:
        """Show the latest notices again, over a page."""
        from svhn_tui.dialogs.messages import Messages

        if isinstance(self._app.screen, Page):
            self._app.push_screen(Messages(log))

    def open_palette(self) -> None:
        """Open the command palette, unless it is open."""
        if not isinstance(self._app.screen, Palette):
            self._app.push_screen(Palette())

    def _install(self, name: str, page: Page) -> Page:
        """Install a page: Textual removes a screen that is not installed when another one is shown."""
        self._made[name] = page
        self._app.install_screen(page, name)
        return page


def page_of(name: str, *arguments: object) -> Page:
    """Make the page of this name.

    Args:
        name: as in the registry.
        arguments: of the page, the presets first.
    """
    page = next(entry.make for entry in (*PAGES, *DETAILS) if entry.name == name)(*arguments)
    assert isinstance(page, Page)
    return page
