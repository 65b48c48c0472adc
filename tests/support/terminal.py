"""The program in a pseudo terminal, read as a person reads it."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Self

import pyte

from tests.support.patience import PATIENCE

PROGRAM = [sys.executable, "-c", "from svhn_tui.cli.main import main; main()"]
MODE_WITH_SIGN = re.compile(rb"\x1b\[[<=>][0-9;]*[a-zA-Z]")
"""What pyte takes for SGR although it is none: the keyboard protocol's `CSI > 25 u`, xterm's `CSI > 4 m`."""


class Terminal:
    """A pseudo terminal of some size with the program in it; `sent` is every byte that the program wrote."""

    def __init__(
        self,
        workspace: Path,
        columns: int,
        lines: int,
        *arguments: str,
        keeps_all: bool = True,
        program: Sequence[str] = (),
        before: Callable[[], None] | None = None,
        **environment: str | None,
    ) -> None:
        """Start the program.

        Args:
            workspace: its workspace.
            columns: width of the terminal.
            lines: height of the terminal.
            arguments: of the command line.
            keeps_all: store every byte that is sent; else only their number.
            program: the command line that starts it, in place of `PROGRAM`.
            before: done in the new process before the program starts.
            environment: variables to set, or to take away where the value is None.
        """
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = pty.openpty()
        self._keeps_all = keeps_all
        self.sent, self.count = bytearray(), 0
        self.seen_at = time.perf_counter()
        """When the last bytes came."""
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        given = {
            **os.environ,
            "TERM": "xterm-256color",
            "TEXTUAL_COLOR_SYSTEM": None,
            "SVHN_TUI_WORKSPACE": str(workspace),
            **environment,
        }
        self.process = subprocess.Popen(
            [*(program or PROGRAM), *arguments], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={name: value for name, value in given.items() if value is not None}, preexec_fn=before,
        )  # fmt: skip
        os.close(theirs)
        self._closing, self._close = os.pipe()
        self._arrived: Queue[tuple[float, bytes]] = Queue()
        self._reader = Thread(target=self._listen, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal, as sshd does when the connection is gone."""
        if self._close >= 0:
            os.close(self._close)
            self._reader.join()
            os.close(self._ours)
            os.close(self._closing)
        self._close = -1

    def _listen(self) -> None:
        """Take bytes from the pseudo terminal the moment they come."""
        while True:
            try:
                ready, _, _ = select.select([self._ours, self._closing], [], [])
                content = os.read(self._ours, 1 << 16) if self._ours in ready else b""
            except OSError:  # the program ended
                content = b""
            self._arrived.put((time.perf_counter(), content))
            if not content:
                return

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
        self.process.send_signal(signal.SIGWINCH)  # as the kernel does for the terminal that controls a session

    def scribble(self, content: str) -> None:
        """Let another program clear the terminal and write to it."""
        self._stream.feed(f"\x1b[2J\x1b[1;1H\x1b[0m{content}".encode())

    def read(self, seconds: float) -> bool:
        """Take in what has come, or else what comes first within this time; say whether the program still runs."""
        try:
            self.seen_at, content = self._arrived.get(timeout=max(0.0, seconds))
        except Empty:
            return True
        self.count += len(content)
        if self._keeps_all:
            self.sent += content
        self._stream.feed(MODE_WITH_SIGN.sub(b"", content))
        return bool(content)

    def drain(self) -> None:
        """Take in all that has come."""
        while not self._arrived.empty():
            self.read(0)

    def until(self, met: Callable[[str], bool]) -> str:
        """Read the screen until it shows what is waited for."""
        deadline = time.monotonic() + PATIENCE
        while not met(text := self.text):
            if time.monotonic() > deadline or not self.read(1.0):
                raise AssertionError(text)
        return text

    def ended(self) -> int:
        """Read until the program has ended, which it cannot while nobody reads; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.read(PATIENCE) and time.monotonic() < deadline:
            pass
        return self.process.wait(PATIENCE)
