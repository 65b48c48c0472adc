"""The bridge: `python -m engine --workspace W` joins its stdin and stdout to the workspace's host.

It starts the host, in a session of its own, when there is none. It moves bytes and knows no message.
"""

import argparse
import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

from engine.address import READY, peer_of, socket_path
from engine.files import Folder, make_folder

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
        try:
            connection = _connected(address, workspace)
        except HostRefused as refusal:
            print(refusal, file=sys.stderr)
            return 1
        with connection, contextlib.suppress(ConnectionError):
            first = connection.recv(CHUNK)
            if first:
                return _join(connection, first)
    print("The host ended again and again; its host.log says why.", file=sys.stderr)
    return 1


class HostRefused(Exception):
    """No host could be started; the message says why."""


def _connected(address: str, workspace: Path) -> socket.socket:
    """Connect, starting a host when nobody listens.

    Raises:
        HostRefused: none could be started.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    connection = _connect(address)
    while connection is None:
        if time.monotonic() > deadline:
            raise HostRefused(f"No host could be started; {workspace / 'host.log'} says why.")
        _start_host(workspace)  # returns when it listens, or when it left because another one won
        connection = _connect(address) or _connect(_address_told(workspace, address))
        if connection is None:
            time.sleep(0.05)  # the winner holds the lock and is about to listen: nothing tells when
    return connection


def _address_told(workspace: Path, address: str) -> str:
    """Return where the host says that it listens: it may have been started with another runtime folder.

    What a copied or moved workspace says is about the one that it was: its sockets have another name.
    """
    try:
        told = os.fsdecode((workspace / "host.lock").read_bytes()[:200])
    except OSError:
        return ""
    return told if Path(told).name == Path(address).name else ""


def _connect(address: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
        if peer_of(connection) == os.getuid():  # where to connect may stand in a folder that others write to
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _start_host(workspace: Path) -> None:
    """Start a host and wait until it listens or has ended.

    Raises:
        HostRefused: it cannot serve this workspace.
    """
    ready, told = os.pipe()
    with Folder.at(workspace) as folder, os.fdopen(folder.open_own("host.log", os.O_WRONLY | os.O_APPEND), "ab") as log:
        host = subprocess.Popen(
            [sys.executable, "-m", "engine.host", "--workspace", str(workspace), "--ready", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(told,),
            start_new_session=True,  # it outlives the terminal
        )
    os.close(told)
    with os.fdopen(ready, "rb") as pipe:
        said = pipe.read()  # to its end: it is closed when the host listens, and when it has ended
    if said != READY:
        host.wait()  # another one won, or it cannot serve
    if said not in (READY, b""):
        raise HostRefused(said.decode(errors="replace"))


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
        return HOST_LOST  # or the screen was killed, and nobody reads this


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (BrokenPipeError, ConnectionError):
        raise SystemExit(HOST_LOST) from None
