"""A folder full of files that would be run if anything of the current folder were."""

import importlib.metadata
import os
import sys
from pathlib import Path


def hostile_folder(folder: Path, marker: Path) -> Path:
    """Make a student's folder with a file for every module that anything of ours imports; each writes to `marker`."""
    folder.mkdir()
    names = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), "sitecustomize", "usercustomize"}
    for name in names | {"engine", "svhn_tui"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write(__name__ + '\\n')\n")
    os.mkfifo(folder / "matplotlibrc")  # who reads it waits for ever
    for program in ("srun", "ssh", "squeue", "nvidia-smi", "python", "env"):
        (folder / program).write_text(f"#!/bin/sh\necho {program} >> {marker}\n")
        (folder / program).chmod(0o755)
    return folder
