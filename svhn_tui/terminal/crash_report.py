"""Unforeseen exceptions: a sentence for the user, and for a defect of the program the details in a file."""

import sys
import time
import traceback

from engine.machine import os_errors
from engine.machine.system import version
from svhn_tui import settings
from svhn_tui.words import clean

LARGEST = 1 << 20
"""Size in bytes from which the file is truncated."""


def sentence_of(error: BaseException) -> str:
    """Return the sentence for an unforeseen exception: a fault of the machine, or a defect of the program.

    A defect's details are written to a file.
    """
    if sentence := os_errors.sentence_of(error):
        return clean(sentence)
    text = clean(f"{type(error).__name__}: {error}".rstrip(": "))
    details = "".join(traceback.format_exception(error))
    head = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  svhn-tui {version()}, Python {sys.version.split()[0]}"
    try:
        file = settings.own_folder() / "defects.log"
        is_large = file.exists() and file.stat().st_size > LARGEST
        with file.open("w" if is_large else "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{head}, {sys.argv}\n{details}\n")
    except OSError:  # no room
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        where = "".join(f" in {clean(at.name)}, line {at.lineno} of {clean(at.filename)}" for at in frame)
        return f"A defect of svhn-tui ended it: {text}{where}. What trains continues; start it again."
    return f"A defect of svhn-tui ended it: {text}. What trains continues; start it again. Details: {clean(str(file))}"
