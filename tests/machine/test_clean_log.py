"""Logs hold nothing that a terminal would obey, whatever names and messages come from outside."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys, traceback
from engine.machine.clean_log import clean_stderr
clean_stderr()
try:
    raise ValueError("\\x1b]0;title\\x07 \\x1b[2J of a file\\x9b1m, Zoë")
except ValueError:
    traceback.print_exc()
print("a line", file=sys.stderr)
"""


def test_a_traceback_keeps_its_words_and_loses_its_escape_codes():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    errors = done.stderr.decode()
    assert "ValueError:" in errors and " of a file" in errors and "Zoë" in errors and errors.endswith("a line\n")
    assert all(character.isprintable() or character in "\n\t" for character in errors)


def test_a_log_that_takes_nothing_stops_nothing():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", CODE + "print('goes on')"], stdout=subprocess.PIPE, stderr=full,
                              check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"goes on\n")
