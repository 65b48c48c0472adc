"""The journal: whatever cut it short, what was whole is read, and the next line is not poisoned."""

import errno
import os
import tracemalloc
from pathlib import Path

import pytest

from engine import protocol as p
from engine.machine.files import write_atomically
from engine.storage import journal
from engine.storage.journal import Journal
from tests.client.test_state import SPEC, ended, started


def written(path: Path, epochs: int) -> list[p.AnyEvent]:
    events: list[p.AnyEvent] = [started(SPEC), *(ended(epoch, 1.0 / epoch) for epoch in range(1, epochs + 1))]
    events.append(p.RunInterrupted(run_id=SPEC.run_id, reason="Müde… 数字"))
    log = Journal(path)
    for event in events:
        assert log.append(event) is None
    log.close()
    return events


def test_a_journal_cut_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    events = written(path, 3)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        lines = sum(end <= cut for end in ends)
        contents = journal.read(path)
        assert contents.events == tuple(events[:lines])
        assert contents.damaged_lines == (cut not in (0, *ends))
        log = Journal(path)
        log.append(events[1])
        log.close()
        again = journal.read(path)
        ended_by_the_append = sum(end - 1 <= cut for end in ends)  # a line that lacked nothing but its end
        assert again.events == (*events[:ended_by_the_append], events[1])


@pytest.mark.parametrize("damage", [b"garbage\n", b'{"seq":1,"crc":"00000000","event":{}}\n', b"\xff\x00\n", b"{}\n"])
def test_garbage_in_the_middle_is_counted_and_passed_over(tmp_path: Path, damage: bytes):
    path = tmp_path / "journal.jsonl"
    events = written(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
    contents = journal.read(path)
    assert contents.events == tuple(events)
    assert contents.damaged_lines == 1
    path.write_bytes(b"".join(lines).replace(b'"epoch":2', b'"epoch":7'))
    assert journal.read(path).damaged_lines == 1, "a changed byte does not pass its checksum"


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "journal.jsonl"
    log = Journal(path)
    log.append(started(SPEC))
    real, state = os.write, {"calls": 0}

    def full(descriptor: int, content: bytes) -> int:
        state["calls"] += 1
        if state["calls"] == 1:
            return real(descriptor, content[:20])  # the last room that there was
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.append(ended(1, 1.0))
        error = log.append(ended(2, 0.5))
        assert error is not None
        assert error.errno == errno.ENOSPC
    log.append(ended(3, 0.2))
    log.close()
    assert journal.history(path)[0].loss == (1.0, 0.5, 0.2)
    assert journal.read(path).damaged_lines == 0


def test_epochs_trained_again_after_a_resume_replace_the_first(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    log = Journal(path)
    for event in (started(SPEC), ended(1, 3.0), ended(2, 2.0), ended(3, 1.0), started(SPEC, epoch=1), ended(2, 2.5)):
        log.append(event)
    log.close()
    assert journal.history(path)[0].loss == (3.0, 2.5)


def test_an_atomic_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "result.json"
    write_atomically(path, b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_long_journal_is_opened_and_read_in_little_memory(tmp_path: Path):
    """Its events, all at once, would take three times the file."""
    path = tmp_path / "journal.jsonl"
    with path.open("wb") as file:
        for seq in range(1, 100_001):
            file.write(journal._line(seq, ended(1 + seq % 90_000, 1.0 / seq)))
    size = path.stat().st_size
    tracemalloc.start()
    try:
        known, damaged = journal.history(path)
        read_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        log = Journal(path)
        before = tracemalloc.get_traced_memory()[0]
        opened_peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    log.close()
    assert (known.epochs, damaged) == (90_000, 0)
    assert size > 20_000_000
    assert read_peak < size, "five numbers an epoch"
    assert opened_peak < 1_000_000
