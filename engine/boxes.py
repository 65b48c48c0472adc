"""Other machines as a user names them to ssh, and what keeps them from training, in a sentence. Starts nothing."""

import importlib.metadata
import re
import shlex
from collections.abc import Sequence

from engine import freight
from engine.protocol import PROTOCOL_VERSION
from engine.spec import NUMERICS_VERSION

SSH = (
    "ssh", "-T", "-x",
    "-o", "BatchMode=yes",  # a question would wait for an answer for ever: there is no terminal
    "-o", "ConnectTimeout=20",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3",  # a line that is cut is noticed within a minute
    "-o", "ClearAllForwardings=yes",
)  # fmt: skip
"""The user's own client, which reads the user's own settings."""
BOX = re.compile(r"(\w[\w.@%-]{0,254})(?::((?:[~.]?|\w[\w.+-]*)/[\w./+@%,=-]+|python[\d.]*))?", re.ASCII)
PYTHON = "python3"

NOT_FOUND = 127
"""Exit status of shells for a command that is not there."""
NAME_IT = "name it: --worker-ssh BOX:svhn-tui/.venv/bin/python"
CLUES = {
    "Host key verification failed": "its key is not known to ssh; run `ssh BOX` once and look at it",
    "Permission denied": "ssh needs a password; set up a key, so that `ssh -o BatchMode=yes BOX` works",
    "No module named": f"svhn-tui is not installed for the Python that was started; if another one has it, {NAME_IT}",
    "nknown option -P": f"the Python that was started is older than 3.11; if there is a newer one, {NAME_IT}",
    "ommand not found": f"there is no such Python; {NAME_IT}",
}
"""What the complaints of ssh, shells and Python mean, and what to do about it."""


def parse(text: str) -> tuple[str, str]:
    """Return the name of a box for ssh and the Python that is to be started there.

    Raises:
        ValueError: it is no name that ssh would take, or no Python; one sentence says so.
    """
    found = BOX.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text[:80]!r} is no box: name it as for ssh (ports and the like belong into ~/.ssh/config), and behind a "
            f"colon its Python if that is not `{PYTHON}`, as in gpubox:svhn-tui/.venv/bin/python."
        )
    return found[1], found[2] or PYTHON


def over_ssh(box: str, command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command on a box; `~/` at its beginning stays for the shell there."""
    home, program = ("~/", command[0][2:]) if command[0].startswith("~/") else ("", command[0])
    return [*SSH, "--", box, home + shlex.join([program, *command[1:]])]


def complaint(node: str, status: int, said: Sequence[str]) -> str:
    """Say why a command ended that should have gone on, by what it printed last."""
    lines = [printable for line in said if (printable := _printable(line))]
    meaning = next((CLUES[words] for words in CLUES if any(words in line for line in lines)), "")
    if not meaning and status == NOT_FOUND:
        meaning = CLUES["ommand not found"]
    if not meaning:
        meaning = f"the connection was lost ({lines[-1] if lines else f'exit code {status}'})"
    return f"{node or 'The node'}: {meaning.replace('BOX', node)}."


def difference(reached: freight.Reached, trainer: str) -> str:
    """Say what has to be the same there and here and is not, or nothing."""
    here = {name: importlib.metadata.version(name) for name in freight.LIBRARIES[trainer]}
    here |= {"svhn-tui's numerics": str(NUMERICS_VERSION), "its protocol": str(PROTOCOL_VERSION)}
    there = reached.versions | {"svhn-tui's numerics": str(reached.numerics), "its protocol": str(reached.protocol)}
    others = [
        f"{name} {there.get(name, 'none')} instead of {here[name]}" for name in here if there.get(name) != here[name]
    ]
    return f"It has {', '.join(others)}; install the same svhn-tui there as here." if others else ""


def _printable(line: str) -> str:
    return "".join(character for character in line.strip() if character.isprintable())[:200]
