"""Short processes that read data sets and model files for the host, which imports no NumPy."""

from pathlib import Path

import msgspec

from engine.core.data_shape import LAYOUTS
from engine.core.spec import OwnModel
from engine.machine import child_process, tool_process
from engine.protocol import DataSet, Inspect, Inspected

MAX_PATH = 4_096


async def describe(source: tuple[str, ...], layout: str, demo_folder: Path, demo_sizes: tuple[int, int]) -> DataSet:
    """Describe a folder or two files; without a source, demo data, which is drawn if it is not there.

    Raises:
        ValueError: the data cannot be used; one sentence says why.
    """
    if any("\0" in path or len(path) > MAX_PATH for path in source):
        raise ValueError(f"The name of a data folder has at most {MAX_PATH:,} characters, and no NUL.")
    train, test = demo_sizes
    drawing = ["engine.data.demo", str(demo_folder), "--train", str(train), "--test", str(test)]
    if layout and layout not in LAYOUTS:
        raise ValueError(f"{layout[:20]!r} is not a layout; there are {', '.join(LAYOUTS)}.")
    options = ["--layout", layout] if layout else []
    command = ["engine.data.dataset", "describe", *options, "--", *source] if source else drawing
    return msgspec.json.decode(await _output_of(command), type=DataSet)


async def inspect(
    inquiry: Inspect, data: DataSet, file: Path | None, model: OwnModel | None = None, source: str = ""
) -> bytes:
    """Inspect a run's predictions for the test images, or training images; return the event as a line.

    Raises:
        ValueError: the data or the file cannot be used; one sentence says why.
    """
    look = {"data": msgspec.to_builtins(data), "run_id": inquiry.run_id, "asked": inquiry.data, "file": str(file or ""),
            "model": msgspec.to_builtins(model), "source": source}  # fmt: skip
    line = await _output_of(["engine.tools.inspect_run"], msgspec.json.encode(look))
    msgspec.json.decode(line, type=Inspected)
    return line


async def _output_of(command: list[str], given: bytes = b"") -> bytes:
    """Run a module of the engine and return its stdout; raise ValueError with the last line of its stderr."""
    done = await tool_process.run_beside(child_process.tool(*command), given, leads_group=True)
    if done.status:
        raise ValueError(done.last_line or "The data cannot be read.")
    return done.stdout
