"""A defect of the program's own: a sentence for the user, the details in a file for whoever mends it."""

import sys
import time
import traceback

from engine.files import make_folder
from svhn_tui.settings import settings_file
from svhn_tui.words import clean

LARGEST = 1 << 20
"""Bytes from which the file is begun anew."""


def told(error: BaseException) -> str:
    """Keep what an unforeseen exception says of itself, and return what to tell the user."""
    from importlib.metadata import version

    said = clean(f"{type(error).__name__}: {error}".rstrip(": "))
    details = "".join(traceback.format_exception(error))
    head = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  svhn-tui {version('svhn-tui')}, Python {sys.version.split()[0]}"
    try:
        file = settings_file().with_name("defects.log")
        make_folder(file.parent)
        is_large = file.exists() and file.stat().st_size > LARGEST
        with file.open("w" if is_large else "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{head}, {sys.argv}\n{details}\n")
    except OSError:  # no home, no room
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f" in {clean(at.name)}, line {at.lineno} of {clean(at.filename)}" for at in frame)
        return f"A defect of svhn-tui ended it: {said}{place}. What trains goes on; start it again."
    return f"A defect of svhn-tui ended it: {said}. What trains goes on; start it again. Details: {clean(str(file))}"
