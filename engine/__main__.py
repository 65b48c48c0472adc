"""The bridge: `python -m engine --workspace W` joins its stdin and stdout to the workspace's host.

It starts the host, in a session of its own, when there is none. It moves bytes and knows no message.
"""

import argparse
import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

from engine.address import socket_path
from engine.files import make_folder

TRIES = 5
"""A host may be about to leave when it is found; then another is started."""
PATIENCE_SECONDS = 20.0
HOST_LOST = 3
"""Exit code: the connection to the host ended without a word."""
CHUNK = 1 << 16


def main() -> int:
    """Join the pipes until one side ends; return 0, or what is wrong in the exit code and on stderr."""
    parser = argparse.ArgumentParser(prog="python -m engine")
    parser.add_argument("--workspace", type=Path, required=True)
    workspace: Path = parser.parse_args().workspace.expanduser()
    os.umask(0o077)
    try:
        make_folder(workspace)
        address = str(socket_path(workspace))
    except OSError as error:
        print(f"{error.filename or workspace}: {error.strerror or error}", file=sys.stderr)
        return 1
    for _ in range(TRIES):
        connection = _connected(address, workspace)
        if connection is None:
            print(f"No host could be started; {workspace / 'host.log'} says why.", file=sys.stderr)
            return 1
        with connection:
            first = connection.recv(CHUNK)
            if first:
                return _join(connection, first)
    print("The host ended again and again; its host.log says why.", file=sys.stderr)
    return 1


def _connected(address: str, workspace: Path) -> socket.socket | None:
    """Connect, starting a host when nobody listens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    connection = _connect(address)
    while connection is None and time.monotonic() < deadline:
        _start_host(workspace)  # returns when it listens, or when it left because another one won
        connection = _connect(address) or _connect(_address_told(workspace))
        if connection is None:
            time.sleep(0.05)  # the winner holds the lock and is about to listen: nothing tells when
    return connection


def _address_told(workspace: Path) -> str:
    """Return where the host says that it listens: it may have been started with another runtime folder."""
    try:
        return os.fsdecode((workspace / "host.lock").read_bytes()[:200])
    except OSError:
        return ""


def _connect(address: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection


def _start_host(workspace: Path) -> None:
    """Start a host and wait until it listens or has ended: both close its end of a pipe."""
    ready, told = os.pipe()
    with (workspace / "host.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "engine.host", "--workspace", str(workspace), "--ready", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(told,),
            start_new_session=True,  # it outlives the terminal
        )
    os.close(told)
    os.read(ready, 1)
    os.close(ready)


def _join(connection: socket.socket, first: bytes) -> int:
    """Move bytes both ways until an end is reached."""
    _write(1, first)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    wish = os.read(0, CHUNK)
                    if not wish:
                        return 0
                    connection.sendall(wish)
                    continue
                told = connection.recv(CHUNK)
                if not told:
                    return HOST_LOST
                _write(1, told)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (BrokenPipeError, ConnectionError):
        raise SystemExit(HOST_LOST) from None
