"""Strips control sequences from what our processes print into logs."""

import io
import os
import sys

from engine.machine.control_sequences import without_controls


class CleanStderr(io.TextIOBase):
    """Standard error of a process with a log, in which names and messages from outside may be printed.

    Native libraries write into the descriptor directly; their output is stripped where a log is shown.
    """

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Write the text at once; on a full disk or a closed pipe it is lost, without an error."""
        content = without_controls(text.encode(errors="replace"))
        try:
            while content:
                content = content[os.write(2, content) :]
        except OSError:
            pass
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor of standard error."""
        return 2

    def writable(self) -> bool:
        """Return True."""
        return True


def clean_stderr() -> None:
    """Send what this process prints to standard error through `CleanStderr`."""
    sys.stderr = CleanStderr()
