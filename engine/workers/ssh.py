"""Workers on other machines over the user's own ssh: their names, command lines and error messages. Pure."""

import re
import shlex
from collections.abc import Sequence

SSH = (
    "-o", "ConnectTimeout=20",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3",  # a line that is cut is noticed within a minute
)  # fmt: skip
NO_FORWARDING = ("-a", "-x", "-o", "ClearAllForwardings=yes")
"""Options that deny the other machine the user's keys and display, whatever ~/.ssh/config says."""
SILENT = ("-T", "-o", "BatchMode=yes")
"""Options for use without a user, where a prompt of ssh would wait for ever or appear on the screen's terminal."""
BOX = re.compile(r"(\w[\w.@%-]{0,254})(?::((?:[~.]?|\w[\w.+-]*)/[\w./+@%,=-]+|python[\d.]*))?", re.ASCII)
PYTHON_PATHS = ("svhn-tui/.venv/bin/python", ".venv/bin/python", "python3")
"""Candidates for a Python with svhn-tui, from the user's home there, unless the user names one."""
SCRIPT = (
    "unset PYTHONHOME PYTHONSTARTUP PYTHONINSPECT PYTHONWARNINGS PYTHONBREAKPOINT PYTHONPYCACHEPREFIX; "
    'given=$PYTHONPATH; export PYTHONPATH; for PYTHONPATH in "" ${{given:+"$given"}}; do for python in {paths}; do '
    'if "$python" -P -c "import svhn_tui, engine.protocol" 2>/dev/null; then "$python" "$@"; exit $?; fi; '
    "done; done; echo {sentence} >&2; exit 127"
)
"""PYTHONPATH there counts only where svhn-tui cannot be imported without it. The shell waits for Python, so that a
Python that was killed (exit code 128 + signal) differs from a lost connection (255)."""
NOT_FOUND, SSH_FAILED = 127, 255
"""Exit codes: of the script, and of a shell without the command; of ssh when ssh itself failed."""
MISSING = (
    "svhn-tui is not installed there, or not where it was looked for: {paths}. `make install` in a clone of it in "
    "your home there does that; if it is elsewhere, name its Python: {option} {name}:PATH/bin/python"
)
CLUES = {
    "Permission denied": "ssh was refused. If it needs a password, set up a key: `ssh -o BatchMode=yes {name}` has to "
    "work",
    "Host key verification failed": "its key is not known to ssh. Run `ssh {name}` once and look at it",
    "Could not resolve hostname": "there is no machine of this name. Name it as for ssh",
}
"""Error messages of ssh, and what to do about them."""


def parse(text: str) -> tuple[str, str]:
    """Read `gpubox`, `me@gpubox` or `gpubox:svhn-tui/.venv/bin/python`: a name for ssh, and a Python there if one is.

    Raises:
        ValueError: it is neither; one sentence says what is allowed.
    """
    match = BOX.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text[:80]!r} is not a machine: name it as for ssh (ports and the like belong into ~/.ssh/config), and "
            "behind a colon its Python if that is not found, as in gpubox:svhn-tui/.venv/bin/python."
        )
    return match[1], match[2] or ""


def over_ssh(name: str, python: str, arguments: Sequence[str], *, option: str, has_terminal: bool = False) -> list[str]:
    """Return the command line that starts a Python on a box.

    Args:
        name: of the box, for ssh.
        python: path of the Python there; empty tries `PYTHON_PATHS`.
        arguments: of that Python.
        option: our option that names boxes, for the message where svhn-tui is not installed there.
        has_terminal: a person uses it: ssh may prompt, and Ctrl-C reaches the box.
    """
    paths = [python.removeprefix("~/")] if python else PYTHON_PATHS
    missing = shlex.quote(MISSING.format(paths=", ".join(paths), option=option, name=name))
    script = SCRIPT.format(paths=shlex.join(paths), sentence=missing)
    there = f"exec sh -c {shlex.join([script, 'svhn-tui', *arguments])}"  # independent of the user's shell there
    return ["ssh", *SSH, *NO_FORWARDING, *(("-t",) if has_terminal else SILENT), "--", name, there]


def meaning(name: str, printed: str) -> str:
    """Return what an error message of ssh means and what to do; empty where it is not in `CLUES`."""
    return next((text.format(name=name) for clue, text in CLUES.items() if clue in printed), "")


def failure(name: str, status: int, printed: Sequence[str], *, was_reached: bool) -> str:
    """Return a sentence that says why a command on a box ended too early.

    Args:
        name: of the box.
        status: exit code of `ssh`, which is the command's own unless ssh failed.
        printed: the last lines on stderr.
        was_reached: our program has started there.
    """
    lines = [printable for line in printed if (printable := _printable(line))]
    last = lines[-1] if lines else f"exit code {status}"
    is_ours = status == NOT_FOUND or (lines and not was_reached)  # a sentence of the script or of our program there
    clue = meaning(name, "\n".join(lines)) if status == SSH_FAILED else last.rstrip(".") if is_ours else ""
    return f"{clue}." if clue else f"{'the connection was lost' if was_reached else 'no connection'} ({last})."


def _printable(line: str) -> str:
    return "".join(character for character in line.strip() if character.isprintable())[:400]
