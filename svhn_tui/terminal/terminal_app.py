"""The base of the screen program: keys in order, sanitized output, themes, notices, one-line errors."""

import signal
import time
from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.app import App
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.worker import WorkerFailed

from engine.machine import os_errors
from svhn_tui import settings
from svhn_tui.analysis.notices import Notice, call_text
from svhn_tui.client.notice_log import NoticeLog
from svhn_tui.terminal import crash_report
from svhn_tui.terminal.driver import DiffDriver
from svhn_tui.terminal.keyboard import Keyboard, KeyOrPaste
from svhn_tui.terminal.sanitize import Sanitizer
from svhn_tui.themes import DARK, THEMES, TITLES
from svhn_tui.words import clean

CALL_SECONDS = 5.0
"""Least time between two alerts, in seconds."""
NOTICE_LONGEST = 400
"""Most characters of a notice that are shown over a page; the key `!` shows all of it."""


class TerminalApp(App[None]):
    """An app with the program's own keyboard, driver, notices and error messages."""

    def __init__(self) -> None:
        super().__init__(driver_class=DiffDriver)
        self._sanitizer = Sanitizer()
        self.notice_log = NoticeLog()
        self._called_at = -CALL_SECONDS
        self._keyboard = Keyboard(self, super().on_event)

    def use_settings(self) -> None:
        """Use the theme that the user chose before; warn where settings cannot be stored."""
        for theme in THEMES:
            self.register_theme(theme)
        liked = settings.load().theme
        self.theme = liked if liked in TITLES else DARK.name
        if problem := settings.homeless():
            self.notify(problem, severity="warning", markup=False)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Sanitize everything that is drawn."""
        return [self._sanitizer, *super().get_line_filters()]

    async def on_event(self, event: events.Event) -> None:
        """Deliver keys one at a time."""
        if isinstance(event, KeyOrPaste) and not event.is_forwarded:
            await self._keyboard.add(event)
        else:
            await super().on_event(event)

    def on_resize(self) -> None:
        """Draw everything, even if the size is unchanged: the terminal may have cut its content."""
        self.screen.refresh()

    def fit_screen(self) -> None:
        """Resize a screen that was opened while the terminal's size changed, and missed the event."""
        if self.screen.outer_size != self.size:
            self.screen.post_message(events.Resize(self.size, self.size))

    def action_repaint(self) -> None:
        """Draw everything again, as after a change of size: other programs may have written to the terminal."""
        signal.raise_signal(signal.SIGWINCH)

    def action_suspend_process(self) -> None:
        """Suspend the program as any terminal program does; training continues, and `fg` returns."""
        if self._driver is not None and not self._driver.can_suspend:
            self.notify("There is no shell below this screen to go back to. q leaves; training continues.")
            return
        super().action_suspend_process()

    def _fatal_error(self) -> None:
        """Print a sentence about the defect that ended the screen, instead of Textual's traceback."""
        error: BaseException | None = self._exception
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None and not self._exit_renderables:
            self.panic(Text(crash_report.sentence_of(error)))

    def action_theme(self, name: str = "") -> None:
        """Use this theme or the next one, and store the choice."""
        names = list(TITLES)
        self.theme = name or names[(names.index(self.theme) + 1) % len(names)]
        try:
            settings.save(theme=self.theme)
        except OSError as error:
            why = os_errors.sentence_of(error) or f"{error}."
            self.notify(f"The theme is not remembered: {clean(why)}", severity="warning", markup=False)

    def show_notices(self, notices: Sequence[Notice]) -> None:
        """Show notices, and alert the user where one asks for it."""
        for notice in notices:
            self.show_notice(notice)
        self.call_attention(call_text(notices))

    def show_notice(self, notice: Notice) -> None:
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
        """Show a message for a while, and add it to the log of notices."""
        self.notice_log.add(f"{title}: {message}" if title else message, severity)
        shown = message if len(message) <= NOTICE_LONGEST else f"{message[:NOTICE_LONGEST]}…"
        super().notify(shown, title=title, severity=severity, timeout=timeout, markup=markup)

    def call_attention(self, text: str) -> None:
        """Alert the user through the terminal, at most every few seconds, unless the settings switch it off."""
        is_soon = time.monotonic() - self._called_at < CALL_SECONDS
        if text and not is_soon and isinstance(self._driver, DiffDriver) and settings.load().alerts:
            self._called_at = time.monotonic()
            self._driver.call(self.TITLE or "", text)

    def action_leave(self) -> None:
        """Close the screen; training continues."""
        self.exit(return_code=0)
