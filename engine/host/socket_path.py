"""The path of the socket of a workspace's host.

A unix socket's path is limited to about a hundred bytes and does not work on network file systems, so it is not in the
workspace. Clients first try the path that follows from the workspace's; where it is occupied, or differed in the
host's session, `host.lock` names the actual one.
"""

import contextlib
import hashlib
import os
import socket
import tempfile
from pathlib import Path

from engine.machine.files import PRIVATE_FOLDER
from engine.machine.ownership import is_ours_alone
from engine.machine.system import SOCKET_PATH_BYTES, peer_user

READY = b"ready"
"""A host's report to the bridge that started it, once it listens."""
HELD = b"held"
"""Its report when another host holds the workspace; any other text is the reason why it does not serve."""
TEMPORARY = Path("/tmp")
"""Not `tempfile.gettempdir()`: sessions have a TMPDIR of their own."""


def socket_path(workspace: Path) -> Path:
    """Return the usual path of the socket of the workspace's host, in a folder that only this user can enter.

    Raises:
        PermissionError: the folder is not ours alone.
        OSError: it cannot be made.
    """
    name = socket_name(workspace)
    given = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere")
    folder = given / "svhn-tui"
    if not (given.is_absolute() and fits(folder / name) and is_ours_alone(given)):
        folder = TEMPORARY / f"svhn-tui-{os.geteuid()}"
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    if not is_ours_alone(folder):
        raise PermissionError(f"{folder} is not yours alone (mode 0700).")
    return folder / name


def new_socket_path(workspace: Path, last: str) -> Path:
    """Return where to listen: the usual path, or, where another user occupies it, one in a folder with a random name.

    Args:
        workspace: whose host is to listen.
        last: where a host listened before; a folder that was made then is used again.

    Raises:
        OSError: no folder can be made anywhere.
    """
    with contextlib.suppress(OSError):
        return socket_path(workspace)
    before = Path(last).parent
    if before.name.startswith(_spare_prefix()) and is_ours_alone(before):
        return before / socket_name(workspace)
    for folder in (str(TEMPORARY), tempfile.gettempdir()):
        with contextlib.suppress(OSError):
            path = Path(tempfile.mkdtemp(prefix=_spare_prefix(), dir=folder)) / socket_name(workspace)
            if fits(path):
                return path
            path.parent.rmdir()
    raise FileNotFoundError(
        f"No folder for the host's socket: {TEMPORARY} cannot be written. Set XDG_RUNTIME_DIR to a folder of yours "
        f"(mode 0700, a path of at most {SOCKET_PATH_BYTES - 31} bytes)."
    )


def leave(path: Path) -> None:
    """Remove a socket's folder if it was made for this socket alone."""
    if path.parent.name.startswith(_spare_prefix()):
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def is_ours(connection: socket.socket, path: str) -> bool:
    """Say whether this user's process is at the other end: by the kernel, else by who can access the path."""
    user = peer_user(connection)
    return is_ours_alone(Path(path).parent) if user is None else user == os.geteuid()


def socket_name(workspace: Path) -> str:
    """Return the name of a workspace's socket, wherever that is: a copied or moved workspace has another one."""
    return hashlib.sha256(os.fsencode(workspace.resolve())).hexdigest()[:16] + ".sock"


def fits(path: Path) -> bool:
    """Say whether a unix socket can have this path."""
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES


def _spare_prefix() -> str:
    return f"svhn-tui-{os.geteuid()}-"
