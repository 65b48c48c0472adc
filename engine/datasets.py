"""Describing data sets from the host, which has no NumPy: a short process of its own reads the files."""

import asyncio
import sys
from pathlib import Path

import msgspec

from engine.protocol import DataSet

MAX_RUNS = 1_000_000
"""More runs than a sweep can have."""


async def describe(source: tuple[str, ...], demo_folder: Path, demo_sizes: tuple[int, int]) -> DataSet:
    """Describe a folder or two files; without a source, demo data, which is drawn if it is not there.

    Raises:
        ValueError: the data cannot be used; one sentence says why.
    """
    train, test = demo_sizes
    drawing = ["engine.demo_data", str(demo_folder), "--train", str(train), "--test", str(test)]
    command = ["engine.data", "describe", *source] if source else drawing
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, problem = await process.communicate()
    if process.returncode:
        lines = problem.decode(errors="replace").strip().splitlines() or ["The data cannot be read."]
        raise ValueError(lines[-1])
    return msgspec.json.decode(told, type=DataSet)
