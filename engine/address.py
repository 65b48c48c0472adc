"""Where a workspace's host listens."""

import hashlib
import os
import socket
import stat
import struct
from pathlib import Path

from engine.files import PRIVATE_FOLDER

READY = b"ready"
"""What a host tells the bridge that started it once it listens; anything else is why it does not."""


def socket_path(workspace: Path) -> Path:
    """Return the socket of the workspace's host, in a folder that only this user can enter.

    A unix socket's path is limited to 108 bytes and does not work on network file systems, hence not in the workspace.

    Raises:
        PermissionError: the folder is not ours alone.
    """
    name = hashlib.sha256(os.fsencode(workspace.resolve())).hexdigest()[:16]
    return _runtime_folder() / f"{name}.sock"


def peer_of(connection: socket.socket) -> int:
    """Return the user id of the process at the other end of a unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user


def _runtime_folder() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and len(given) < 70 and _is_ours(Path(given)):
        folder = Path(given) / "svhn-tui"
    else:
        folder = Path("/tmp") / f"svhn-tui-{os.getuid()}"
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    if not _is_ours(folder):
        raise PermissionError(f"{folder} is not yours alone (mode 0700); remove it or set XDG_RUNTIME_DIR.")
    return folder


def _is_ours(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
