"""Drafts of notes: each stays in a file until the host has confirmed the note."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from engine import protocol as p
from engine.machine.files import Folder, make_folder, write_atomically
from svhn_tui.settings import settings_file

MAX_BYTES = 2**20


def file_of(run_id: str) -> Path:
    """Return where the draft of a run's note is, beside the settings."""
    return settings_file().with_name("notes") / f"{run_id}.txt"


def read(run_id: str) -> str | None:
    """Return the draft of a run's note; None without one."""
    file = file_of(run_id)
    with contextlib.suppress(OSError), Folder.at(file.parent) as folder:
        return folder.read(file.name, MAX_BYTES).decode(errors="replace").strip()
    return None


def save(run_id: str, text: str) -> Path:
    """Write a draft; return where it is.

    Raises:
        OSError: it cannot be written.
    """
    file = file_of(run_id)
    make_folder(file.parent)
    write_atomically(file, f"{text}\n".encode(errors="replace"))
    return file


def drop(run_id: str) -> None:
    """Delete a draft."""
    with contextlib.suppress(OSError):
        file_of(run_id).unlink()


class SentNotes:
    """Notes that were sent to the host: the draft of each is deleted once the host has it."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def add(self, note: p.Annotate) -> None:
        """Remember a note that was sent."""
        self._texts[note.run_id] = note.text

    def settle(self, saved: Mapping[str, p.Note]) -> None:
        """Delete the drafts of notes that the host has stored."""
        for run_id, text in list(self._texts.items()):
            if saved.get(run_id, p.Note(run_id)).text == text:
                drop(run_id)
                del self._texts[run_id]
