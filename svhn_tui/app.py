"""The screen program: connects the pipe with the state, the state with the pages, and the pages with the pipe."""

import gc
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from engine import protocol as p
from engine.core.sweep import Sweep
from engine.storage import approvals
from svhn_tui import preset_file, presets, settings
from svhn_tui.analysis.launches import DeferredLaunches, Launch
from svhn_tui.analysis.notices import Notices
from svhn_tui.analysis.openings import openings_of
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.reducer import fold
from svhn_tui.client.remote_host import Remote
from svhn_tui.client.state import State
from svhn_tui.dialogs.choosing import chosen_fleet, runs_to_restore
from svhn_tui.dialogs.trusting import TrustModelFiles
from svhn_tui.export.exporting import export_beside
from svhn_tui.pages.command_palette import commands_of
from svhn_tui.pages.navigation import Navigation
from svhn_tui.pages.page import Page
from svhn_tui.pages.registry import KEYS
from svhn_tui.terminal import clipboard
from svhn_tui.terminal.terminal_app import TerminalApp
from svhn_tui.words import clean

FRAME_SECONDS = 0.5
"""Pages are drawn at most this often, however many events come."""


class SvhnApp(TerminalApp):
    """Owns the only state, and passes it on.

    Whole because Textual delivers every message of a page and every key of the program to the app: a line or two each.
    """

    TITLE = "svhn-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)

    def __init__(
        self,
        workspace: Path,
        source: tuple[str, ...],
        remote: Remote | None,
        book: presets.Presets,
        layout: str = "",
    ) -> None:
        super().__init__()
        self._workspace, self._remote, self._book = workspace, remote, book
        self._desk = remote.desk if remote is not None else workspace
        """The folder in which the screen itself writes: the user's own presets, what was copied."""
        self._connection = Connection(workspace, openings_of(book, source, layout), remote, self._receive)
        self._state = State()
        self._pages = Navigation(self, book)
        self._launches = DeferredLaunches()
        self._notices = Notices(book)
        self._untrusted: list[Sweep] = []
        """Wait for the user's word on their model files."""

    def on_mount(self) -> None:
        """Show the questions; connect to the engine once they are drawn."""
        self.use_liked_theme()
        if problem := settings.homeless():
            self.notify(problem, severity="warning", markup=False)
        self._pages.open_first()
        self.set_interval(FRAME_SECONDS, self._draw)
        self.call_after_refresh(lambda: self.run_worker(self._connection.hold(), exclusive=True))

    # --- from the engine to the pages --------------------------------------------------------------------------------

    def _receive(self, batch: tuple[p.AnyEvent, ...]) -> None:
        """Apply events that came together."""
        before, self._state = self._state, fold(batch, self._state)
        self.show_notices(self._notices.of(batch, before, self._state))
        for event in batch:
            if isinstance(event, p.TrashRead):
                self._show_trash(event.results)
        self._launch_due()
        if self._state.caught_up and not before.caught_up:
            gc.freeze()  # thousands of runs that stay: looking through them for garbage would hold up a key
        self._pages.receive(self._state)

    def _draw(self) -> None:
        self._pages.draw(self._state)

    # --- from the pages to the engine --------------------------------------------------------------------------------

    async def on_page_wanted(self, message: Page.Wanted) -> None:
        """Send what a page wants to the engine."""
        await self._send(message.command)

    async def _send(self, command: p.AnyCommand | None) -> None:
        """Send a command if there is one, or say that it could not be sent; a new model file is asked about first."""
        if isinstance(command, p.Submit) and await self._is_outdated(command.sweep):
            return
        if isinstance(command, p.Submit) and (files := self._book.unapproved(command.sweep.configurations)):
            self._untrusted.append(command.sweep)
            if len(self._untrusted) == 1:  # one question for all that wait for its answer
                self.push_screen(TrustModelFiles(files.values()), partial(self._trusted, files))
            return
        if command is not None and not await self._connection.send(command):
            text = "There is no connection; it is tried again now. Press the key once more then."
            self.notify(text, severity="error")

    async def _is_outdated(self, sweep: Sweep) -> bool:
        """Read the presets again if a model file was edited; say whether the sweep is of one as it was before."""
        if changed := self._book.changed_files():
            try:
                await self._read_presets(sweep.title)
            except presets.PresetError as error:
                self.notify(clean(str(error)), severity="error", markup=False)
                return True
            text = f"{', '.join(changed)} changed, and was read again: press the key once more to train it."
            self.notify(clean(text), severity="warning", markup=False)
        return not presets.models_of(sweep.configurations) <= self._book.sources.keys()

    async def _read_presets(self, chosen: str) -> None:
        """Read the presets again, and show this question of theirs.

        Raises:
            PresetError: they cannot be used; all stays as it was.
        """
        self._book = preset_file.load(preset_file.find(self._desk))
        self._notices = Notices(self._book)
        await self._pages.renew(self._book, self._state, chosen)

    def _trusted(self, files: Mapping[str, presets.ModelFile], is_sure: bool | None) -> None:
        """Let model files run and train, if the user said so; sweeps of other files are asked about next."""
        for file in files.values() if is_sure else ():
            approvals.approve(file.text)
        waiting, self._untrusted = self._untrusted, []
        for sweep in waiting:
            if is_sure or not presets.models_of(sweep.configurations) & files.keys():
                self.call_later(self._send, self._book.submit(sweep))

    def on_page_launch_deferred(self, message: Page.LaunchDeferred) -> None:
        """Launch a question as soon as there is data to train on."""
        self._launch(message.launch)

    def _launch(self, launch: Launch) -> None:
        """Launch a question, now or as soon as the data is open."""
        if launch.needs_data(self._book, self._state):
            self.notify(f"{launch.question.id} trains as soon as the data is open.", markup=False)
        self._launches.add(launch)
        self._launch_due()

    def _launch_due(self) -> None:
        for launch in self._launches.due(self._book, self._state):
            command, text = launch.command(self._book, self._state)
            self.notify(text, markup=False)
            self.call_later(self._send, command)

    def on_page_copied(self, message: Page.Copied) -> None:
        """Copy through the terminal (OSC 52), and into a file for terminals that don't take it."""
        self.copy_to_clipboard(message.text)
        folder = self._desk if self._remote is not None else Path(self._state.workspace)
        self.notify(clipboard.save(message.text, folder), markup=False)

    def on_page_comparison_wanted(self, message: Page.ComparisonWanted) -> None:
        """Open the Compare page with these runs."""
        self._pages.show("Compare", self._state, selected=message.runs)

    def on_page_look_wanted(self, message: Page.LookWanted) -> None:
        """Open the Data page at this run."""
        self._pages.show("Data", self._state, run=message.run_id)

    def on_page_visit(self, message: Page.Visit) -> None:
        """Open a page at a question or a run."""
        self._pages.visit(message.page, message.subject, self._state)

    def action_open_page(self, name: str) -> None:
        """Switch to a page."""
        self._pages.show(name, self._state)

    # --- dialogs -----------------------------------------------------------------------------------------------------

    @work
    async def _show_trash(self, results: tuple[p.RunResult, ...]) -> None:
        """Let runs be brought back from the trash."""
        await self._send(await runs_to_restore(self, results))

    @work
    async def action_sweep(self) -> None:
        """Ask for a sweep of the user's own, save it as a preset of the workspace, and train it."""
        from svhn_tui.dialogs.sweep_form import SweepForm

        question = await self.push_screen_wait(SweepForm(self._desk, self._state))
        if question is None:
            return
        await self._read_presets(question.id)
        self.notify(clean(f"{question.id} is kept in {self._desk / 'experiments.json'}."), markup=False)
        self._launch(Launch(question))

    @work
    async def action_fleet(self) -> None:
        """Ask where to train."""
        await self._send(await chosen_fleet(self, self._state.fleet))

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

    # --- the program's own -------------------------------------------------------------------------------------------

    @work(group="export", exclusive=True)
    async def action_export(self) -> None:
        """Put everything that is handed in into a folder, beside what is going on."""
        if not self._state.results:
            self.notify("There is nothing to export yet: train a question first.")
            return
        self.notify("Exporting, and verifying the files in TensorFlow…")
        self.show_notice(await export_beside(Path(self._state.workspace) / "exports", self._workspace, self._remote))

    @property
    def farewell(self) -> str:
        """What is printed when the screen is closed."""
        running = len(self._state.running)
        return "Training continues; `svhn-tui` shows it again, `svhn-tui stop` ends it." if running else ""
