"""Reads each file that it is given, and says in a line of JSON what came of it and how much memory that took.

`probed` runs it as `python -m tests.support.probe READER FILE...`: in a process of its own, so that the figures are
those of the reader alone.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MOST_BYTES = 50_000_000
"""What a hostile file may cost before it is refused."""


def probed(reader: str, *paths: Path, **environment: str) -> dict[str, str]:
    """Read the files in one process; return what was said of each, if it cost little."""
    command = [sys.executable, "-m", "tests.support.probe", reader, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(name, extra) for name, _, extra in outcomes if extra > MOST_BYTES] == []
    return {name: text for name, text, _ in outcomes}


def written(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    """Write files whose names begin with their numbers."""
    paths = []
    for number, (name, content) in enumerate(contents.items()):
        paths.append(folder / f"{number} {name}"[:80].replace("/", "-"))
        paths[-1].write_bytes(content)
    return paths


def read_presets(path: Path) -> object:
    from svhn_tui import preset_file

    return preset_file.load(path)


def read_keras_file(path: Path) -> object:
    from engine.tools import keras_file

    return keras_file.check(path)


def read_pack(path: Path) -> object:
    from engine.storage import archive

    root = path.parent / "workspace"
    (root / "runs").mkdir(parents=True, exist_ok=True)
    return archive.unpack(root, path, busy=frozenset())


def read_journal(path: Path) -> object:
    from engine.storage import journal

    history, damaged = journal.history(path)
    raise ValueError(f"{history.epochs} epochs, {damaged} damaged lines")


def read_link(path: Path) -> object:
    """Take what an engine tells that only copies the file."""
    from svhn_tui.client.bridge import Link, LinkLost

    async def count_events() -> str:
        async with Link(path) as link:
            count = 0
            try:
                async for batch in link.events():
                    count += len(batch)
            except LinkLost:
                pass
        return f"{count} events, {link.unreadable_lines} unreadable lines"

    raise ValueError(asyncio.run(count_events()))


READERS: dict[str, Callable[[Path], object]] = {
    "presets": read_presets,
    "keras": read_keras_file,
    "pack": read_pack,
    "journal": read_journal,
    "link": read_link,
}


def memory(name: str) -> int:
    """Bytes of this process: `VmRSS` now, `VmHWM` at most."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024


def main() -> None:
    read = READERS[sys.argv[1]]
    with contextlib.suppress(ValueError, OSError):
        read(Path("/nonexistent"))  # so that imports do not count
    for path in map(Path, sys.argv[2:]):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew
        before = memory("VmRSS")
        try:
            read(path)
            text = ""
        except (ValueError, OSError) as error:
            text = str(error)
        print(json.dumps([path.name, text, memory("VmHWM") - before]), flush=True)


if __name__ == "__main__":
    main()
