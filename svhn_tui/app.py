"""The screen program: it wires the pipe to the state and the state to the pages, and nothing else."""

import gc
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from engine import protocol as p
from svhn_tui import presets, settings
from svhn_tui.analysis.launches import DeferredLaunches, Launch
from svhn_tui.analysis.notices import Milestones, call_text, notices_of
from svhn_tui.analysis.openings import openings_of
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.reducer import fold
from svhn_tui.client.remote_host import Remote
from svhn_tui.client.state import State
from svhn_tui.dialogs.choosing import chosen_fleet, runs_to_restore
from svhn_tui.export.exporting import export_beside
from svhn_tui.pages.command_palette import Palette, commands_of
from svhn_tui.pages.navigation import FIRST, Navigation
from svhn_tui.pages.page import Page
from svhn_tui.pages.registry import PAGES
from svhn_tui.terminal import clipboard
from svhn_tui.terminal.hangup import leave_with_terminal
from svhn_tui.terminal.printing import complain
from svhn_tui.terminal.terminal_app import TerminalApp
from svhn_tui.words import clean

FRAME_SECONDS = 0.5
"""Pages are drawn at most this often, however many events come."""


class SvhnApp(TerminalApp):
    """Wires things; owns the only state."""

    TITLE = "svhn-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"open_page('{name}')", name, show=False, tooltip=f"open {name}") for key, name, _ in PAGES),
        Binding("x", "export", "export", tooltip="export everything that is handed in"),
        Binding("W", "fleet", "where", show=False, tooltip="where it trains: here, in Slurm, on other boxes"),
        Binding("T", "theme", "theme", show=False, tooltip="dark, light or high contrast"),
        Binding("exclamation_mark", "messages", "messages", show=False, tooltip="what was said so far"),
        Binding("question_mark", "help", "keys", tooltip="all keys of the page"),
        Binding("ctrl+l", "repaint", "repaint", show=False, tooltip="draw the screen anew, after others wrote to it"),
        Binding(
            "ctrl+z",
            "suspend_process",
            "suspend",
            show=False,
            priority=True,
            tooltip="to the shell; training goes on, fg returns",
        ),
        Binding("q", "leave", "leave", tooltip="leave; training goes on"),
        Binding("ctrl+c,ctrl+q", "leave", "leave", show=False, tooltip="leave; training goes on"),
    ]

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
        """Where the screen itself writes: presets of one's own, what was copied."""
        self._connection = Connection(workspace, openings_of(book, source, layout), remote, self._take)
        self._state = State()
        self._drawn = self._state
        self._pages = Navigation(self, book)
        self._deferred = DeferredLaunches()
        self._milestones = Milestones(book.questions, book)

    def on_mount(self) -> None:
        """Show the questions; the engine is reached for once they stand."""
        self.take_liked_theme()
        if said := settings.homeless():
            self.notify(said, severity="warning", markup=False)
        self.push_screen(self._pages.named(FIRST))
        self.set_interval(FRAME_SECONDS, self._draw)
        self.call_after_refresh(lambda: self.run_worker(self._connection.keep(), exclusive=True))

    # --- from the engine to the pages --------------------------------------------------------------------------------

    def _take(self, batch: tuple[p.AnyEvent, ...]) -> None:
        before = self._state
        self._state = fold(batch, before)
        notices = notices_of(batch, before, self._state, self._milestones)
        for notice in notices:
            self.tell(notice)
        self.call_attention(call_text(notices))
        for event in batch:
            if isinstance(event, p.TrashRead):
                self._show_trash(event.results)
        self._launch_due()
        if self._state.caught_up and not before.caught_up:
            gc.freeze()  # thousands of runs that stay: looking through them for garbage would hold up a key
        if self._drawn.caught_up != self._state.caught_up or self._drawn.data != self._state.data:
            self._draw()

    def _draw(self) -> None:
        """Hand the state to the page that is seen."""
        if self._drawn.caught_up and self._state.connected and not self._state.caught_up:
            return  # all is told anew after a lost connection: what was seen before is better than half of it
        if not self.screen_stack:
            return  # the program ends
        self.fit_screen()
        page = self._pages.current
        if page is not None and page.state is not self._state:
            self._drawn = self._state
            page.state = self._state

    # --- from the pages to the engine --------------------------------------------------------------------------------

    async def on_page_wanted(self, message: Page.Wanted) -> None:
        """Send what a page wants to the engine."""
        await self._send(message.command)

    async def _send(self, command: p.AnyCommand | None) -> None:
        """Send a command if there is one, or say that it could not be sent."""
        if command is not None and not await self._connection.send(command):
            told = "There is no connection; it is tried again now. Press the key once more then."
            self.notify(told, severity="error")

    def on_page_launch_deferred(self, message: Page.LaunchDeferred) -> None:
        """Keep a launch until there is data to train on."""
        self._launch(message.launch)

    def _launch(self, launch: Launch) -> None:
        """Launch a question, now or as soon as the data is open."""
        if launch.needs_data(self._book, self._state):
            self.notify(f"{launch.question.id} trains as soon as the data is open.", markup=False)
        self._deferred.add(launch)
        self._launch_due()

    def _launch_due(self) -> None:
        for launch in self._deferred.due(self._book, self._state):
            command, said = launch.command(self._book, self._state)
            self.notify(said, markup=False)
            self.call_later(self._send, command)

    def on_page_copied(self, message: Page.Copied) -> None:
        """Copy through the terminal (OSC 52), and into a file for terminals that don't take it."""
        self.copy_to_clipboard(message.text)
        folder = self._desk if self._remote is not None else Path(self._state.workspace)
        self.notify(clipboard.keep(message.text, folder), markup=False)

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
        """Ask for a sweep of one's own, keep it as a preset of the workspace, and train it."""
        from svhn_tui.dialogs.sweep_form import SweepForm

        question = await self.push_screen_wait(SweepForm(self._desk, self._state))
        if question is None:
            return
        self._book = presets.load(presets.find(self._desk))
        self._milestones = Milestones(self._book.questions, self._book)
        await self._pages.renew(self._book, self._state, question.id)
        self.notify(clean(f"{question.id} is kept in {self._desk / 'experiments.json'}."), markup=False)
        self._launch(Launch(question))

    @work
    async def action_fleet(self) -> None:
        """Ask where to train."""
        await self._send(await chosen_fleet(self, self._state.fleet))

    def action_help(self) -> None:
        """Show what the keys do."""
        from svhn_tui.pages.help import HelpPage

        if isinstance(self.screen, Page):
            self.push_screen(HelpPage(self.screen))

    def action_messages(self) -> None:
        """Show again what was said."""
        from svhn_tui.dialogs.messages import Messages

        if isinstance(self.screen, Page):
            self.push_screen(Messages(self.notice_log))

    def action_command_palette(self) -> None:
        """Find what can be done by its name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

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
        self.tell(await export_beside(Path(self._state.workspace) / "exports", self._workspace, self._remote))

    @property
    def farewell(self) -> str:
        """What to say when the screen is closed."""
        running = len(self._state.running)
        return "Training goes on; `svhn-tui` shows it again, `svhn-tui stop` ends it." if running else ""


def run(workspace: Path, source: tuple[str, ...], remote: Remote | None, layout: str = "") -> int:
    """Open the screen; return the exit code. For another machine the presets are those of this one."""
    try:
        book = presets.load(presets.find(remote.desk if remote is not None else workspace))
    except presets.PresetError as error:
        complain(str(error))
        return 1
    app = SvhnApp(workspace, source, remote, book, layout)
    leave_with_terminal()
    app.run()
    if app.farewell:
        print(app.farewell)
    return app.return_code or 0
