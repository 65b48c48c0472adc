"""The program in a pseudo terminal, read as a person reads it."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import Self

import pyte

PROGRAM = [sys.executable, "-c", "from svhn_tui.cli import main; main()"]
PATIENCE = 60.0
MODE_WITH_SIGN = re.compile(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]")
"""What pyte takes for SGR although it is none: the keyboard protocol's `CSI > 25 u`, xterm's `CSI > 4 m`."""


class Terminal:
    """A pseudo terminal of some size with the program in it; `sent` is every byte that the program wrote."""

    def __init__(
        self, workspace: Path, columns: int, lines: int, *arguments: str, keep: bool = True, **environment: str | None
    ) -> None:
        """Start the program.

        Args:
            workspace: its workspace.
            columns: width of the terminal.
            lines: height of the terminal.
            arguments: of the command line.
            keep: remember every byte; else only how many there were.
            environment: variables to set, or to take away where the value is None.
        """
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        self._keep = keep
        self.sent, self.count = bytearray(), 0
        self.seen_at = time.perf_counter()
        """When the last bytes came."""
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        given = {**os.environ, "TERM": "xterm-256color", "SVHN_TUI_WORKSPACE": str(workspace), **environment}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(self._screen.display)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the terminal's size, as a window manager does."""
        self._screen.resize(lines, columns)
        ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds: float) -> None:
        """Take in what comes within this time, or less once something came."""
        if not select.select([self._ours], [], [], max(0.0, seconds))[0]:
            return
        content = os.read(self._ours, 1 << 16)
        self.seen_at = time.perf_counter()
        self.count += len(content)
        if self._keep:
            self.sent += content
        self._stream.feed(MODE_WITH_SIGN.sub(b"", content))

    def until(self, met: Callable[[str], bool]) -> str:
        """Read the screen until it shows what is waited for."""
        deadline = time.monotonic() + PATIENCE
        while not met(text := self.text):
            if time.monotonic() > deadline:
                raise AssertionError(text)
            try:
                self.read(1.0)
            except OSError:  # the program ended
                raise AssertionError(text) from None
        return text

    def ended(self) -> int:
        """Read until the program has ended, which it cannot while nobody reads; return its exit code."""
        while self.read(PATIENCE):
            pass
        return self.process.wait(PATIENCE)
