"""The folder of compiled programs: one for each machine that shares a home, and kept from growing without end.

JAX itself removes nothing.
"""

import contextlib
import platform
from pathlib import Path

from engine.machine.system import is_on_network
from engine.machine.user_folders import cache_folder

LIMIT_BYTES = 2 * 2**30
"""Some thousand epochs compiled for a GPU; of all machines together that share the folder."""


def folder() -> Path:
    """Return where this machine's compiled programs lie, what was used longest ago being removed.

    Raises:
        OSError: there is no place for them.
    """
    shared = cache_folder("jax")
    prune(shared)
    own = shared / (platform.node().replace("/", "_") or "unnamed") if is_on_network(shared) else shared
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def prune(folder: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove the files that were used longest ago until those that are left are within the limit.

    What vanishes meanwhile, since another worker does the same, is none of ours to remove.
    """
    files = []
    with contextlib.suppress(OSError):
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if not path.is_dir():
                    files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
