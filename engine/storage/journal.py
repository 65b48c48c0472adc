"""A run's journal: an append-only file of JSON lines, one for each event, with its number and checksum.

A line is `{"seq":7,"crc":"89abcdef","event":{...}}`; the checksum (CRC-32) covers the number and the event's bytes.
Whatever cut the file short, the lines before the cut are read and the damaged ones counted.
"""

import fcntl
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine import protocol as p
from engine.core.results import MISSED
from engine.machine.files import Folder
from engine.storage import journal_version_2

MAX_LINE_BYTES = 2**20
"""Longest line, in bytes; the longest event of a single run has some thousand."""
LOCK_SECONDS = 120.0
"""Time limit in seconds for a worker whose host has died to release a run."""


class JournalLine(msgspec.Struct, frozen=True):
    """One line; the event is decoded only when it is needed."""

    seq: int
    crc: str
    event: msgspec.Raw


class JournalText(msgspec.Struct, frozen=True):
    """The readable content of a journal."""

    events: tuple[p.AnyEvent, ...]
    last_seq: int
    damaged_lines: int
    is_torn: bool
    """The last line has no newline: the next append begins with one."""


class Journal:
    """The appending side. A full disk loses nothing: lines wait in memory and are written when there is room."""

    def __init__(self, path: Path) -> None:
        """Continue after the last line, once no other process of this machine writes here any more.

        Raises:
            OSError: the file cannot be opened.
        """
        with Folder.at(path.parent) as folder:
            if folder.kind(path.name) == "file" and folder.status(path.name).st_nlink > 1 and not has_lines(path):
                folder.set_aside(path.name)  # another name of something else
            self._file = folder.open_own(path.name, os.O_WRONLY | os.O_APPEND)
        self._seq = 0
        self._unwritten = b""
        try:
            _wait_for_others(self._file)
            for line in _lines(path):
                self._seq = max(self._seq, line.seq)
                self._unwritten = b"\n" if line.is_torn else b""
        except OSError:
            os.close(self._file)  # with its lock, which a second try would wait for
            raise
        self.is_waiting = False
        """Lines wait in memory because they could not be written."""

    def append(self, event: p.AnyEvent, *, durable: bool = False) -> OSError | None:
        """Append an event; return the error that prevented writing it, if any. `durable` syncs it to disk."""
        self._seq += 1
        self._unwritten += _line(self._seq, event)
        return self.flush(durable=durable)

    def flush(self, *, durable: bool = False) -> OSError | None:
        """Write the lines that wait in memory; return the error that prevented it, if any."""
        try:
            written = os.write(self._file, self._unwritten)
            self._unwritten = self._unwritten[written:]  # a short write continues where it stopped
            if durable:
                os.fsync(self._file)
        except OSError as error:
            self.is_waiting = True
            return error
        self.is_waiting = False
        return None

    def close_after_fork(self) -> None:
        """Close it without writing, in a fork of its process: with the file, its lock is shared by both."""
        os.close(self._file)

    def close(self) -> None:
        """Write what is left, as far as there is room."""
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
            os.fsync(self._file)
        finally:
            os.close(self._file)


def read(path: Path) -> JournalText:
    """Read the intact lines; a journal that does not exist is empty."""
    events: list[p.AnyEvent] = []
    last_seq = damaged = 0
    is_torn = False
    for line in _lines(path):
        is_torn = line.is_torn
        if line.event is None:
            damaged += 1
        else:
            events.append(line.event)
            last_seq = max(last_seq, line.seq)
    return JournalText(tuple(events), last_seq, damaged, is_torn)


def history(path: Path) -> tuple[p.History, int]:
    """Return a run's metrics and the number of damaged lines. An epoch that was trained again replaces the first.

    Raises:
        OSError: it cannot be read.
    """
    rows: list[p.EpochRow] = []
    damaged = 0
    for line in _lines(path):
        match line.event:
            case None:
                damaged += 1
            case p.RunStarted(epoch=start):
                del rows[start:]
            case p.EpochEnded(epoch=epoch, rows=(row, *_)):
                rows.extend([MISSED] * (epoch - len(rows)))
                rows[epoch - 1] = row
            case _:
                pass
    return p.History.of(rows), damaged


def last_group(path: Path) -> str:
    """Return the group in which a run was begun last, or nothing.

    Raises:
        OSError: it cannot be read.
    """
    group = ""
    for line in _lines(path):
        if isinstance(line.event, p.RunStarted):
            group = line.event.group
    return group


def is_written(path: Path) -> bool:
    """Say whether a process of this machine has the journal open for writing, or may have it where locks do not work.

    Raises:
        FileNotFoundError: there is no journal.
    """
    with Folder.at(path.parent) as folder, folder.open_to_read(path.name) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def has_lines(path: Path) -> bool:
    """Say whether any line is valid; a file without one may be anything.

    Raises:
        OSError: it cannot be read.
    """
    return any(line.event is not None for line in _lines(path))


def damaged_lines(path: Path) -> int:
    """Count the invalid lines.

    Raises:
        OSError: it cannot be read.
    """
    return sum(line.event is None for line in _lines(path))


class _Read(NamedTuple):
    """A line that was read; without an event it is damaged."""

    seq: int = 0
    event: p.AnyEvent | None = None
    is_torn: bool = False
    """It has no newline: the next append begins with one."""


def _lines(path: Path) -> Iterator[_Read]:
    """Read line by line: a journal from elsewhere may be long, and a line of it as long as the file."""
    try:
        with Folder.at(path.parent) as folder:
            file = folder.open_to_read(path.name)
    except FileNotFoundError:
        return
    with file:
        while text := file.readline(MAX_LINE_BYTES):
            if text == b"\n":
                continue  # what closed a torn line
            if not text.endswith(b"\n"):
                yield _Read(is_torn=True)
                continue
            try:
                line = msgspec.json.decode(text, type=JournalLine)
                if line.crc != _crc(line.seq, bytes(line.event)):
                    raise msgspec.ValidationError("wrong checksum")
                yield _Read(line.seq, journal_version_2.decode_event(bytes(line.event)))
            except p.UNREADABLE:
                yield _Read()


def _wait_for_others(descriptor: int) -> None:
    """Lock the file until it is closed. Without it where the file system has no locks, or after `LOCK_SECONDS`: an
    attempt that was superseded writes nothing more (`claims`)."""
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)  # a blocking wait would have no time limit
        except OSError:
            return
        else:
            return


def _line(seq: int, event: p.AnyEvent) -> bytes:
    text = p.encode(event)[:-1]
    return msgspec.json.encode(JournalLine(seq, _crc(seq, text), msgspec.Raw(text))) + b"\n"


def _crc(seq: int, text: bytes) -> str:
    return f"{zlib.crc32(text, seq & 0xFFFFFFFF):08x}"
