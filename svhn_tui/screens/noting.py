"""A page with a finished run under its cursor, on which a note and tags can be written."""

from textual import work
from textual.app import SuspendNotSupported

from engine import protocol as p
from svhn_tui.screens.dialogs import Annotation
from svhn_tui.screens.page import Page


class NotingPage(Page):
    """Notes in a box, or in the user's own editor."""

    @property
    def run_here(self) -> p.RunResult | None:
        """The run under the cursor, if it is one."""
        raise NotImplementedError

    def _note_of(self, run: p.RunResult) -> p.Note:
        return self.state.notes.get(run.run_id, p.Note(run.run_id))

    @work
    async def action_annotate(self) -> None:
        """Write a note and tags on the run."""
        if (run := self.run_here) is None:
            return
        known = self._note_of(run)
        found = await self.app.push_screen_wait(Annotation(known.text, known.tags))
        if found is not None:
            self.want(p.Annotate(run_id=run.run_id, text=found[0], tags=found[1]))

    def action_edit(self) -> None:
        """Write the note in the user's own editor."""
        from svhn_tui.editor import EditorError, edited

        if (run := self.run_here) is None:
            return
        known = self._note_of(run)
        try:
            with self.app.suspend():
                text = edited(known.text)
        except EditorError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        except SuspendNotSupported:
            self.notify("This terminal cannot be handed to an editor; n writes the note in a box.", severity="error")
            return
        if text != known.text:
            self.want(p.Annotate(run_id=run.run_id, text=text, tags=known.tags))
        self.app.refresh()
