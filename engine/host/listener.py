"""The host's socket, which is made again at login after systemd removed `/run/user/UID` at logout."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine import protocol as p
from engine.host import socket_path
from engine.storage import lock_file

CHECK_SECONDS = 1.0

Attend = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Listens for a workspace's clients, at a path that is possible at present; `host.lock` names it."""

    def __init__(self, workspace: Path, lock: int, attend: Attend) -> None:
        self._workspace, self._lock, self._attend = workspace, lock, attend
        self._path = Path(lock_file.read(workspace).address)
        """Where it listens, or where an earlier host did."""
        self._identity: tuple[int, ...] = ()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, at the usual path if that is possible; existing connections stay open.

        Raises:
            OSError: no socket can be made.
        """
        self.close()
        path = socket_path.new_socket_path(self._workspace, str(self._path))
        path.unlink(missing_ok=True)  # of a host that was killed: we hold the lock
        self._server = await asyncio.start_unix_server(self._attend, str(path), limit=p.MAX_LINE_BYTES)
        self._path, self._identity = path, _identity(path)
        lock_file.write(self._lock, str(path))

    async def keep_open(self) -> None:
        """Listen again whenever the socket was removed or replaced, as long as this host holds the workspace."""
        last_error = ""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._is_intact or not lock_file.is_there(self._workspace, self._lock):
                continue
            try:
                await self.open()
            except OSError as error:
                if str(error) != last_error:
                    print(f"Nobody can attach: {error}. It is tried again.", file=sys.stderr, flush=True)
                last_error = str(error)
            else:
                last_error = ""

    def close(self) -> None:
        """Accept no more connections, and remove the socket and its folder if they are ours."""
        if self._server is None:
            return
        if self._is_intact:
            with contextlib.suppress(OSError):
                self._path.unlink()
                socket_path.leave(self._path)
        self._server.close()
        self._server, self._identity = None, ()

    @property
    def _is_intact(self) -> bool:
        return self._identity != () and _identity(self._path) == self._identity


def _identity(path: Path) -> tuple[int, ...]:
    """Return what distinguishes a file from later ones with its name or its inode number."""
    try:
        status = path.lstat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns
