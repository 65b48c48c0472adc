"""Textual's driver, which sends only the difference between what the terminal shows and what Textual draws.

`screen_diff` says what that saves. Besides, size, pastes, `NO_COLOR`, ctrl+z and alerts work as users expect.
"""

import asyncio
import os
import signal
from types import FrameType

from textual.app import App
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from svhn_tui.terminal.attention import call_of
from svhn_tui.terminal.pastes import PasteParser
from svhn_tui.terminal.screen_diff import Cells

linux_driver.XTermParser = PasteParser  # type: ignore[attr-defined]  # Textual's driver has no other way to exchange it


class DiffDriver(LinuxDriver):
    """Textual's driver with few bytes of output; with `NO_COLOR` it sends no colour at all, not even a grey."""

    def __init__(
        self, app: App[None], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._cells = Cells(has_colors=not app.no_color)
        self._is_stale = False

    def start_application_mode(self) -> None:
        """React to a change of size, after which the terminal's content is unknown."""
        for name in ("COLUMNS", "LINES"):  # Textual would use these values, which are those of the parent's start
            os.environ.pop(name, None)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        resized, loop = signal.getsignal(signal.SIGWINCH), asyncio.get_running_loop()

        def forget_first(number: int, frame: FrameType | None) -> None:
            self._is_stale = True
            if callable(resized):  # later: a signal that interrupts this one would otherwise post the newer size first
                loop.call_soon_threadsafe(resized, number, None)

        signal.signal(signal.SIGWINCH, forget_first)

    @property
    def can_suspend(self) -> bool:
        """Whether a shell can resume the program; none can if its process group is the terminal's session."""
        return os.getsid(0) != os.getpgrp()

    def _sigtstp_application(self, *signaled: object) -> None:
        """Stop the whole process group, such as `make`: the shell waits for it."""
        if not self.can_suspend:
            return
        if self._auto_restart:
            self.suspend_application_mode()
            self._must_signal_resume = True
        os.killpg(0, signal.SIGSTOP)

    def call(self, title: str, text: str) -> None:
        """Alert the user, as far as the terminal can; the screen does not change."""
        super().write(call_of(title, text, os.environ))

    def write(self, data: str) -> None:
        """Write the difference to what the terminal shows."""
        if self._is_stale:
            self._is_stale = False
            self._cells.forget()
        if least := self._cells.least_of(data):
            super().write(least)
