"""Another machine, reached over the user's own ssh: what is started there, with which Python, and what went wrong."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from svhn_tui import settings, words

SSH = (
    "-o", "ConnectTimeout=20",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3",  # a line that is cut is noticed within a minute
)  # fmt: skip
SILENT = ("-T", "-x", "-o", "BatchMode=yes")
"""Behind a screen ssh must not ask for a password: it would ask on the same terminal."""
NAME = re.compile(r"(\w[\w.@%-]{0,254})(?::([\w.~/+@%,=-]+))?", re.ASCII)
PLACES = ("svhn-tui/.venv/bin/python", ".venv/bin/python", "python3")
"""Where a Python with svhn-tui is looked for, from the user's home there, when none was named."""
SCRIPT = (
    'for python in {places}; do "$python" -c "import svhn_tui, engine.protocol" 2>/dev/null && exec "$python" "$@"; '
    "done; echo {sentence} >&2; exit 127"
)
MISSING = (
    "svhn-tui is not installed there, or not where it was looked for: {places}. `make install` in a clone of it in "
    "your home there does that; if it is elsewhere, name its Python: --host {name}:PATH/bin/python"
)
CLUES = {
    "Permission denied": "ssh was refused. If it needs a password, set up a key: `ssh -o BatchMode=yes {name}` has to "
    "work",
    "Host key verification failed": "its key is not known to ssh. Run `ssh {name}` once and look at it",
    "Could not resolve hostname": "there is no machine of this name. Name it as for ssh",
}
"""What ssh complains of, and what to do about it."""


class Remote(msgspec.Struct, frozen=True):
    """A machine as the user names it to ssh, and the Python to start there, if one was named."""

    name: str
    python: str = ""

    @property
    def desk(self) -> Path:
        """A folder on this machine for what the screen writes itself: presets of one's own, what was copied."""
        return settings.settings_file().parent / "hosts" / self.name

    def command(self, arguments: Sequence[str], *, has_terminal: bool = False) -> list[str]:
        """Return the command line that starts the Python there with these arguments.

        Args:
            arguments: of that Python.
            has_terminal: a person sits before it: ssh may ask, and Ctrl-C goes there.
        """
        places = [self.python.removeprefix("~/")] if self.python else PLACES
        missing = shlex.quote(MISSING.format(places=", ".join(places), name=self.name))
        script = SCRIPT.format(places=shlex.join(places), sentence=missing)
        there = f"exec sh -c {shlex.join([script, 'svhn-tui', *arguments])}"  # whatever the user's shell is there
        return ["ssh", *SSH, *(("-t",) if has_terminal else SILENT), "--", self.name, there]

    def explained(self, said: str) -> str:
        """Say what a complaint from there means, and what to do; our own are sentences already."""
        for clue, meaning in CLUES.items():
            if clue in said:
                return f"{self.name}: {meaning.format(name=self.name)}."
        last = words.clean(said.strip().splitlines()[-1]) if said.strip() else "the connection was lost"
        return f"{self.name}: {last}"


def parse(text: str) -> Remote:
    """Read `gpubox`, `me@gpubox` or `gpubox:svhn-tui/.venv/bin/python`.

    Raises:
        ValueError: it is neither; one sentence says what is allowed.
    """
    found = NAME.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text[:80]!r} is no machine: name it as for ssh (ports and the like belong into ~/.ssh/config), and "
            "behind a colon its Python if that is not found, as in gpubox:svhn-tui/.venv/bin/python."
        )
    return Remote(found[1], found[2] or "")


def run_there(remote: Remote, arguments: Sequence[str]) -> int:
    """Run `svhn-tui` with these arguments there, in the place of this process; return only if ssh cannot be started."""
    given = os.environ.get("SVHN_TUI_WORKSPACE")
    setting = f"import os; os.environ['SVHN_TUI_WORKSPACE'] = {given!r}; " if given else ""
    program = ["-c", f"{setting}from svhn_tui.cli import main; main()", *arguments]
    command = remote.command(program, has_terminal=os.isatty(0) and os.isatty(1))
    try:
        os.execvp(command[0], command)
    except OSError:
        return 1
