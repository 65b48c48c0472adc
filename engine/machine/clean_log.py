"""What our processes print into logs, without what a terminal would obey."""

import io
import os
import sys

from engine.machine.control_sequences import without_controls


class CleanStderr(io.TextIOBase):
    """Standard error of a process whose log is kept: names and messages from outside may stand in what it prints.

    What native libraries write straight into the descriptor does not come by here; whatever shows a log strips it.
    """

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Write the text at once. A full disk, or nobody at the other end, takes nothing and stops nothing."""
        content = without_controls(text.encode(errors="replace"))
        try:
            while content:
                content = content[os.write(2, content) :]
        except OSError:
            pass
        return len(text)

    def fileno(self) -> int:
        """Name the descriptor, as for any standard error."""
        return 2

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True


def clean_stderr() -> None:
    """Send what this process prints to standard error through `CleanStderr`."""
    sys.stderr = CleanStderr()
