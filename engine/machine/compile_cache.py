"""The folder of compiled programs, one for each machine that shares a home. JAX itself removes nothing from it."""

import contextlib
import platform
from pathlib import Path

from engine.machine.system import is_on_network
from engine.machine.user_folders import cache_folder

LIMIT_BYTES = 2 * 2**30
"""Limit of all machines together that share a home: some thousand epochs compiled for a GPU."""


def folder() -> Path:
    """Return the folder of this machine's compiled programs, after removing those used longest ago.

    Raises:
        OSError: it cannot be made.
    """
    shared = cache_folder("jax")
    prune(shared)
    own = shared / (platform.node().replace("/", "_") or "unnamed") if is_on_network(shared) else shared
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def prune(folder: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove the files that were used longest ago until the rest is within the limit.

    Another worker may do the same at the same time: files that are gone are skipped.
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
