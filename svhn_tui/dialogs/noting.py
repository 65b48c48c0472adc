"""Notes on a run, written in a box or in the user's own editor; the text is a draft on disk until the host has it."""

import contextlib
from typing import Any

from textual.app import App, SuspendNotSupported

from engine import protocol as p
from svhn_tui.client import drafts
from svhn_tui.dialogs.dialogs import Annotation
from svhn_tui.words import clean


async def note_in_box(app: App[Any], note: p.Note) -> p.Annotate | None:
    """Ask for a run's note and tags; return the command that stores them, None where nothing changed."""
    written = await app.push_screen_wait(Annotation(_text_to_edit(app, note), note.tags))
    if written is None:
        return None
    with contextlib.suppress(OSError):  # no room for a draft: it is kept by the host, or lost
        drafts.save(note.run_id, written[0])
    return _changed(note, *written)


def note_in_editor(app: App[Any], note: p.Note) -> p.Annotate | None:
    """Open a run's note in the user's own editor; return the command that stores it, None where nothing changed."""
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
        sentence = f"{error} What was written is in {file}, and comes again with the next E."
        app.notify(clean(sentence), severity="error", markup=False)
        return None
    except SuspendNotSupported:
        app.notify("This terminal cannot be handed to an editor; n writes the note in a box.", severity="error")
        return None
    app.refresh()
    return _changed(note, text, note.tags)


def _text_to_edit(app: App[Any], note: p.Note) -> str:
    """Return the draft that was not kept, or else the note."""
    draft = drafts.read(note.run_id)
    if draft is None or draft == note.text:
        return note.text
    app.notify("This was written before and not kept; keep it now, or write another.", markup=False)
    return draft


def _changed(note: p.Note, text: str, tags: tuple[str, ...]) -> p.Annotate | None:
    if (text, tags) == (note.text, note.tags):
        drafts.drop(note.run_id)
        return None
    return p.Annotate(run_id=note.run_id, text=text, tags=tags)
