"""The host: one process for a workspace, alive while a run trains or a client is attached.

It holds the workspace's lock and, by its service, owns the queue, the index and everything on disk but the folders of
runs in training. It loads no NumPy, JAX or TensorFlow: what needs them runs in processes of its own.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from engine.host.listener import Listener
from engine.host.service import Service
from engine.host.socket_path import HELD, READY
from engine.machine import ownership, system
from engine.machine.clean_log import clean_stderr
from engine.storage import lock_file
from engine.storage.migrations import NewerFormat
from engine.storage.workspace import Workspace

FILES = 16_384
"""Limit of open files. Not the system's maximum: some programs close every descriptor up to the limit."""


async def serve(workspace: Workspace, report: Callable[[bytes], None], lock: int) -> None:
    """Listen until there is nothing left to do."""
    service = Service(workspace)
    listener = Listener(workspace.root, lock, service.serve)
    await listener.open()
    loop = asyncio.get_running_loop()
    leaving: set[asyncio.Task[None]] = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: leaving.add(asyncio.create_task(service.leave("Ended by a signal."))))
    report(READY)
    listening = asyncio.create_task(listener.keep_open())
    tasks = [asyncio.create_task(service.sample_devices()), asyncio.create_task(service.save_changes(lock))]
    await service.ended.wait()
    listening.cancel()
    listener.close()
    if not service.is_lost:
        await service.leave("Nothing is left to do.")
    for task in tasks:
        task.cancel()


def _allow_files() -> None:
    """Raise the limit of open files as far as needed: a thousand workers are three thousand pipes."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _restrict_cores() -> None:
    """Restrict this process and its children to the cores of its container, so that they do not count the machine's."""
    with contextlib.suppress(OSError):
        system.claim_cores(system.usable_cores())


def main() -> int:
    """Lock the workspace until this process ends, and serve; end without an error when another host has the lock."""
    parser = argparse.ArgumentParser(prog="python -m engine.host.main")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument(
        "--ready", type=int, help="a file descriptor that gets a line when the host listens, or why not"
    )
    given = parser.parse_args()
    os.umask(0o077)
    clean_stderr()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    report = partial(_report, os.fdopen(given.ready, "wb") if given.ready is not None else None)
    try:
        _allow_files()
        _restrict_cores()
        return _host(given.workspace, report)
    except NewerFormat as error:
        return _refuse(str(error), report)
    except OSError as error:
        traceback.print_exc()
        return _refuse(_sentence(error, given.workspace), report)
    except Exception as error:  # noqa: BLE001  any error is reported to the user
        traceback.print_exc()
        return _refuse(f"The host cannot serve: {_text_of(error)}", report)


def _host(given: Path, report: Callable[[bytes], None]) -> int:
    """Serve the workspace unless another host does, or it is not ours alone."""
    if problem := ownership.problem(given.resolve(strict=True)):
        return _refuse(problem, report)
    try:
        lock = lock_file.hold(given.resolve())
    except BlockingIOError:
        report(HELD)
        return 0
    lock_file.write(lock, lock_file.read(given).address)  # who holds it, before a long workspace is read
    asyncio.run(serve(Workspace(given), report, lock))
    return 0


def _sentence(error: OSError, workspace: Path) -> str:
    return f"{error.filename or workspace}: {error.strerror}" if error.strerror else str(error)


def _text_of(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _refuse(text: str, report: Callable[[bytes], None]) -> int:
    print(text, file=sys.stderr)
    report(text.encode(errors="replace"))
    return 1


def _report(ready: BinaryIO | None, text: bytes) -> None:
    """Report to the process that started this one, once; it may have ended."""
    if ready is not None:
        with contextlib.suppress(OSError, ValueError):
            ready.write(text)
            ready.close()


if __name__ == "__main__":
    raise SystemExit(main())
