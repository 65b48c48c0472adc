"""A stand-in for `python -m engine` that trains nothing: it plays an event file, and answers what screens ask.

    SVHN_TUI_ENGINE="python -m tests.support.fake_engine EVENTS.jsonl --rate 150" svhn-tui

All lines up to `CaughtUp` are told at once, the rest `--rate` a second. Then it stays, silent, until its stdin ends.
"""

import argparse
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from engine import protocol as p

HISTORY = p.History(*((tuple(0.1 + 0.004 * epoch for epoch in range(100)),) * 4), seconds=(0.3,) * 100)
PICTURE = p.Picture(label=1, pixels=bytes(range(256)) * 12)
CAUGHT_UP = p.encode(p.CaughtUp())


def answers_to(command: p.AnyCommand, data: p.DataSet | None) -> Iterator[p.AnyEvent]:
    """Answer as the host would, from nothing but the command."""
    match command:
        case p.OpenData() if data is not None:
            yield p.DataOpened(data=data, request=command.request)
        case p.Watch():
            yield from (p.HistoryRead(run_id=run_id, history=HISTORY) for run_id in command.runs)
        case p.CheckFiles():
            yield p.FilesChecked(hashes=dict.fromkeys(command.runs))
        case p.Inspect():
            yield p.Inspected(run_id=command.run_id, pictures=(PICTURE,))
        case p.ReadTrash():
            yield p.TrashRead(results=())
        case p.Annotate():
            yield p.NoteChanged(note=p.Note(command.run_id, command.text, command.tags))
        case p.Delete():
            yield from (p.RunDeleted(run_id=run_id) for run_id in command.runs)
        case p.Shutdown():
            yield p.HostEnded()
        case _:
            pass


def tell(content: bytes) -> None:
    while content:
        content = content[os.write(1, content) :]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("events", type=Path)
    parser.add_argument("--rate", type=float, default=150)
    parser.add_argument("--workspace")
    wish = parser.parse_args()
    content = wish.events.read_bytes()
    known, _, later = content.partition(CAUGHT_UP)
    lines = later.splitlines(keepends=True)
    first = p.decode_event(known.split(b"\n", 1)[0])
    data = first.data if isinstance(first, p.Attached) else None
    tell(known + CAUGHT_UP)
    began, sent, rest = time.monotonic(), 0, b""
    while True:
        wait = began + sent / wish.rate - time.monotonic() if sent < len(lines) else None
        if select.select([0], [], [], None if wait is None else max(0.0, wait))[0]:
            read = os.read(0, 1 << 16)
            if not read:
                return
            *commands, rest = (rest + read).split(b"\n")
            for line in commands:
                tell(b"".join(map(p.encode, answers_to(p.decode_command(line), data))))
        while sent < len(lines) and began + sent / wish.rate <= time.monotonic():
            tell(lines[sent])
            sent += 1


if __name__ == "__main__":
    main()
