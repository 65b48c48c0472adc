"""Short child processes, whatever they print."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine.machine import tool_process
from engine.machine.child_process import ChildCommand
from tests.support.patience import PATIENCE


async def test_of_what_is_printed_without_end_the_last_is_kept():
    text = "import sys; sys.stderr.write('x\\n' * 2_000_000); sys.stderr.write('why'); print('answer')"
    command = ChildCommand((sys.executable, "-c", text), dict(os.environ))
    outcome = await tool_process.run_beside(command, b"never read" * 100_000)
    assert (outcome.status, outcome.stdout, outcome.last_line) == (0, b"answer\n", "why")
    assert len(outcome.stderr) == tool_process.MAX_STDERR


LEAVES_ONE = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
"""A process whose child has its pipes, and outlives it."""


async def until(met: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not met():
            await asyncio.sleep(0.01)


def has_ended(pid: int) -> bool:
    """Say whether a process has ended; nobody may have waited for it yet."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("beside", [True, False])
async def test_what_the_leader_of_a_group_started_ends_with_it_and_nobody_waits_for_it(beside: bool):
    command = ChildCommand((sys.executable, "-c", LEAVES_ONE), dict(os.environ))
    lines = list[bytes]()
    if beside:
        outcome = await tool_process.run_beside(command, leads_group=True)
        lines.append(outcome.stdout)
    else:
        outcome = tool_process.stream(command, lines.append)
    assert outcome.status == 0
    (started,) = lines
    await until(lambda: has_ended(int(started)))


def test_each_line_is_handed_on_when_it_is_written(tmp_path: Path):
    read = tmp_path / "read"
    text = f"import os, time\nprint('one', flush=True)\nwhile not os.path.exists({str(read)!r}): time.sleep(0.01)\n"
    command = ChildCommand((sys.executable, "-c", f"{text}exit('why')"), dict(os.environ))
    outcome = tool_process.stream(command, lambda line: read.write_bytes(line))
    assert (outcome.status, outcome.last_line, read.read_bytes()) == (1, "why", b"one\n")


async def test_what_a_cancelled_leader_of_a_group_started_ends_with_it(tmp_path: Path):
    started = tmp_path / "started"
    text = f"import os, sys; sys.stdout = open({str(started)!r}, 'w'); {LEAVES_ONE}; os.read(os.pipe()[0], 1)"
    command = ChildCommand((sys.executable, "-c", text), dict(os.environ))
    reading = asyncio.create_task(tool_process.run_beside(command, leads_group=True))
    await until(lambda: started.exists() and started.read_text().endswith("\n"))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until(lambda: has_ended(int(started.read_text())))
