"""The host's connections to its clients: events are sent without waiting for a slow one."""

import asyncio
import traceback
from collections.abc import Callable, Iterable

from engine import protocol as p
from engine.machine.system import peer_user

LIMIT_BYTES = 32 * 2**20
"""Bytes that are buffered for a client that does not read; beyond it events are dropped and the state is sent again."""
CLOSE_SECONDS = 1.0


class Client:
    """One connection. `state_events` returns the whole state; events that happen while it is sent follow it."""

    def __init__(self, writer: asyncio.StreamWriter, state_events: Callable[[], Iterable[p.AnyEvent]]) -> None:
        self._writer = writer
        self._state_events = state_events
        self._lines: list[bytes] = []
        """Lines that are written to the socket together."""
        self._bytes = 0
        """Total length of the lines."""
        self._has_missed = False
        self._is_flushing = False
        self._catching_up: asyncio.Task[None] | None = None

    def greet(self) -> None:
        """Send the whole state. It is collected at once, so that no event falls between it and the next one."""
        self._catching_up = asyncio.create_task(self._catch_up(tuple(self._state_events())))

    def send(self, line: bytes) -> None:
        """Pass on an event's line, unless the client is too far behind. Lines of one moment go out together."""
        if self._has_missed:
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > LIMIT_BYTES:
            self._miss()
        elif self._catching_up is None and not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if self._catching_up is None:
            self._hand_over()

    def _hand_over(self) -> None:
        self._writer.write(b"".join(self._lines))
        self._lines, self._bytes = [], 0
        if self._writer.transport.get_write_buffer_size() > LIMIT_BYTES:
            self._miss()

    def _miss(self) -> None:
        self._lines, self._bytes, self._has_missed = [], 0, True
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up(()))

    async def _catch_up(self, state: Iterable[p.AnyEvent]) -> None:
        """Send a state as fast as the client reads, and again if it missed events meanwhile."""
        try:
            await self._send_events(state)
            while self._has_missed:
                await self._writer.drain()
                self._has_missed = False
                await self._send_events(tuple(self._state_events()))
        except ConnectionError:
            return  # it left, which the task that reads its commands handles
        except Exception:  # noqa: BLE001  what cannot be sent whole is not sent in part: the client attaches again, or gets an error
            traceback.print_exc()
            self._writer.transport.abort()
            return
        self._catching_up = None
        self._hand_over()

    async def _send_events(self, state: Iterable[p.AnyEvent]) -> None:
        for event in state:
            self._writer.write(p.encode(event))
            await self._writer.drain()

    async def close(self) -> None:
        """Send what is buffered, then close the connection."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._catching_up is not None:
                    await self._catching_up
                self._hand_over()
                self._writer.close()
                await self._writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()


def is_from(writer: asyncio.StreamWriter, user: int) -> bool:
    """Say whether the other end of a unix socket is this user's process, where the system reports it."""
    return peer_user(writer.get_extra_info("socket")) in (None, user)  # only this user can enter the socket's folder
