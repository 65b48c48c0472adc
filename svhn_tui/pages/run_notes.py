"""Editing of notes on runs, for the pages that show runs."""

from engine import protocol as p
from svhn_tui.client.drafts import SentNotes
from svhn_tui.dialogs.noting import note_in_box, note_in_editor
from svhn_tui.pages.page import Page


class RunNotes:
    """Edits notes for a page; each is stored as a draft on disk until the host has stored it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._sent = SentNotes()

    def edit(self, run_id: str, *, in_editor: bool) -> None:
        """Edit the note and the tags of a run in a box, or the note in the user's own editor."""
        note = self._page.state.notes.get(run_id, p.Note(run_id))
        if in_editor:
            self._send(note_in_editor(self._page.app, note))
        else:
            self._page.run_worker(self._edit_in_box(note))

    async def _edit_in_box(self, note: p.Note) -> None:
        self._send(await note_in_box(self._page.app, note))

    def _send(self, note: p.Annotate | None) -> None:
        if note is not None:
            self._sent.add(note)
            self._page.request(note)

    def settle(self) -> None:
        """Delete the drafts of notes that the host has stored."""
        self._sent.settle(self._page.state.notes)
