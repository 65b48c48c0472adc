"""Another machine, reached over the user's own ssh: command lines for it, and explanations of its errors."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.machine import child_process
from engine.workers import ssh
from svhn_tui import settings, words


class Remote(msgspec.Struct, frozen=True):
    """A machine as the user names it to ssh, and the Python to start there, if one was named."""

    name: str
    python: str = ""

    @property
    def local_folder(self) -> Path:
        """A folder on this machine for files that the screen writes: the user's own presets, copied text."""
        return settings.settings_file().parent / "hosts" / self.name

    def command(self, arguments: Sequence[str], *, has_terminal: bool = False) -> list[str]:
        """Return the command line that starts the Python there with these arguments.

        Args:
            arguments: of that Python.
            has_terminal: whether a user is present: ssh may ask, and Ctrl-C is sent there.
        """
        return ssh.over_ssh(self.name, self.python, arguments, option="--host", has_terminal=has_terminal)

    def explained(self, printed: str) -> str:
        """Explain an error message from there, and say what to do; this program's own are sentences already."""
        if meaning := ssh.meaning(self.name, printed):
            return f"{self.name}: {meaning}."
        last = words.clean(printed.strip().splitlines()[-1]) if printed.strip() else "the connection was lost"
        return f"{self.name}: {last}"


def parse(text: str) -> Remote:
    """Read `gpubox`, `me@gpubox` or `gpubox:svhn-tui/.venv/bin/python`.

    Raises:
        ValueError: it is neither; one sentence says what is allowed.
    """
    return Remote(*ssh.parse(text))


def run_there(remote: Remote, arguments: Sequence[str]) -> int:
    """Replace this process by `svhn-tui` with these arguments there; return only if ssh cannot be started."""
    given = os.environ.get("SVHN_TUI_WORKSPACE")
    setting = f"import os; os.environ['SVHN_TUI_WORKSPACE'] = {given!r}; " if given else ""
    program = [*child_process.ISOLATED, "-c", f"{setting}from svhn_tui.cli.main import main; main()", *arguments]
    command = remote.command(program, has_terminal=os.isatty(0) and os.isatty(1))
    try:
        os.execvpe(command[0], command, child_process.program_environment(os.environ))
    except OSError:
        return 1
