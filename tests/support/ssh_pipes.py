"""The part of ssh that matters when it is killed: what runs over there has pipes of its own, which then end.

`python ssh_pipes.py HOME COMMAND` runs the command with a shell, in HOME and with nothing of our environment.
"""

import os
import subprocess
import sys
import threading


def carry(source: int, target: int) -> None:
    """Move bytes until an end is reached, and say so to the other side."""
    while content := os.read(source, 1 << 16):
        try:
            while content:
                content = content[os.write(target, content) :]
        except BrokenPipeError:
            break
    os.close(target)


def main() -> int:
    """Return the command's exit code, as ssh does."""
    home, command = sys.argv[1:]
    environment = {"HOME": home, "PATH": "/usr/bin:/bin", "LANG": "C"}
    pipe = subprocess.PIPE
    there = subprocess.Popen(["sh", "-c", command], cwd=home, env=environment, stdin=pipe, stdout=pipe)
    assert there.stdin is not None and there.stdout is not None
    threading.Thread(target=carry, args=(0, os.dup(there.stdin.fileno())), daemon=True).start()
    there.stdin.close()
    carry(there.stdout.fileno(), os.dup(1))
    status = there.wait()
    return 255 if status < 0 else status


if __name__ == "__main__":
    os._exit(main())
