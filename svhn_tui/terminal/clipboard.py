"""Copied text, which is written to a file too: not every terminal supports copying."""

from pathlib import Path

from engine.machine.files import make_folder, write_atomically
from svhn_tui import words


def save(text: str, folder: Path) -> str:
    """Write copied text into `copied.txt`; return a sentence that says where it is."""
    file = folder / "copied.txt"
    try:
        make_folder(folder)
        write_atomically(file, f"{text}\n".encode())
    except OSError as error:
        return f"Copied, if the terminal allows it; {words.clean(str(file))} cannot be written: {error.strerror}."
    return f"Copied, if the terminal allows it; the text is also in {words.clean(str(file))}."
