"""The host: one process for a workspace, alive as long as something trains or somebody looks.

It holds the workspace's lock and, by its service, owns the queue, the index and everything on disk but the folders of
runs in training. It loads no NumPy, JAX or TensorFlow: what needs them runs in processes of its own.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from engine import protocol as p
from engine.address import READY, socket_path
from engine.files import Folder
from engine.formats import NewerFormat
from engine.service import Service
from engine.workspace import Workspace

FILES = 16_384
"""Open at a time. Not as many as the system allows: some programs close every number up to the limit that they get."""


async def serve(workspace: Workspace, tell: Callable[[bytes], None], lock: int) -> None:
    """Listen until there is nothing left to do. The lock's file tells where, for those with another runtime folder."""
    service = Service(workspace)
    address = socket_path(workspace.root)
    with contextlib.suppress(OSError):  # a full disk: those with the same runtime folder find it all the same
        os.ftruncate(lock, 0)
        os.pwrite(lock, os.fsencode(address), 0)
    address.unlink(missing_ok=True)  # of a host that was killed: we hold the lock
    server = await asyncio.start_unix_server(service.attend, str(address), limit=p.MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    leaving: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: leaving.add(asyncio.create_task(service.leave("Told to end."))))
    tell(READY)
    tasks = [asyncio.create_task(service.sample_devices()), asyncio.create_task(service.save_changes(lock))]
    service.begin()
    await service.ended.wait()
    server.close()
    address.unlink(missing_ok=True)
    if not service.is_lost:
        await service.leave("Nothing is left to do.")
    for task in tasks:
        task.cancel()


def _allow_files() -> None:
    """Raise the limit of open files as far as needed: a thousand workers are three thousand pipes."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def main() -> int:
    """Hold the workspace's lock for life and serve; leave quietly when another host holds it."""
    parser = argparse.ArgumentParser(prog="python -m engine.host")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--ready", type=int, help="a file descriptor that is told when the host listens, or why not")
    given = parser.parse_args()
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _allow_files()
    tell = partial(_tell, os.fdopen(given.ready, "wb") if given.ready is not None else None)
    try:
        workspace = Workspace(given.workspace)
        with Folder.at(workspace.root) as folder:
            lock = folder.open_in_place("host.lock", os.O_RDWR)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asyncio.run(serve(workspace, tell, lock))
    except NewerFormat as error:
        return _refuse(str(error), tell)
    except OSError as error:
        return _refuse(f"{error.filename or given.workspace}: {error.strerror or error}", tell)
    return 0


def _refuse(text: str, tell: Callable[[bytes], None]) -> int:
    print(text, file=sys.stderr)
    tell(text.encode())
    return 1


def _tell(ready: BinaryIO | None, text: bytes) -> None:
    """Tell who started this process, once; nobody may listen any more."""
    if ready is not None:
        with contextlib.suppress(OSError, ValueError):
            ready.write(text)
            ready.close()


if __name__ == "__main__":
    raise SystemExit(main())
