"""The pipe to the engine: a bridge process whose stdin takes commands and whose stdout tells events."""

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from engine import protocol as p

ENGINE_VARIABLE = "SVHN_TUI_ENGINE"
"""A command line that replaces `python -m engine`, so that tests can speak for the engine."""
CHUNK = 1 << 18
MAX_EVENT_BYTES = 40 * 2**20
"""The longest event tells a queue of a hundred thousand runs."""


class LinkLost(ConnectionError):
    """The engine cannot be reached; the message says why, for the user."""


class Link:
    """A connection to a workspace's host, on this machine or over the user's own ssh."""

    def __init__(self, workspace: Path, *, host: str | None = None) -> None:
        self._command = command_for(workspace, host)
        self._process: asyncio.subprocess.Process | None = None
        self.unreadable_lines = 0

    async def __aenter__(self) -> Self:
        """Start the bridge.

        Raises:
            LinkLost: it cannot be started.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us alone
            )
        except OSError as error:
            raise LinkLost(f"{self._command[0]} cannot be started: {error.strerror}.") from error
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Detach; what trains goes on."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 2.0)
        except TimeoutError:
            process.kill()

    async def send(self, command: p.AnyCommand) -> None:
        """Send a command; a lost connection is noticed where events are read."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(p.encode(command))
            await self._process.stdin.drain()
        except ConnectionError:
            return

    async def events(self) -> AsyncIterator[tuple[p.AnyEvent, ...]]:
        """Yield events as they come, those together that are there at once.

        Raises:
            LinkLost: the engine ended without saying so.
        """
        assert self._process is not None and self._process.stdout is not None
        lines = Lines()
        has_ended = False
        while content := await self._process.stdout.read(CHUNK):
            batch = tuple(event for event in map(self._decoded, lines.of(content)) if event is not None)
            has_ended = has_ended or any(isinstance(event, p.HostEnded) for event in batch)
            if batch:
                yield batch
        if not has_ended:
            raise LinkLost(await self._last_words())

    def _decoded(self, line: bytes) -> p.AnyEvent | None:
        try:
            return p.decode_event(line)
        except p.UNREADABLE:
            self.unreadable_lines += 1
            return None

    async def _last_words(self) -> str:
        assert self._process is not None and self._process.stderr is not None
        said = (await self._process.stderr.read(1 << 16)).decode(errors="replace").strip()
        return said.splitlines()[-1] if said else "The background process ended without a word."


class Lines:
    """Puts lines together from pieces; one longer than any event is dropped for a word that is none."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def of(self, content: bytes) -> list[bytes]:
        """Take the next piece and return the lines that end in it."""
        first, *others = content.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        if self._size > MAX_EVENT_BYTES:
            self._pieces = [b"longer than any event"]
        if not others:
            return []
        line = b"".join(self._pieces)
        self._pieces, self._size = [others[-1]], len(others[-1])
        return [line, *others[:-1]]


def command_for(workspace: Path, host: str | None) -> list[str]:
    """Return the command line of the bridge."""
    replaced = os.environ.get(ENGINE_VARIABLE)
    if replaced:
        return [*shlex.split(replaced), "--workspace", str(workspace)]
    if host is None:
        return [sys.executable, "-m", "engine", "--workspace", str(workspace)]
    return ["ssh", host, shlex.join(["python3", "-m", "engine", "--workspace", str(workspace)])]
