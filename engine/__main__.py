"""The bridge: `python -m engine --workspace W` joins its stdin and stdout to the workspace's host.

It starts the host, in a session of its own, when there is none. It copies bytes and decodes no message. A workspace
that cannot be written, or is opened read-only, is read instead (`engine.host.reader`).
"""

import argparse
import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from engine.host.socket_path import HELD, READY, is_ours, socket_name, socket_path
from engine.machine import child_process, log_tail, ownership, system
from engine.machine.files import PRIVATE_FOLDER
from engine.machine.process_end import how_ended
from engine.storage import lock_file

TRIES = 5
"""Number of tries: a host may be about to end when a client connects; then another is started."""
PATIENCE_SECONDS = 20.0
"""Time limit for a running host that does not listen: it reads a long workspace, or is about to listen again."""
START_SECONDS = 300.0
"""Time limit for a host that was started here to listen: it reads a hundred thousand runs in some seconds."""
FIRST_BYTES_SECONDS = 120.0
"""Time limit for the first bytes of a host that accepted the connection."""
PAUSE_SECONDS, CONNECTS = 0.05, 40
"""Pause between tries to connect to a host that is about to listen, and their number."""
HOST_LOST = 3
"""Exit code: the connection to the host ended, and the host gave no reason."""
CHUNK = 1 << 16


class HostRefused(Exception):
    """No host serves here; the message says why."""


def main() -> int:
    """Join the pipes until one side ends; return 0, or what is wrong in the exit code and on stderr."""
    parser = argparse.ArgumentParser(prog="python -m engine")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--read-only", action="store_true", help="start no host, change nothing")
    given = parser.parse_args()
    os.umask(0o077)
    try:
        if sentence := system.unsupported():
            raise HostRefused(sentence)
        workspace = _opened(given.workspace.expanduser(), is_read_only=given.read_only)
        if reason := _why_read_only(workspace, is_asked=given.read_only):
            return _read(workspace, reason)
        for _ in range(TRIES):
            with _connected(workspace) as connection, contextlib.suppress(ConnectionError):
                if first := _first_bytes(connection, workspace):
                    return _join(connection, first)
        raise HostRefused(f"The host ended again and again: {_error_in(workspace / 'host.log')}")
    except HostRefused as refusal:
        print(refusal, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or given.workspace}: {error.strerror or error}", file=sys.stderr)
    return 1


def _opened(given: Path, *, is_read_only: bool) -> Path:
    """Return the workspace's folder, links resolved; the last folder of its path is made where it is missing.

    Raises:
        HostRefused: it is not the user's alone, or there is no folder to make it in.
        OSError: it cannot be made or read.
    """
    if not is_read_only and not given.is_dir():
        if not given.parent.is_dir():
            raise HostRefused(f"{given}: there is no {given.parent}; check the spelling, or make that folder first.")
        if given.is_symlink():
            raise HostRefused(f"{given} is a link that leads nowhere; remove it, or make what it leads to.")
        given.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    workspace = given.resolve(strict=True)
    if not is_read_only and (problem := ownership.problem(workspace)):
        raise HostRefused(problem)
    os.scandir(workspace).close()  # one that cannot be read would look empty
    return workspace


def _why_read_only(workspace: Path, *, is_asked: bool) -> str:
    """Return why the workspace is only read, or nothing. One that a host of ours serves is left to that host."""
    if is_asked:
        return "as asked"
    if os.access(workspace, os.W_OK | os.X_OK):
        return ""
    connection = _running_host(workspace)
    if connection is not None:
        connection.close()
        return ""
    return "it cannot be written"


def _read(workspace: Path, reason: str) -> int:
    from engine.host import reader

    return reader.serve(workspace, reason)


def _connected(workspace: Path) -> socket.socket:
    """Connect, starting a host when nobody listens.

    Raises:
        HostRefused: none could be started, or the one that runs is out of reach.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = _running_host(workspace)
        if connection is None and _start_host(workspace) == HELD:
            holder = lock_file.read(workspace)
            if holder.is_elsewhere or time.monotonic() > deadline:
                raise HostRefused(_out_of_reach(holder))
            connection = next(filter(None, _tries_to_connect(workspace)), None)
        if connection is not None:
            return connection


def _first_bytes(connection: socket.socket, workspace: Path) -> bytes:
    """Return the first bytes of a host; empty when it is about to end.

    Raises:
        HostRefused: it is stopped or stuck.
    """
    connection.settimeout(FIRST_BYTES_SECONDS)
    try:
        first = connection.recv(CHUNK)
    except TimeoutError:
        raise HostRefused(_out_of_reach(lock_file.read(workspace))) from None
    connection.settimeout(None)
    return first


def _tries_to_connect(workspace: Path) -> Iterator[socket.socket | None]:
    """Yield the results of repeated tries to connect to a host that is about to listen."""
    for _ in range(CONNECTS):
        time.sleep(PAUSE_SECONDS)
        yield _running_host(workspace)


def _running_host(workspace: Path) -> socket.socket | None:
    """Connect to the running host, at the usual path or at the address in its lock file; None where there is none.

    In a copied or moved workspace the lock file is the original's, whose sockets have another name.
    """
    with contextlib.suppress(OSError):
        if connection := _connect(str(socket_path(workspace))):
            return connection
    address = lock_file.read(workspace).address
    return _connect(address) if Path(address).name == socket_name(workspace) else None


def _connect(address: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(OSError, ValueError):  # nobody listens, or that is not an address
        connection.connect(address)
        if is_ours(connection, address):  # the address may be in a folder that others write to
            return connection
    connection.close()
    return None


def _out_of_reach(holder: lock_file.Holder) -> str:
    """Return a sentence on which host holds the workspace, and how to reach it."""
    if holder.is_elsewhere:
        return (
            f"The host of this workspace runs on {holder.hostname} as process {holder.pid}; use --host "
            f"{holder.hostname}, or `svhn-tui stop` there."
        )
    who = f"process {holder.pid} on {holder.hostname}" if holder.pid else "another process"
    where = f" at {holder.address}" if holder.address else ""
    return f"The host of this workspace, {who}, does not answer{where}; try again, or end that process."


def _start_host(workspace: Path) -> bytes:
    """Start a host and wait until it listens or has ended; return `READY`, or `HELD` when another one runs.

    Raises:
        HostRefused: it cannot serve this workspace.
    """
    ready, answering = os.pipe()
    command = child_process.program(
        "engine.host.main", "--workspace", str(workspace.absolute()), "--ready", str(answering)
    )
    log = ownership.open_ours(workspace / "host.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    begins = os.fstat(log).st_size
    host = subprocess.Popen(
        command.argv,
        env=command.environment,
        cwd=child_process.FOLDER,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(answering,),
        start_new_session=True,  # it outlives the terminal
    )
    os.close(log)
    os.close(answering)
    answer = _answer_of(ready, host.pid)
    if answer != READY:
        status = host.wait()  # another host was faster, or it cannot serve
    if answer == b"":
        raise HostRefused(_end(status, workspace / "host.log", begins))
    if answer not in (READY, HELD):
        raise HostRefused(answer.decode(errors="replace"))
    return answer


def _answer_of(ready: int, host: int) -> bytes:
    """Return the report of a host that was started: `READY`, `HELD`, or why it does not serve; empty where it died.

    Raises:
        HostRefused: it reports nothing within `START_SECONDS`.
    """
    with os.fdopen(ready, "rb") as pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        if not selector.select(START_SECONDS):
            raise HostRefused(f"The host (process {host}) does not listen after {START_SECONDS:.0f} s.")
        return pipe.read()  # until the host closes it, when it listens or ends


def _end(status: int, log: Path, begins: int) -> str:
    """Return a sentence that says how a host ended before it listened; its log begins there."""
    if status < 0:
        return f"The host {how_ended(status)} before it listened."
    return f"The host ended before it listened: {_error_in(log, begins)}"


def _error_in(log: Path, begins: int = 0) -> str:
    line = log_tail.error_line(log, begins)
    return f"{line} ({log})" if line else f"{log} says nothing."


def _join(connection: socket.socket, first: bytes) -> int:
    """Move bytes both ways until an end is reached; return 0 when the screen left."""
    try:
        _write(1, first)
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(0, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    content = os.read(0, CHUNK) if key.fd == 0 else connection.recv(CHUNK)
                    if not content:
                        return 0 if key.fd == 0 else HOST_LOST
                    if key.fd == 0:
                        connection.sendall(content)
                    else:
                        _write(1, content)
    except ConnectionError:
        return HOST_LOST  # or the screen was killed, and no one reads this


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (BrokenPipeError, ConnectionError):
        raise SystemExit(HOST_LOST) from None
