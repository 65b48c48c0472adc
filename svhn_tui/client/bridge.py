"""The pipe to the engine: a bridge process that reads commands from stdin and writes events to stdout."""

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from engine import protocol as p
from engine.machine import child_process, os_errors
from engine.machine.child_process import ChildCommand
from svhn_tui.client.remote_host import Remote

ENGINE_VARIABLE = "SVHN_TUI_ENGINE"
"""Names the environment variable with a command line that replaces `python -m engine` in tests."""
CHUNK = 1 << 18
PACE_SECONDS, LITTLE = 0.05, 1 << 14
"""After a read of at most `LITTLE` bytes, what arrives within this time is read together: a turn of the loop costs
more than an event."""
LAST_WORDS_SECONDS = 2.0
"""Time limit for reading stderr to its end, since a shared ssh connection leaves it open."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


class LinkLost(ConnectionError):
    """The engine cannot be reached; the message says why, for the user."""


class Link:
    """A connection to a workspace's host, on this machine or over the user's own ssh."""

    def __init__(self, workspace: Path, *, remote: Remote | None = None, is_read_only: bool = False) -> None:
        self._command = command_for(workspace, remote, is_read_only=is_read_only)
        self._remote = remote
        self._process: asyncio.subprocess.Process | None = None
        self.unreadable_lines = 0

    async def __aenter__(self) -> Self:
        """Start the bridge.

        Raises:
            LinkLost: it cannot be started.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._command.environment,
                cwd=child_process.FOLDER,
                start_new_session=True,  # Ctrl-C is for us alone
            )
        except OSError as error:
            why = os_errors.cause_of(error) or error.strerror
            raise LinkLost(f"{self._command.argv[0]} cannot be started: {why}.") from error
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Detach; training continues."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2.0)
        except TimeoutError:
            process.kill()
            await process.wait()

    def close_after_fork(self) -> None:
        """Close the pipe in a fork of this process, so that the bridge sees the end of input when this process ends."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.transport.get_extra_info("pipe").close()

    async def send(self, command: p.AnyCommand) -> None:
        """Send a command; a lost connection is detected where events are read."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(p.encode(command))
            await self._process.stdin.drain()
        except ConnectionError:
            return

    async def events(self) -> AsyncIterator[tuple[p.AnyEvent, ...]]:
        """Yield events as they arrive, in batches.

        Raises:
            LinkLost: the engine ended unexpectedly.
        """
        assert self._process is not None and self._process.stdout is not None
        lines = LineReader()
        has_ended = False
        has_begun = False
        while content := await self._process.stdout.read(CHUNK):
            complete = lines.of(content)
            if (
                not has_begun
                and (first := next((line for line in complete if line.startswith(b"{")), None)) is not None
            ):
                has_begun = True
                self._check_version(first)
            batch = tuple(event for event in map(self._decoded, complete) if event is not None)
            has_ended = has_ended or any(isinstance(event, p.HostEnded) for event in batch)
            if batch:
                yield batch
            if len(content) <= LITTLE:
                await asyncio.sleep(PACE_SECONDS)
        if not has_ended:
            raise LinkLost(await self._last_words())

    def _decoded(self, line: bytes) -> p.AnyEvent | None:
        try:
            return p.decode_event(line)
        except p.UNREADABLE:
            self.unreadable_lines += 1
            return None

    def _check_version(self, line: bytes) -> None:
        """Check the first event: one that cannot be decoded comes from another version.

        Raises:
            LinkLost: the versions differ.
        """
        first = self._decoded(line)
        if first is None or (isinstance(first, p.Attached) and first.protocol != p.PROTOCOL_VERSION):
            where = self._remote.name if self._remote else "The background process"
            raise LinkLost(
                f"{where}: another version of svhn-tui. Install the same one on both sides, and end what runs there "
                "with `svhn-tui stop` of the old one."
            )

    async def _last_words(self) -> str:
        assert self._process is not None and self._process.stderr is not None
        pieces = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while piece := await self._process.stderr.read(CHUNK):
                    pieces.append(piece)
        text = b"".join(pieces).decode(errors="replace").strip()
        if self._remote is not None:
            return self._remote.explained(text)
        return text.splitlines()[-1] if text else "The background process ended without a word."


class LineReader:
    """Joins pieces into lines; a line that is longer than any event is replaced by an invalid one."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def of(self, content: bytes) -> list[bytes]:
        """Add the next piece and return the lines that end in it."""
        first, *others = content.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > p.MAX_LINE_BYTES:
            self._pieces = [b"longer than any event"]
        if not others:
            return []
        line = b"".join(self._pieces)
        self._pieces, self._size = [others[-1]], len(others[-1])
        return [line, *others[:-1]]


class ReconnectPause:
    """The pause before the next attempt to connect, twice as long each time until a connection works."""

    def __init__(self) -> None:
        self.seconds = FIRST_WAIT
        self._complaint = ""
        self._ended = asyncio.Event()

    def renew(self) -> None:
        """Reset the pause: the connection works."""
        self.seconds, self._complaint = FIRST_WAIT, ""

    def is_news(self, complaint: str) -> bool:
        """Say whether this error differs from the previous one since the link last worked."""
        before, self._complaint = self._complaint, complaint
        return complaint != before

    def end(self) -> None:
        """End the pause: the user asks for something."""
        self._ended.set()

    async def wait(self) -> None:
        """Wait, and double the next pause."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), self.seconds)
        self._ended.clear()
        self.seconds = min(LONGEST_WAIT, 2 * self.seconds)


def command_for(workspace: Path, remote: Remote | None, *, is_read_only: bool = False) -> ChildCommand:
    """Return the command that starts the bridge, here or on another machine."""
    options = ["--read-only"] if is_read_only else []
    here = str(workspace.expanduser().absolute())
    bridge = child_process.program("engine", "--workspace", here, *options)
    if replaced := os.environ.get(ENGINE_VARIABLE):
        return bridge._replace(argv=(*shlex.split(replaced), "--workspace", here, *options))
    if remote is not None:
        there = remote.command(child_process.module_line("engine", "--workspace", str(workspace), *options))
        return bridge._replace(argv=tuple(there))
    return bridge
