"""The screen program: it wires the pipe to the state and the state to the pages, and nothing else."""

import gc
import signal
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.worker import WorkerFailed

from engine import protocol as p
from engine.machine import os_errors
from svhn_tui import presets, settings
from svhn_tui.analysis.notices import Milestones, Notice, call_text, divergences, notice_of
from svhn_tui.analysis.progress import Overrides
from svhn_tui.client.reconnect import Connection
from svhn_tui.client.reducer import fold
from svhn_tui.client.remote_host import Remote
from svhn_tui.client.state import State
from svhn_tui.dialogs.dialogs import Trash, WhereToTrain
from svhn_tui.export.exporting import export_beside
from svhn_tui.pages.command_palette import Palette, commands_of
from svhn_tui.pages.page import PAGES, Page
from svhn_tui.pages.questions import QuestionsPage
from svhn_tui.pages.registry import Pages
from svhn_tui.terminal import clipboard, crash_report
from svhn_tui.terminal.driver import ThriftyDriver
from svhn_tui.terminal.hangup import leave_with_terminal
from svhn_tui.terminal.keyboard import Keyboard, Typed
from svhn_tui.terminal.printing import complain
from svhn_tui.terminal.sanitize import Outlet
from svhn_tui.themes import DARK, THEMES, TITLES
from svhn_tui.words import clean

FRAME_SECONDS = 0.5
"""Pages are drawn at most this often, however many events come."""
CALL_SECONDS = 5.0
"""The user is called at most this often."""
NOTICES_KEPT = 100
NOTICE_LONGEST = 400
"""Characters of a notice that are shown over a page; `!` shows all of it."""


class SvhnApp(App[None]):
    """Wires things; owns the only state."""

    TITLE = "svhn-tui"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"open_page('{name}')", name, show=False, tooltip=f"open {name}") for key, name in PAGES),
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

    def __init__(self, workspace: Path, source: tuple[str, ...], remote: Remote | None, book: presets.Presets) -> None:
        super().__init__(driver_class=ThriftyDriver)
        self._workspace, self._remote = workspace, remote
        self._desk = remote.desk if remote is not None else workspace
        """Where the screen itself writes: presets of one's own, what was copied."""
        self._connection = Connection(workspace, source, remote, self._take)
        self._state = State()
        self._drawn = self._state
        self._book = book
        self._pages = Pages(self, book)
        self._told: deque[tuple[float, SeverityLevel, str]] = deque(maxlen=NOTICES_KEPT)
        self._outlet = Outlet()
        self._milestones = Milestones(book.questions, book)
        self._called_at = -CALL_SECONDS
        self._keyboard = Keyboard(self, super().on_event)
        self._put_off: dict[str, QuestionsPage.PutOff] = {}
        """By question: what is trained as soon as the data is open."""

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Draw nothing that did not pass the outlet."""
        return [self._outlet, *super().get_line_filters()]

    async def on_event(self, event: events.Event) -> None:
        """Take keys one at a time."""
        if isinstance(event, Typed) and not event.is_forwarded:
            await self._keyboard.take(event)
        else:
            await super().on_event(event)

    def on_mount(self) -> None:
        """Show the questions; the engine is reached for once they stand."""
        for theme in THEMES:
            self.register_theme(theme)
        liked = settings.load().theme
        self.theme = liked if liked in TITLES else DARK.name
        if said := settings.homeless():
            self.notify(said, severity="warning", markup=False)
        self.push_screen(self._pages.named("Questions"))
        self.set_interval(FRAME_SECONDS, self._draw)
        self.call_after_refresh(lambda: self.run_worker(self._connection.keep(), exclusive=True))

    def _take(self, batch: tuple[p.AnyEvent, ...]) -> None:
        before = self._state
        self._state = fold(batch, before)
        notices: list[Notice] = []
        for event in batch:
            if (notice := notice_of(event, is_news=before.caught_up)) is not None:
                notices.append(notice)
            if isinstance(event, p.TrashRead):
                self._show_trash(event.results)
        if before.caught_up:
            notices += divergences(batch, self._state)
        if self._state.caught_up:
            notices += self._milestones.reached(batch, self._state)
        for notice in notices:
            self._tell(notice)
        self._call(call_text(notices))
        if self._state.data_is_open:
            self._train_what_was_put_off()
        if self._state.caught_up and not before.caught_up:
            gc.freeze()  # thousands of runs that stay: looking through them for garbage would hold up a key
        if self._drawn.caught_up != self._state.caught_up or self._drawn.data != self._state.data:
            self._draw()

    def _call(self, text: str) -> None:
        """Call for the attention of who looks elsewhere, now and then, unless the settings say no."""
        is_soon = time.monotonic() - self._called_at < CALL_SECONDS
        if text and not is_soon and isinstance(self._driver, ThriftyDriver) and settings.load().alerts:
            self._called_at = time.monotonic()
            self._driver.call(self.TITLE, text)

    def _draw(self) -> None:
        """Hand the state to the page that is seen."""
        if self._drawn.caught_up and self._state.connected and not self._state.caught_up:
            return  # all is told anew after a lost connection: what was seen before is better than half of it
        if self.screen.outer_size != self.size:  # it was opened while the terminal's size changed, and did not hear
            self.screen.post_message(events.Resize(self.size, self.size))
        page = next((screen for screen in reversed(self.screen_stack) if isinstance(screen, Page)), None)
        if page is not None and page.state is not self._state:
            self._drawn = self._state
            page.state = self._state

    async def on_page_wanted(self, message: Page.Wanted) -> None:
        """Send what a page wants to the engine."""
        await self._send(message.command)

    async def _send(self, command: p.AnyCommand) -> None:
        """Send a wish, or say that it could not be sent."""
        if not await self._connection.send(command):
            told = "There is no connection; it is tried again now. Press the key once more then."
            self.notify(told, severity="error")

    def on_questions_page_put_off(self, message: QuestionsPage.PutOff) -> None:
        """Keep a wish until there is data to train on."""
        self._put_off[message.question.id] = message
        if self._state.data_is_open:  # it was opened meanwhile
            self._train_what_was_put_off()

    def _train_what_was_put_off(self) -> None:
        wishes, self._put_off = self._put_off, {}
        page = self._pages.named("Questions")
        if wishes and isinstance(page, QuestionsPage):
            page.state = self._state
            for wish in wishes.values():
                page.train(wish.question, wish.overrides)

    def on_page_copied(self, message: Page.Copied) -> None:
        """Copy through the terminal (OSC 52), and into a file for terminals that don't take it."""
        self.copy_to_clipboard(message.text)
        folder = self._desk if self._remote is not None else Path(self._state.workspace)
        self.notify(clipboard.keep(message.text, folder), markup=False)

    def on_page_comparison_wanted(self, message: Page.ComparisonWanted) -> None:
        """Open the Compare page with these runs."""
        self.action_open_page("Compare")
        page = self._pages.named("Compare")
        self.call_after_refresh(lambda: setattr(page, "selected", message.runs))

    def on_page_look_wanted(self, message: Page.LookWanted) -> None:
        """Open the Data page at this run."""
        self.action_open_page("Data")
        page = self._pages.named("Data")
        self.call_after_refresh(lambda: setattr(page, "run", message.run_id))

    def on_page_visit(self, message: Page.Visit) -> None:
        """Open a page at a question or a run."""
        self._pages.visit(message.page, message.subject, self._state)

    @work
    async def _show_trash(self, results: tuple[p.RunResult, ...]) -> None:
        """Let runs be brought back from the trash."""
        if not results:
            self.notify("The trash is empty.")
            return
        chosen = await self.push_screen_wait(Trash(results))
        if chosen:
            await self._send(p.Restore(runs=tuple(results[place].run_id for place in chosen)))

    def action_open_page(self, name: str) -> None:
        """Switch to a page."""
        self._pages.show(name, self._state)

    def action_export(self) -> None:
        """Put everything that is handed in into a folder, beside what is going on."""
        if not self._state.results:
            self.notify("There is nothing to export yet: train a question first.")
            return
        self.notify("Exporting, and verifying the files in TensorFlow…")
        self._export()

    @work(group="export", exclusive=True)
    async def _export(self) -> None:
        exports = Path(self._state.workspace) / "exports"
        self._tell(await export_beside(exports, self._workspace, self._remote))

    @work
    async def action_sweep(self) -> None:
        """Ask for a sweep of one's own, keep it as a preset of the workspace, and train it."""
        from svhn_tui.dialogs.sweep_form import SweepForm

        question = await self.push_screen_wait(SweepForm(self._desk, self._state))
        if question is None:
            return
        self._book = presets.load(presets.find(self._desk))
        self._milestones = Milestones(self._book.questions, self._book)
        page = await self._pages.renew(self._book, self._state, question.id)
        self.notify(clean(f"{question.id} is kept in {self._desk / 'experiments.json'}."), markup=False)
        page.train(question, Overrides())

    def action_repaint(self) -> None:
        """Draw everything anew, as after a change of size: others may have written to the terminal."""
        signal.raise_signal(signal.SIGWINCH)

    def on_resize(self) -> None:
        """Draw everything, also when the size is what it was before: the terminal may have cut what it showed."""
        self.screen.refresh()

    def action_help(self) -> None:
        """Show what the keys do."""
        from svhn_tui.pages.help import HelpPage

        if isinstance(self.screen, Page):
            self.push_screen(HelpPage(self.screen))

    def action_theme(self, name: str = "") -> None:
        """Take this theme or the next one, and remember it."""
        names = list(TITLES)
        self.theme = name or names[(names.index(self.theme) + 1) % len(names)]
        try:
            settings.keep(theme=self.theme)
        except OSError as error:
            why = os_errors.sentence_of(error) or f"{error}."
            self.notify(f"The theme is not remembered: {clean(why)}", severity="warning", markup=False)

    @work
    async def action_fleet(self) -> None:
        """Ask where to train."""
        fleet = await self.push_screen_wait(WhereToTrain(self._state.fleet))
        if fleet is not None and fleet != self._state.fleet:
            await self._send(p.SetFleet(fleet=fleet))

    def action_messages(self) -> None:
        """Show again what was said."""
        from svhn_tui.dialogs.messages import Messages

        if isinstance(self.screen, Page):
            self.push_screen(Messages(self._told))

    def _tell(self, notice: Notice) -> None:
        """Show a notice."""
        title, severity, timeout = notice.title, notice.severity, notice.timeout
        self.notify(notice.text, title=title, severity=severity, timeout=timeout, markup=False)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Say something for a while, and keep it for those who looked away."""
        self._told.append((time.time(), severity, f"{title}: {message}" if title else message))
        shown = message if len(message) <= NOTICE_LONGEST else f"{message[:NOTICE_LONGEST]}…"
        super().notify(shown, title=title, severity=severity, timeout=timeout, markup=markup)

    def action_command_palette(self) -> None:
        """Find what can be done by its name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Fill the command palette."""
        return commands_of(self, screen)

    def _fatal_error(self) -> None:
        """Say in a sentence that a defect ended the screen, in place of Textual's traceback."""
        error: BaseException | None = self._exception
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None and not self._exit_renderables:
            self.panic(Text(crash_report.told(error)))

    def action_suspend_process(self) -> None:
        """Go back to the shell, as every terminal program does; what trains goes on, and `fg` returns."""
        if self._driver is not None and not self._driver.can_suspend:
            self.notify("There is no shell below this screen to go back to. q leaves; training goes on.")
            return
        super().action_suspend_process()

    def action_leave(self) -> None:
        """Close the screen; what trains goes on."""
        self.exit(return_code=0)

    @property
    def farewell(self) -> str:
        """What to say when the screen is closed."""
        running = len(self._state.running)
        return "Training goes on; `svhn-tui` shows it again, `svhn-tui stop` ends it." if running else ""


def run(workspace: Path, source: tuple[str, ...], remote: Remote | None) -> int:
    """Open the screen; return the exit code. For another machine the presets are those of this one."""
    try:
        book = presets.load(presets.find(remote.desk if remote is not None else workspace))
    except presets.PresetError as error:
        complain(str(error))
        return 1
    app = SvhnApp(workspace, source, remote, book)
    leave_with_terminal()
    app.run()
    if app.farewell:
        print(app.farewell)
    return app.return_code or 0
