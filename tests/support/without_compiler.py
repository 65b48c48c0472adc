"""`python -m tests.support.without_compiler COMMAND...`: runs it with every program of the path but the C compilers."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from engine.training.native.build import COMPILERS


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        for directory in os.environ["PATH"].split(os.pathsep):
            for program in Path(directory).glob("*"):
                link = Path(folder) / program.name
                if program.name not in COMPILERS and not link.is_symlink():
                    link.symlink_to(program.absolute())
        return subprocess.run(sys.argv[1:], env={**os.environ, "PATH": folder}, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
