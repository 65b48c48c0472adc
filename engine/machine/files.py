"""Files that are complete or missing, in folders that are held open: no link is followed.

A file is written under a temporary name, synced, then renamed. Everything that is opened for writing, packing or
deleting is opened by its name in a `Folder`, without following links, and only if it is a regular file. The path of the
first folder, which the user named, may contain links.

Whole because it alone opens our files, so that one module decides which links are followed.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Literal, Self

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
DAMAGED = ".damaged-"
"""Suffix of a file that was set aside, before its number."""
ABANDONED_SECONDS = 3600.0
"""A file that nothing was added to for so long is not being written any more."""
MAX_SMALL_BYTES = 2**23
"""Largest JSON file that describes one thing: a run, a result, a sweep."""
FileKind = Literal["nothing", "file", "folder", "link", "other"]
_DESCRIPTIONS: dict[FileKind, str] = {"folder": "a folder", "link": "a link, and links are not followed",
                           "other": "a pipe, a socket or a device"}  # fmt: skip


class NotOurs(OSError):
    """Something else has the name of one of our files or folders; the message says what it is, and what to do."""


class Folder:
    """A folder that is held open: its files are opened by name, even if the folder is moved meanwhile.

    Whole because every operation on our files is one of its methods.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def at(cls, path: Path, *names: str, make: bool = False) -> "Folder":
        """Open the folder `path`, which links may lead to, or one below it: none of the `names` may be a link.

        Raises:
            NotOurs: one of the names is not a folder.
            OSError: it does not exist, or cannot be read.
        """
        folder = cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name in names:
            with folder:
                folder = folder.folder(name, make=make)
        return folder

    def __enter__(self) -> Self:
        """Return the open folder."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        os.close(self._descriptor)

    # --- looking -----------------------------------------------------------------------------------------------------

    def kinds(self) -> dict[str, FileKind]:
        """Return the kind of each entry, sorted by name. Names that are not UTF-8 hold surrogates."""
        with os.scandir(self._descriptor) as entries:
            kinds: dict[str, FileKind] = {
                entry.name: "link" if entry.is_symlink()
                else "folder" if entry.is_dir(follow_symlinks=False)
                else "file" if entry.is_file(follow_symlinks=False)
                else "other"
                for entry in entries
            }  # fmt: skip
        return dict(sorted(kinds.items()))

    def kind(self, name: str, *below: str) -> FileKind:
        """Return the kind of an entry, or of one `below` it, without opening it; no links may lead to the latter."""
        try:
            path = "/".join(map(_plain, (name, *below)))
            with self._naming(path):
                return _kind_of(os.stat(path, dir_fd=self._descriptor, follow_symlinks=False).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return "nothing"

    def status(self, name: str) -> os.stat_result:
        """Return the status of an entry; of a link, its own."""
        with self._naming(name):
            return os.stat(_plain(name), dir_fd=self._descriptor, follow_symlinks=False)

    def open_to_read(self, name: str) -> BufferedReader:
        """Open a regular file.

        Raises:
            NotOurs: it is something else.
            OSError: it does not exist, or cannot be read.
        """
        if (kind := _kind_of(self.status(name).st_mode)) != "file":  # opening a device may do something
            raise self._not_ours(name, _DESCRIPTIONS[kind])
        with self._naming(name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                                 dir_fd=self._descriptor)  # fmt: skip
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._not_ours(name, _DESCRIPTIONS["other"])
        return os.fdopen(descriptor, "rb")

    def read(self, name: str, most: int = MAX_SMALL_BYTES) -> bytes:
        """Return a regular file's content.

        Raises:
            OSError: as `open_to_read`, or it has more than `most` bytes.
        """
        with self.open_to_read(name) as file, self._naming(name):
            content = file.read(most + 1)
        if len(content) > most:
            raise OSError(errno.EOVERFLOW, f"it has more than {most:,} bytes", str(self.path / name))
        return content

    def folder(self, name: str, *, make: bool = False) -> "Folder":
        """Open a folder in it; with `make`, one that is missing is made, private to the user.

        Raises:
            NotOurs: a link or a file has its name.
            OSError: it does not exist, or cannot be made or read.
        """
        with self._naming(name):
            if make and self.kind(name) == "nothing":
                with contextlib.suppress(FileExistsError):
                    os.mkdir(_plain(name), PRIVATE_FOLDER, dir_fd=self._descriptor)
                self.sync()
            if (kind := _kind_of(self.status(name).st_mode)) != "folder":
                raise self._not_ours(name, _DESCRIPTIONS.get(kind, "a file"))
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return Folder(self.path / name, os.open(name, flags, dir_fd=self._descriptor))

    # --- writing -----------------------------------------------------------------------------------------------------

    def write_atomically(self, name: str, content: bytes) -> None:
        """Replace a file by this content, so that even a power cut leaves the old or the new one complete.

        Raises:
            OSError: it could not be written; the old content is intact and no other file remains.
        """
        self.write_atomically_with(name, lambda file: file.write(content))

    def write_atomically_with(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Replace a file by what `write` writes into the open file that it gets.

        Raises:
            OSError: as `write_atomically`.
        """
        temporary = temporary_name(name)
        with self._naming(name):
            file = self.create(temporary)
            try:
                with file:
                    write(file)
                self.publish(temporary, name)
            except BaseException:
                self.remove(temporary)
                raise

    def create(self, name: str) -> BinaryIO:
        """Open a new file for writing; raise FileExistsError where the name exists."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._naming(name):
            return os.fdopen(os.open(_plain(name), flags, PRIVATE_FILE, dir_fd=self._descriptor), "w+b")

    def publish(self, temporary: str, name: str) -> None:
        """Rename a finished file of this folder to `name`, so that even a power cut leaves the old or the new one.

        Something of that name that is not a file, such as a link, is set aside.
        """
        with self.open_to_read(temporary) as file:
            os.fsync(file.fileno())
        with self._naming(name):
            if self.kind(name) not in ("nothing", "file"):
                self.set_aside(name)
            os.replace(temporary, _plain(name), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            self.sync()

    def open_in_place(self, name: str, flags: int) -> int:
        """Open a file that is changed without being replaced; return its descriptor.

        Raises:
            NotOurs: it is not a regular file, or has a second name (a hard link), whose content would change too.
            OSError: it cannot be opened.
        """
        if (kind := self.kind(name)) not in ("file", "nothing"):
            raise self._not_ours(name, _DESCRIPTIONS[kind])
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._naming(name):
            descriptor = os.open(name, flags, PRIVATE_FILE, dir_fd=self._descriptor)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(descriptor)
            raise self._not_ours(name, "a file with a second name (a hard link), which would change too")
        return descriptor

    def open_own(self, name: str, flags: int) -> int:
        """Open a file, made if it is missing; something else of that name is set aside, a hard link is copied first."""
        flags |= os.O_CREAT
        try:
            return self.open_in_place(name, flags)
        except NotOurs:
            if self.kind(name) == "file":  # as in a backup by hard links: from now on each has its own content
                with self.open_to_read(name) as source:
                    self.write_atomically_with(name, partial(shutil.copyfileobj, source))
            else:
                self.set_aside(name)
            return self.open_in_place(name, flags)

    def remove(self, name: str) -> None:
        """Delete a file, if it exists; of a link only the link."""
        with self._naming(name), contextlib.suppress(FileNotFoundError):
            os.unlink(_plain(name), dir_fd=self._descriptor)

    def remove_folder(self, name: str) -> bool:
        """Delete a folder if it is empty; say whether it no longer exists."""
        with contextlib.suppress(OSError):
            os.rmdir(_plain(name), dir_fd=self._descriptor)
        return self.kind(name) == "nothing"

    def move(self, name: str, target: "Folder", new_name: str) -> None:
        """Move a file or folder on the same file system, durably; of a link, the link is moved.

        Raises:
            FileExistsError: something has the new name.
            OSError: it cannot be moved.
        """
        with target._naming(new_name):
            if target.kind(new_name) != "nothing":
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target.path / new_name))
            os.rename(_plain(name), _plain(new_name), src_dir_fd=self._descriptor, dst_dir_fd=target._descriptor)
            target.sync()
            self.sync()

    def set_aside(self, name: str) -> str:
        """Rename something damaged so that nothing overwrites it; return its new name, `NAME.damaged-N`."""
        for number in range(1, 10_000):
            aside = f"{name}{DAMAGED}{number}"
            if self.kind(aside) == "nothing":
                self.move(name, self, aside)
                return aside
        raise FileExistsError(errno.EEXIST, "ten thousand damaged ones are there; remove some", str(self.path / name))

    def sync(self) -> None:
        """Sync its entries to the disk."""
        os.fsync(self._descriptor)

    def _not_ours(self, name: str, what: str) -> NotOurs:
        text = f"it is {what}; remove it, or move it elsewhere"
        return NotOurs(errno.ELOOP, text, str(self.path / name))

    @contextlib.contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Set the whole path as the file name of an OSError."""
        try:
            yield
        except OSError as error:
            if error.filename is None or os.sep not in str(error.filename):
                error.filename = str(self.path / name)
            raise


def make_folder(path: Path) -> Path:
    """Make a folder that only the user can read, and those above it that are missing."""
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file of a folder that the user named; as `Folder.write_atomically`."""
    with Folder.at(path.parent) as folder:
        folder.write_atomically(path.name, content)


def write_atomically_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Replace a file of a folder that the user named; as `Folder.write_atomically_with`."""
    with Folder.at(path.parent) as folder:
        remove_abandoned(folder, path.name)
        folder.write_atomically_with(path.name, write)


def remove_abandoned(folder: Folder, name: str) -> None:
    """Remove what killed processes left of writing this file: the user would not find it, and it may be large."""
    for other, kind in folder.kinds().items():
        is_ours = kind == "file" and is_temporary(other) and other.startswith(f".{name}.")
        with contextlib.suppress(FileNotFoundError):  # its process finished it meanwhile
            if is_ours and time.time() - folder.status(other).st_mtime > ABANDONED_SECONDS:
                folder.remove(other)


def temporary_name(name: str) -> str:
    """Return a new name under which a file is written before it is renamed to `name`."""
    return f".{name}.{secrets.token_hex(4)}.tmp"


def is_temporary(name: str) -> bool:
    """Say whether `temporary_name` made a name: its file was being written during a crash."""
    return bool(re.fullmatch(r"\..+\.[0-9a-f]+\.(tmp|keras)", name))


def shown(path: Path) -> str:
    """Return a path as text; bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode(errors="replace")


def _kind_of(mode: int) -> FileKind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _plain(name: str) -> str:
    """Return a name after checking that it is a single component of a path.

    Raises:
        ValueError: it is not.
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name[:40]!r} is not a file name.")
    return name
