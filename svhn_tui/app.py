"""The screen program: it connects the engine with the state, and the state with the pages."""

import gc
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from engine import protocol as p
from svhn_tui import preset_file
from svhn_tui.analysis.launches import Launch
from svhn_tui.analysis.notices import Notices
from svhn_tui.analysis.openings import openings_of
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.reducer import fold
from svhn_tui.client.remote_host import Remote
from svhn_tui.client.state import State
from svhn_tui.dialogs.choosing import chosen_fleet, new_question
from svhn_tui.pages.command_palette import commands_of
from svhn_tui.pages.engine_requests import EngineRequests
from svhn_tui.pages.exports import Exports
from svhn_tui.pages.navigation import Navigation
from svhn_tui.pages.page import Page
from svhn_tui.pages.registry import KEYS
from svhn_tui.presets import Presets
from svhn_tui.terminal import clipboard
from svhn_tui.terminal.terminal_app import TerminalApp
from svhn_tui.words import clean

FRAME_SECONDS = 0.5
"""Pages are drawn at most this often, however many events come."""


class SvhnApp(TerminalApp):
    """Holds the state, and connects the engine, the pages and the dialogs."""

    TITLE = "svhn-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)

    def __init__(
        self, workspace: Path, source: tuple[str, ...], remote: Remote | None, book: Presets, layout: str = ""
    ) -> None:
        super().__init__()
        self._folder = remote.local_folder if remote is not None else workspace
        """The folder in which the screen itself writes: the user's own presets and copied text."""
        self._connection = Connection(workspace, openings_of(book, source, layout), remote, self._receive)
        self._state = State()
        self._pages = Navigation(self, book)
        self._requests = EngineRequests(self, self._connection, book, self._read_presets)
        self._notices = Notices(book)
        self._exports = Exports(self, workspace, remote)

    def on_mount(self) -> None:
        """Show the questions; connect to the engine once they are drawn."""
        self.use_settings()
        self._pages.open_first()
        self.set_interval(FRAME_SECONDS, lambda: self._pages.draw(self._state))
        self.call_after_refresh(lambda: self.run_worker(self._connection.hold()))

    # --- from the engine to the pages --------------------------------------------------------------------------------

    def _receive(self, batch: tuple[p.AnyEvent, ...]) -> None:
        """Apply events that came together."""
        before, self._state = self._state, fold(batch, self._state)
        self.show_notices(self._notices.of(batch, before, self._state))
        self._requests.receive(batch, self._state)
        if self._state.caught_up and not before.caught_up:
            gc.freeze()  # thousands of runs that stay: a key on Runs costs 6 ms instead of 13
        self._pages.receive(self._state)

    # --- from the pages ----------------------------------------------------------------------------------------------

    async def on_page_command_requested(self, message: Page.CommandRequested) -> None:
        """Send a page's command to the engine."""
        await self._requests.send(message.command)

    def on_page_launch_deferred(self, message: Page.LaunchDeferred) -> None:
        """Launch a question as soon as there is data to train on."""
        self._requests.launch(message.launch, self._state)

    def on_page_copied(self, message: Page.Copied) -> None:
        """Copy through the terminal (OSC 52), and into a file for terminals that do not support it."""
        self.copy_to_clipboard(message.text)
        self.notify(clipboard.save(message.text, self._folder), markup=False)

    def on_page_visit(self, message: Page.Visit) -> None:
        """Open a page at a question or at runs."""
        self._pages.show(message.page, self._state, message.subjects)

    def action_open_page(self, name: str) -> None:
        """Switch to a page."""
        self._pages.show(name, self._state)

    # --- keys --------------------------------------------------------------------------------------------------------

    @work
    async def action_sweep(self) -> None:
        """Ask for a sweep of the user's own, save it as a preset of the workspace, and train it."""
        if (question := await new_question(self, self._folder, self._requests.book.data, self._state)) is not None:
            await self._read_presets(question.id)
            self.notify(clean(f"{question.id} is saved in {self._folder / 'experiments.json'}."), markup=False)
            self._requests.launch(Launch(question), self._state)

    async def _read_presets(self, chosen: str) -> None:
        """Read the presets again, and show this question of theirs.

        Raises:
            PresetError: they cannot be used; all stays as it was.
        """
        book = self._requests.book = preset_file.load(preset_file.find(self._folder))
        self._notices = Notices(book)
        await self._pages.renew(book, self._state, chosen)

    @work
    async def action_fleet(self) -> None:
        """Ask where to train."""
        await self._requests.send(await chosen_fleet(self, self._state.fleet))

    def action_help(self) -> None:
        """Show what the keys do."""
        self._pages.open_help()

    def action_messages(self) -> None:
        """Show the latest notices again."""
        self._pages.open_messages(self.notice_log)

    def action_command_palette(self) -> None:
        """Find an action by its name."""
        self._pages.open_palette()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Fill the command palette."""
        return commands_of(self, screen)

    def action_export(self) -> None:
        """Export the whole submission."""
        self._exports.start(self._state)

    def action_leave(self) -> None:
        """Close the screen; training continues."""
        self._exports.before_leaving(super().action_leave)

    @property
    def farewell(self) -> str:
        """What is printed when the screen is closed."""
        continues = self._state.running or any(not run.paused for run in self._state.waiting.values())
        return "Training continues; `svhn-tui` shows it again, `svhn-tui stop` ends it." if continues else ""
