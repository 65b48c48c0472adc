"""The host's side of its connections: who is attached, and telling them what happened without ever waiting."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable

from engine import protocol as p

LIMIT_BYTES = 32 * 2**20
"""What is kept for a client that does not read. Beyond it events are dropped, and it gets a fresh state later."""


class Client:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter, fresh: Callable[[], Iterable[p.AnyEvent]]) -> None:
        self._writer = writer
        self._fresh = fresh
        self._catching_up: asyncio.Task[None] | None = None

    def greet(self) -> None:
        """Tell the whole state. It is put together at once, so that no event falls between it and the next one."""
        self._writer.write(b"".join(p.encode(event) for event in self._fresh()))

    def tell(self, line: bytes) -> None:
        """Pass on an event's line, unless the client is behind."""
        if self._catching_up is not None:
            return
        self._writer.write(line)
        if self._writer.transport.get_write_buffer_size() > LIMIT_BYTES:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError:
            return  # it left; whoever reads its commands notices
        self._catching_up = None
        self.greet()

    async def close(self) -> None:
        """Send what is on its way, then end the connection."""
        try:
            self._writer.close()
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()


def is_from(writer: asyncio.StreamWriter, user: int) -> bool:
    """Say whether the other end of a unix socket is this user's process."""
    connection: socket.socket = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, peer, _ = struct.unpack("3i", credentials)
    return bool(peer == user)
