"""The user's own editor, for notes."""

import os
import shlex
import subprocess
from pathlib import Path

from engine.machine.process_end import how_ended


class EditorError(OSError):
    """The editor cannot be run; one sentence says why."""


def edited(file: Path) -> str:
    """Let the user change a file; return its content.

    Raises:
        EditorError: it cannot be run, or ended with an error; the text is in the file.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(command), str(file)], check=False)
    except (OSError, ValueError) as error:
        raise EditorError(f"{command} cannot be run ({error}); set EDITOR.") from error
    if done.returncode:
        raise EditorError(f"{command} {how_ended(done.returncode)}; the note is as it was.")
    return file.read_text(errors="replace").strip()
