"""Notes on a run, edited in a box or in the user's own editor; a draft is on disk until the host has stored it."""

import contextlib
from typing import Any

from textual.app import App, SuspendNotSupported

from engine import protocol as p
from svhn_tui.client import drafts
from svhn_tui.dialogs.dialogs import Annotation
from svhn_tui.words import clean


async def note_in_box(app: App[Any], note: p.Note) -> p.Annotate | None:
    """Ask for a run's note and tags; return the command that stores them, None if nothing changed."""
    written = await app.push_screen_wait(Annotation(_text_to_edit(app, note), note.tags))
    if written is None:
        return None
    with contextlib.suppress(OSError):  # without room for a draft, the note is only sent to the host
        drafts.save(note.run_id, written[0])
    return _changed(note, *written)


def note_in_editor(app: App[Any], note: p.Note) -> p.Annotate | None:
    """Open a run's note in the user's own editor; return the command that stores it, None if nothing changed."""
    from svhn_tui.terminal.editor import EditorError, edited

    try:
        file = drafts.save(note.run_id, _text_to_edit(app, note))
    except OSError as error:
        app.notify(f"No note can be written: {clean(str(error))}.", severity="error", markup=False)
        return None
    try:
        with app.suspend():
            text = edited(file)
    except EditorError as error:
        sentence = f"{error} The text is in {file}; the next E continues with it."
        app.notify(clean(sentence), severity="error", markup=False)
        return None
    except SuspendNotSupported:
        app.notify("The program cannot be suspended for an editor here; n opens a box for the note.", severity="error")
        return None
    app.refresh()
    return _changed(note, text, note.tags)


def _text_to_edit(app: App[Any], note: p.Note) -> str:
    """Return the draft that was not saved, or else the note."""
    draft = drafts.read(note.run_id)
    if draft is None or draft == note.text:
        return note.text
    app.notify("This draft was not saved before; save it now, or write another note.", markup=False)
    return draft


def _changed(note: p.Note, text: str, tags: tuple[str, ...]) -> p.Annotate | None:
    if (text, tags) == (note.text, note.tags):
        drafts.drop(note.run_id)
        return None
    return p.Annotate(run_id=note.run_id, text=text, tags=tags)
