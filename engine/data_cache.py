"""Data files that a machine keeps for its outposts, named by their SHA-256: each is sent to a machine once."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from engine.files import make_folder
from engine.freight import sha256_of

KEPT_SECONDS = 30 * 86_400
"""How long a file is kept after it was last used."""


class DataCache:
    """A folder that several outposts use at once."""

    def __init__(self, folder: Path) -> None:
        """Drop what was not used for a month.

        Raises:
            OSError: the folder cannot be used.
        """
        self.folder = make_folder(folder)
        self._found_right: set[str] = set()
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another outpost may do the same
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()

    def path(self, sha256: str) -> Path:
        """Where a file lies or will lie."""
        return self.folder / f"{sha256}.npz"

    def has(self, sha256: str) -> bool:
        """Say whether a file is there and still what its name says."""
        path = self.path(sha256)
        if not path.exists() or (sha256 not in self._found_right and sha256_of(path) != sha256):
            return False
        self._found_right.add(sha256)
        path.touch()
        return True

    @contextlib.contextmanager
    def fetching(self, sha256: str) -> Iterator[None]:
        """Let one outpost of the machine fetch a file while the others wait.

        On a network file system the lock may do nothing; then each fetches the file, and the last one's copy stays.
        """
        with (self.folder / f"{sha256}.lock").open("wb") as file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
