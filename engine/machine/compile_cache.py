"""The folder of compiled programs, kept from growing without end: JAX itself removes nothing."""

import contextlib
from pathlib import Path

LIMIT_BYTES = 2 * 2**30
"""Some thousand epochs compiled for a GPU."""


def prune(folder: Path, limit: int = LIMIT_BYTES) -> None:
    """Remove the files that were used longest ago until those that are left are within the limit.

    What vanishes meanwhile, since another worker does the same, is none of ours to remove.
    """
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
