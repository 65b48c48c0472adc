"""Writes a `.keras` file without its optimizer's state: a third of the size, the same network, still compiled.

Run as `python -m engine.tools.strip_optimizer SOURCE TARGET`. Only the weights file inside is written again.
"""

import io
import sys
import zipfile
from pathlib import Path

import h5py

from engine.machine.files import write_atomically
from engine.tools.keras_file import WEIGHTS, KerasFileError, checked, unread


def stripped(path: Path) -> bytes:
    """Return the file's content without the optimizer's variables.

    Raises:
        KerasFileError: it is not a `.keras` file of ours.
    """
    content = io.BytesIO()
    with checked(path, unread) as file, zipfile.ZipFile(file.path) as source, zipfile.ZipFile(content, "w") as target:
        for member in source.infolist():
            text = source.read(member)
            target.writestr(member, _without_optimizer(text) if member.filename == WEIGHTS else text)
    return content.getvalue()


def _without_optimizer(weights: bytes) -> bytes:
    content = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as source, h5py.File(content, "w") as target:
        for name in source:
            if name != "optimizer":
                source.copy(source[name], target, name)
        for name, value in source.attrs.items():
            target.attrs[name] = value
    return content.getvalue()


def main() -> int:
    """Strip a file; exit code 1 and one sentence when it cannot be done."""
    source, target = (Path(argument) for argument in sys.argv[1:3])
    try:
        write_atomically(target, stripped(source))
    except (KerasFileError, OSError) as error:
        print(f"svhn-tui: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
