"""A page with a finished run under its cursor, on which a note and tags can be written."""

import contextlib

from textual import work
from textual.app import SuspendNotSupported

from engine import protocol as p
from svhn_tui.client import drafts
from svhn_tui.dialogs.dialogs import Annotation
from svhn_tui.pages.page import Page
from svhn_tui.presets import Presets
from svhn_tui.words import clean


class NotingPage(Page):
    """Notes in a box, or in the user's own editor. What is written is a draft on disk until the host has kept it."""

    def __init__(self, book: Presets) -> None:
        super().__init__(book)
        self._sent: dict[str, str] = {}
        """Notes that the host was asked to keep, by run."""

    @property
    def run_here(self) -> p.RunResult | None:
        """The run under the cursor, if it is one."""
        raise NotImplementedError

    def watch_state(self) -> None:
        """Drop the drafts of notes that are kept by now."""
        for run_id, text in list(self._sent.items()):
            if self.state.notes.get(run_id, p.Note(run_id)).text == text:
                drafts.drop(run_id)
                del self._sent[run_id]
        super().watch_state()

    def _note_of(self, run: p.RunResult) -> p.Note:
        return self.state.notes.get(run.run_id, p.Note(run.run_id))

    def _text_of(self, run: p.RunResult) -> str:
        """Return what there is to go on from: a draft that was not kept, else the note."""
        known, draft = self._note_of(run).text, drafts.read(run.run_id)
        if draft is None or draft == known:
            return known
        self.notify("This was written before and not kept; keep it now, or write another.", markup=False)
        return draft

    def _annotate(self, run: p.RunResult, text: str, tags: tuple[str, ...]) -> None:
        if (text, tags) == (self._note_of(run).text, self._note_of(run).tags):
            drafts.drop(run.run_id)
            return
        self._sent[run.run_id] = text
        self.want(p.Annotate(run_id=run.run_id, text=text, tags=tags))

    @work
    async def action_annotate(self) -> None:
        """Write a note and tags on the run."""
        if (run := self.run_here) is None:
            return
        found = await self.app.push_screen_wait(Annotation(self._text_of(run), self._note_of(run).tags))
        if found is not None:
            with contextlib.suppress(OSError):  # no room for a draft: it is kept by the host, or lost
                drafts.keep(run.run_id, found[0])
            self._annotate(run, *found)

    def action_edit(self) -> None:
        """Write the note in the user's own editor."""
        from svhn_tui.terminal.editor import EditorError, edited_in

        if (run := self.run_here) is None:
            return
        try:
            file = drafts.keep(run.run_id, self._text_of(run))
        except OSError as error:
            self.notify(f"No note can be written: {clean(str(error))}.", severity="error", markup=False)
            return
        try:
            with self.app.suspend():
                text = edited_in(file)
        except EditorError as error:
            told = f"{error} What was written is in {file}, and comes again with the next E."
            self.notify(clean(told), severity="error", markup=False)
            return
        except SuspendNotSupported:
            self.notify("This terminal cannot be handed to an editor; n writes the note in a box.", severity="error")
            return
        self._annotate(run, text, self._note_of(run).tags)
        self.app.refresh()
